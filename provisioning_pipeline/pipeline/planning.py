"""Observe and decide: from the outside world to a plan. Reads only, in a dry run and in a real one alike."""

import gc
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import pandas as pd
from psycopg import Error

from provisioning_pipeline.clients.concurrency import all_of, both
from provisioning_pipeline.decide.admin import admin_holders
from provisioning_pipeline.decide.detection import Detected, DetectionPolicy, detect, slug_of
from provisioning_pipeline.decide.harm import Budget, Weighed, harmed, weigh
from provisioning_pipeline.decide.members import MemberPolicy, People, decide_members, missing_at_clerk
from provisioning_pipeline.decide.organizations import Claimant, Match, match_organizations
from provisioning_pipeline.decide.plan import Observed, Planner, databases_to_probe
from provisioning_pipeline.decide.plan_members import KnownMembers, with_members, workplaces
from provisioning_pipeline.ledger.registry import Column
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, RunFault
from provisioning_pipeline.model.people import ADMIN_ROLE, Departure, Membership, User
from provisioning_pipeline.model.tenant import AdminUnknown, ClerkRead, Plan
from provisioning_pipeline.observe import cluster
from provisioning_pipeline.observe.clerk import ClerkSnapshot, departures, some_organizations, whole_instance
from provisioning_pipeline.observe.twenty import TwentySnapshot, twenty_servers, with_users
from provisioning_pipeline.pipeline.connections import Connections
from provisioning_pipeline.settings import Settings


class UnknownTenants(RunFault):
    """A tenant was asked for by a name that nobody has."""


@dataclass(frozen=True)
class _Seen:
    """Everything that was read, before anything is decided."""

    detected: list[Detected]
    registry: pd.DataFrame
    twenty: TwentySnapshot
    clerk: ClerkSnapshot
    member_links: pd.DataFrame
    user_links: pd.DataFrame
    looked_at: datetime


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
            seen = await (_all(connections) if names is None else _some(connections, names, by_hand=by_hand))
            columns = await connections.registry.columns()
            probes = await cluster.probes(
                connections.settings.tenant_cluster_url.get_secret_value(), databases_to_probe(seen.detected)
            )
            return replace(await _decide(connections, seen, columns, probes, approved), asked=tuple(tenants))
    except Fault as fault:
        raise RunFault(fault.message) from None
    except Error as error:
        raise RunFault(f"PostgreSQL refused to be read: {str(error).splitlines()[0]}.") from None


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


# --- observing ------------------------------------------------------------------------------------------------------


async def _all(connections: Connections) -> _Seen:
    """Everything at once: pages and whole tables, however many tenants there are."""
    settings, members = connections.settings, connections.members
    looked_at = await connections.marks.now()
    ours = all_of(
        [
            connections.registry.rows(),
            connections.ledger.links(),
            members.member_links(),
            members.user_links(),
            _databases(connections, None),
        ]
    )
    theirs = twenty_servers(settings.servers, connections.twenty_databases, settings.tenant_database_pattern)
    (registry, links, member_links, user_links, databases), (twenty, clerk) = await both(
        ours, both(theirs, whole_instance(connections.clerk))
    )
    detected = detect(databases, registry, links, _detection_policy(settings))
    return _Seen(detected, registry, twenty, clerk, member_links, user_links, looked_at)


async def _some(connections: Connections, names: list[str], *, by_hand: bool) -> _Seen:
    """Only what concerns these tenants."""
    settings, members = connections.settings, connections.members
    looked_at = await connections.marks.now()
    # a database without a row gets a slug of its own: rows with that slug are read too, so it stays unique
    wanted = [*names, *(slug_of(name, ()) for name in names)]
    registry, links = await all_of([connections.registry.rows(wanted), connections.ledger.links(wanted)])
    databases = [*names, *registry["database_name"], *links["database_name"]]
    found, (twenty, member_links) = await both(
        _databases(connections, databases),
        both(
            twenty_servers(
                settings.servers,
                connections.twenty_databases,
                settings.tenant_database_pattern,
                _uuids([*links["workspace_id"], *registry["workspace_id"]]),
            ),
            members.member_links(databases),
        ),
    )
    detected = _chosen(detect(found, registry, links, _detection_policy(settings)), names, by_hand=by_hand)
    clerk = await _organizations(connections, detected)
    emails = sorted(set(clerk.users["email"].dropna()))
    accounts = sorted(set(member_links["twenty_user_id"]))
    user_links = await members.user_links(sorted(set(clerk.users["user_id"])), accounts)
    ids = sorted({*accounts, *user_links["twenty_user_id"]})
    twenty = await with_users(twenty, connections.twenty_databases, emails, ids)
    # whose account it is by e-mail may be linked to somebody who is not among these people
    rivals = await members.user_links([], sorted(set(twenty.users["user_id"])))
    return _Seen(
        detected,
        registry,
        twenty,
        clerk,
        member_links,
        pd.concat([user_links, rivals], ignore_index=True).drop_duplicates(),
        looked_at,
    )


async def _organizations(connections: Connections, detected: Sequence[Detected]) -> ClerkSnapshot:
    """The organizations that these tenants name, and for those that name none, one with their slug."""
    claimants = _claimants(detected)
    known = [named for found in claimants if (named := found.registered or found.linked)]
    slugs = [found.slug for found in claimants if not (found.registered or found.linked)]
    return await some_organizations(connections.clerk, known, slugs)


async def _databases(connections: Connections, names: Sequence[str] | None) -> pd.DataFrame:
    settings = connections.settings
    return await cluster.databases(
        connections.cluster, settings.tenant_database_pattern, settings.tenant_database_excluded, names
    )


# --- deciding -------------------------------------------------------------------------------------------------------


async def _decide(
    connections: Connections,
    seen: _Seen,
    columns: Mapping[str, Column],
    probes: pd.DataFrame,
    approved: str | None,
) -> Plan:
    settings, clerk = connections.settings, seen.clerk
    matches = _matches(settings, seen)
    roles = [role for role, label in settings.member_roles.items() if label == ADMIN_ROLE]
    unread = _unread(clerk, matches)
    lacking = {found.tenant.database_name for found in seen.detected if not (found.link or {}).get("admin_user_id")}
    holders, users = _holders(clerk, matches, unread, roles, lacking)
    planner = Planner(
        seen.detected,
        Observed(
            servers=seen.twenty.servers,
            workspaces=seen.twenty.workspaces,
            flags=seen.twenty.flags,
            probes=probes,
            service_users=seen.twenty.service_users,
            organizations=matches,
            holders=holders,
            users=users,
            member_links=seen.member_links,
            registry_stores=connections.registry.stores_workspaces(dict(columns)),
            admin_roles=", ".join(roles),
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
    )
    missing = missing_at_clerk(people)
    looked_at = _in_turn(missing, seen.looked_at)
    people = replace(people, departures=await _departures(connections, looked_at))
    policy = MemberPolicy(
        roles=settings.member_roles,
        default_role=settings.member_default_role,
        gone=settings.members_gone,
        store_external_id=settings.clerk_store_external_id and len(settings.servers) == 1,
    )
    decisions = decide_members(people, policy)
    replaced = {name for name, decision in decisions.items() if decision.replace_admin}
    others, known_users = _holders(clerk, matches, unread, roles, replaced)
    holders |= others
    users |= known_users
    weighed = weigh(
        decisions,
        _member_counts(places[places["database_name"].isin(harmed(decisions))], seen.twenty.members),
        Budget(settings.harm_share, settings.harm_most, approved),
    )
    if approved and not weighed.approved:
        raise _unknown_plan(approved, weighed)
    by_name = {found.tenant.database_name: found for found in seen.detected}
    links = {name: found.link or {} for name, found in by_name.items()}
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
        another_admin=lambda entry: planner.admin(by_name[entry.tenant.database_name], entry.tenant.clerk_org_id),
    )
    return Plan(
        tuple(with_members(entry, known, links[entry.tenant.database_name].get("admin_user_id")) for entry in drafts),
        looked_at=seen.looked_at,
        unread=frozenset(unread),
        waiting=weighed.waiting,
        clerk=clerk_read(clerk),
        notes=tuple(_notes(seen, weighed, len(missing))),
    )


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


def _claimants(detected: Sequence[Detected]) -> list[Claimant]:
    return [
        Claimant(
            found.tenant.database_name,
            found.tenant.slug,
            found.tenant.clerk_org_id,
            (found.link or {}).get("clerk_org_id"),
            (found.link or {}).get("workspace_id"),
        )
        for found in detected
        if found.eligible
    ]


def _matches(settings: Settings, seen: _Seen) -> dict[str, Match]:
    claimants = _claimants(seen.detected)
    ours = {claimant.database_name for claimant in claimants}
    others = seen.registry[
        ~seen.registry["database_name"].isin(ours) & ~seen.registry["status"].isin(settings.registry_excluded_statuses)
    ]
    return match_organizations(
        claimants,
        seen.clerk.organizations,
        adopt_by_slug=settings.adopt_by_slug,
        claimed_elsewhere=list(others["clerk_org_id"].dropna()),
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


def _member_counts(places: pd.DataFrame, members: pd.DataFrame) -> dict[str, int]:
    counts = members.merge(places, on=["server", "workspace_id"]).groupby("database_name").size()
    return {str(name): int(count) for name, count in counts.items()}


def _notes(seen: _Seen, weighed: Weighed, missing: int) -> Iterator[str]:
    clerk = seen.clerk
    if clerk.fault:
        yield f"Members were not compared: {clerk.fault.message}"
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


def _unknown_plan(approved: str, weighed: Weighed) -> UnknownPlan:
    now = (
        f"What waits now is {weighed.waiting} ({weighed.people} people): look at it with `provisioning plan`."
        if weighed.waiting
        else "Nothing waits for approval now."
    )
    return UnknownPlan(f"No plan called {approved} waits, so nothing was done. {now}")


def _detection_policy(settings: Settings) -> DetectionPolicy:
    return DetectionPolicy(settings.adopt_databases, frozenset(settings.registry_excluded_statuses))


def _uuids(values: Iterable[object]) -> list[str]:
    """Those that are UUIDs: the registry's column is the tenant manager's, and may hold anything."""
    found = []
    for value in values:
        with suppress(ValueError):
            found.append(str(UUID(str(value))))
    return found


def _chosen(detected: Sequence[Detected], names: Sequence[str] | None, *, by_hand: bool) -> list[Detected]:
    if names is None:
        return list(detected)
    chosen = [found for found in detected if {found.tenant.slug, found.tenant.database_name} & set(names)]
    known = {name for found in chosen for name in (found.tenant.slug, found.tenant.database_name)}
    unknown = [name for name in names if name not in known]
    if unknown and by_hand:
        raise UnknownTenants(
            f"No tenant is called {', '.join(map(repr, unknown))}. Give a slug or a database name as `provisioning "
            "status` lists them."
        )
    return chosen
