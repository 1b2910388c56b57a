"""What should be true of a fleet after a reconciliation, and what a run records of the fleet as a whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg

from provisioning_pipeline.clients.files import NotWritten
from provisioning_pipeline.defs.reconciliation import metadata
from provisioning_pipeline.defs.reconciliation.assets import tenant_inventory
from provisioning_pipeline.defs.recording import Recorded, check, check_result, evaluation, table
from provisioning_pipeline.defs.tables import metadata_of, store
from provisioning_pipeline.model.forecast import Forecast
from provisioning_pipeline.model.history import Event
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.report import markdown, tables
from provisioning_pipeline.report.summary import Summary, TenantLine
from provisioning_pipeline.report.tables import Table
from provisioning_pipeline.run.conclude import tenants
from provisioning_pipeline.settings import Readers, Settings
from provisioning_pipeline.views.health import (
    CleanUp,
    Freshness,
    HarmDone,
    Health,
    Leftover,
    freshness_now,
    harm_now,
    leftover_now,
)

clean_up_is_not_near = dg.AssetCheckSpec(
    "clean_up_is_not_near",
    asset=tenant_inventory.key,
    description="No workspace is about to be deleted by Twenty's own clean-up, which takes those that were not "
    "activated, or not paid for, within seven days.",
)


def ready_result(lines: Sequence[TenantLine]) -> dg.AssetCheckResult:
    """The check over these tenants."""
    unwell = [line for line in lines if line.state == "unwell"]
    if not lines:
        return _never()
    return check_result(
        passed=not unwell,
        metadata={
            "unwell_tenants": len(unwell),
            "who": dg.MetadataValue.md(markdown.unwell_table(unwell) or "None."),
        },
    )


def drift_result(left: Sequence[Leftover] | None) -> dg.AssetCheckResult:
    """The check over tenants whose drift is left; None: no run over all tenants has finished."""
    if left is None:
        return _never()
    rows = [(one.slug, one.cause, one.detail, str(one.reason)) for one in left]
    return check_result(
        passed=not left,
        metadata={"drift_left": len(left), "who": table(("tenant", "cause", "what differed", "why it is left"), rows)},
    )


def harm_result(harm: HarmDone | None) -> dg.AssetCheckResult:
    """The check over what was taken away; None: no run over all tenants has finished."""
    if harm is None:
        return _never()
    over = harm.done > harm.allowed and not harm.approved
    return check_result(
        passed=not over and not harm.waiting and not harm.registry_doubt,
        severity=dg.AssetCheckSeverity.ERROR if over else dg.AssetCheckSeverity.WARN,
        metadata={
            "removed_or_demoted": harm.done,
            "allowed": harm.allowed,
            "waiting_for_approval": harm.waiting,
            "approve_with": f"provisioning apply --approve {harm.waiting_name}" if harm.waiting_name else "Nothing.",
            "registry": harm.registry_doubt or "It has the rows that were known.",
        },
    )


def clean_up_result(found: CleanUp) -> dg.AssetCheckResult:
    """The check over workspaces that were never activated or paid for and are older than five days.

    A server that cannot be read may hold some.
    """
    rows = [(one.slug, one.workspace_id, f"{one.created_at:%Y-%m-%d %H:%M}") for one in found.near]
    return check_result(
        passed=not (found.near or found.unread),
        metadata={
            "workspaces": len(found.near),
            "servers_not_read": ", ".join(found.unread) or "None.",
            "which": table(("tenant", "workspace", "created"), rows),
        },
    )


def fresh_result(fresh: Freshness) -> dg.AssetCheckResult:
    """The check over the age of the last whole run."""
    hours, last = -1.0, "None has finished yet: launch reconcile_tenants."
    if fresh.finished_at:
        hours = (fresh.now - fresh.finished_at).total_seconds() / 3600
        last = f"{fresh.finished_at:%Y-%m-%d %H:%M UTC}"
    return check_result(
        passed=fresh.finished_at is not None and hours <= fresh.most_hours,
        metadata={"hours": round(hours, 2), "allowed_hours": fresh.most_hours, "last_whole_run": last},
    )


def _never() -> dg.AssetCheckResult:
    known = {"nothing_is_known": "No run over all tenants has finished yet: launch reconcile_tenants."}
    return check_result(passed=False, metadata=known)


all_tenants_are_ready = check(
    "tenant_inventory",
    "all_tenants_are_ready",
    lambda connections: tenants(connections.ledger),
    ready_result,
    "Every tenant is either ready or deliberately excluded.",
)
no_drift_is_left = check(
    "reconciliation_plan",
    "no_drift_is_left",
    leftover_now,
    drift_result,
    "Every difference that runs found was set right: no tenant with drift is left not ready.",
)
harm_budget_is_respected = check(
    "reconciliation_outcomes",
    "harm_budget_is_respected",
    harm_now,
    harm_result,
    "The last run over all tenants took away from no more people than the budget allows, or than were approved by "
    "name; none waits for approval; and the registry has not lost more rows than are believed.",
)
report_is_fresh = check(
    "reconciliation_report",
    "report_is_fresh",
    freshness_now,
    fresh_result,
    "A run over all tenants has finished lately (PROVISIONING_REPORT_FRESH_HOURS).",
)


if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Files:
    """Where a run's tables are stored. One that cannot be written is missing from its asset, and never stops the run.

    `not_written` has a sentence for each file that is missing; the run fails with them once its work is done.
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
        """End the run as failed where a file of it could not be written."""
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


def run_recorded(files: Files, settings: Settings, summary: Summary, report: str | None) -> Recorded:
    """Outcomes, inventory and report of a run, and the check that needs nothing else."""
    yield files.record(tables.OUTCOMES, tables.outcomes(summary.outcomes), metadata.of_outcomes(summary))
    inventory = metadata.of_inventory(summary.tenants)
    frame = tables.inventory(summary.tenants)
    # it is of the whole fleet, however few the run looked at: each run's own would fill a disk
    yield files.record(tables.INVENTORY, frame, inventory, history=summary.whole)
    if report:
        shown = metadata.of_report(summary, report, settings.api_url)
        yield dg.AssetMaterialization("reconciliation_report", metadata=shown)
    yield evaluation(all_tenants_are_ready, ready_result(summary.tenants))


def fleet_recorded(files: Files, health: Health, events: Mapping[str, Sequence[Event]]) -> Recorded:
    """What only a run over all tenants can say: what is left in one part says nothing of the rest."""
    yield files.record(tables.TIMELINE, tables.timeline(events), {})
    yield evaluation(no_drift_is_left, drift_result(health.left))
    yield evaluation(harm_budget_is_respected, harm_result(health.harm))
    yield evaluation(clean_up_is_not_near, clean_up_result(health.clean_up))
    yield evaluation(report_is_fresh, fresh_result(health.fresh))
