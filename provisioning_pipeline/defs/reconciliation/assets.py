"""The assets that every reconciliation records. They can be materialized by hand too: that reads and draws, no more."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from provisioning_pipeline.defs.members.assets import clerk_memberships, twenty_members
from provisioning_pipeline.defs.onboarding.assets import onboarding_flags
from provisioning_pipeline.defs.reconciliation import metadata
from provisioning_pipeline.defs.resources import Workbench
from provisioning_pipeline.defs.tables import COLUMN_SCHEMA, column_schema
from provisioning_pipeline.report import tables

if TYPE_CHECKING:
    from provisioning_pipeline.report.summary import Summary

GROUP = "reconciliation"
OWNERS = ["team:platform"]
TAGS = {"capability": "reconciliation"}
TABLES = "tables"
"""Key of the I/O manager that keeps tables as Parquet."""


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    tags=TAGS,
    kinds={"python", "parquet"},
    io_manager_key=TABLES,
    metadata={COLUMN_SCHEMA: column_schema(tables.PLAN.columns)},
    deps=[clerk_memberships, twenty_members, onboarding_flags],
    description="What a reconciliation of all tenants would do, line by line like a diff, with a forecast of calls, "
    "time and limits. By hand: made now, and kept under a name for `provisioning apply PLAN_ID`.",
)
def reconciliation_plan(workbench: Workbench) -> dg.MaterializeResult[Any]:
    """The plan as it is now; nothing is changed anywhere."""
    from provisioning_pipeline.run.run import plan_and_foretell
    from provisioning_pipeline.run.saved_plans import keep, saved_plan

    plan, forecast = workbench.with_dry_connections(plan_and_foretell)
    saved = saved_plan(plan, workbench.settings())
    keep(saved, workbench.settings())
    frame = tables.plan(plan)
    return dg.MaterializeResult(value=frame, metadata=metadata.of_plan(plan, forecast, saved.id))


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    tags=TAGS,
    kinds={"postgres", "parquet"},
    io_manager_key=TABLES,
    metadata={COLUMN_SCHEMA: column_schema(tables.OUTCOMES.columns)},
    deps=[reconciliation_plan],
    description="Everything that the last reconciliation attempted, and how it ended.",
)
def reconciliation_outcomes(workbench: Workbench) -> dg.MaterializeResult[Any]:
    """The last run's outcomes."""
    summary = _last_summary(workbench)
    frame = tables.outcomes(summary.outcomes if summary else ())
    figures = metadata.of_outcomes(summary) if summary else {}
    return dg.MaterializeResult(value=frame, metadata=figures)


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    tags=TAGS,
    kinds={"postgres", "parquet"},
    io_manager_key=TABLES,
    metadata={COLUMN_SCHEMA: column_schema(tables.INVENTORY.columns)},
    deps=[reconciliation_outcomes],
    description="Every tenant with its state, reason and next step, server, workspace and admin, as the ledger has it.",
)
def tenant_inventory(workbench: Workbench) -> dg.MaterializeResult[Any]:
    """One row per tenant."""
    from provisioning_pipeline.run.conclude import tenants

    lines = workbench.with_dry_connections(lambda connections: tenants(connections.ledger))
    frame = tables.inventory(lines)
    return dg.MaterializeResult(value=frame, metadata=metadata.of_inventory(lines))


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    tags=TAGS,
    kinds={"postgres", "parquet"},
    io_manager_key=TABLES,
    metadata={COLUMN_SCHEMA: column_schema(tables.TIMELINE.columns)},
    deps=[reconciliation_outcomes],
    description="What happened to tenants lately, in order, each with who is behind it: registry, database, "
    "workspace, members, onboarding, our actions, Clerk's webhooks.",
)
def tenant_timeline(workbench: Workbench) -> dg.MaterializeResult[Any]:
    """The newest events of the whole fleet."""
    from provisioning_pipeline.views.recent_events import newest_events

    frame = tables.timeline(workbench.with_dry_connections(newest_events))
    return dg.MaterializeResult(value=frame)


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    tags=TAGS,
    kinds={"html", "markdown"},
    deps=[tenant_inventory, reconciliation_outcomes, reconciliation_plan],
    description="The report of the last reconciliation: who is unwell, why, what to do, and what was done.",
)
def reconciliation_report(workbench: Workbench) -> dg.MaterializeResult[Any]:
    """The last run's report, drawn anew from the ledger."""
    from provisioning_pipeline.run.conclude import last_report

    drawn = workbench.with_dry_connections(last_report)
    if drawn is None:
        return dg.MaterializeResult(metadata={"verdict": "No reconciliation has finished yet."})
    summary, path = drawn
    return dg.MaterializeResult(metadata=metadata.of_report(summary, str(path), workbench.settings().api_url))


def _last_summary(workbench: Workbench) -> "Summary | None":
    from provisioning_pipeline.run.conclude import last_summary

    return workbench.with_dry_connections(lambda c: last_summary(c.ledger, c.removed_rows, c.settings))
