"""The schedule that prunes."""

import dagster as dg

from provisioning_pipeline.defs.automation import SCHEDULES
from provisioning_pipeline.defs.operations.jobs import prune_history
from provisioning_pipeline.defs.scheduling import scheduled

prune_history_daily = dg.ScheduleDefinition(
    name="prune_history_daily",
    job=prune_history,
    cron_schedule="23 4 * * *",
    execution_fn=scheduled(prune_history.name),
    default_status=SCHEDULES,
    description="Removes once a day what is older than the settings PROVISIONING_KEEP_* say.",
)
