"""The jobs that repair and prove onboarding by themselves."""

import dagster as dg

from provisioning_pipeline.defs.onboarding.ops import detect_onboarding, verify_sample
from provisioning_pipeline.defs.provisioning.ops import STEP_OPS, TRIGGER_TAG, report_reconciliation
from provisioning_pipeline.steps.logins.step import LOGINS
from provisioning_pipeline.steps.onboarding.step import ONBOARDING

_TAGS = {"capability": "onboarding", TRIGGER_TAG: "operator"}


# Dagster takes the name of a job for its graph's too, and no graph may be called like an op
@dg.graph(name="onboarding_of_tenants")
def onboarding_of_tenants() -> None:
    """detect → onboard → verify per tenant, then one report."""
    chunks, facts = detect_onboarding.alias("detect_tenants")()
    done = chunks.map(STEP_OPS[ONBOARDING.name]).map(STEP_OPS[LOGINS.name])
    report_reconciliation(facts, done.collect())


repair_onboarding_by_hand = onboarding_of_tenants.to_job(
    name="repair_onboarding",
    description="Clear every pending onboarding step of the chosen tenants, or of all, and prove it by real logins "
    "where something was repaired. Makes no workspace and touches no member.",
    tags=_TAGS,
)


@dg.job(
    name="verify",
    description="Sign in as every admin and some members, others each time, and see what they see. Changes nothing in "
    "Twenty.",
    tags=_TAGS,
)
def verify() -> None:
    """Real logins."""
    verify_sample()
