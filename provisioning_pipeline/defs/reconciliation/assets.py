"""The assets that every reconciliation records. They can be materialized by hand too: that reads and draws, no more."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from provisioning_pipeline.defs.members.assets import clerk_memberships, twenty_members
from provisioning_pipeline.defs.onboarding.assets import onboarding_flags
from provisioning_pipeline.defs.reconciliation import metadata
from provisioning_pipeline.defs.resources import Systems
from provisioning_pipeline.defs.tables import COLUMN_SCHEMA, column_schema
from provisioning_pipeline.report import tables

if TYPE_CHECKING:
    from provisioning_pipeline.report.summary import Summary

GROUP = "reconciliation"
OWNERS = ["team:platform"]
TAGS = {"capability": "reconciliation"}
TABLES = "tables"
"""Key of the I/O manager that keeps tables as Parquet."""


reconciliation_plan = dg.AssetSpec(
    "reconciliation_plan",
    group_name=GROUP,
    owners=OWNERS,
    tags=TAGS,
    kinds={"python", "parquet"},
    metadata={COLUMN_SCHEMA: column_schema(tables.PLAN.columns)},
    deps=[clerk_memberships, twenty_members, onboarding_flags],
    description="What a reconciliation of all tenants would do, line by line like a diff, with a forecast of calls, "
    "time and limits. By hand: made now, and kept under a name for `provisioning apply PLAN_ID`.",
).with_io_manager_key(TABLES)
tenant_inventory = dg.AssetSpec(
    "tenant_inventory",
    group_name=GROUP,
    owners=OWNERS,
    tags=TAGS,
    kinds={"postgres", "parquet"},
    metadata={COLUMN_SCHEMA: column_schema(tables.INVENTORY.columns)},
    description="Every tenant with its state, reason and next step, server, workspace and admin, as the ledger has it.",
).with_io_manager_key(TABLES)


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
def reconciliation_outcomes(systems: Systems) -> dg.MaterializeResult[Any]:
    """The last run's outcomes."""
    summary = _last_summary(systems)
    frame = tables.outcomes(summary.outcomes if summary else ())
    figures = metadata.of_outcomes(summary) if summary else {}
    return dg.MaterializeResult(value=frame, metadata=figures)


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
def tenant_timeline(systems: Systems) -> dg.MaterializeResult[Any]:
    """The newest events of the whole fleet."""
    from provisioning_pipeline.views.recent_events import newest_events

    frame = tables.timeline(systems.read(newest_events))
    return dg.MaterializeResult(value=frame)


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    tags=TAGS,
    kinds={"html", "markdown"},
    deps=[tenant_inventory, reconciliation_outcomes, reconciliation_plan],
    description="The report of the last reconciliation: who is unwell, why, what to do, and what was done.",
)
def reconciliation_report(systems: Systems) -> dg.MaterializeResult[Any]:
    """The last run's report, drawn anew from the ledger."""
    from provisioning_pipeline.run.conclude import last_report

    drawn = systems.read(last_report)
    if drawn is None:
        return dg.MaterializeResult(metadata={"verdict": "No reconciliation has finished yet."})
    summary, path = drawn
    return dg.MaterializeResult(metadata=metadata.of_report(summary, str(path), systems.settings().api_url))


def _last_summary(systems: Systems) -> "Summary | None":
    from provisioning_pipeline.run.conclude import last_summary

    return systems.read(lambda c: last_summary(c.ledger, c.removed_rows, c.settings))
