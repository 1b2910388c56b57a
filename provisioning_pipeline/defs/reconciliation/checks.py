"""What should be true of a fleet after a reconciliation."""

from collections.abc import Sequence

import dagster as dg

from provisioning_pipeline.defs.reconciliation.assets import tenant_inventory
from provisioning_pipeline.defs.recording import check, check_result, table
from provisioning_pipeline.report import markdown
from provisioning_pipeline.report.summary import TenantLine
from provisioning_pipeline.run.conclude import tenants
from provisioning_pipeline.views.health import (
    CleanUp,
    Freshness,
    HarmDone,
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
        return _never("tenant_inventory", "all_tenants_are_ready")
    return check_result(
        "tenant_inventory",
        "all_tenants_are_ready",
        passed=not unwell,
        metadata={
            "unwell_tenants": len(unwell),
            "who": dg.MetadataValue.md(markdown.unwell_table(unwell) or "None."),
        },
    )


def drift_result(left: Sequence[Leftover] | None) -> dg.AssetCheckResult:
    """The check over tenants whose drift is left; None: no run over all tenants has finished."""
    if left is None:
        return _never("reconciliation_plan", "no_drift_is_left")
    rows = [(one.slug, one.cause, one.detail, str(one.reason)) for one in left]
    return check_result(
        "reconciliation_plan",
        "no_drift_is_left",
        passed=not left,
        metadata={"drift_left": len(left), "who": table(("tenant", "cause", "what differed", "why it is left"), rows)},
    )


def harm_result(harm: HarmDone | None) -> dg.AssetCheckResult:
    """The check over what was taken away; None: no run over all tenants has finished."""
    if harm is None:
        return _never("reconciliation_outcomes", "harm_budget_is_respected")
    over = harm.done > harm.allowed and not harm.approved
    return check_result(
        "reconciliation_outcomes",
        "harm_budget_is_respected",
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
        "tenant_inventory",
        "clean_up_is_not_near",
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
        "reconciliation_report",
        "report_is_fresh",
        passed=fresh.finished_at is not None and hours <= fresh.most_hours,
        metadata={"hours": round(hours, 2), "allowed_hours": fresh.most_hours, "last_whole_run": last},
    )


def _never(asset: str, name: str) -> dg.AssetCheckResult:
    known = {"nothing_is_known": "No run over all tenants has finished yet: launch reconcile_tenants."}
    return check_result(asset, name, passed=False, metadata=known)


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
