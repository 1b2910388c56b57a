"""The job that operators, the sensor and the schedule launch."""

import dagster as dg

from provisioning_pipeline.defs.provisioning.ops import STEP_OPS, TRIGGER_TAG, detect_tenants, report_reconciliation


@dg.job(
    name="reconcile_tenants",
    description="Detect tenant databases, give each a ready Twenty workspace, prove it by a real login, and report. "
    "Level-triggered: running it again does only what is still to be done.",
    # a sensor, a schedule and the tenant manager say who they are; without a word it was a person
    tags={"capability": "provisioning", TRIGGER_TAG: "operator"},
)
def reconcile_tenants() -> None:
    """detect → provision → members → onboard → verify per tenant, then one report."""
    chunks, facts = detect_tenants()
    for take in STEP_OPS.values():
        chunks = chunks.map(take)
    report_reconciliation(facts, chunks.collect())
