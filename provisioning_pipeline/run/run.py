"""A whole reconciliation without Dagster, as the command line runs it."""

import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from provisioning_pipeline.model.forecast import Forecast
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.report.summary import Summary, TenantLine
from provisioning_pipeline.run.conclude import conclude
from provisioning_pipeline.run.connections import Connections, connect
from provisioning_pipeline.run.forecasting import foretell
from provisioning_pipeline.run.plan import plan as make_plan
from provisioning_pipeline.run.reconcile import Progress, Reconciler
from provisioning_pipeline.run.saved_plans import SavedPlan
from provisioning_pipeline.run.totals import Totals
from provisioning_pipeline.settings import Settings


@dataclass(frozen=True)
class Applied:
    """A finished run.

    `tenants` are those that the run looked at, the unwell first; the summary and its report cover the whole fleet.
    Where the report could not be written, `not_written` says why.
    """

    summary: Summary
    tenants: tuple[TenantLine, ...]
    totals: Totals
    report: Path | None
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


async def dry_run(settings: Settings, tenants: Collection[str] = ()) -> Plan:
    """The plan, over connections that cannot write.

    Raises:
        RunFault: when something that every plan needs cannot be read.
    """
    async with connect(settings, dry_run=True) as connections:
        return await make_plan(connections, tenants)


async def foretold(settings: Settings, tenants: Collection[str] = ()) -> tuple[Plan, Forecast]:
    """The plan and what a run over it will need, over connections that cannot write.

    Raises:
        RunFault: when something that every plan needs cannot be read.
    """
    async with connect(settings, dry_run=True) as connections:
        return await plan_and_foretell(connections, tenants)


async def plan_and_foretell(
    connections: Connections, tenants: Collection[str] = (), *, part: Callable[[Plan], Plan] | None = None
) -> tuple[Plan, Forecast]:
    """The plan, or what `part` leaves of it, and what a run over it will need."""
    begun = time.monotonic()
    plan = await make_plan(connections, tenants)
    plan = part(plan) if part else plan
    return plan, await foretell(connections, plan, reading_seconds=time.monotonic() - begun)


async def apply(
    settings: Settings,
    tenants: Collection[str] = (),
    *,
    trigger: str = "operator",
    run_id: str | None = None,
    approved: str | None = None,
    saved: SavedPlan | None = None,
    planned: Callable[[Plan], None] | None = None,
    progress: Progress | None = None,
) -> Applied:
    """Observe, decide, act, verify, report; with `saved`, exactly that plan or nothing.

    Raises:
        RunFault: when the run cannot begin.
        PlanChanged: when the saved plan no longer fits.
    """
    begun = time.monotonic()
    run_id = run_id or str(uuid.uuid4())
    async with connect(settings, dry_run=False) as connections:
        reconciler = Reconciler(connections, run_id)
        await reconciler.prepare(trigger)
        accepted = await reconciler.accept(await reconciler.plan(tenants, approved=approved, saved=saved))
        plan = accepted.plan
        if planned:
            planned(plan)
        results = [*accepted.results, *await reconciler.run(plan.tenants, progress=progress)]
        totals = reconciler.totals(results, plan)
        concluded = await conclude(
            connections, run_id=run_id, trigger=trigger, seconds=time.monotonic() - begun, totals=totals
        )
    looked_at = {entry.tenant.database_name for entry in plan.tenants}
    lines = tuple(line for line in concluded.summary.tenants if line.database_name in looked_at)
    return Applied(
        concluded.summary,
        lines,
        totals,
        concluded.report,
        concluded.not_written,
        in_doubt=plan.registry_doubt is not None,
    )
