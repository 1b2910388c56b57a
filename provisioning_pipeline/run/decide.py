"""Deciding: from everything that was read to a plan. Pure: no await, no wire, no database; no input is changed.

What must be known in between is asked as values: deciding hands out `Questions` and goes on with the `Answers`.
"""

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pandas as pd

from provisioning_pipeline.decide.detection import Detected
from provisioning_pipeline.decide.organizations import Match, admin_candidates, unread_organizations
from provisioning_pipeline.decide.placement import Placement, retirements_of, told_to_stay, unactivated
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import BadInput
from provisioning_pipeline.model.frames import ClerkSnapshot, frame, records
from provisioning_pipeline.model.history import Budget, Waiting
from provisioning_pipeline.model.offboarding import Order
from provisioning_pipeline.model.people import ADMIN_ROLE
from provisioning_pipeline.model.tenant import (
    ClerkRead,
    MemberPlan,
    Plan,
    TenantPlan,
)
from provisioning_pipeline.run.endings import twenty_unlocked, with_endings
from provisioning_pipeline.run.notes import MOST_MISSED, notes, notes_of_endings
from provisioning_pipeline.run.seen import (
    Answers,
    Demotion,
    KnownSoFar,
    Questions,
    Seen,
    members_of_databases,
    named_admins,
    observed_of,
    organizations_of,
    people_of,
    strangers_of,
    with_known,
)
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps import may_be_due, with_due
from provisioning_pipeline.steps.databases.plan.take_over import TakeOvers
from provisioning_pipeline.steps.databases.plan.tenant_databases import (
    DatabasePolicy,
    with_databases,
)
from provisioning_pipeline.steps.members.plan.decisions import (
    Join,
    MemberPolicy,
    accounts_that_matter,
    decide_members,
    is_our_own_doing,
    lowered,
    with_target,
)
from provisioning_pipeline.steps.members.plan.emails import accounts_to_move
from provisioning_pipeline.steps.members.plan.harm import Weighed, lost_admins, stored_admins, weigh
from provisioning_pipeline.steps.members.plan.people import (
    INVITATIONS_OF_TENANTS,
    MemberKey,
    accounts_of,
    desired_members,
    given_up,
    has_address,
    missing_at_clerk,
    with_intents,
)
from provisioning_pipeline.steps.members.plan.tenant_members import (
    KnownMembers,
    LostAdmin,
    OurPeople,
    half_members,
    to_mend,
    with_members,
    withdrawals,
    workplaces,
)
from provisioning_pipeline.steps.offboarding.due import Offboarded
from provisioning_pipeline.steps.suspension.due import Locks
from provisioning_pipeline.steps.workspaces.plan.planner import Observed, Planner, admin_of

Deciding = Generator[Questions, Answers, Plan]
"""Deciding under way: it yields questions, is sent their answers, and returns the plan."""


class UnknownPlan(BadInput):
    """Something was approved that does not wait, or no longer in that form."""


def decide(seen: Seen, settings: Settings, approved: str | None = None, order: Order | None = None) -> Deciding:
    """Decide what is to be done for every tenant that was seen, in at most five rounds of questions.

    Only accounts that are to get something are asked about, and only people who seem to be gone: each round needs what
    the one before has settled.

    Args:
        seen: everything that was read.
        settings: the operator's decisions.
        approved: the name of what an operator approved: removals and demotions, locks, or offboardings.
        order: what an operator asks for the named tenants.

    Raises:
        UnknownPlan: when nothing waits under the approved name.
    """
    seen = replace(seen, twenty=twenty_unlocked(seen))
    clerk, twenty = seen.clerk, seen.twenty
    by_name = {found.tenant.database_name: found for found in seen.detected}
    links = {name: found.link or {} for name, found in by_name.items()}
    matches = organizations_of(settings, seen)
    placement = Placement(
        twenty.servers,
        (str(link["server"]) for link in links.values() if link.get("open_intent") and not link["workspace_id"]),
    )
    unread = unread_organizations(clerk, matches)
    admin_roles = [role for role, label in settings.member_roles.items() if label == ADMIN_ROLE]
    accounts = KnownSoFar.unasked(seen, settings)

    # who may be admin where a tenant has none
    stored = {name for name, link in links.items() if link.get("admin_user_id")}
    lacking = links.keys() - stored
    holders, users = admin_candidates(clerk, matches, unread, admin_roles, lacking)
    accounts += yield accounts.question(accounts.of_people(users.values(), named_admins(seen, lacking)))
    observed = observed_of(seen, settings, matches, holders, users, admin_roles, accounts)
    planner = Planner(seen.detected, observed, placement)
    drafts = [planner.tenant(found) for found in seen.detected]

    # who seems to be gone, and who is a stranger: the second witness
    places = workplaces([entry for entry in drafts if entry.tenant.database_name not in unread])
    people = with_intents(people_of(seen, places), seen.intents)
    missing = missing_at_clerk(people)
    invitations = twenty.invitations.merge(
        places[["database_name", "server", "workspace_id"]], on=["server", "workspace_id"]
    )
    of_databases = members_of_databases(seen, settings, drafts, people, unread)
    strangers = strangers_of(seen, of_databases) if settings.take_over_members else frozenset()
    answers = yield Questions(
        departures=_in_turn(missing, seen.looked_at),
        invitations=list(zip(invitations["database_name"], invitations["email"], strict=True)),
        emails=strangers,
    )
    people = replace(
        people, departures=answers.departures, invitations=_invitations_of_tenants(invitations, answers.invitations)
    )
    if strangers:
        of_databases = {name: with_known(found, answers.emails) for name, found in of_databases.items()}

    # whose accounts are theirs, of those who are to get something; and how those came in who are to lose something
    policy = MemberPolicy.of(settings)
    desired = with_target(desired_members(people), policy)
    admins = lowered(desired)
    invited = desired[has_address(desired, set(people.invitations["email"]))]
    matter = accounts_that_matter(desired) | (seen.made_by_others & accounts_of(desired))
    if policy.emails == "follow":
        matter |= accounts_to_move(desired)
    demotions = records(admins)
    answers = yield replace(
        accounts.question(matter | accounts_of(admins) | accounts_of(invited)),
        demotions=[_demotion(row) for row in demotions],
    )
    accounts += answers
    raised = frozenset(key for key, join in _joins(demotions, answers, accounts).items() if is_our_own_doing(join))
    people = replace(people, accounts=accounts.known, raised_by_us=raised)
    decisions = decide_members(people, policy, desired)

    # who may be admin where the stored one is so no more
    observed = replace(observed, unproved=accounts.unproved)
    lost: dict[str, LostAdmin] = {}
    if stored:
        lost = lost_admins(stored_admins(drafts, links, unread, by_name, observed), people, desired)
    replaced = {name for name, decision in decisions.items() if decision.replace_admin} | lost.keys()
    others, known_users = admin_candidates(clerk, matches, unread, admin_roles, replaced)
    accounts += yield accounts.question(accounts.of_people(known_users.values(), named_admins(seen, lost)))
    observed = replace(observed, holders=holders | others, users=users | known_users, unproved=accounts.unproved)

    # what is more than a run may take away, and then all together, tenant by tenant
    weighed = Weighed(decisions)
    harmed = [name for name, decision in decisions.items() if decision.harmed]
    if harmed:
        counts = _member_counts(places[places["database_name"].isin(harmed)], twenty.members)
        weighed = weigh(decisions, counts, Budget(settings.harm_share, settings.harm_most, approved))
    known = KnownMembers(
        matches=matches,
        unread=unread,
        decisions=weighed.decisions,
        stored_workspaces=dict(
            zip(clerk.organizations["organization_id"], clerk.organizations["workspace_id"], strict=True)
        ),
        store_workspace_id=settings.clerk_store_workspace_id,
        seen=frozenset(name for name, link in links.items() if link.get("members_seen")),
        links_open=frozenset(name for name, link in links.items() if link.get("invite_link_opened")),
        another_admin=lambda entry, before: admin_of(
            observed, by_name[entry.tenant.database_name], entry.tenant.clerk_org_id, str(entry.server), before
        ),
        lost_admins=lost,
        goes_on_without=planner.goes_on_without,
        roles_lent=frozenset(name for name, link in links.items() if link.get("default_role_lent")),
        mending=_mending(seen, by_name, observed, settings.member_default_role),
        withdrawals=withdrawals(people, policy, desired),
        renews_invite_link=settings.renew_invite_link == "removals",
    )
    entries = [with_members(entry, known, links[entry.tenant.database_name].get("admin_user_id")) for entry in drafts]
    planned, overs = with_databases(
        entries,
        seen.inspections,
        of_databases,
        DatabasePolicy.of(settings, seen.table.owner, approved),
        set(twenty.servers["database_name"]),
    )
    ended = with_endings(planned, seen, settings, approved, order)
    planned, locked, offboarded = ended.entries, ended.locked, ended.offboarded
    approvals = (weighed, seen.loss, overs, locked, offboarded)
    if approved and not any(each.approved for each in approvals):
        raise _unknown_plan(approved, weighed, overs, locked, offboarded)
    may_be = may_be_due(planned)
    if may_be:
        held = (yield Questions(held=may_be)).held
        planned = tuple(with_due(entry, held) for entry in planned)
    retirements = retirements_of(
        twenty.deleted_in_use,
        {(link["server"], link["workspace_id"]): name for name, link in links.items() if link.get("workspace_id")},
    )
    return Plan(
        planned,
        looked_at=seen.looked_at,
        unread=frozenset(unread),
        waiting=Waiting(weighed.waiting, weighed.people) if weighed.waiting else None,
        approved=weighed.approved,
        clerk=clerk_read(clerk),
        notes=(
            *notes(seen, settings, weighed, overs, retirements, missed=len(missing)),
            *notes_of_endings(locked, offboarded),
            *told_to_stay(((entry.tenant, str(entry.server)) for entry in drafts if entry.workspace_id), placement),
        ),
        came_back=ended.came_back,
        retirements=retirements,
        dropped=seen.dropped,
        left=_left(seen, entries),
        given_up=given_up(seen.intents, people, seen.looked_at),
        registry_doubt=seen.loss.doubt,
        kept_rows=frozenset(seen.loss.kept),
        **registry_news(seen),
        room={
            row["server"]: None if row["capacity"] is None else max(0, row["capacity"] - row["workspaces"])
            for row in records(twenty.servers)
        },
        unactivated=unactivated(
            twenty.workspaces,
            {link["workspace_id"]: found.tenant.slug for found in seen.detected if (link := found.link)},
        ),
    )


# --- members ---------------------------------------------------------------------------------------------------------


def _invitations_of_tenants(found: pd.DataFrame, ours: Collection[tuple[str, str]]) -> pd.DataFrame:
    columns = found[["database_name", "server", "workspace_id", "email", "role"]].itertuples(index=False, name=None)
    return frame(INVITATIONS_OF_TENANTS, [(*row, (row[0], row[3]) in ours) for row in columns])


def _demotion(row: Mapping[str, Any]) -> Demotion:
    return Demotion(
        row["database_name"], row["server"], row["workspace_id"], row["account"], row["account_email"], row["target"]
    )


def _joins(rows: Sequence[Mapping[str, Any]], answers: Answers, accounts: KnownSoFar) -> dict[MemberKey, Join]:
    """How those came in who are to be lowered, as far as Twenty and the ledger can say so."""
    found: dict[MemberKey, Join] = {}
    for row in rows:
        name, server, account = row["database_name"], row["server"], row["account"]
        times = answers.joins.get((server, row["workspace_id"], account))
        if times is None:
            continue
        known = accounts.known.evidence.get((server, account))
        found[name, row["clerk_user_id"]] = Join(
            *times,
            added_by_us=(name, row["account_email"]) in answers.added,
            linked=row["linked_account"] is not None,
            watched_since=answers.watched_since.get(name),
            verified=known is None or known.verified,
            made_by_others=known is None or (known.origin is not None and not known.origin.ours),
        )
    return found


def _in_turn(missing: list[tuple[str, str]], now: datetime) -> list[tuple[str, str]]:
    """As many as one run checks, others each time, so that no one is hidden behind those who stay missing."""
    start = int(now.timestamp()) % len(missing) if len(missing) > MOST_MISSED else 0
    return [*missing[start:], *missing[:start]][:MOST_MISSED]


def _member_counts(places: pd.DataFrame, members: pd.DataFrame) -> dict[str, int]:
    counts = members.merge(places, on=["server", "workspace_id"]).groupby("database_name").size()
    return {str(name): int(count) for name, count in counts.items()}


def _mending(
    seen: Seen, detected: Mapping[str, Detected], observed: Observed, default_role: str
) -> dict[str, tuple[MemberPlan, ...]]:
    """Database name → half members of ours that Clerk does not mention."""
    links = {name: found.link for name, found in detected.items() if found.link and found.link["workspace_id"]}
    places = {(link["server"], link["workspace_id"]): name for name, link in links.items()}
    linked = set(zip(seen.member_links["database_name"], seen.member_links["twenty_user_id"], strict=True))
    found = {}
    for name, half in half_members(places, seen.twenty.half_members, seen.twenty.members).items():
        server = links[name]["server"]
        taken_over = {row["twenty_user_id"] for row in seen.taken_over if row["database_name"] == name}
        without_organization = observed.organizations.get(name, Match()).organization_id is None
        ours = OurPeople(
            service=seen.twenty.service_users.get(server, ()),
            admin_user_id=links[name]["admin_user_id"] if without_organization else None,
            admin=admin_of(observed, detected[name], None, str(server)),
            taken_over={user for user in taken_over if (name, user) not in linked},
            default_role=default_role,
        )
        found[name] = to_mend(half, ours)
    return {name: members for name, members in found.items() if members}


# --- tenant databases, and what is reported ---------------------------------------------------------------------------


def _left(seen: Seen, entries: Sequence[TenantPlan]) -> tuple[tuple[str, str], ...]:
    """(database name, Twenty user id) of people of workspaces inserted by SQL who are members no more."""
    there = [(row["database_name"], row["twenty_user_id"]) for row in seen.taken_over if not row["left"]]
    if not there:
        return ()
    readable = set(seen.twenty.servers[seen.twenty.servers["reason"].isna()]["server"])
    homes = {
        entry.tenant.database_name: (entry.server, entry.workspace_id)
        for entry in entries
        if entry.server in readable and entry.workspace_id and not _is_gone(entry)
    }
    of_ours = seen.twenty.members[seen.twenty.members["user_id"].isin([user for _, user in there])]
    inside = set(zip(of_ours["server"], of_ours["workspace_id"], of_ours["user_id"], strict=True))
    return tuple((name, user) for name, user in there if name in homes and (*homes[name], user) not in inside)


def _is_gone(entry: TenantPlan) -> bool:
    """Its workspace was deleted, which says nothing about who left it."""
    return any(condition.reason is Reason.WORKSPACE_GONE for condition in entry.conditions)


def clerk_read(clerk: ClerkSnapshot) -> ClerkRead:
    """How much of Clerk this is."""
    return ClerkRead(
        whole=clerk.asked is None,
        organizations=len(clerk.organizations),
        memberships=len(clerk.memberships),
        users=len(clerk.users),
        doubt=clerk.fault.message if clerk.fault else clerk.doubt,
    )


def registry_news(seen: Seen) -> dict[str, tuple[Any, ...]]:
    """What the ledger does not know yet about registry rows, and the registry about admins who were asked for."""
    registered, row_gone, settled, asked, ids, oids = [], [], [], [], [], []
    several = set(seen.registry["registry_id"][seen.registry["registry_id"].duplicated()])
    for found in seen.detected:
        name, link, row = found.tenant.database_name, found.link or {}, found.registry
        missing = link.get("registry_row_gone_at") is not None
        if found.in_doubt:
            continue
        if row is not None and row["registry_id"] not in (None, link.get("registry_id"), *several):
            ids.append((name, str(row["registry_id"])))
        if found.oid is not None and found.eligible and found.oid != link.get("database_oid"):
            oids.append((name, int(found.oid)))
        if row is not None and (not link.get("registered") or missing):
            registered.append(name)
        if row is None and link.get("registered") and not missing and name not in seen.loss.kept:
            row_gone.append(name)
        if link and found.life is not None and found.life.settles and not link.get("registry_row_settled"):
            settled.append(name)
        email = link.get("asked_admin_email")
        if row is not None and email and email != row["twenty_admin_email"]:
            asked.append((name, str(email)))
    return {
        "registered": tuple(registered),
        "row_gone": tuple(row_gone),
        "row_settled": tuple(settled),
        "asked_admins": tuple(asked),
        "registry_ids": tuple(ids),
        "database_oids": tuple(oids),
    }


def _unknown_plan(
    approved: str, weighed: Weighed, overs: TakeOvers, locked: Locks, offboarded: Offboarded
) -> UnknownPlan:
    waiting = [f"{each.waiting} ({each.people} people)" for each in (weighed, overs) if each.waiting]
    waiting += [f"{locked.waiting} ({locked.tenants} tenants to lock)"] if locked.waiting else []
    waiting += [f"{offboarded.waiting} ({', '.join(offboarded.lines)})"] if offboarded.waiting else []
    now = (
        f"What waits now is {' and '.join(waiting)}: look at it with `provisioning plan`."
        if waiting
        else "Nothing waits for approval now."
    )
    return UnknownPlan(f"No plan called {approved} waits, so nothing was done. {now}")
