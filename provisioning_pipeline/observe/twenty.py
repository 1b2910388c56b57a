"""The Twenty servers: every workspace and every onboarding row, one query each per server; our members' records."""

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
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
    read = await all_of(_read(server, databases[server.name], only) for server in servers)
    rows: list[dict[str, Any]] = []
    workspaces: list[Row] = []
    flags: list[Row] = []
    members: list[tuple[Any, ...]] = []
    users: list[tuple[Any, ...]] = []
    service_users: dict[str, tuple[str, ...]] = {}
    service_access: list[Row] = []
    invitations: list[Row] = []
    for server, seen in zip(servers, read, strict=True):
        name = database_name(server.database_url.get_secret_value())
        rows.append(
            {
                "server": server.name,
                "database_name": name,
                "dedicated": re.search(tenant_pattern, name) is not None,
                "capacity": server.capacity,
                "workspaces": seen.count,
                "tenants": server.tenants,
                "reason": seen.fault.reason if seen.fault else None,
                "message": seen.fault.message if seen.fault else None,
            }
        )
        workspaces += [{**row, "server": server.name} for row in seen.workspaces]
        flags += [{**row, "server": server.name} for row in seen.flags]
        members += [(server.name, *row) for row in seen.members]
        users += [(server.name, *row) for row in seen.users]
        service_users[server.name] = tuple(seen.service_users)
        service_access += [{**row, "server": server.name} for row in seen.service_access]
        invitations += [{**row, "server": server.name} for row in seen.invitations]
    return TwentySnapshot(
        servers=frame(SERVERS, rows),
        workspaces=frame(WORKSPACES, workspaces),
        flags=frame(FLAGS, flags),
        members=frame_with_shared_values(TWENTY_MEMBERS, members),
        users=frame(TWENTY_USERS, users),
        service_users=service_users,
        service_access=frame(SERVICE_ACCESS, service_access),
        invitations=frame(INVITATIONS, invitations),
        deleted_in_use={server.name: seen.deleted_in_use for server, seen in zip(servers, read, strict=True)},
        lost_accounts=frozenset(server.name for server, seen in zip(servers, read, strict=True) if seen.lost_account),
    )


@dataclass(frozen=True)
class _Seen:
    count: int
    workspaces: list[Row]
    flags: list[Row]
    service_users: list[str]
    members: list[tuple[Any, ...]]
    users: list[tuple[Any, ...]]
    service_access: list[Row]
    invitations: list[Row]
    deleted_in_use: list[Row]
    lost_account: bool
    fault: Fault | None = None


async def _read(server: TwentyServer, database: TwentyDatabase, only: Sequence[str] | None) -> _Seen:
    try:
        # one after another over one connection: opening more costs longer than these reads
        count = await database.workspace_count()
        workspaces = await database.workspaces(only)
        flags = await database.onboarding_rows(only)
        service_users = await database.user_ids(server.service_email)
        service_access = await database.service_access(service_users, server.service_email, only)
        invitations = await database.invitations(only)
        deleted_in_use = await database.deleted_in_use(service_users)
        lost_account = not service_users and await database.was_deleted(server.service_email)
        members = await database.members(only)
        # of some tenants, whose accounts matter is known only after Clerk was read
        users = await database.users() if only is None else []
    except Fault as fault:
        return _Seen(0, [], [], [], [], [], [], [], [], lost_account=False, fault=fault)
    return _Seen(
        count,
        workspaces,
        flags,
        service_users,
        members,
        users,
        service_access,
        invitations,
        deleted_in_use,
        lost_account,
    )


async def with_users(
    snapshot: TwentySnapshot,
    databases: Mapping[str, TwentyDatabase],
    emails: Sequence[str],
    user_ids: Sequence[str],
) -> TwentySnapshot:
    """The snapshot with the accounts that have these e-mails or ids.

    A server that fails only now becomes a row with a reason: without its accounts nobody is known there.
    """
    found = await _of_each(snapshot, lambda server: databases[server].users(emails, user_ids))
    rows = [(name, *row) for name, seen in found.items() if not isinstance(seen, Fault) for row in seen]
    return replace(_without_failed(snapshot, found), users=frame(TWENTY_USERS, rows))


async def with_half_members(
    snapshot: TwentySnapshot, databases: Mapping[str, TwentyDatabase], places: pd.DataFrame
) -> TwentySnapshot:
    """The snapshot with the memberships of these workspaces whose member record is not as it should be.

    A server that fails only now becomes a row with a reason: whether its members are whole nobody knows.

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
    readable = list(snapshot.servers[snapshot.servers["reason"].isna()]["server"])
    found = await all_of(_or_fault(read(name)) for name in readable)
    return dict(zip(readable, found, strict=True))


async def _or_fault(reading: Coroutine[Any, Any, _Read]) -> _Read | Fault:
    try:
        return await reading
    except Fault as fault:
        return fault


def _without_failed(snapshot: TwentySnapshot, found: Mapping[str, object]) -> TwentySnapshot:
    servers = snapshot.servers.copy()
    for name, fault in found.items():
        if isinstance(fault, Fault):
            servers.loc[servers["server"] == name, ["reason", "message"]] = [fault.reason, fault.message]
    return replace(snapshot, servers=servers)
