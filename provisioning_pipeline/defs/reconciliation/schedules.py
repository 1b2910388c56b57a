"""The schedule that asks what only time changes, whether or not anything runs."""

import dagster as dg

from provisioning_pipeline.defs.automation import SCHEDULES
from provisioning_pipeline.defs.provisioning.ops import TRIGGER_TAG
from provisioning_pipeline.defs.reconciliation.checks import clean_up_is_not_near, report_is_fresh
from provisioning_pipeline.defs.scheduling import scheduled

check_freshness = dg.define_asset_job(
    name="check_freshness",
    selection=dg.AssetSelection.checks(report_is_fresh, clean_up_is_not_near.key),
    description="Evaluates the checks that fail just because time goes by: that a run over all tenants has finished "
    "lately, and that Twenty's own clean-up takes no workspace soon. Reads only.",
    tags={"capability": "reconciliation", TRIGGER_TAG: "operator"},
)
check_freshness_hourly = dg.ScheduleDefinition(
    name="check_freshness_hourly",
    job=check_freshness,
    cron_schedule="37 * * * *",
    execution_fn=scheduled(check_freshness.name),
    default_status=SCHEDULES,
    description="Asks every hour whether reports still come, so that a stopped schedule does not look like peace.",
)
