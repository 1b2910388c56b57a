"""The main flow, for the command line, for Dagster and for tests."""

import time
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace

from psycopg import Error

from provisioning_pipeline.clients import tracing
from provisioning_pipeline.model.fault import TOO_LITTLE_MEMORY, Fault, RunFault
from provisioning_pipeline.model.forecast import Forecast
from provisioning_pipeline.model.offboarding import Order
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.report.summary import Summary, TenantLine
from provisioning_pipeline.run.admit import Admitted, admit
from provisioning_pipeline.run.asking import answering
from provisioning_pipeline.run.conclude import conclude
from provisioning_pipeline.run.connections import Connections, connect
from provisioning_pipeline.run.decide import decide
from provisioning_pipeline.run.observe import observe
from provisioning_pipeline.run.record import forecast_for, open_ledger, record_plan, run_under_way
from provisioning_pipeline.run.saved_plans import SavedPlan, must_be_as_saved, saved_plan
from provisioning_pipeline.run.work import OBSERVING, Progress, Run, Told, Totals, ends_the_run, work
from provisioning_pipeline.settings import Settings


async def apply(
    settings: Settings,
    tenants: Collection[str] = (),
    *,
    trigger: str = "operator",
    run_id: str | None = None,
    approved: str | None = None,
    order: Order | None = None,
    saved: SavedPlan | None = None,
    planned: Callable[[Plan], None] | None = None,
    progress: Progress | None = None,
    told: Told | None = None,
) -> "Applied":
    """A whole run: observe, ask, decide, act, verify, report; with `saved`, exactly that plan or nothing.

    Args:
        tenants: slugs or database names; none: all tenants.
        run_id: names the run in the ledger; None: a new one.
        approved: the name of a plan whose removals and demotions an operator approved.
        order: what an operator asks for these tenants: to archive or delete their workspaces, or to take that back.
        planned: called with what will be done, once that is known.
        progress: called with what each tenant came to.
        told: called on the way, where a step of a tenant takes long.

    Cancelled, it ends as cut in the ledger, with what it did.

    Raises:
        RunFault: when the run cannot begin.
        PlanChanged: when the saved plan no longer fits.
    """
    begun = time.monotonic()
    run_id = run_id or str(uuid.uuid4())
    about = {"provisioning.run": run_id, "provisioning.trigger": trigger}
    async with connect(settings, dry_run=False) as connections:
        run = Run(connections, run_id)
        with tracing.span("run", about):
            async with run_under_way(connections, run_id, totals=lambda: run.totals(())):
                started = await start(run, trigger, tenants, approved=approved, order=order, saved=saved)
                if planned:
                    planned(started.plan)
                results = [*started.results, *await work(run, started.plan.tenants, progress=progress, told=told)]
                totals = run.totals(results, started.plan)
                spent = time.monotonic() - begun
                concluded = await conclude(connections, run_id=run_id, trigger=trigger, seconds=spent, totals=totals)
    looked_at = {entry.tenant.database_name for entry in started.plan.tenants}
    return Applied(
        concluded.summary,
        tuple(line for line in concluded.summary.tenants if line.database_name in looked_at),
        totals,
        concluded.report,
        concluded.not_written,
        in_doubt=started.plan.registry_doubt is not None,
    )


async def start(
    run: Run,
    trigger: str,
    tenants: Collection[str] = (),
    *,
    by_hand: bool = True,
    approved: str | None = None,
    order: Order | None = None,
    saved: SavedPlan | None = None,
    part: Callable[[Plan], Plan] | None = None,
) -> "Started":
    """All of a run before its steps: open the ledger, plan, compare with the saved plan, record, admit.

    Args:
        by_hand: an operator typed these names, so each must be a tenant's.
        saved: nothing is done unless the plan is still this one.
        part: what of the plan is to be done; None: all of it.

    Raises:
        RunFault: when the run cannot begin.
        PlanChanged: when the saved plan no longer fits.
    """
    await open_ledger(run, trigger)
    whole = await plan_for(run, tenants, by_hand=by_hand, approved=approved, order=order, saved=saved)
    whole = part(whole) if part else whole
    forecast = await record_plan(run, whole)
    admitted = await admit(run, whole)
    return Started(admitted.plan, admitted.results, admitted.reports, whole, forecast)


async def plan_for(
    run: Run,
    tenants: Collection[str] = (),
    *,
    by_hand: bool = True,
    approved: str | None = None,
    order: Order | None = None,
    saved: SavedPlan | None = None,
) -> Plan:
    """The plan of a run, for these tenants or for all; with `saved`, for its tenants and only if it still fits.

    Raises:
        RunFault: as `plan`; the run is forgotten then, since nothing was done.
        PlanChanged: when what would be done is not what was saved.
    """
    try:
        with run.timed(OBSERVING):
            asked = saved.asked if saved else tenants
            found = await plan(run.connections, asked, by_hand=by_hand, approved=approved, order=order)
        if saved:
            must_be_as_saved(saved, saved_plan(found, run.connections.settings))
    except RunFault:
        # the row of a run that never ended would stay for ever
        with suppress(Fault, Error):
            await run.connections.history.forget_run(run.run_id)
        raise
    return found


async def plan(
    connections: Connections,
    tenants: Collection[str] = (),
    *,
    by_hand: bool = True,
    approved: str | None = None,
    order: Order | None = None,
) -> Plan:
    """What a run would do, for these tenants (slugs or database names) or for all. Reads only.

    Names that were not given `by_hand` may belong to databases that vanished since a sensor saw them. `approved` is
    the name of what an operator approved, `order` what they ask for the one tenant of this name.

    Raises:
        RunFault: when registry, ledger or cluster cannot be read, or Clerk refuses the key.
        UnknownTenants: when a name fits no tenant, or the name in an order several.
        UnknownPlan: when nothing waits under the approved name.
    """
    names = sorted({name.strip() for name in tenants}) or None
    try:
        with ends_the_run("PostgreSQL refused to be read"):
            seen = await observe(connections, names, by_hand=by_hand, approved=approved, order=order)
            decided = await answering(connections, decide(seen, connections.settings, approved, order))
    except MemoryError:
        raise RunFault(TOO_LITTLE_MEMORY) from None
    return replace(decided, asked=tuple(tenants))


async def dry_run(settings: Settings, tenants: Collection[str] = ()) -> Plan:
    """The plan, over connections that cannot write.

    Raises:
        RunFault: when something that every plan needs cannot be read.
    """
    async with connect(settings, dry_run=True) as connections:
        return await plan(connections, tenants)


async def plan_and_forecast(settings: Settings, tenants: Collection[str] = ()) -> tuple[Plan, Forecast]:
    """The plan and what a run over it will need, over connections that cannot write.

    Raises:
        RunFault: when something that every plan needs cannot be read.
    """
    async with connect(settings, dry_run=True) as connections:
        return await plan_and_forecast_over(connections, tenants)


async def plan_and_forecast_over(
    connections: Connections, tenants: Collection[str] = (), *, part: Callable[[Plan], Plan] | None = None
) -> tuple[Plan, Forecast]:
    """The plan, or what `part` leaves of it, and what a run over it will need."""
    begun = time.monotonic()
    whole = await plan(connections, tenants)
    whole = part(whole) if part else whole
    return whole, await forecast_for(connections, whole, reading_seconds=time.monotonic() - begun)


@dataclass(frozen=True)
class Started(Admitted):
    """A run that may begin to work.

    Args:
        whole: what was decided.
        forecast: what the run will need.
    """

    whole: Plan
    forecast: Forecast


@dataclass(frozen=True)
class Applied:
    """A finished run.

    `tenants` are those that the run was for, the ones that are not ready first; the summary and its report cover the
    whole fleet. Where the report could not be written, `not_written` says why.
    """

    summary: Summary
    tenants: tuple[TenantLine, ...]
    totals: Totals
    report: str | None
    not_written: str | None = None
    in_doubt: bool = False
    """The registry had lost so many rows that tenants without one were left as they are."""

    def count(self, state: str) -> int:
        """How many of the tenants that were looked at are in this state."""
        return sum(line.state == state for line in self.tenants)

    @property
    def databases(self) -> list[TenantLine]:
        """Those of them in whose own database something is to be looked at."""
        return [line for line in self.tenants if line.has_database_trouble]

    @property
    def broken(self) -> bool:
        """The run itself failed: an unforeseen error, or not one server could be used."""
        return bool(self.totals.defects) or self.totals.no_server_usable
