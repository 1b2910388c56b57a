"""Observe and decide: from the outside world to a plan. Reads only, in a dry run and in a real one alike."""

import gc
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import pandas as pd
from psycopg import Error

from provisioning_pipeline.clients.postgres import Row
from provisioning_pipeline.clients.tenant_role import too_much
from provisioning_pipeline.decide.aging import unactivated
from provisioning_pipeline.decide.detection import Detected
from provisioning_pipeline.decide.organizations import Match, claimants_of, match_organizations
from provisioning_pipeline.decide.retirements import retirements_of, told
from provisioning_pipeline.ledger.registry import is_pending
from provisioning_pipeline.ledger.registry_table import Column
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import TOO_LITTLE_MEMORY, Fault, FaultKind, RunFault
from provisioning_pipeline.model.frames import frame, records
from provisioning_pipeline.model.history import Waiting
from provisioning_pipeline.model.people import ADMIN_ROLE, Departure, Membership, User
from provisioning_pipeline.model.tenant import Admin, AdminUnknown, ClerkRead, Plan, TenantPlan
from provisioning_pipeline.observe.clerk import ClerkSnapshot, departures
from provisioning_pipeline.run.ask_accounts import AskedAccounts
from provisioning_pipeline.run.ask_half_members import mending
from provisioning_pipeline.run.ask_invitations import invitations_of_tenants
from provisioning_pipeline.run.ask_joins import joins_of
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.due import with_due
from provisioning_pipeline.run.observe import Seen, everything, some
from provisioning_pipeline.run.policy import database_policy, member_policy, standing_claims
from provisioning_pipeline.run.shut_out import shut_out_of_plan
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps.databases.plan.hand_made import members_to_take_over, old_names
from provisioning_pipeline.steps.databases.plan.take_over import MOST_CONSIDERED, TakeOvers
from provisioning_pipeline.steps.databases.plan.tenant_databases import (
    PeopleOfDatabase,
    people_of_databases,
    with_databases,
)
from provisioning_pipeline.steps.members.plan.decisions import accounts_that_matter, decide_members, with_target
from provisioning_pipeline.steps.members.plan.harm import Budget, Weighed, harmed, weigh
from provisioning_pipeline.steps.members.plan.intents import given_up, with_intents
from provisioning_pipeline.steps.members.plan.invitations import withdrawals
from provisioning_pipeline.steps.members.plan.joins import lowered, raised_by_us
from provisioning_pipeline.steps.members.plan.people import (
    People,
    accounts_of,
    desired_members,
    has_address,
    missing_at_clerk,
)
from provisioning_pipeline.steps.members.plan.stored_admin import STORED_ADMINS, lost_admins
from provisioning_pipeline.steps.members.plan.tenant_members import (
    KnownMembers,
    with_members,
    workplaces,
    workspace_usable,
)
from provisioning_pipeline.steps.workspaces.plan.admin import admin_holders
from provisioning_pipeline.steps.workspaces.plan.planner import Observed, Planner, asked_admin


class UnknownPlan(RunFault):
    """Something was approved that does not wait, or no longer in that form."""


async def plan(
    connections: Connections, tenants: Collection[str] = (), *, by_hand: bool = True, approved: str | None = None
) -> Plan:
    """What a run would do, for these tenants (slugs or database names) or for all.

    Names that were not given `by_hand` may belong to databases that vanished since a sensor saw them. `approved` is
    the name of a plan whose removals and demotions somebody agreed to.

    Raises:
        RunFault: when registry, ledger or cluster cannot be read, or Clerk refuses the key.
        UnknownTenants: when a name fits nobody.
        UnknownPlan: when nothing waits under the approved name.
    """
    names = sorted({name.strip() for name in tenants}) or None
    try:
        with _rare_garbage_collection():
            seen = await (
                everything(connections, approved)
                if names is None
                else some(connections, names, by_hand=by_hand, approved=approved)
            )
            columns = await connections.registry.columns()
            if not columns and seen.loss.doubt is None:
                # a run would make the table; a plan says beforehand where it would refuse to
                await connections.registry.must_be_makeable()
            decided = await _decide(connections, seen, columns, approved)
            return replace(await with_due(connections, decided), asked=tuple(tenants))
    except Fault as fault:
        raise RunFault(fault.message) from None
    except Error as error:
        raise RunFault(f"PostgreSQL refused to be read: {str(error).splitlines()[0]}.") from None
    except MemoryError:
        raise RunFault(TOO_LITTLE_MEMORY) from None


_RARE = (50_000, 20, 100)


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Hundreds of thousands of rows are made here and none is a cycle: looking for cycles among them took seconds."""
    before = gc.get_threshold()
    if before == _RARE:
        # another plan is being made in this process, which will put back what was before
        yield
        return
    gc.set_threshold(*_RARE)
    try:
        yield
    finally:
        gc.set_threshold(*before)


# --- deciding -------------------------------------------------------------------------------------------------------


async def _decide(
    connections: Connections,
    seen: Seen,
    columns: Mapping[str, Column],
    approved: str | None,
) -> Plan:
    settings, clerk = connections.settings, seen.clerk
    matches = _matches(settings, seen)
    roles = [role for role, label in settings.member_roles.items() if label == ADMIN_ROLE]
    unread = _unread(clerk, matches)
    lacking = {found.tenant.database_name for found in seen.detected if not (found.link or {}).get("admin_user_id")}
    holders, users = _holders(clerk, matches, unread, roles, lacking)
    accounts = AskedAccounts(connections, seen)
    await accounts.ask(accounts.of_people(users.values(), _named_admins(seen, lacking)))
    planner = Planner(
        seen.detected,
        Observed(
            servers=seen.twenty.servers,
            workspaces=seen.twenty.workspaces,
            flags=seen.twenty.flags,
            looks=seen.looks,
            service_users=seen.twenty.service_users,
            service_emails={server.name: server.service_email.strip().lower() for server in settings.servers},
            service_access=seen.twenty.service_access,
            organizations=matches,
            holders=holders,
            users=users,
            member_links=seen.member_links,
            taken_over=[row for row in seen.taken_over if not row["left"]],
            everyone=settings.onboarding_people == "everyone",
            twenty_members=seen.twenty.members,
            registry_stores=connections.registry.stores_workspaces(dict(columns)),
            is_pending=_pending_statuses(settings, columns),
            admin_roles=", ".join(roles),
            old_names=old_names(
                seen.looks, {found.tenant.database_name for found in seen.detected if found.registry is not None}
            ),
            unproved=accounts.unproved,
        ),
    )
    drafts = [planner.tenant(found) for found in seen.detected]
    places = workplaces([entry for entry in drafts if entry.tenant.database_name not in unread])
    people = People(
        workplaces=places,
        memberships=clerk.memberships,
        clerk_users=clerk.users,
        twenty_users=seen.twenty.users,
        twenty_members=seen.twenty.members,
        user_links=seen.user_links,
        member_links=seen.member_links,
        service_users=seen.twenty.service_users,
        complete=clerk.doubt is None and clerk.fault is None,
        half_members=seen.twenty.half_members,
        invitations=await invitations_of_tenants(connections, places, seen.twenty.invitations),
    )
    people = with_intents(people, seen.intents)
    missing = missing_at_clerk(people)
    looked_at = _in_turn(missing, seen.looked_at)
    people = replace(people, departures=await _departures(connections, looked_at))
    policy = member_policy(settings)
    desired = with_target(desired_members(people), policy)
    await accounts.ask(accounts_that_matter(desired) | (await accounts.made_by_others() & accounts_of(desired)))
    admins = lowered(desired)
    invited = desired[has_address(desired, set(people.invitations["email"]))]
    await accounts.ask(accounts_of(admins) | accounts_of(invited))
    joins = await joins_of(connections, admins, accounts.evidence)
    people = replace(people, accounts=accounts.known, raised_by_us=raised_by_us(joins))
    decisions = decide_members(people, policy, desired)
    by_name = {found.tenant.database_name: found for found in seen.detected}
    links = {name: found.link or {} for name, found in by_name.items()}
    lost = lost_admins(_stored_admins(drafts, links, unread, by_name, planner), people, desired)
    replaced = {name for name, decision in decisions.items() if decision.replace_admin} | lost.keys()
    others, known_users = _holders(clerk, matches, unread, roles, replaced)
    holders |= others
    users |= known_users
    await accounts.ask(accounts.of_people(known_users.values(), _named_admins(seen, lost)))
    weighed = weigh(
        decisions,
        _member_counts(places[places["database_name"].isin(harmed(decisions))], seen.twenty.members),
        Budget(settings.harm_share, settings.harm_most, approved),
    )
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
        another_admin=lambda entry, before: planner.admin(
            by_name[entry.tenant.database_name], entry.tenant.clerk_org_id, str(entry.server), before
        ),
        lost_admins=lost,
        goes_on_without=planner.goes_on_without,
        roles_lent=frozenset(name for name, link in links.items() if link.get("default_role_lent")),
        mending=mending(seen, matches, by_name, planner, settings.member_default_role),
        withdrawals=withdrawals(people, policy, desired),
        renews_invite_link=settings.renew_invite_link == "removals",
    )
    entries = [with_members(entry, known, links[entry.tenant.database_name].get("admin_user_id")) for entry in drafts]
    retirements = retirements_of(
        seen.twenty.deleted_in_use,
        {(link["server"], link["workspace_id"]): name for name, link in links.items() if link.get("workspace_id")},
    )
    planned, overs = with_databases(
        entries,
        seen.looks,
        await _of_databases(connections, seen, entries, people, unread),
        database_policy(settings, (await connections.registry.described()).owner, approved),
        set(seen.twenty.servers["database_name"]),
    )
    if approved and not (weighed.approved or seen.loss.approved or overs.approved):
        raise _unknown_plan(approved, weighed, overs)
    return Plan(
        planned,
        looked_at=seen.looked_at,
        unread=frozenset(unread),
        waiting=Waiting(weighed.waiting, weighed.people) if weighed.waiting else None,
        approved=weighed.approved,
        clerk=clerk_read(clerk),
        notes=(
            *([seen.loss.doubt] if seen.loss.doubt else []),
            *_lost_accounts(settings, seen),
            *told(retirements),
            *_notes(seen, weighed, overs, len(missing)),
            *shut_out_of_plan(weighed.decisions, refused=not settings.unproven_sign_in),
        ),
        retirements=retirements,
        dropped=seen.dropped,
        left=_left(seen, entries),
        given_up=given_up(seen.intents, people, seen.looked_at),
        registry_doubt=seen.loss.doubt,
        kept_rows=frozenset(seen.loss.kept),
        **_registry_news(seen),
        room={
            row["server"]: None if row["capacity"] is None else max(0, row["capacity"] - row["workspaces"])
            for row in records(seen.twenty.servers)
        },
        unactivated=unactivated(
            seen.twenty.workspaces,
            {link["workspace_id"]: found.tenant.slug for found in seen.detected if (link := found.link)},
        ),
    )


def _pending_statuses(settings: Settings, columns: Mapping[str, Column]) -> Callable[[object], bool]:
    """Whether a ready tenant's status is to be put right: never where we may not write it, or it would stay pending."""
    status, pending = columns.get("status"), settings.registry_pending_statuses
    if status is None or not status.writable or is_pending(settings.registry_ready_status, pending):
        return lambda _: False
    return lambda said: is_pending(said, pending)


def _registry_news(seen: Seen) -> dict[str, tuple[Any, ...]]:
    """What the ledger does not know yet about registry rows, and the registry about admins who were asked for."""
    registered, row_gone, asked = [], [], []
    for found in seen.detected:
        name, link, row = found.tenant.database_name, found.link or {}, found.registry
        if row is not None and (not link.get("registered") or link.get("registry_row_gone")):
            registered.append(name)
        if row is None and link.get("registered") and not link.get("registry_row_gone") and name not in seen.loss.kept:
            row_gone.append(name)
        email = link.get("asked_admin_email")
        if row is not None and email and email != row["twenty_admin_email"]:
            asked.append((name, str(email)))
    return {"registered": tuple(registered), "row_gone": tuple(row_gone), "asked_admins": tuple(asked)}


async def _of_databases(
    connections: Connections,
    seen: Seen,
    entries: Sequence[TenantPlan],
    people: People,
    unread: Collection[str],
) -> dict[str, PeopleOfDatabase]:
    """Whom the databases that were looked into may speak of, and who of their hand-made workspaces Clerk knows."""
    named = [
        (found.tenant.database_name, str(email).lower())
        for found in seen.detected
        for email in ((found.link or {}).get("admin_email"), (found.registry or {}).get("admin_email"))
        if email
    ]
    service = [server.service_email.strip().lower() for server in connections.settings.servers]
    never = [
        *await connections.hand_made.known_at_clerk(list(seen.looks)),
        *((name, email) for name in seen.looks for email in service),
    ]
    found = people_of_databases(seen.looks, entries, people, named, _emails(seen.taken_over), never)
    found = {name: replace(entry, unread=name in unread) for name, entry in found.items()}
    strangers = {
        member.email
        for name, look in seen.looks.items()
        for member in members_to_take_over(look.workspaces, found[name].at_clerk or (), found[name].inside)[
            :MOST_CONSIDERED
        ]
    }
    if not strangers or not connections.settings.take_over_members:
        return found
    try:
        known: frozenset[str] | None = await connections.clerk.known_emails(strangers)
    except Fault as fault:
        if fault.kind is FaultKind.SERVER:
            raise
        known = None
    return {
        name: replace(entry, at_clerk=None if known is None else (entry.at_clerk or frozenset()) | known)
        for name, entry in found.items()
    }


def _stored_admins(
    drafts: Sequence[TenantPlan],
    links: Mapping[str, Mapping[str, Any]],
    unread: Collection[str],
    by_name: Mapping[str, Detected],
    planner: Planner,
) -> pd.DataFrame:
    """The stored admins of whom it can be said now whether they stand for their tenants."""
    rows = []
    for entry in drafts:
        name, organization = entry.tenant.database_name, entry.tenant.clerk_org_id
        link = links[name]
        if not link.get("admin_user_id") or not link.get("workspace_id") or name in unread:
            continue
        if entry.server is None or not workspace_usable(entry) or not by_name[name].eligible:
            continue
        named = None if organization else planner.admin(by_name[name], None, entry.server)
        email = named.email if isinstance(named, Admin) else None
        account = link["admin_user_id"], link["admin_email"]
        rows.append((name, organization, entry.server, link["workspace_id"], *account, email))
    return frame(STORED_ADMINS, rows)


def _left(seen: Seen, entries: Sequence[TenantPlan]) -> tuple[tuple[str, str], ...]:
    """(database name, Twenty user id) of people of hand-made workspaces who are members no more."""
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


def _emails(taken_over: Sequence[Row]) -> list[tuple[str, str]]:
    return [(str(row["database_name"]), str(row["email"])) for row in taken_over]


_MOST_LOOKED_AT = 500
"""People who are missing at Clerk and looked at one by one in a run; the next run looks at the others."""


async def _departures(connections: Connections, missing: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Departure]:
    """The second witness, with the time of Clerk's own event where it says none."""
    found = await departures(connections.clerk, missing)
    told = await connections.marks.happened_at([key for key, gone in found.items() if gone.changed_at is None])
    return found | {key: replace(found[key], changed_at=int(at.timestamp() * 1000)) for key, at in told.items()}


def clerk_read(clerk: ClerkSnapshot) -> ClerkRead:
    """How much of Clerk this is."""
    return ClerkRead(
        whole=clerk.asked is None,
        organizations=len(clerk.organizations),
        memberships=len(clerk.memberships),
        users=len(clerk.users),
        doubt=clerk.fault.message if clerk.fault else clerk.doubt,
    )


def _in_turn(missing: list[tuple[str, str]], now: datetime) -> list[tuple[str, str]]:
    """As many as one run looks at, others each time, so that nobody is hidden behind those who stay missing."""
    start = int(now.timestamp()) % len(missing) if len(missing) > _MOST_LOOKED_AT else 0
    return [*missing[start:], *missing[:start]][:_MOST_LOOKED_AT]


def _matches(settings: Settings, seen: Seen) -> dict[str, Match]:
    claimants = claimants_of(seen.detected, seen.claims)
    ours = {claimant.database_name for claimant in claimants}
    stands = standing_claims(settings, seen.loss.kept)
    return match_organizations(
        claimants,
        seen.clerk.organizations,
        adopt_by_slug=settings.adopt_by_slug,
        elsewhere=[claim for claim in seen.claims if claim.database_name not in ours and stands(claim)],
    )


def _unread(clerk: ClerkSnapshot, matches: Mapping[str, Match]) -> dict[str, tuple[Reason, str]]:
    """Database name → why the members of its organization are not known."""
    known = set(clerk.organizations["organization_id"])
    found: dict[str, tuple[Reason, str]] = {}
    for name, match in matches.items():
        organization = match.organization_id
        if organization is None:
            if clerk.fault and match.reason is None:
                # whether there is one nobody can say
                found[name] = (clerk.fault.reason, clerk.fault.message)
            continue
        fault = clerk.fault or clerk.unread.get(organization)
        if fault:
            found[name] = (fault.reason, fault.message)
        elif clerk.asked is None and organization not in known:
            found[name] = (
                (
                    Reason.ORGANIZATION_MISSING,
                    f"Clerk knows no organization {organization}. Correct clerk_org_id in the registry.",
                )
                if clerk.doubt is None
                else (Reason.CLERK_READ_INCOMPLETE, f"Clerk did not name organization {organization}: {clerk.doubt}")
            )
    return found


def _holders(
    clerk: ClerkSnapshot,
    matches: Mapping[str, Match],
    unread: Mapping[str, tuple[Reason, str]],
    roles: Sequence[str],
    tenants: Collection[str],
) -> tuple[dict[str, tuple[Membership, ...] | AdminUnknown], dict[str, User]]:
    """Organization of one of these tenants → who may be its admin, or why nobody knows."""
    wanted = {name: match.organization_id for name, match in matches.items() if name in tenants}
    if not any(wanted.values()):
        return {}, {}
    organizations = sorted({organization for organization in wanted.values() if organization})
    found, users = admin_holders(organizations, roles, clerk.memberships, clerk.users)
    holders: dict[str, tuple[Membership, ...] | AdminUnknown] = dict(found)
    for name, (reason, message) in unread.items():
        if organization := wanted.get(name):
            holders[organization] = AdminUnknown(reason, message)
    if clerk.doubt is not None:
        doubt = AdminUnknown(Reason.CLERK_READ_INCOMPLETE, f"Who is admin is not known for certain: {clerk.doubt}")
        holders |= {name: doubt for name, held in holders.items() if not held}
    return holders, users


def _named_admins(seen: Seen, tenants: Collection[str]) -> set[str]:
    """The addresses of those whom the registry or a request names as admin of these tenants."""
    named = (
        email
        for found in seen.detected
        if found.tenant.database_name in tenants
        for email in ((found.registry or {}).get("admin_email"), asked_admin(found))
    )
    return {str(email).strip().lower() for email in named if email}


def _member_counts(places: pd.DataFrame, members: pd.DataFrame) -> dict[str, int]:
    counts = members.merge(places, on=["server", "workspace_id"]).groupby("database_name").size()
    return {str(name): int(count) for name, count in counts.items()}


def _lost_accounts(settings: Settings, seen: Seen) -> Iterator[str]:
    for server in settings.servers:
        if server.name in seen.twenty.lost_accounts:
            yield (
                f'The service account {server.service_email} of Twenty server "{server.name}" was deleted with its '
                "last workspace. A run that makes a workspace there signs it up anew."
            )


def _notes(seen: Seen, weighed: Weighed, overs: TakeOvers, missing: int) -> Iterator[str]:
    clerk = seen.clerk
    if seen.tenant_role is not None and (danger := too_much(seen.tenant_role)):
        yield (
            f"Our user {seen.tenant_role.name} opens tenant databases, whose owners may be anybody, and {danger}. "
            "`provisioning preflight` says how to make one with fewer rights."
        )
    if clerk.fault:
        yield f"Members were not compared: {clerk.fault.message}"
    for server, count in sorted(seen.twenty.unreadable.items()):
        yield (
            f'Whether members of {count} workspaces on Twenty server "{server}" are whole is not known: our user may '
            "not read their member records. `provisioning preflight` says what to grant."
        )
    if clerk.doubt and not seen.member_links.empty:
        yield f"Nobody was removed or demoted for being missing at Clerk: {clerk.doubt}"
    if missing > _MOST_LOOKED_AT:
        yield (
            f"{missing} linked people are missing at Clerk; {_MOST_LOOKED_AT} of them were looked at one by one, the "
            "others wait for the next run."
        )
    if weighed.waiting:
        yield (
            f"{weighed.people} removals and demotions are beyond the budget of a run and wait: look at `provisioning "
            f"plan`, then run `provisioning apply --approve {weighed.waiting}`."
        )
    if overs.waiting:
        yield (
            f"{overs.people} people of hand-made workspaces, in {', '.join(overs.named)}, are more than a run takes "
            "over by itself, and wait. `provisioning status TENANT` names them; they come over by `provisioning apply "
            f"--approve {overs.waiting}`."
        )


def _unknown_plan(approved: str, weighed: Weighed, overs: TakeOvers) -> UnknownPlan:
    waiting = [f"{each.waiting} ({each.people} people)" for each in (weighed, overs) if each.waiting]
    now = (
        f"What waits now is {' and '.join(waiting)}: look at it with `provisioning plan`."
        if waiting
        else "Nothing waits for approval now."
    )
    return UnknownPlan(f"No plan called {approved} waits, so nothing was done. {now}")
