"""A run under way: its figures, what all that it does shares, and the steps of its tenants, a few tenants at a time."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from psycopg import Error

from provisioning_pipeline.clients import tracing
from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.ledger.locks import tenant_lock
from provisioning_pipeline.model.change import Where
from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, Status, is_false, is_unknown
from provisioning_pipeline.model.fault import Fault, FaultKind, RunFault
from provisioning_pipeline.model.tenant import Outcome, OutcomeStatus, Plan, TenantPlan
from provisioning_pipeline.run.connections import Connections, tenant_database
from provisioning_pipeline.steps import STEPS, op_of, server_steps, steps_for
from provisioning_pipeline.steps.scope import AtClerk, Record, Scope, defect_of
from provisioning_pipeline.steps.step import Step

if TYPE_CHECKING:
    from opentelemetry.trace import Span

OBSERVING: Final = "observe and decide"
MAKING_READY: Final = "make servers ready"
PHASES: tuple[str, ...] = (OBSERVING, MAKING_READY, *(step.name for step in STEPS))
"""What a run spends its time on, in order."""


@dataclass(frozen=True, slots=True)
class TenantResult:
    """What the steps of one tenant came to.

    Args:
        failed: a step did not get through, so later steps were not begun.
        defect: an unforeseen error, as `file:line ErrorName`; the run must fail for it in the end.
        again_seconds: after how long another try can succeed, where that is known.
    """

    database_name: str
    conditions: tuple[Condition, ...]
    outcomes: tuple[Outcome, ...]
    failed: bool
    defect: str | None = None
    again_seconds: float | None = None


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
        at_clerk: database name → what Clerk said to a tenant's last step: the next one begins soon after.
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
    def timed(self, phase: str, tenant: str | None = None) -> "Iterator[Span | None]":
        """Add the time that this takes to a phase; it is a span, of a tenant, where runs are traced."""
        begun = time.perf_counter()
        try:
            with tracing.span(phase, {"provisioning.run": self.run_id, "provisioning.tenant": tenant}) as current:
                yield current
        finally:
            self.phases[phase] = self.phases.get(phase, 0.0) + time.perf_counter() - begun

    async def store_conditions(
        self,
        found: Mapping[str, Sequence[Condition]],
        *,
        tried: bool,
        again: Mapping[str, float] = MappingProxyType({}),
    ) -> Mapping[str, Condition]:
        """Write down what holds for these tenants; what their Ready comes to.

        Args:
            found: database name → conditions.
            tried: they have had their try, so that the next one waits.
            again: database name → seconds after which another try can succeed, where that is known.
        """
        if not found:
            return {}
        settings = self.connections.settings
        return await self.connections.ledger.store_conditions(
            {name: tuple(conditions) for name, conditions in found.items()},
            run_id=self.run_id,
            waits=(settings.retry_seconds, settings.retry_most_seconds) if tried else None,
            again=again,
        )

    def totals(self, results: Sequence[TenantResult], plan: Plan | None = None) -> Totals:
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


Progress = Callable[[TenantPlan, TenantResult], None]
"""Called with a tenant's plan and what its steps came to, as soon as that is in the ledger."""


Told = Callable[[TenantPlan, str], None]
"""Called with a tenant's plan and a sentence about a part of a step that takes long, as soon as that part is done."""


async def work(
    run: Run,
    plans: Sequence[TenantPlan],
    only: Sequence[Step] | None = None,
    progress: Progress | None = None,
    told: Told | None = None,
) -> list[TenantResult]:
    """Run the steps of these tenants, or `only` some of them; what they came to, of those that had any.

    Raises:
        RunFault: when the ledger is lost on the way; no run works on without it, and the next run goes on.
    """

    async def one(entry: TenantPlan, taken: Sequence[Step]) -> TenantResult:
        steps = [step for step in taken if step.where is Where.SERVER]
        results: list[TenantResult] = []
        async with run.under_way:
            for step in taken:
                if step.where is Where.OWN_DATABASE:
                    async with run.databases:
                        with run.timed(step.name, entry.tenant.slug):
                            results.append(await run_steps(scope_of(run.connections, entry, run.run_id), [step]))
            if steps:
                scope = scope_of(run.connections, entry, run.run_id)
                if told:
                    scope.tell = partial(told, entry)
                results.append(await _chain(run, scope, steps))
        result = together(results)
        # outside the places, so that the next tenant begins meanwhile
        await _store(
            run, entry.tenant.slug, result, tried=result.failed or not steps or steps[-1] is server_steps(entry)[-1]
        )
        if progress:
            progress(entry, result)
        return result

    wanted = (
        (entry, [step for step in steps_for(entry) if only is None or op_of(step, entry) in only]) for entry in plans
    )
    with ends_the_run("PostgreSQL refused"):
        return await all_of(one(entry, taken) for entry, taken in wanted if taken)


async def _chain(run: Run, scope: Scope, steps: Sequence[Step]) -> TenantResult:
    """The steps in order, up to the first that fails. Between two of them another tenant may take the place."""
    scope.at_clerk = run.at_clerk.get(scope.database_name)
    for step in steps:
        async with run.places:
            with run.timed(step.name, scope.plan.tenant.slug) as current:
                result = await run_steps(scope, [step])
                if result.failed:
                    tracing.failed(current, result.defect or result.conditions[-1].reason)
        if result.failed:
            break
    if scope.at_clerk is not None:
        run.at_clerk[scope.database_name] = scope.at_clerk
    return result


async def _store(run: Run, slug: str, result: TenantResult, *, tried: bool) -> None:
    # outcomes first: what holds since stands after what was done
    await run.connections.journal.settle()
    again = {} if result.again_seconds is None else {result.database_name: result.again_seconds}
    ready = await run.store_conditions({result.database_name: result.conditions}, tried=tried, again=again)
    if tried:
        found = ready[result.database_name]
        about = {"provisioning.tenant": slug, "provisioning.reason": found.reason}
        with tracing.span("ready" if found.status is Status.TRUE else "not ready", about):
            pass
        await run.connections.turns.end([result.database_name])


def scope_of(connections: Connections, entry: TenantPlan, run_id: str) -> Scope:
    """The scope of a tenant."""
    settings, name = connections.settings, entry.tenant.database_name
    return Scope(
        plan=entry,
        twenty=connections.servers[entry.server] if entry.server else None,
        own_database=lambda: tenant_database(settings, name, read_only=False),
        ledger=connections.ledger,
        registry=connections.registry,
        members=connections.members,
        accounts=connections.accounts,
        removed_rows=connections.removed_rows,
        access_locks=connections.access_locks,
        clerk=connections.clerk,
        record=Record(connections.journal, run_id, entry.tenant.database_name),
        settings=settings,
        lock_wait_seconds=settings.lock_wait_seconds,
    )


# --- the steps of one tenant --------------------------------------------------------------------------------------


async def run_steps(scope: Scope, taken: Sequence[Step]) -> TenantResult:
    """Run these steps for one tenant. Never raises for what befalls one tenant."""
    current = taken[0]
    try:
        async with tenant_lock(scope.ledger.database, scope.database_name, wait_seconds=scope.lock_wait_seconds):
            for current in taken:
                await current.act(scope)
    except Fault as fault:
        on_server = current.where is Where.SERVER
        if on_server:
            scope.server.note(fault)
        scope.set(_failed_condition(scope, current, fault))
        return replace(_result(scope, failed=on_server), again_seconds=fault.again_seconds if on_server else None)
    except Error as error:
        # the ledger or Twenty's database refused a statement; the first line of such a text names no values
        why = f"PostgreSQL refused a statement of {current}: {str(error).splitlines()[0]}."
        return _met_a_defect(scope, current, error, why)
    except Exception as error:  # noqa: BLE001  # a defect of ours must not stop the other tenants; the run fails
        what = f"{current} met an unforeseen error ({defect_of(error)})"
        return _met_a_defect(scope, current, error, f"{what}; its text is withheld, it may hold secrets.")
    finally:
        scope.record.note()
    return _result(scope, failed=False)


def _met_a_defect(scope: Scope, step: Step, error: Exception, why: str) -> TenantResult:
    scope.set(is_unknown(step.condition, Reason.UNEXPECTED_ERROR, why))
    return _result(scope, failed=True, defect=defect_of(error))


def _failed_condition(scope: Scope, step: Step, fault: Fault) -> Condition:
    type_ = step.condition
    if fault.reason is Reason.REGISTRY_REFUSED:
        type_ = ConditionType.REGISTERED
    elif type_ in scope.conditions:
        # the workspace is there; what failed is adding its admin
        type_ = ConditionType.LOGIN_PROVED
    return settled(type_, fault)


def settled(type_: ConditionType, fault: Fault) -> Condition:
    settle = is_unknown if fault.kind in (FaultKind.TRANSIENT, FaultKind.BUSY) else is_false
    return settle(type_, fault.reason, fault.message)


def _result(scope: Scope, *, failed: bool, defect: str | None = None) -> TenantResult:
    return TenantResult(scope.database_name, tuple(scope.conditions.values()), tuple(scope.outcomes), failed, defect)


def together(results: Sequence[TenantResult]) -> TenantResult:
    """What was done for one tenant in several places, as one; at least one result."""
    first = results[0]
    return TenantResult(
        first.database_name,
        tuple(condition for result in results for condition in result.conditions),
        tuple(outcome for result in results for outcome in result.outcomes),
        failed=any(result.failed for result in results),
        defect=next((result.defect for result in results if result.defect), None),
        again_seconds=next((result.again_seconds for result in results if result.again_seconds), None),
    )
