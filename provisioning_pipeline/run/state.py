"""A run under way: its connections, what is shared by all that it does, and its figures."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from psycopg import Error

from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.model.condition import Condition
from provisioning_pipeline.model.fault import Fault, FaultKind, RunFault
from provisioning_pipeline.model.tenant import OutcomeStatus, Plan
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.steps import STEPS
from provisioning_pipeline.steps.chain import ChainResult
from provisioning_pipeline.steps.scope import AtClerk

OBSERVING: Final = "observe and decide"
MAKING_READY: Final = "make servers ready"
PHASES: tuple[str, ...] = (OBSERVING, MAKING_READY, *(step.name for step in STEPS))
"""What a run spends its time on, in order."""


@dataclass
class Totals:
    """Small, summable figures of a run or of a part of it."""

    worked_on: int = 0
    failed: int = 0
    actions: int = 0
    mutating_calls: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    clerk_calls: int = 0
    twenty_calls: int = 0
    phases: Mapping[str, float] = field(default_factory=dict)
    """Seconds, wall-clock for reading and making servers ready, summed over tenants for steps."""
    defects: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    no_server_usable: bool = False

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            worked_on=self.worked_on + other.worked_on,
            failed=self.failed + other.failed,
            actions=self.actions + other.actions,
            mutating_calls=self.mutating_calls + other.mutating_calls,
            calls=self.calls + other.calls,
            clerk_calls=self.clerk_calls + other.clerk_calls,
            twenty_calls=self.twenty_calls + other.twenty_calls,
            phases={
                name: self.phases.get(name, 0.0) + other.phases.get(name, 0.0)
                for name in (*self.phases, *(name for name in other.phases if name not in self.phases))
            },
            defects=self.defects + other.defects,
            refusals=list(dict.fromkeys(self.refusals + other.refusals)),
            no_server_usable=self.no_server_usable or other.no_server_usable,
        )


_TENANTS_PER_PLACE = 3
"""More tenants are under way than work at a time, so that the last ones do not leave places empty."""


@dataclass
class Run:
    """A run under way.

    Args:
        connections: the systems, not in dry-run mode.
        run_id: names the run in the ledger.
        at_clerk: database name → what a tenant's last step was told by Clerk: the next one begins soon after.
        phases: phase → seconds, since the last totals.
    """

    connections: Connections
    run_id: str
    at_clerk: dict[str, AtClerk] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = self.connections.settings
        self.places = asyncio.Semaphore(settings.tenant_concurrency)
        """Held while a step of a tenant runs."""
        self.under_way = asyncio.Semaphore(_TENANTS_PER_PLACE * settings.tenant_concurrency)
        """Held from a tenant's first step to its last."""
        self.databases = asyncio.Semaphore(settings.tenant_database_connections)
        """Held while a tenant's own database is repaired."""

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time that this takes to a phase."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.phases[phase] = self.phases.get(phase, 0.0) + time.perf_counter() - begun

    async def store_conditions(
        self,
        found: Mapping[str, Sequence[Condition]],
        *,
        tried: bool,
        again: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Write down what holds for these tenants.

        Args:
            found: database name → conditions.
            tried: they have had their try, so that the next one waits.
            again: database name → seconds after which another try can succeed, where that is known.
        """
        if not found:
            return
        settings = self.connections.settings
        await self.connections.ledger.store_conditions(
            {name: tuple(conditions) for name, conditions in found.items()},
            run_id=self.run_id,
            waits=(settings.retry_seconds, settings.retry_most_seconds) if tried else None,
            again=again,
        )

    def totals(self, results: Sequence[ChainResult], plan: Plan | None = None) -> Totals:
        """The figures of these results, with the calls since the last totals and the notes of the plan, if given."""
        twenty, mutating_twenty = self.connections.twenty_calls.take()
        clerk, mutating_clerk = self.connections.clerk_calls.take()
        phases, self.phases = self.phases, {}
        servers = self.connections.servers.values()
        stops = [stop for server in servers for stop in (server.stop, server.creation_stop) if stop]
        outcomes = [outcome for result in results for outcome in result.outcomes]
        return Totals(
            worked_on=len(results),
            failed=sum(result.failed for result in results),
            actions=sum(each.status is OutcomeStatus.DONE and not each.change.read_only for each in outcomes),
            mutating_calls=mutating_twenty + mutating_clerk,
            calls=twenty + clerk,
            clerk_calls=clerk.total(),
            twenty_calls=twenty.total(),
            phases=phases,
            defects=[result.defect for result in results if result.defect],
            refusals=list(dict.fromkeys([*(stop.message for stop in stops), *(plan.notes if plan else ())])),
            no_server_usable=all(
                server.stop is not None and server.stop.kind is FaultKind.SERVER for server in servers
            ),
        )


@contextmanager
def ends_the_run(refused: str) -> Iterator[None]:
    """Turn what no run can go on without into a RunFault; `refused` is said before PostgreSQL's own words."""
    try:
        yield
    except Fault as fault:
        raise RunFault(fault.message) from None
    except Error as error:
        raise RunFault(f"{refused}: {first_line(error)}.") from None
