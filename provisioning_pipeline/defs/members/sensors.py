"""The sensor that follows Clerk's changes and the tenant manager's requests."""

import asyncio

import dagster as dg

from provisioning_pipeline.defs.automation import SENSORS
from provisioning_pipeline.defs.launching import request_runs
from provisioning_pipeline.defs.provisioning.jobs import reconcile_tenants


@dg.sensor(
    name="clerk_changes",
    job=reconcile_tenants,
    minimum_interval_seconds=10,
    default_status=SENSORS,
    description="Launches reconciliations of the tenants whose organization or members changed at Clerk, as its "
    "webhooks say, or for which the tenant manager asked while this web server was away (`provisioning serve` takes "
    "both). A tick is one query over the ledger.",
)
def clerk_changes(context: dg.SensorEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Say which tenants to look at; never what to do."""
    from provisioning_pipeline.ledger.tenant_requests import TENANT_MANAGER
    from provisioning_pipeline.settings import load_settings
    from provisioning_pipeline.views.pending_reviews import marked_tenants

    settings = load_settings()
    marks = asyncio.run(marked_tenants(settings))
    if not marks:
        return dg.SkipReason("Nothing that concerns a tenant has changed at Clerk, and nobody asked for one.")
    requests: list[dg.RunRequest] = []
    skipped: list[dg.SkipReason] = []
    # the tenant manager waits for an answer: its run goes first
    for trigger in sorted({mark.trigger for mark in marks.values()}, key=lambda trigger: trigger != TENANT_MANAGER):
        # in one notation, whatever time zone the connection has
        due = {name: mark.at.timestamp() for name, mark in marks.items() if mark.trigger == trigger}
        answer = request_runs(context, due, settings, trigger=trigger)
        if isinstance(answer, dg.SkipReason):
            skipped.append(answer)
        else:
            requests += answer
    return requests or skipped[-1]
