"""Where workspaces stand: the server that a new tenant goes to, and what Twenty's own clean-up will take."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from typing import Any

import pandas as pd

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.forecast import AgingWorkspace
from provisioning_pipeline.model.frames import records
from provisioning_pipeline.model.tenant import Retirement, Tenant


@dataclass(frozen=True, slots=True)
class NoPlace:
    """Why no server can take the tenant now, in words."""

    reason: Reason
    message: str


class Placement:
    """Places tenants one after another, so that two never get the last free place."""

    def __init__(self, servers: pd.DataFrame, promised: Iterable[str]) -> None:
        """Start from the `SERVERS` frame. `promised` names the server of each creation that is under way."""
        self._servers = records(servers)
        self._free = {
            row["server"]: inf if row["capacity"] is None else max(0, int(row["capacity"]) - int(row["workspaces"]))
            for row in self._servers
        }
        for name in promised:
            if name in self._free:
                self._free[name] -= 1

    def place(self, tenant: Tenant) -> str | NoPlace:
        """The server for a new tenant: its own database's, else by rule, else the one with most room."""
        choices = self._choices(tenant)
        if not choices:
            return NoPlace(
                Reason.NO_SERVER_FOR_TENANT,
                f"No configured Twenty server takes tenant {tenant.slug!r}: each is another tenant's own or has a "
                "rule that does not match. Add a server, or widen its rule `tenants`.",
            )
        usable = [row["server"] for row in choices if not row["reason"]]
        if usable:
            # the most room; the order of the settings decides between equals
            chosen = str(max(usable, key=self._free.__getitem__))
            if self._free[chosen] > 0:
                self._free[chosen] -= 1
                return chosen
            names = ", ".join(f"{name} (0 places left)" for name in usable)
            return NoPlace(
                Reason.SERVER_FULL,
                f"Every Twenty server that could take this tenant is full: {names}. Raise its capacity, or add a "
                "server to PROVISIONING_TWENTY_SERVERS; the tenant then gets its workspace by itself.",
            )
        return NoPlace(Reason(choices[0]["reason"]), choices[0]["message"] or "The server cannot be used.")

    def elsewhere(self, tenant: Tenant, server: str) -> tuple[str, ...]:
        """The servers that a new tenant like this one would go to, if that is never the one where it lives."""
        choices = tuple(str(row["server"]) for row in self._choices(tenant))
        configured = any(row["server"] == server for row in self._servers)
        return () if server in choices or not configured else choices

    def _choices(self, tenant: Tenant) -> list[dict[str, Any]]:
        own = [row for row in self._servers if row["database_name"] == tenant.database_name]
        if own:
            return own
        shared = [row for row in self._servers if not row["dedicated"]]
        ruled = [row for row in shared if row["tenants"] and re.search(row["tenants"], tenant.slug)]
        return ruled or [row for row in shared if not row["tenants"]]


_MOST_NAMED = 5


def told_to_stay(living: Iterable[tuple[Tenant, str]], placement: Placement) -> Iterator[str]:
    """One sentence, for a person, about tenants that live where the settings would not place them now."""
    found = [
        f"{tenant.slug} on {server} (now {' or '.join(others)})"
        for tenant, server in living
        if (others := placement.elsewhere(tenant, server))
    ]
    if found:
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        yield (
            f"{len(found)} tenant{'s live' if len(found) > 1 else ' lives'} where the settings would not place a new "
            f"one: {', '.join(found[:_MOST_NAMED])}{more}. No run moves a workspace: leave the server configured, or "
            "move it by hand as docs/operations.md says under Moves."
        )


_WARNED_AFTER = timedelta(days=5)


def unactivated(workspaces: pd.DataFrame, slugs: Mapping[str, str]) -> tuple[AgingWorkspace, ...]:
    """The workspaces that were never activated or never paid for, oldest first.

    Each is called by its slug in `slugs`, by workspace id, else by its subdomain.
    """
    never = workspaces[workspaces["created_at"].notna() & ~workspaces["deleted"].astype(bool)]
    found = [
        AgingWorkspace(
            slugs.get(row["workspace_id"], row["subdomain"]),
            row["workspace_id"],
            row["created_at"],
            unpaid=row["activation_status"] == "CREATED",
        )
        for row in records(never)
    ]
    return tuple(sorted(found, key=lambda workspace: (workspace.created_at, workspace.workspace_id)))


def near_clean_up(workspaces: Iterable[AgingWorkspace], now: datetime) -> tuple[AgingWorkspace, ...]:
    """Those that go within two days, or may go at any time."""
    return tuple(workspace for workspace in workspaces if now - workspace.created_at >= _WARNED_AFTER)


def retirements_of(
    deleted_in_use: Mapping[str, Sequence[Mapping[str, Any]]], tenants: Mapping[tuple[str, str], str]
) -> tuple[Retirement, ...]:
    """Every such workspace, those first whose memberships are ours to end.

    Ours is a workspace of a tenant, and one of which our own account is a member: while that is so, nothing can be done
    on the whole server. Others are only told.

    Args:
        deleted_in_use: server → rows as `TwentyDatabase.deleted_in_use` reads them.
        tenants: (server, workspace id) → database name of the tenant whose workspace it is.
    """
    found = [
        Retirement(
            server=server,
            workspace_id=row["workspace_id"],
            subdomain=row["subdomain"],
            members=row["members"],
            database_name=tenants.get((server, row["workspace_id"])),
            ours=row["service"] or (server, row["workspace_id"]) in tenants,
        )
        for server, rows in deleted_in_use.items()
        for row in rows
    ]
    return tuple(sorted(found, key=lambda each: (not each.ours, each.server, each.subdomain)))


def told(retirements: Iterable[Retirement]) -> Iterator[str]:
    """One sentence about each, for a person."""
    for each in retirements:
        members = f"{each.members} membership{'s' if each.members != 1 else ''}"
        seen = (
            f'Workspace {each.workspace_id} ({each.subdomain}) of Twenty server "{each.server}" was marked as deleted '
            f"although it has {members}, so that none of them can sign in to any workspace of that server."
        )
        if each.ours:
            yield f"{seen} A run ends these memberships by SQL, as Twenty's own deletion does, before it signs in."
        else:
            yield (
                f"{seen} It is none of ours, so it is left as it is: delete it by Twenty's own call, or set "
                f'"deletedAt" of its rows in core."userWorkspace".'
            )
