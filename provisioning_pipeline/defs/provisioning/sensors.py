"""The sensor that sees new tenant databases."""

import asyncio

import dagster as dg

from provisioning_pipeline.defs.automation import SENSORS
from provisioning_pipeline.defs.launching import request_runs
from provisioning_pipeline.defs.provisioning.jobs import reconcile_tenants


@dg.sensor(
    name="new_tenant_databases",
    job=reconcile_tenants,
    minimum_interval_seconds=30,
    default_status=SENSORS,
    description="Launches a reconciliation of tenant databases that nobody has looked at yet, and of unwell tenants "
    "whose wait is over. A tick is one query over the cluster's catalogue and one over the ledger.",
)
def new_tenant_databases(context: dg.SensorEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Say which tenants to look at; never what to do."""
    from provisioning_pipeline.settings import load_settings
    from provisioning_pipeline.views.due_tenants import due_tenants

    settings = load_settings()
    seen, due = asyncio.run(due_tenants(settings))
    if not due:
        return dg.SkipReason(f"{seen} tenant databases, none new and none due for another try.")
    return request_runs(context, due, settings, trigger="sensor")
