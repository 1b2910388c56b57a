"""The Twenty servers: every workspace and every onboarding row, one query each per server; our members' records."""

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pandas as pd

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.postgres import Row, database_name
from provisioning_pipeline.clients.twenty.database import TwentyDatabase
from provisioning_pipeline.clients.twenty.members import HalfMembers
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.frames import (
    FLAGS,
    HALF_MEMBERS,
    INVITATIONS,
    SERVERS,
    SERVICE_ACCESS,
    TWENTY_MEMBERS,
    TWENTY_USERS,
    WORKSPACES,
    TwentySnapshot,
    frame,
    frame_with_shared_values,
)
from provisioning_pipeline.settings import TwentyServer


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
    both = list(zip(servers, read, strict=True))

    def rows(part: Callable[[_Seen], list[Row]]) -> list[Row]:
        return [{**row, "server": server.name} for server, seen in both for row in part(seen)]

    def tuples(part: Callable[[_Seen], Sequence[tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
        return [(server.name, *row) for server, seen in both for row in part(seen)]

    return TwentySnapshot(
        servers=frame(SERVERS, [_server_row(server, seen, tenant_pattern) for server, seen in both]),
        workspaces=frame(WORKSPACES, rows(lambda seen: seen.workspaces)),
        flags=frame(FLAGS, rows(lambda seen: seen.flags)),
        members=frame_with_shared_values(TWENTY_MEMBERS, tuples(lambda seen: seen.members)),
        users=frame(TWENTY_USERS, tuples(lambda seen: seen.users)),
        service_users={server.name: tuple(seen.service_users) for server, seen in both},
        service_access=frame(SERVICE_ACCESS, rows(lambda seen: seen.service_access)),
        invitations=frame(INVITATIONS, rows(lambda seen: seen.invitations)),
        deleted_in_use={server.name: seen.deleted_in_use for server, seen in both},
        lost_accounts=frozenset(server.name for server, seen in both if seen.lost_account),
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
    placed = places[places["workspace_id"].notna()]
    ids = {str(server): sorted(group) for server, group in placed.groupby("server")["workspace_id"]}
    found = await _of_each(snapshot, lambda server: databases[server].records.half_members(ids.get(server, [])))
    seen = {name: half for name, half in found.items() if isinstance(half, HalfMembers)}
    return replace(
        _without_failed(snapshot, found),
        half_members=frame(HALF_MEMBERS, [(name, *row) for name, half in seen.items() for row in half.rows]),
        unreadable={name: half.unreadable for name, half in seen.items() if half.unreadable},
    )


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
