"""The parts of a run as methods of one object, for the ops that call them so."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from provisioning_pipeline.model.forecast import Forecast
from provisioning_pipeline.model.tenant import Plan, TenantPlan
from provisioning_pipeline.run.admit import Admitted, admit
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.record import open_ledger, record_plan
from provisioning_pipeline.run.run import plan_for
from provisioning_pipeline.run.saved_plans import SavedPlan
from provisioning_pipeline.run.state import Run
from provisioning_pipeline.run.totals import Totals
from provisioning_pipeline.run.work import Progress, work
from provisioning_pipeline.steps.chain import ChainResult
from provisioning_pipeline.steps.scope import AtClerk
from provisioning_pipeline.steps.step import Step

Accepted = Admitted


@dataclass
class Reconciler:
    """A run under way."""

    connections: Connections
    run_id: str
    at_clerk: dict[str, AtClerk] = field(default_factory=dict)
    forecast: Forecast | None = None

    def __post_init__(self) -> None:
        self._run = Run(self.connections, self.run_id, self.at_clerk)

    async def prepare(self, trigger: str) -> None:
        """`open_ledger`."""
        await open_ledger(self._run, trigger)

    async def plan(
        self,
        tenants: Collection[str] = (),
        *,
        by_hand: bool = True,
        approved: str | None = None,
        saved: SavedPlan | None = None,
    ) -> Plan:
        """`plan_for`."""
        return await plan_for(self._run, tenants, by_hand=by_hand, approved=approved, saved=saved)

    async def accept(self, plan: Plan) -> Admitted:
        """`record_plan` and `admit`."""
        self.forecast = await record_plan(self._run, plan)
        return await admit(self._run, plan)

    async def run(
        self, plans: Sequence[TenantPlan], only: Sequence[Step] | None = None, progress: Progress | None = None
    ) -> list[ChainResult]:
        """`work`."""
        return await work(self._run, plans, only, progress)

    def totals(self, results: Sequence[ChainResult], plan: Plan | None = None) -> Totals:
        """`Run.totals`."""
        return self._run.totals(results, plan)
