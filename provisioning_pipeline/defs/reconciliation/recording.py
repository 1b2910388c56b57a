"""What a run records about the fleet as a whole."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from provisioning_pipeline.defs.reconciliation import checks, metadata
from provisioning_pipeline.defs.recording import evaluation
from provisioning_pipeline.defs.tables import keep, metadata_of
from provisioning_pipeline.model.forecast import Forecast
from provisioning_pipeline.model.history import Event
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.pipeline.health import Health
from provisioning_pipeline.report import tables
from provisioning_pipeline.report.summary import Summary
from provisioning_pipeline.report.tables import Table
from provisioning_pipeline.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

Recorded = Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]


def plan_recorded(
    base: str, run_id: str, plan: Plan, forecast: Forecast | None, plan_id: str | None = None
) -> dg.AssetMaterialization:
    """The plan that a run works on, or that a dry run shows. `base` is where tables are kept."""
    frame, shown = tables.plan(plan), metadata.of_plan(plan, forecast, plan_id)
    # the latest is of all tenants
    path = keep(base, tables.PLAN, frame, run_id, latest=not plan.asked)
    return _materialized(tables.PLAN, frame, path, shown)


def run_recorded(settings: Settings, summary: Summary, path: Path) -> Recorded:
    """Outcomes, inventory and report of a run, and the check that needs nothing else."""
    base, run_id = settings.tables, summary.run_id
    yield _kept(base, run_id, tables.OUTCOMES, tables.outcomes(summary.outcomes), metadata.of_outcomes(summary))
    inventory = metadata.of_inventory(summary.tenants)
    frame = tables.inventory(summary.tenants)
    # it is of the whole fleet, however few the run looked at: each run's own would fill a disk
    path_of_table = keep(base, tables.INVENTORY, frame, run_id, history=summary.whole)
    yield _materialized(tables.INVENTORY, frame, path_of_table, inventory)
    yield dg.AssetMaterialization(
        "reconciliation_report", metadata=metadata.of_report(summary, str(path), settings.api_url)
    )
    yield evaluation("tenant_inventory", checks.ready_result(summary.tenants))


def fleet_recorded(settings: Settings, run_id: str, health: Health, events: Mapping[str, Sequence[Event]]) -> Recorded:
    """What only a run over all tenants can say: what is left in one part tells nothing of the rest."""
    yield _kept(settings.tables, run_id, tables.TIMELINE, tables.timeline(events), {})
    yield evaluation("reconciliation_plan", checks.drift_result(health.left))
    yield evaluation("reconciliation_outcomes", checks.harm_result(health.harm))
    yield evaluation("tenant_inventory", checks.clean_up_result(health.clean_up))
    yield evaluation("reconciliation_report", checks.fresh_result(health.fresh))


def _kept(
    base: str, run_id: str, table: Table, frame: "pd.DataFrame", shown: dict[str, Any]
) -> dg.AssetMaterialization:
    return _materialized(table, frame, keep(base, table, frame, run_id), shown)


def _materialized(table: Table, frame: "pd.DataFrame", path: str, shown: dict[str, Any]) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(table.name, metadata=metadata_of(frame, table.columns, path) | shown)
