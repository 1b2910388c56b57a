"""What a run records about the fleet as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from provisioning_pipeline.clients.files import NotWritten
from provisioning_pipeline.defs.reconciliation import checks, metadata
from provisioning_pipeline.defs.recording import Recorded, evaluation
from provisioning_pipeline.defs.tables import metadata_of, store
from provisioning_pipeline.model.forecast import Forecast
from provisioning_pipeline.model.history import Event
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.report import tables
from provisioning_pipeline.report.summary import Summary
from provisioning_pipeline.report.tables import Table
from provisioning_pipeline.settings import Readers, Settings
from provisioning_pipeline.views.health import Health

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Files:
    """Where a run's tables are stored. One that cannot be written is missing from its asset, and never stops the run.

    Args:
        base: a folder, or a URL that fsspec knows.
        run_id: names the files in the history.
        readers: who on this machine may read them.
        not_written: a sentence for each file that is missing; the run fails with them once its work is done.
    """

    base: str
    run_id: str
    readers: Readers = "owner"
    not_written: list[str] = field(default_factory=list)

    def record(
        self,
        table: Table,
        frame: "pd.DataFrame",
        shown: dict[str, Any],
        *,
        latest: bool = True,
        history: bool = True,
    ) -> dg.AssetMaterialization:
        """Store the table; its asset's event, with the path, or with why there is none."""
        path = None
        try:
            path = store(self.base, table, frame, self.run_id, latest=latest, history=history, readers=self.readers)
        except NotWritten as refusal:
            self.not_written.append(str(refusal))
            shown = shown | {"not_written": str(refusal)}
        return dg.AssetMaterialization(table.name, metadata=metadata_of(frame, table.columns, path) | shown)

    def fail_if_any_is_missing(self) -> None:
        """End the run as failed where a file of it could not be written.

        Raises:
            dagster.Failure: with what could not be written.
        """
        if self.not_written:
            why = f"All was done, but not all is recorded. {' '.join(self.not_written)}"
            raise dg.Failure(why, allow_retries=False)


def plan_recorded(
    files: Files, plan: Plan, forecast: Forecast | None, plan_id: str | None = None
) -> dg.AssetMaterialization:
    """The plan that a run works on, or that a dry run shows."""
    frame, shown = tables.plan(plan), metadata.of_plan(plan, forecast, plan_id)
    # the latest is of all tenants
    return files.record(tables.PLAN, frame, shown, latest=not plan.asked)


def run_recorded(files: Files, settings: Settings, summary: Summary, report: Path | None) -> Recorded:
    """Outcomes, inventory and report of a run, and the check that needs nothing else."""
    yield files.record(tables.OUTCOMES, tables.outcomes(summary.outcomes), metadata.of_outcomes(summary))
    inventory = metadata.of_inventory(summary.tenants)
    frame = tables.inventory(summary.tenants)
    # it is of the whole fleet, however few the run looked at: each run's own would fill a disk
    yield files.record(tables.INVENTORY, frame, inventory, history=summary.whole)
    if report:
        shown = metadata.of_report(summary, str(report), settings.api_url)
        yield dg.AssetMaterialization("reconciliation_report", metadata=shown)
    yield evaluation(checks.ready_result(summary.tenants))


def fleet_recorded(files: Files, health: Health, events: Mapping[str, Sequence[Event]]) -> Recorded:
    """What only a run over all tenants can say: what is left in one part says nothing of the rest."""
    yield files.record(tables.TIMELINE, tables.timeline(events), {})
    yield evaluation(checks.drift_result(health.left))
    yield evaluation(checks.harm_result(health.harm))
    yield evaluation(checks.clean_up_result(health.clean_up))
    yield evaluation(checks.fresh_result(health.fresh))
