"""The job that operators, the sensor and the schedule launch."""

import dagster as dg

from provisioning_pipeline.defs.provisioning.ops import (
    TRIGGER_TAG,
    backfill_members,
    detect_tenants,
    provision_workspaces,
    repair_onboarding,
    report_reconciliation,
    verify_logins,
)


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
    done = chunks.map(provision_workspaces).map(backfill_members).map(repair_onboarding).map(verify_logins)
    report_reconciliation(facts, done.collect())
