"""One snapshot function per source: Clerk, the tenant databases, the Twenty servers. Each answers with a typed frame.

Of the whole fleet, or of what is named. Never writes.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final, LiteralString, TypeVar

import pandas as pd

from provisioning_pipeline.clients.clerk.client import ClerkClient
from provisioning_pipeline.clients.clerk.walk import Walk
from provisioning_pipeline.clients.concurrency import all_of, both
from provisioning_pipeline.clients.postgres import Database, Row, database_name
from provisioning_pipeline.clients.tenant_database import MOST_ROWS, kept_out, look
from provisioning_pipeline.clients.twenty.database import TwentyDatabase
from provisioning_pipeline.clients.twenty.members import HalfMembers
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.frames import (
    CLERK_USERS,
    DATABASES,
    FLAGS,
    HALF_MEMBERS,
    INVITATIONS,
    MEMBER_NAMES,
    MEMBERSHIPS,
    ORGANIZATIONS,
    SERVERS,
    SERVICE_ACCESS,
    TWENTY_MEMBERS,
    TWENTY_USERS,
    WORKSPACES,
    ClerkSnapshot,
    TwentySnapshot,
    frame,
    frame_with_shared_values,
)
from provisioning_pipeline.model.people import Departure
from provisioning_pipeline.model.tenant_database import Inspection
from provisioning_pipeline.settings import TwentyServer

# --- Clerk ------------------------------------------------------------------------------------------------------------


_AT_ONCE = 8
S = TypeVar("S")
T = TypeVar("T")


async def whole_instance(clerk: ClerkClient) -> ClerkSnapshot:
    """Every organization, membership and user.

    Raises:
        Fault: of kind SERVER, when Clerk refuses the key or is not Clerk at all.
    """
    try:
        organizations, memberships, users = await all_of([clerk.organizations(), clerk.memberships(), clerk.users()])
    except Fault as fault:
        return _nothing(fault, asked=None)
    doubts = [organizations.doubt, memberships.doubt, users.doubt]
    for name, walk in (("organization", organizations), ("membership", memberships)):
        if not walk.rows:
            doubts.append(f"Clerk answers without a single {name}, which removes no one.")
    return ClerkSnapshot(
        frame(ORGANIZATIONS, organizations.rows),
        frame_with_shared_values(MEMBERSHIPS, memberships.rows),
        frame(CLERK_USERS, users.rows),
        asked=None,
        doubt=_together(doubts),
    )


async def some_organizations(
    clerk: ClerkClient, organization_ids: Iterable[str], slugs: Iterable[str] = ()
) -> ClerkSnapshot:
    """These organizations and those with these slugs, their members, and the users among them.

    A failure of one never affects another.

    Raises:
        Fault: of kind SERVER, when Clerk refuses the key or is not Clerk at all.
    """
    asked = sorted(set(organization_ids))
    try:
        proposed = await _few_at_once(clerk.organization_by_slug, sorted(set(slugs)))
        asked = sorted({*asked, *(str(row[0]) for row in proposed if row)})
        read, organizations = await both(_few_at_once(partial(_members, clerk), asked), clerk.some_organizations(asked))
        walks = [found for found in read if isinstance(found, Walk)]
        rows = [row for walk in walks for row in walk.rows]
        users = await clerk.some_users(sorted({user_id for _, user_id, *_ in rows}))
    except Fault as fault:
        return _nothing(fault, asked=frozenset(asked))
    return ClerkSnapshot(
        frame(ORGANIZATIONS, organizations.rows),
        frame(MEMBERSHIPS, rows),
        frame(CLERK_USERS, users.rows),
        asked=frozenset(asked),
        unread={
            organization: found for organization, found in zip(asked, read, strict=True) if isinstance(found, Fault)
        },
        doubt=_together([organizations.doubt, *(walk.doubt for walk in walks), users.doubt]),
    )


async def departures(clerk: ClerkClient, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Departure]:
    """The second witness: which of these (organization id, user id) are gone, by a member check of each.

    A pair is missing when that member is still there, and also when Clerk could not be asked.

    Raises:
        Fault: of kind SERVER, when Clerk refuses the key or is not Clerk at all.
    """

    async def check(pair: tuple[str, str]) -> Departure | bool | None:
        try:
            return await clerk.standing(*pair)
        except Fault as fault:
            if fault.kind is FaultKind.SERVER:
                raise
            return None

    wanted = list(dict.fromkeys(pairs))
    seen = await _few_at_once(check, wanted)
    return {pair: found for pair, found in zip(wanted, seen, strict=True) if isinstance(found, Departure)}


async def _members(clerk: ClerkClient, organization_id: str) -> Walk | Fault:
    try:
        return await clerk.organization_memberships(organization_id)
    except Fault as fault:
        if fault.kind is FaultKind.SERVER:
            raise
        return fault


async def _few_at_once(ask: Callable[[S], Awaitable[T]], about: Iterable[S]) -> list[T]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def gated(one: S) -> T:
        async with gate:
            return await ask(one)

    return await all_of(gated(one) for one in about)


def _nothing(fault: Fault, asked: frozenset[str] | None) -> ClerkSnapshot:
    if fault.kind is FaultKind.SERVER:
        raise fault
    return ClerkSnapshot(
        frame(ORGANIZATIONS, ()),
        frame(MEMBERSHIPS, ()),
        frame(CLERK_USERS, ()),
        asked=asked,
        fault=fault,
        doubt=fault.message,
    )


def _together(doubts: Iterable[str | None]) -> str | None:
    return " ".join(filter(None, doubts)) or None


# --- tenant databases -------------------------------------------------------------------------------------------------


_MOST_HELD_UP: Final = 3
"""Sessions that hang in one database as they begin: one is the owner's own, and the others may be ours."""


async def inspect_databases(
    url_of: Callable[[str], str],
    evidence: Mapping[str, str],
    names: Sequence[str],
    looked_at: datetime,
    at_once: int,
    most_rows: int = MOST_ROWS,
    held_up: Mapping[str, int] = MappingProxyType({}),
) -> list[Inspection]:
    """Look into each of these databases, in the order of the names. Trouble with one database is only in its own.

    Args:
        url_of: database name → URL of any database of the cluster, under the user that opens this one.
        evidence: by name, read before; empty text stands for a database that it does not know.
        looked_at: by the clock of the ledger's database.
        at_once: how many connections there are at most.
        most_rows: how many rows of one table are read in each.
        held_up: how many sessions hang in a database as they begin, where any do.
    """
    waiting = iter(dict.fromkeys(names))
    found: dict[str, Inspection] = {}

    async def one_after_another() -> None:
        for name in waiting:
            if (hanging := held_up.get(name, 0)) >= _MOST_HELD_UP:
                found[name] = kept_out(Inspection(name, evidence.get(name, ""), looked_at), hanging)
                continue
            found[name] = await look(url_of(name), name, evidence.get(name, ""), looked_at, most_rows=most_rows)

    await all_of(one_after_another() for _ in range(min(at_once, len(names))))
    return [found[name] for name in names]


# a database whose DROP was interrupted is marked by a connection limit of -2
_NAMES: LiteralString = """
    SELECT COALESCE(json_agg(datname ORDER BY datname), '[]') AS names,
           COALESCE(json_object_agg(datname, trouble) FILTER (WHERE trouble IS NOT NULL), '{}') AS troubles,
           COALESCE(json_agg(oid::bigint ORDER BY datname), '[]') AS oids
    FROM pg_database, LATERAL (SELECT CASE
        WHEN datconnlimit = -2 THEN 'invalid' WHEN NOT datallowconn OR datconnlimit = 0 THEN 'closed' END) t(trouble)
    WHERE datname ~ %(pattern)s AND NOT datistemplate AND datname <> ALL(%(excluded)s)
"""


async def database_names(
    cluster: Database, pattern: str, excluded: Sequence[str], only: Sequence[str] | None = None
) -> list[str]:
    """The names of the tenant databases, or of those in `only`, in one query over the catalogue, sorted."""
    return (await _names(cluster, pattern, excluded, only))[0]


async def tenant_databases(
    cluster: Database, pattern: str, excluded: Sequence[str], only: Sequence[str] | None = None
) -> pd.DataFrame:
    """The same as a frame with the columns of `DATABASES`."""
    names, troubles, oids = await _names(cluster, pattern, excluded, only)
    return frame(DATABASES, [(name, troubles.get(name), oid) for name, oid in zip(names, oids, strict=True)])


async def _names(
    cluster: Database, pattern: str, excluded: Sequence[str], only: Sequence[str] | None
) -> tuple[list[str], dict[str, str], list[int]]:
    """The names, what is wrong with those to which nothing can connect, and the number of each on the cluster.

    One row of JSON: ten thousand rows cost more than the query.
    """
    parameters = {"pattern": pattern, "excluded": list(excluded)}
    if only is None:
        (row,) = await cluster.fetch(_NAMES, parameters)
    else:
        # a condition of its own, so that a few names go by the index
        (row,) = await cluster.fetch(_NAMES + " AND datname = ANY(%(only)s)", parameters | {"only": list(only)})
    return list(row["names"]), dict(row["troubles"]), list(row["oids"])


# --- Twenty servers ---------------------------------------------------------------------------------------------------


async def twenty_servers(
    servers: Sequence[TwentyServer],
    databases: Mapping[str, TwentyDatabase],
    tenant_pattern: str,
    only: Sequence[str] | None = None,
) -> TwentySnapshot:
    """Read every server, all of its workspaces or those in `only`.

    One that cannot be read is a row with a reason, never an error of the run.
    """
    some = None if only is None else list(only)
    read = await all_of(_read(server, databases[server.name], some) for server in servers)
    seen_by_server = list(zip(servers, read, strict=True))

    def rows(part: Callable[[_Seen], list[Row]]) -> list[Row]:
        return [{**row, "server": server.name} for server, seen in seen_by_server for row in part(seen)]

    def tuples(part: Callable[[_Seen], Sequence[tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
        return [(server.name, *row) for server, seen in seen_by_server for row in part(seen)]

    return TwentySnapshot(
        servers=frame(SERVERS, [_server_row(server, seen, tenant_pattern) for server, seen in seen_by_server]),
        workspaces=frame(WORKSPACES, rows(lambda seen: seen.workspaces)),
        flags=frame(FLAGS, rows(lambda seen: seen.flags)),
        members=frame_with_shared_values(TWENTY_MEMBERS, tuples(lambda seen: seen.members)),
        users=frame(TWENTY_USERS, tuples(lambda seen: seen.users)),
        service_users={server.name: tuple(seen.service_users) for server, seen in seen_by_server},
        service_access=frame(SERVICE_ACCESS, rows(lambda seen: seen.service_access)),
        invitations=frame(INVITATIONS, rows(lambda seen: seen.invitations)),
        deleted_in_use={server.name: seen.deleted_in_use for server, seen in seen_by_server},
        lost_accounts=frozenset(server.name for server, seen in seen_by_server if seen.lost_account),
    )


@dataclass
class _Seen:
    count: int = 0
    workspaces: list[Row] = field(default_factory=list)
    flags: list[Row] = field(default_factory=list)
    service_users: list[str] = field(default_factory=list)
    members: list[tuple[str, str, str | None]] = field(default_factory=list)
    users: list[tuple[str, str]] = field(default_factory=list)
    service_access: list[Row] = field(default_factory=list)
    invitations: list[Row] = field(default_factory=list)
    deleted_in_use: list[Row] = field(default_factory=list)
    lost_account: bool = False
    fault: Fault | None = None


async def _read(server: TwentyServer, database: TwentyDatabase, only: list[str] | None) -> _Seen:
    seen = _Seen()
    try:
        # one after another over one connection: opening more costs longer than these reads
        seen.count = await database.workspace_count()
        seen.workspaces = await database.workspaces(only)
        seen.flags = await database.onboarding_rows(only)
        seen.service_users = await database.user_ids(server.service_email)
        seen.service_access = await database.service_access(seen.service_users, server.service_email, only)
        seen.invitations = await database.invitations(only)
        seen.deleted_in_use = await database.deleted_in_use(seen.service_users)
        seen.lost_account = not seen.service_users and await database.was_deleted(server.service_email)
        seen.members = await database.members(only)
        # of some tenants, whose accounts matter is known only after Clerk was read
        seen.users = await database.users() if only is None else []
    except Fault as fault:
        # a part of it would be taken for all
        return _Seen(fault=fault)
    return seen


def _server_row(server: TwentyServer, seen: _Seen, tenant_pattern: str) -> Row:
    name = database_name(server.database_url.get_secret_value())
    return {
        "server": server.name,
        "database_name": name,
        "dedicated": re.search(tenant_pattern, name) is not None,
        "capacity": server.capacity,
        "workspaces": seen.count,
        "tenants": server.tenants,
        "reason": seen.fault.reason if seen.fault else None,
        "message": seen.fault.message if seen.fault else None,
    }


async def with_users(
    snapshot: TwentySnapshot,
    databases: Mapping[str, TwentyDatabase],
    emails: Sequence[str],
    user_ids: Sequence[str],
) -> TwentySnapshot:
    """The snapshot with the accounts that have these e-mails or ids.

    A server that fails only now becomes a row with a reason: without its accounts no member is known there.
    """
    found = await _of_each(snapshot, lambda server: databases[server].users(emails, user_ids))
    rows = [(name, *row) for name, seen in found.items() if not isinstance(seen, Fault) for row in seen]
    return replace(_without_failed(snapshot, found), users=frame(TWENTY_USERS, rows))


async def with_half_members(
    snapshot: TwentySnapshot, databases: Mapping[str, TwentyDatabase], places: pd.DataFrame
) -> TwentySnapshot:
    """The snapshot with the memberships of these workspaces whose member record is not as it should be.

    A server that fails only now becomes a row with a reason: whether its members are whole is not known.

    Args:
        places: `server` and `workspace_id` of our workspaces, of those that have one.
    """
    ids = _ids_by_server(places)
    found = await _of_each(snapshot, lambda server: databases[server].records.half_members(ids.get(server, [])))
    seen = {name: half for name, half in found.items() if isinstance(half, HalfMembers)}
    return replace(
        _without_failed(snapshot, found),
        half_members=frame(HALF_MEMBERS, [(name, *row) for name, half in seen.items() for row in half.rows]),
        unreadable={name: half.unreadable for name, half in seen.items() if half.unreadable},
    )


async def with_member_names(
    snapshot: TwentySnapshot, databases: Mapping[str, TwentyDatabase], places: pd.DataFrame
) -> TwentySnapshot:
    """The snapshot with what the members of these workspaces are called; arguments as of `with_half_members`."""
    ids = _ids_by_server(places)
    found = await _of_each(snapshot, lambda server: databases[server].records.names(ids.get(server, [])))
    rows = [(name, *row) for name, seen in found.items() if not isinstance(seen, Fault) for row in seen]
    return replace(_without_failed(snapshot, found), member_names=frame(MEMBER_NAMES, rows))


def _ids_by_server(places: pd.DataFrame) -> dict[str, list[str]]:
    placed = places[places["workspace_id"].notna()]
    return {str(server): sorted(group) for server, group in placed.groupby("server")["workspace_id"]}


_Read = TypeVar("_Read")


async def _of_each(
    snapshot: TwentySnapshot, read: Callable[[str], Coroutine[Any, Any, _Read]]
) -> dict[str, _Read | Fault]:
    """What reading says of every server that could be read so far, or why it cannot be read any more."""

    async def or_fault(reading: Coroutine[Any, Any, _Read]) -> _Read | Fault:
        try:
            return await reading
        except Fault as fault:
            return fault

    readable = list(snapshot.servers[snapshot.servers["reason"].isna()]["server"])
    found = await all_of(or_fault(read(name)) for name in readable)
    return dict(zip(readable, found, strict=True))


def _without_failed(snapshot: TwentySnapshot, found: Mapping[str, object]) -> TwentySnapshot:
    servers = snapshot.servers.copy()
    for name, fault in found.items():
        if isinstance(fault, Fault):
            servers.loc[servers["server"] == name, ["reason", "message"]] = [fault.reason, fault.message]
    return replace(snapshot, servers=servers)
