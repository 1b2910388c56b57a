"""The schedule that proves logins of a fleet at rest."""

import dagster as dg

from provisioning_pipeline.defs.automation import SCHEDULES
from provisioning_pipeline.defs.onboarding.jobs import verify
from provisioning_pipeline.defs.scheduling import scheduled

verify_daily = dg.ScheduleDefinition(
    name="verify_daily",
    job=verify,
    cron_schedule="41 3 * * *",
    execution_fn=scheduled(verify.name),
    default_status=SCHEDULES,
    description="Signs in once a day as every admin and some members of each tenant, others each time, whether or not "
    "anything has changed.",
)
