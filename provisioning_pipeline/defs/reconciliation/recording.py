"""What a run records about the fleet as a whole."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from provisioning_pipeline.defs.reconciliation import checks, metadata
from provisioning_pipeline.defs.recording import evaluation
from provisioning_pipeline.defs.tables import keep, metadata_of
from provisioning_pipeline.model.forecast import AgingWorkspace, Forecast
from provisioning_pipeline.model.history import Event
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.pipeline.health import Freshness, harm_of, leftover
from provisioning_pipeline.report import tables
from provisioning_pipeline.report.summary import Summary
from provisioning_pipeline.report.tables import Table
from provisioning_pipeline.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

Recorded = Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]


def plan_recorded(
    base: str, run_id: str, plan: Plan, forecast: Forecast | None, plan_id: str
) -> dg.AssetMaterialization:
    """The plan that a run works on, or that a dry run shows. `base` is where tables are kept."""
    return _kept(base, run_id, tables.PLAN, tables.plan(plan), metadata.of_plan(plan, forecast, plan_id))


def run_recorded(settings: Settings, summary: Summary, path: Path, events: Mapping[str, Sequence[Event]]) -> Recorded:
    """Outcomes, inventory, timeline and report of a run, and the checks that need nothing else."""
    base, run_id = settings.tables, summary.run_id
    yield _kept(base, run_id, tables.OUTCOMES, tables.outcomes(summary.outcomes), metadata.of_outcomes(summary))
    inventory = metadata.of_inventory(summary.tenants)
    yield _kept(base, run_id, tables.INVENTORY, tables.inventory(summary.tenants), inventory)
    yield _kept(base, run_id, tables.TIMELINE, tables.timeline(events), {})
    yield dg.AssetMaterialization(
        "reconciliation_report", metadata=metadata.of_report(summary, str(path), settings.api_url)
    )
    yield evaluation("tenant_inventory", checks.ready_result(summary.tenants))
    yield evaluation("reconciliation_plan", checks.drift_result(leftover(summary.drift, summary.tenants)))
    yield evaluation("reconciliation_outcomes", checks.harm_result(harm_of(summary, settings.harm_most)))


def fleet_recorded(near: Sequence[AgingWorkspace], fresh: Freshness) -> Recorded:
    """What only a run over all tenants can say."""
    yield evaluation("tenant_inventory", checks.clean_up_result(near))
    yield evaluation("reconciliation_report", checks.fresh_result(fresh))


def _kept(
    base: str, run_id: str, table: Table, frame: "pd.DataFrame", shown: dict[str, Any]
) -> dg.AssetMaterialization:
    path = keep(base, table, frame, run_id)
    return dg.AssetMaterialization(table.name, metadata=metadata_of(frame, table.columns, path) | shown)
