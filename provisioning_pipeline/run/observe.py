"""Reads everything that deciding needs, and asks what deciding wants to know in between. Writes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from uuid import UUID

import pandas as pd

from provisioning_pipeline.clients.concurrency import all_of, both
from provisioning_pipeline.clients.tenant_database import evidence, held_up
from provisioning_pipeline.clients.tenant_role import role_rights
from provisioning_pipeline.decide.detection import (
    Detected,
    DetectionPolicy,
    RegistryLoss,
    claimants_of,
    detect,
    loss_budget,
    weigh_loss,
)
from provisioning_pipeline.decide.lifecycle import LifecyclePolicy, with_lives
from provisioning_pipeline.decide.ownership import AccountKey
from provisioning_pipeline.ledger.offboardings import Offboardings
from provisioning_pipeline.ledger.organizations import claims, known_rows
from provisioning_pipeline.ledger.schema import has_ledger
from provisioning_pipeline.model.access_lock import AccessLock
from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.model.fault import BadInput, Fault, FaultKind
from provisioning_pipeline.model.frames import ClerkSnapshot, TwentySnapshot
from provisioning_pipeline.model.history import KnownRows
from provisioning_pipeline.model.names import namesakes_of
from provisioning_pipeline.model.offboarding import Offboarding, Order
from provisioning_pipeline.model.people import Departure, Evidence
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.model.tenant_database import Inspection, LastInspection
from provisioning_pipeline.observe.snapshots import (
    departures,
    inspect_databases,
    some_organizations,
    tenant_databases,
    twenty_servers,
    whole_instance,
    with_half_members,
    with_member_names,
    with_users,
)
from provisioning_pipeline.run.connections import Connections, cluster_url_for
from provisioning_pipeline.run.decide import Deciding
from provisioning_pipeline.run.seen import (
    Answers,
    Demotion,
    Questions,
    RegistryTable,
    Seen,
)
from provisioning_pipeline.steps.databases.plan.tenant_databases import DatabasePolicy, due
from provisioning_pipeline.steps.members.changes import ADD_MEMBER, INVITE_MEMBER, WITHDRAW_INVITATION
from provisioning_pipeline.steps.workspaces.plan.planner import databases_without_workspace


class UnknownTenants(BadInput):
    """A tenant was asked for by a name that no tenant has."""


async def registry_loss(connections: Connections, approved: str | None = None) -> RegistryLoss:
    """What the registry has lost since a run last looked, and whether that is believed.

    Raises:
        Fault: when registry, ledger or cluster cannot be read.
    """
    found = await known_rows(connections.registry)
    if not found.lost:
        return RegistryLoss()
    # a database that is gone as well says the same, of its own
    there = set((await _databases(connections, found.lost))["database_name"])
    budget = loss_budget(connections.settings, approved)
    return weigh_loss(connections.registry.table, found, budget, dropped=set(found.lost) - there)


async def observe(
    connections: Connections,
    names: Sequence[str] | None,
    *,
    by_hand: bool = True,
    approved: str | None = None,
    order: Order | None = None,
) -> Seen:
    """Everything that a plan for these tenants (slugs or database names), or for all, is made from.

    Names that were not given `by_hand` may belong to databases that vanished since a sensor saw them. `approved` is
    the name of a loss of registry rows that an operator approved, and `order` what they ask of the one tenant of this
    name: to archive or delete it settles that it has left if it has no row.

    Raises:
        Fault: when registry, ledger or cluster cannot be read, or Clerk refuses the key.
        UnknownTenants: when a name fits no tenant, or the name in an order several.
    """
    seen = await (
        _everything(connections, approved)
        if names is None
        else _some(connections, list(names), by_hand=by_hand, approved=approved, order=order)
    )
    table = await connections.registry.described()
    if not table.columns and seen.loss.doubt is None:
        # a run would make the table; a plan says beforehand where it would refuse to
        await connections.registry.must_be_makeable()
    status = table.columns.get("status")
    return replace(
        seen,
        table=RegistryTable(
            table.owner,
            stores_workspaces=connections.registry.stores_workspaces(table.columns),
            status_writable=status is not None and status.writable,
        ),
        made_by_others=frozenset(await connections.accounts.made_by_others()),
    )


async def _everything(connections: Connections, approved: str | None) -> Seen:
    """At once: pages and whole tables, however many tenants there are."""
    settings, members = connections.settings, connections.members
    looked_at = await connections.reviews.now()
    # before all else: they say whose member records are to be read, which takes as long as Clerk's pages
    links = await connections.ledger.links()

    async def twenty_with_member_records() -> TwentySnapshot:
        theirs = await twenty_servers(settings.servers, connections.twenty_databases, settings.tenant_database_pattern)
        return await _with_member_records(connections, theirs, links)

    locks, offboardings = await _endings(connections)
    frames = all_of(
        [
            connections.registry.rows(),
            members.member_links(),
            members.user_links(),
            members.intents(),
            _databases(connections, None),
        ]
    )
    claimed_and_taken_over = both(claims(connections.registry), members.taken_over(also_left=True))
    of_cluster = both(evidence(connections.cluster), role_rights(connections.cluster))
    written_and_last = both(of_cluster, connections.inspections.last())
    (ours, ((claimed, taken_over), ((written, tenant_role), last))), (twenty, clerk) = await both(
        both(frames, both(claimed_and_taken_over, written_and_last)),
        both(twenty_with_member_records(), whole_instance(connections.clerk)),
    )
    registry, member_links, user_links, intents, databases = ours
    known = _known(links)
    lost = known - set(registry["database_name"])
    # by what was read for this plan: a table that is being loaded says something else a moment later
    found = KnownRows(len(known), tuple(lost), not registry.empty if await connections.registry.columns() else None)
    gone = lost - set(databases["database_name"])
    loss = weigh_loss(connections.registry.table, found, loss_budget(settings, approved), dropped=gone)
    detected = detect(databases, registry, links, DetectionPolicy.of(settings), loss)
    detected = with_lives(detected, offboardings, loss, LifecyclePolicy.of(settings), looked_at)
    inspections = await _inspect(connections, detected, looked_at, written, last)
    dropped = frozenset(last.keys() - written.keys())
    return Seen(
        detected,
        registry,
        twenty,
        clerk,
        member_links,
        user_links,
        intents,
        taken_over,
        inspections,
        looked_at,
        dropped,
        loss,
        claimed,
        tenant_role,
        once_at_clerk=await connections.inserted.known_at_clerk(list(inspections)),
        locks=locks,
        offboardings=offboardings,
    )


async def _some(
    connections: Connections, names: list[str], *, by_hand: bool, approved: str | None, order: Order | None
) -> Seen:
    """Only what concerns these tenants."""
    settings, members = connections.settings, connections.members
    looked_at = await connections.reviews.now()
    # a database without a row gets a slug of its own: rows with that slug are read too, so it stays unique
    wanted = [*names, *(slug for name in names for slug in namesakes_of(name))]
    registry, links = await all_of([connections.registry.rows(wanted), connections.ledger.links(wanted)])
    databases = [*names, *registry["database_name"], *links["database_name"]]
    (member_links, intents), once_at_clerk = await both(
        both(members.member_links(databases), members.intents(databases)),
        connections.inserted.known_at_clerk(databases),
    )
    loss = await registry_loss(connections, approved)
    found, twenty = await both(
        _databases(connections, databases),
        twenty_servers(
            settings.servers,
            connections.twenty_databases,
            settings.tenant_database_pattern,
            _uuids([*links["workspace_id"], *registry["workspace_id"]]),
        ),
    )
    # rows that are back since these were read
    back = _known(links) - set(registry["database_name"]) - loss.lost
    loss = replace(loss, kept=loss.kept | back)
    detected = _chosen(detect(found, registry, links, DetectionPolicy.of(settings), loss), names, by_hand=by_hand)
    if order is not None:
        detected = [_only(detected, names)]
    locks, offboardings = await _endings(connections)
    policy = replace(LifecyclePolicy.of(settings), settled_by_hand=order in (Order.ARCHIVE, Order.DELETE))
    detected = with_lives(detected, offboardings, loss, policy, looked_at)
    chosen = [entry.tenant.database_name for entry in detected]
    clerk, (taken_over, inspections) = await both(
        _organizations(connections, detected),
        both(members.taken_over(chosen, also_left=True), _inspect(connections, detected, looked_at, only=chosen)),
    )
    old = [member.email for found in inspections.values() for place in found.workspaces for member in place.members]
    emails = sorted({*clerk.users["email"].dropna(), *intents["email"], *old})
    ours = [member_links["twenty_user_id"], intents["twenty_user_id"].dropna(), links["admin_user_id"].dropna()]
    accounts = sorted(set(pd.concat(ours)))
    user_links = await members.user_links(sorted({*clerk.users["user_id"], *intents["clerk_user_id"]}), accounts)
    ids = sorted({*accounts, *user_links["twenty_user_id"]})
    twenty = await with_users(twenty, connections.twenty_databases, emails, ids)
    twenty = await _with_member_records(connections, twenty, links)
    # an organization that one of these tenants may get can be another tenant's, which was not asked for
    named = {claim for found in claimants_of(detected) if (claim := found.registered or found.linked)}
    claimed = await claims(connections.registry, sorted({*named, *clerk.organizations["organization_id"]}))
    # whose account it is by e-mail may be linked to a person who is not among these
    rivals = await members.user_links([], sorted(set(twenty.users["user_id"])))
    return Seen(
        detected,
        registry,
        twenty,
        clerk,
        member_links,
        pd.concat([user_links, rivals], ignore_index=True).drop_duplicates(),
        intents,
        taken_over,
        inspections,
        looked_at,
        loss=loss,
        claims=claimed,
        once_at_clerk=once_at_clerk,
        locks=locks,
        offboardings=offboardings,
    )


async def _endings(connections: Connections) -> tuple[dict[str, AccessLock], dict[str, Offboarding]]:
    """Database name → lock, and offboarding: few tenants have one, so that all of them are read."""
    return await both(connections.access_locks.all(), Offboardings(connections.ledger.database).all())


async def _with_member_records(connections: Connections, twenty: TwentySnapshot, links: pd.DataFrame) -> TwentySnapshot:
    """The snapshot with what the member records of our workspaces say; their names only where a policy needs them."""
    twenty = await with_half_members(twenty, connections.twenty_databases, links)
    if connections.settings.name_changes != "restore":
        return twenty
    return await with_member_names(twenty, connections.twenty_databases, links)


def _known(links: pd.DataFrame) -> set[str]:
    """The tenants that had a registry row when a run last looked."""
    return set(links[(links["registered"] == True) & links["registry_row_gone_at"].isna()]["database_name"])  # noqa: E712  # None too


async def _inspect(
    connections: Connections,
    detected: Sequence[Detected],
    now: datetime,
    written: Mapping[str, str] | None = None,
    last: Mapping[str, LastInspection] = MappingProxyType({}),
    *,
    only: Sequence[str] | None = None,
) -> dict[str, Inspection]:
    """Inspect those databases that were written to since their last inspection, and those that wait for a workspace.

    Args:
        written: evidence of every database; None: it is read here, of `only` these.
        last: the last inspections; without any, every eligible tenant's database is inspected.
    """
    settings = connections.settings
    written = await evidence(connections.cluster, only) if written is None else written
    wanted = {entry.tenant.database_name for entry in detected if entry.eligible}
    if last:
        policy = DatabasePolicy.of(settings, (await connections.registry.described()).owner)
        seconds = settings.full_look_seconds
        wanted = {
            *due(sorted(wanted), written, last, policy.text, now, seconds),
            *databases_without_workspace(detected),
        }
    names = sorted(wanted & written.keys())
    inspections = await inspect_databases(
        partial(cluster_url_for, settings),
        written,
        names,
        now,
        settings.tenant_database_connections,
        settings.tenant_database_rows,
        await held_up(connections.cluster) if names else {},
    )
    return {found.database_name: found for found in inspections}


async def _organizations(connections: Connections, detected: Sequence[Detected]) -> ClerkSnapshot:
    """The organizations that these tenants name, and for those that name none, one with their slug."""
    claimants = claimants_of(detected)
    known = [named for found in claimants if (named := found.registered or found.linked)]
    slugs = [found.slug for found in claimants if not (found.registered or found.linked)]
    return await some_organizations(connections.clerk, known, slugs)


async def _databases(connections: Connections, names: Sequence[str] | None) -> pd.DataFrame:
    settings = connections.settings
    return await tenant_databases(
        connections.cluster, settings.tenant_database_pattern, settings.tenant_database_excluded, names
    )


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


def _only(detected: Sequence[Detected], names: Sequence[str]) -> Detected:
    """The one tenant that an order is for: another tenant's slug may be its database name."""
    found = [each for each in detected if [each.tenant.database_name] == list(names)] or detected
    if len(found) != 1:
        several = f"Several tenants are called {', '.join(map(repr, names))}: give the database name. `provisioning "
        raise UnknownTenants(f"{several}status` lists them.")
    return found[0]


async def answering(connections: Connections, deciding: Deciding) -> Plan:
    """The plan, once everything that deciding asks on the way is answered.

    Raises:
        Fault: when the ledger cannot be read, or Clerk refuses the key.
    """
    questions = next(deciding)
    while True:
        answers = await ask(connections, questions)
        try:
            questions = deciding.send(answers)
        except StopIteration as decided:
            plan: Plan = decided.value
            return plan


async def ask(connections: Connections, questions: Questions) -> Answers:
    """The answers to one round of questions; nothing is sent anywhere for what is empty.

    Raises:
        Fault: when the ledger cannot be read, or Clerk refuses the key.
    """
    joins, added, watched_since = await _joins(connections, questions.demotions)
    return Answers(
        accounts=await _accounts(connections, questions.accounts),
        departures=await _departures(connections, questions.departures),
        invitations=frozenset(
            await connections.members.invited(INVITE_MEMBER, WITHDRAW_INVITATION, questions.invitations)
        ),
        emails=await _known_at_clerk(connections, questions.emails),
        joins=joins,
        added=frozenset(added),
        watched_since=watched_since,
        held=await _held(connections, questions.held),
    )


async def _accounts(connections: Connections, wanted: frozenset[AccountKey]) -> dict[AccountKey, Evidence]:
    """Of one whose server cannot be asked now nothing is known: no one is raised before their step asks again."""
    by_server: dict[str, list[str]] = {}
    for server, account in sorted(wanted):
        by_server.setdefault(server, []).append(account)
    databases, accounts = connections.twenty_databases, connections.accounts
    found: dict[AccountKey, Evidence] = {}
    for server, ids in by_server.items():
        if server not in databases:
            continue
        try:
            facts = await databases[server].account_facts(ids)
        except Fault:
            continue
        origins = await accounts.origins(server, ids)
        vouched = {known.twenty_user_id: known.email for known in await accounts.vouched(server, ids)}
        moves = await accounts.moves(server, ids)
        for row in facts:
            user = row["user_id"]
            found[server, user] = Evidence(
                row["email"],
                row["verified"],
                row["created_at"],
                origins.get(user),
                vouched.get(user),
                moves.get((user, row["email"])),
                row["workspaces"],
            )
    return found


async def _departures(connections: Connections, missing: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Departure]:
    """The second witness, with the time of Clerk's own event where it says none."""
    found = await departures(connections.clerk, missing)
    times = await connections.reviews.happened_at([key for key, gone in found.items() if gone.changed_at is None])
    return found | {key: replace(found[key], changed_at=int(at.timestamp() * 1000)) for key, at in times.items()}


async def _known_at_clerk(connections: Connections, emails: frozenset[str]) -> frozenset[str] | None:
    if not emails:
        return frozenset()
    try:
        return await connections.clerk.known_emails(emails)
    except Fault as fault:
        if fault.kind is FaultKind.SERVER:
            raise
        return None


async def _held(connections: Connections, names: Sequence[str]) -> dict[str, frozenset[ConditionType]]:
    if not names or not await has_ledger(connections.history.database):
        return {}
    return {name: before.held for name, before in (await connections.history.before(names)).items()}


_Times = dict[tuple[str, str, str], tuple[datetime, datetime, datetime]]


async def _joins(
    connections: Connections, demotions: Sequence[Demotion]
) -> tuple[_Times, set[tuple[str, str]], dict[str, datetime]]:
    """Of a server that cannot be asked now no one is known, and every demotion there counts against the budget."""
    if not demotions:
        return {}, set(), {}
    added = await connections.members.added(
        ADD_MEMBER, [(each.database_name, each.email, each.role) for each in demotions]
    )
    watched_since = await connections.ledger.known_since(sorted({each.database_name for each in demotions}))
    joins: _Times = {}
    for server in sorted({each.server for each in demotions}):
        theirs = [(each.workspace_id, each.account) for each in demotions if each.server == server]
        try:
            given = await connections.twenty_databases[server].roles_given(theirs)
        except Fault:
            continue
        joins |= {(server, *place): times for place, times in given.items()}
    return joins, added, watched_since
