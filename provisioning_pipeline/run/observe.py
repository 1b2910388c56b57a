"""Reads everything that deciding needs, and asks what deciding wants to know in between. Writes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pandas as pd

from provisioning_pipeline.clients.concurrency import all_of, both
from provisioning_pipeline.clients.tenant_database import evidence, held_up
from provisioning_pipeline.clients.tenant_role import role_rights
from provisioning_pipeline.decide.detection import Detected, DetectionPolicy, claimants_of, detect
from provisioning_pipeline.decide.lifecycle import LifecyclePolicy, with_lives
from provisioning_pipeline.decide.moves import Moves, moves_of
from provisioning_pipeline.decide.registry_loss import RegistryLoss, loss_budget, weigh_loss
from provisioning_pipeline.ledger.moves import names_by_signs
from provisioning_pipeline.ledger.offboardings import Offboardings
from provisioning_pipeline.ledger.organizations import claims
from provisioning_pipeline.ledger.registry_reading import known_rows
from provisioning_pipeline.model.access_lock import AccessLock
from provisioning_pipeline.model.fault import BadInput
from provisioning_pipeline.model.frames import ClerkSnapshot, TwentySnapshot
from provisioning_pipeline.model.history import KnownRows
from provisioning_pipeline.model.names import namesakes_of
from provisioning_pipeline.model.offboarding import Offboarding, Order
from provisioning_pipeline.model.tenant_database import Inspection, LastInspection
from provisioning_pipeline.observe.snapshots import (
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
from provisioning_pipeline.run.seen import (
    RegistryTable,
    Seen,
)
from provisioning_pipeline.steps.databases.plan.tenant_databases import DatabasePolicy, due
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
    budget = loss_budget(connections.settings.sessions, approved)
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
    moves = moves_of(registry, links)
    links = moves.of_links(links)
    locks, offboardings = await _endings(connections, moves)
    known = _known(links)
    lost = known - set(registry["database_name"]) - moves.doubts.keys()
    # by what was read for this plan: a table that is being loaded says something else a moment later
    found = KnownRows(len(known), tuple(lost), not registry.empty if await connections.registry.columns() else None)
    gone = lost - set(databases["database_name"])
    loss = weigh_loss(connections.registry.table, found, loss_budget(settings.sessions, approved), dropped=gone)
    detected = detect(databases, registry, links, DetectionPolicy.of(settings), loss, moves)
    detected = with_lives(detected, offboardings, loss, LifecyclePolicy.of(settings), looked_at)
    inspections = await _inspect(connections, detected, looked_at, written, last)
    dropped = frozenset(last.keys() - written.keys())
    return Seen(
        detected,
        registry,
        twenty,
        clerk,
        moves.of(member_links),
        user_links,
        moves.of(intents),
        _followed(taken_over, moves),
        inspections,
        looked_at,
        dropped,
        loss,
        moves.of_claims(claimed),
        tenant_role,
        once_at_clerk=await _once_at_clerk(connections, inspections, moves),
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
    # a database that was renamed is known by another name
    here = await _databases(connections, names)
    wanted += await names_by_signs(connections.ledger.database, ids=(), oids=[int(oid) for oid in here["oid"]])
    registry, links = await _rows_and_links(connections, wanted)
    moves = moves_of(registry, links)
    databases = [*names, *registry["database_name"], *links["database_name"]]
    links = moves.of_links(links)
    (member_links, intents), once_at_clerk = await both(
        both(members.member_links(databases), members.intents(databases)),
        _once_at_clerk(connections, databases, moves),
    )
    member_links, intents = moves.of(member_links), moves.of(intents)
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
    back = _known(links) - set(registry["database_name"]) - loss.lost - moves.doubts.keys()
    loss = replace(loss, kept=loss.kept | back)
    detected = detect(found, registry, links, DetectionPolicy.of(settings), loss, moves)
    detected = _chosen(detected, names, moves, by_hand=by_hand)
    if order is not None:
        detected = [_only(detected, names)]
    locks, offboardings = await _endings(connections, moves)
    policy = replace(LifecyclePolicy.of(settings), settled_by_hand=order in (Order.ARCHIVE, Order.DELETE))
    detected = with_lives(detected, offboardings, loss, policy, looked_at)
    chosen = [entry.tenant.database_name for entry in detected]
    clerk, (taken_over, inspections) = await both(
        _organizations(connections, detected),
        both(
            members.taken_over([*chosen, *(moves.before.get(name, name) for name in chosen)], also_left=True),
            _inspect(connections, detected, looked_at, only=chosen),
        ),
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
        _followed(taken_over, moves),
        inspections,
        looked_at,
        loss=loss,
        claims=moves.of_claims(claimed),
        once_at_clerk=once_at_clerk,
        locks=locks,
        offboardings=offboardings,
    )


async def _endings(connections: Connections, moves: Moves) -> tuple[dict[str, AccessLock], dict[str, Offboarding]]:
    """Database name → lock, and offboarding: few tenants have one, so that all of them are read."""
    locks, offboardings = await both(connections.access_locks.all(), Offboardings(connections.ledger.database).all())
    return (
        {moves.now(name): lock for name, lock in locks.items()},
        {moves.now(name): offboarding for name, offboarding in offboardings.items()},
    )


async def _with_member_records(connections: Connections, twenty: TwentySnapshot, links: pd.DataFrame) -> TwentySnapshot:
    """The snapshot with what the member records of our workspaces say; their names only where a policy needs them."""
    twenty = await with_half_members(twenty, connections.twenty_databases, links)
    if connections.settings.name_changes != "restore":
        return twenty
    return await with_member_names(twenty, connections.twenty_databases, links)


async def _rows_and_links(connections: Connections, wanted: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Registry rows and links by slug or database name; with those that may be of the same tenants by other signs."""
    names = list(dict.fromkeys(wanted))
    while True:
        registry, links = await all_of([connections.registry.rows(names), connections.ledger.links(names)])
        ids = sorted(set(registry["registry_id"].dropna()) ^ set(links["registry_id"].dropna()))
        new = registry[~registry["database_name"].isin(set(links["database_name"]))]
        theirs, ours = await both(
            connections.registry.names_by_id(ids),
            names_by_signs(
                connections.ledger.database,
                ids=ids,
                slugs=sorted(set(new["slug"].dropna())),
                organizations=sorted(set(new["clerk_org_id"].dropna())),
                workspaces=_uuids(new["workspace_id"].dropna()),
            ),
        )
        known = {*registry["database_name"], *links["database_name"], *names}
        more = sorted({*theirs, *ours} - known)
        if not more:
            return registry, links
        names += more


def _followed(rows: Sequence[Mapping[str, Any]], moves: Moves) -> list[dict[str, Any]]:
    return [{**row, "database_name": moves.now(row["database_name"])} for row in rows]


async def _once_at_clerk(connections: Connections, names: Iterable[str], moves: Moves) -> list[tuple[str, str]]:
    asked = [*names]
    found = await connections.inserted.known_at_clerk([*asked, *(moves.before.get(name, name) for name in asked)])
    return [(moves.now(name), email) for name, email in found]


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


def _chosen(detected: Sequence[Detected], names: Sequence[str], moves: Moves, *, by_hand: bool) -> list[Detected]:
    """Those that were asked for; of a tenant that has moved, both names, as both change."""
    asked = {*names, *(moves.now(name) for name in names), *(moves.before.get(name, name) for name in names)}
    chosen = [found for found in detected if {found.tenant.slug, found.tenant.database_name} & asked]
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
