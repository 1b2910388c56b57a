"""The schedule that reconciles everything, whatever sensors may have missed."""

import dagster as dg

from provisioning_pipeline.defs.automation import SCHEDULES
from provisioning_pipeline.defs.provisioning.jobs import reconcile_tenants
from provisioning_pipeline.defs.scheduling import scheduled

reconcile_tenants_hourly = dg.ScheduleDefinition(
    name="reconcile_tenants_hourly",
    job=reconcile_tenants,
    cron_schedule="7 * * * *",
    execution_fn=scheduled(reconcile_tenants.name),
    default_status=SCHEDULES,
    description="Reconciles all tenants every hour: finds drift and lost triggers. Costs a fleet at rest only reads.",
)
