"""Which Twenty server a new tenant goes to."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.frames import records
from provisioning_pipeline.model.tenant import Tenant


@dataclass(frozen=True, slots=True)
class NoPlace:
    """Why no server can take the tenant now, in words."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class ServerState:
    """A server as observed; `free` counts down while tenants are placed, None means no limit of ours."""

    name: str
    database_name: str
    dedicated: bool
    free: int | None
    tenants: str | None
    reason: Reason | None
    message: str | None


@dataclass
class Placement:
    """Places tenants one after another, so that two never get the last free place."""

    servers: dict[str, ServerState]
    _taken: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def over(servers: pd.DataFrame, promised: Iterable[str]) -> "Placement":
        """Start from the `SERVERS` frame. `promised` names the server of each creation that is under way."""
        states = {
            row["server"]: ServerState(
                name=row["server"],
                database_name=row["database_name"],
                dedicated=bool(row["dedicated"]),
                free=None if row["capacity"] is None else max(0, int(row["capacity"]) - int(row["workspaces"])),
                tenants=row["tenants"],
                reason=Reason(row["reason"]) if row["reason"] else None,
                message=row["message"],
            )
            for row in records(servers)
        }
        placement = Placement(states)
        for name in promised:
            placement._taken[name] = placement._taken.get(name, 0) + 1
        return placement

    def place(self, tenant: Tenant) -> str | NoPlace:
        """The server for a new tenant: its own database's, else by rule, else the one with most room."""
        choices = self._choices(tenant)
        if not choices:
            return NoPlace(
                Reason.NO_SERVER_FOR_TENANT,
                f"No configured Twenty server takes tenant {tenant.slug!r}: each is another tenant's own or has a "
                "rule that does not match. Add a server, or widen its rule `tenants`.",
            )
        usable = [server for server in choices if server.reason is None]
        open_ = [server for server in usable if self._room(server) > 0]
        if open_:
            # the most room; the order of the settings decides between equals
            chosen = max(open_, key=self._room)
            self._taken[chosen.name] = self._taken.get(chosen.name, 0) + 1
            return chosen.name
        if usable:
            names = ", ".join(f"{server.name} ({self._count(server)})" for server in usable)
            return NoPlace(
                Reason.SERVER_FULL,
                f"Every Twenty server that could take this tenant is full: {names}. Raise its capacity, or add a "
                "server to PROVISIONING_TWENTY_SERVERS; the tenant then gets its workspace by itself.",
            )
        first = choices[0]
        return NoPlace(first.reason or Reason.SERVER_UNREACHABLE, first.message or "The server cannot be used.")

    def _choices(self, tenant: Tenant) -> list[ServerState]:
        own = [server for server in self.servers.values() if server.database_name == tenant.database_name]
        if own:
            return own
        shared = [server for server in self.servers.values() if not server.dedicated]
        ruled = [server for server in shared if server.tenants and re.search(server.tenants, tenant.slug)]
        return ruled or [server for server in shared if not server.tenants]

    def _room(self, server: ServerState) -> float:
        if server.free is None:
            return float("inf")
        return server.free - self._taken.get(server.name, 0)

    def _count(self, server: ServerState) -> str:
        return "no limit" if server.free is None else f"{max(0, int(self._room(server)))} places left"
