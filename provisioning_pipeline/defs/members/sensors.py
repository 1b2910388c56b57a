"""The sensor that follows Clerk's changes."""

import asyncio

import dagster as dg

from provisioning_pipeline.defs.launching import request_run
from provisioning_pipeline.defs.provisioning.jobs import reconcile_tenants


@dg.sensor(
    name="clerk_changes",
    job=reconcile_tenants,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Launches one reconciliation of all tenants whose organization or members changed at Clerk, as its "
    "webhooks say (`provisioning serve` takes them). A tick is one query over the ledger.",
)
def clerk_changes(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Say which tenants to look at; never what to do."""
    from provisioning_pipeline.pipeline.marked import marked_tenants
    from provisioning_pipeline.settings import load_settings

    settings = load_settings()
    marks = asyncio.run(marked_tenants(settings))
    if not marks:
        return dg.SkipReason("Nothing that concerns a tenant has changed at Clerk.")
    return request_run(
        context.instance,
        # in one notation, whatever time zone the connection has
        {name: mark.timestamp() for name, mark in marks.items()},
        settings,
        trigger="clerk",
    )
