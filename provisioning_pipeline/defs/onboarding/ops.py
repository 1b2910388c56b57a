"""The ops of a repair by hand and of a verification."""

from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from provisioning_pipeline.defs.onboarding.recording import proofs_recorded
from provisioning_pipeline.defs.provisioning.ops import DETECTED, DetectedOutputs, detected, trigger_of
from provisioning_pipeline.defs.resources import Workbench
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.pipeline.onboarding import login_proofs, onboarding_part
from provisioning_pipeline.pipeline.verification import Verified, verify
from provisioning_pipeline.report import markdown

_MOST_LISTED = 100


class RepairOnboardingConfig(dg.Config):
    """Whose onboarding is repaired, and whether anything may be changed."""

    tenants: list[str] = Field(
        default=[],
        description="Slugs or database names of the tenants whose onboarding is repaired. Empty: all tenants.",
    )
    dry_run: bool = Field(
        default=False,
        description="Show the plan and write nothing anywhere; every connection then refuses to write.",
    )


@dg.op(
    description="Observe the same as a reconciliation, and take of each tenant's plan what is about onboarding alone: "
    "no workspace is made, no member added or removed. Tenants without a workspace are told and left alone.",
    out=DETECTED,
    tags={"kind": "python"},
)
def detect_onboarding(
    context: dg.OpExecutionContext, config: RepairOnboardingConfig, workbench: Workbench
) -> DetectedOutputs:
    """Yield the chunks to work on, then the facts for the report."""
    without: list[str] = []

    def part(plan: Plan) -> Plan:
        found = onboarding_part(plan)
        without.extend(found.without_workspace)
        return found.plan

    yield from detected(context, workbench, config.tenants, dry_run=config.dry_run, part=part)
    if without:
        more = f" and {len(without) - _MOST_LISTED} more" if len(without) > _MOST_LISTED else ""
        context.log.info(
            f"Left alone, since they have no workspace yet: {', '.join(without[:_MOST_LISTED])}{more}. The job "
            "reconcile_tenants makes one."
        )


class VerifySampleConfig(dg.Config):
    """Who is logged in as."""

    tenants: list[str] = Field(
        default=[],
        description="Slugs or database names of the tenants whose logins are proved. Empty: all tenants.",
    )
    sample: int | None = Field(
        default=None,
        ge=0,
        description="Members of each tenant besides its admin, others each time. Nothing: PROVISIONING_VERIFY_SAMPLE.",
    )


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Sign in as each tenant's admin and some members, see what they see, and keep it. Changes nothing in "
    "Twenty; a tenant with a login that fails is no longer ready, so that the next reconciliation sees to it.",
)
def verify_sample(
    context: dg.OpExecutionContext, config: VerifySampleConfig, workbench: Workbench
) -> Iterator[dg.AssetCheckEvaluation]:
    """Real logins; the run fails only when the verification itself does."""
    verified = workbench.wait(
        verify(
            workbench.settings(),
            config.tenants,
            sample=config.sample,
            run_id=context.run_id,
            trigger=trigger_of(context),
        )
    )
    for server in verified.servers:
        if not server.ok:
            context.log.warning(server.message)
    context.add_output_metadata(_metadata(verified))
    yield proofs_recorded(workbench.with_dry_connections(login_proofs))
    if verified.broken:
        why = [*verified.defects, *dict.fromkeys(missed.message for missed in verified.not_looked_at)]
        raise dg.Failure(f"Nobody's login could be looked at: {' '.join(why[:_MOST_LISTED])}", allow_retries=False)


def _metadata(verified: Verified) -> dict[str, dg.MetadataValue]:
    failed = [(failure.slug, failure.email, failure.reason, failure.seen) for failure in verified.failures]
    missed = [(tenant.slug, tenant.reason, tenant.message) for tenant in verified.not_looked_at]
    return {
        "tenants": dg.MetadataValue.int(verified.tenants),
        "logins": dg.MetadataValue.int(len(verified.proofs)),
        "failed": dg.MetadataValue.int(len(failed)),
        "who": dg.MetadataValue.md(
            markdown.table(("tenant", "person", "reason", "what they saw"), failed[:_MOST_LISTED])
            if failed
            else "Nobody."
        ),
        "not_looked_at": dg.MetadataValue.md(
            markdown.table(("tenant", "reason", "what to do"), missed[:_MOST_LISTED]) if missed else "None."
        ),
        "servers": dg.MetadataValue.md(
            markdown.table(("server", "contract"), [(server.server, server.message) for server in verified.servers])
        ),
        "seconds": dg.MetadataValue.float(round(verified.seconds, 3)),
    }
