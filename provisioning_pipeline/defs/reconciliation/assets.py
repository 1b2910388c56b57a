"""The assets that every reconciliation records. They can be materialized by hand too: that reads and draws, no more."""

from datetime import timedelta
from typing import Any

import dagster as dg

from provisioning_pipeline.defs.members import clerk_memberships, twenty_members
from provisioning_pipeline.defs.onboarding.checks import onboarding_flags
from provisioning_pipeline.defs.reconciliation import metadata
from provisioning_pipeline.defs.recording import about
from provisioning_pipeline.defs.resources import Systems
from provisioning_pipeline.defs.tables import COLUMN_SCHEMA, column_schema
from provisioning_pipeline.report import tables
from provisioning_pipeline.run.conclude import last_report, last_summary
from provisioning_pipeline.settings.variables import report_fresh_hours
from provisioning_pipeline.views.fleet import recent_events

_RECONCILIATION = about("reconciliation")
TABLES = "tables"
"""Key of the I/O manager that stores tables as Parquet."""
# Dagster takes no window under a minute
_FRESH = max(timedelta(hours=report_fresh_hours()), timedelta(minutes=1))


reconciliation_plan = dg.AssetSpec(
    "reconciliation_plan",
    **_RECONCILIATION,
    kinds={"python", "parquet"},
    metadata={COLUMN_SCHEMA: column_schema(tables.PLAN.columns)},
    deps=[clerk_memberships, twenty_members, onboarding_flags],
    description="What a reconciliation of all tenants would do, line by line like a diff, with a forecast of calls, "
    "time and limits. By hand: made now, and saved under an id for `provisioning apply PLAN_ID`.",
).with_io_manager_key(TABLES)
tenant_inventory = dg.AssetSpec(
    "tenant_inventory",
    **_RECONCILIATION,
    kinds={"postgres", "parquet"},
    metadata={COLUMN_SCHEMA: column_schema(tables.INVENTORY.columns)},
    description="Every tenant with its state, reason and next step, server, workspace and admin, as the ledger has it.",
).with_io_manager_key(TABLES)


@dg.asset(
    **_RECONCILIATION,
    kinds={"postgres", "parquet"},
    io_manager_key=TABLES,
    metadata={COLUMN_SCHEMA: column_schema(tables.OUTCOMES.columns)},
    deps=[reconciliation_plan],
    description="Everything that the last reconciliation attempted, and how it ended.",
)
def reconciliation_outcomes(systems: Systems) -> dg.MaterializeResult[Any]:
    """The last run's outcomes."""
    summary = systems.read(lambda c: last_summary(c.ledger, c.removed_rows, c.settings))
    frame = tables.outcomes(summary.outcomes if summary else ())
    return dg.MaterializeResult(value=frame, metadata=metadata.of_outcomes(summary) if summary else {})


@dg.asset(
    **_RECONCILIATION,
    kinds={"postgres", "parquet"},
    io_manager_key=TABLES,
    metadata={COLUMN_SCHEMA: column_schema(tables.TIMELINE.columns)},
    deps=[reconciliation_outcomes],
    description="What happened to tenants lately, in order, each with who is behind it: registry, database, "
    "workspace, members, onboarding, our actions, Clerk's webhooks.",
)
def tenant_timeline(systems: Systems) -> dg.MaterializeResult[Any]:
    """The recent events of the whole fleet."""
    return dg.MaterializeResult(value=tables.timeline(systems.read(recent_events)))


@dg.asset(
    **_RECONCILIATION,
    kinds={"html", "markdown"},
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=2 * _FRESH, warn_window=_FRESH),
    deps=[tenant_inventory, reconciliation_outcomes, reconciliation_plan],
    description="The report of the last reconciliation: who is not ready, why, what to do, and what was done.",
)
def reconciliation_report(systems: Systems) -> dg.MaterializeResult[Any]:
    """The last run's report, drawn anew from the ledger."""
    drawn = systems.read(last_report)
    if drawn is None:
        return dg.MaterializeResult(metadata={"verdict": "No reconciliation has finished yet."})
    summary, path = drawn
    return dg.MaterializeResult(metadata=metadata.of_report(summary, path, systems.settings().api_url))
