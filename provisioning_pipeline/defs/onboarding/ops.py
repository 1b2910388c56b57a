"""A repair of onboarding by hand, and a verification: their ops and jobs."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from provisioning_pipeline.defs.onboarding.checks import login_proved, proved_result
from provisioning_pipeline.defs.provisioning.ops import (
    DETECTED,
    STEP_OPS,
    TRIGGER_TAG,
    Asked,
    DetectedOutputs,
    detected,
    report_reconciliation,
    trigger_of,
)
from provisioning_pipeline.defs.recording import evaluation, table
from provisioning_pipeline.defs.resources import Systems
from provisioning_pipeline.model.names import first_few, visible
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.steps.logins.step import LOGINS
from provisioning_pipeline.steps.onboarding.step import ONBOARDING
from provisioning_pipeline.tasks.verify import Verified
from provisioning_pipeline.tasks.verify import verify as verify_logins
from provisioning_pipeline.views.onboarding_tables import OnboardingPart, login_proofs, onboarding_part

_MOST_LISTED = 100


class RepairOnboardingConfig(dg.Config):
    """The tenants whose onboarding is repaired, and whether the run may change anything."""

    tenants: list[str] = Field(
        default=[],
        description="Slugs or database names of the tenants whose onboarding is repaired. Empty: all tenants.",
    )
    dry_run: bool = Field(
        default=False,
        description="Show the plan and change nothing; every connection then refuses to write.",
    )


@dg.op(
    description="Observe the same as a reconciliation, and take of each tenant's plan what is about onboarding alone: "
    "no workspace is made, no member added or removed. Tenants without a workspace are reported and left alone.",
    out=DETECTED,
    tags={"kind": "python"},
)
def detect_onboarding(
    context: dg.OpExecutionContext,
    config: RepairOnboardingConfig,
    systems: Systems,
) -> DetectedOutputs:
    """Yield the chunks to work on, then the facts for the report."""
    parts: list[OnboardingPart] = []

    def part(plan: Plan) -> Plan:
        parts.append(onboarding_part(plan))
        return parts[-1].plan

    yield from detected(context, systems, Asked(tuple(config.tenants), dry_run=config.dry_run), part)
    for sentence in (sentence for found in parts for sentence in _untouched(found)):
        context.log.info(visible(sentence))


def _untouched(found: OnboardingPart) -> Iterator[str]:
    """What a person should know of tenants for which nothing is done."""
    if found.nothing_pending and not (found.plan.work or found.not_looked_at):
        yield "Nothing is pending there; the job verify proves logins."
    if found.not_looked_at:
        named = first_few(found.not_looked_at, _MOST_LISTED)
        yield f"We do not know what is pending there: {named}; `provisioning status TENANT` says why."
    if found.without_workspace:
        named = first_few(found.without_workspace, _MOST_LISTED)
        yield f"Left alone, since they have no workspace: {named}; `provisioning status TENANT` says why."


class VerifySampleConfig(dg.Config):
    """The tenants and members whose logins are proved."""

    tenants: list[str] = Field(
        default=[],
        description="Slugs or database names of the tenants whose logins are proved. Empty: all tenants.",
    )
    sample: int | None = Field(
        default=None,
        ge=0,
        description="Members of each tenant besides its admin, others each time. None: PROVISIONING_VERIFY_SAMPLE.",
    )


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Sign in as each tenant's admin and some members, see what they see, and record it. Changes nothing in "
    "Twenty; a tenant with a login that fails is no longer ready, so that the next reconciliation sees to it.",
)
def verify_sample(
    context: dg.OpExecutionContext, config: VerifySampleConfig, systems: Systems
) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None]]:
    """Real logins; the run fails only when the verification itself does."""
    verified = systems.wait(
        verify_logins(
            systems.settings(),
            config.tenants,
            sample=config.sample,
            run_id=context.run_id,
            trigger=trigger_of(context),
        )
    )
    for server in verified.servers:
        if not server.ok:
            context.log.warning(visible(server.message))
    yield evaluation(login_proved, proved_result(systems.read(login_proofs)))
    if verified.broken:
        why = [*verified.defects, *dict.fromkeys(missed.message for missed in verified.not_looked_at)]
        raise dg.Failure(
            f"No login could be checked: {' '.join(why[:_MOST_LISTED])}",
            metadata=_metadata(verified),
            allow_retries=False,
        )
    yield dg.Output(None, metadata=_metadata(verified))


def _metadata(verified: Verified) -> dict[str, Any]:
    failed = [(failure.slug, failure.email, failure.reason, failure.seen) for failure in verified.failures]
    missed = [(tenant.slug, tenant.reason, tenant.message) for tenant in verified.not_looked_at]
    servers = [(server.server, server.message) for server in verified.servers]
    return {
        "tenants": verified.tenants,
        "logins": len(verified.proofs),
        "failed": len(failed),
        "who": table(("tenant", "person", "reason", "what they saw"), failed, most=_MOST_LISTED),
        "not_looked_at": table(("tenant", "reason", "what to do"), missed, most=_MOST_LISTED),
        "servers": table(("server", "contract"), servers, none="Not looked at: only some tenants were."),
        "seconds": round(verified.seconds, 3),
    }


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
