"""The ops of a repair by hand and of a verification."""

from collections.abc import Iterator, Sequence

import dagster as dg
from pydantic import Field

from provisioning_pipeline.defs.onboarding.recording import proofs_recorded
from provisioning_pipeline.defs.provisioning.ops import DETECTED, Asked, DetectedOutputs, detected, trigger_of
from provisioning_pipeline.defs.resources import Systems
from provisioning_pipeline.model.names import visible
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.report import markdown
from provisioning_pipeline.tasks.verify import Verified, verify
from provisioning_pipeline.views.onboarding_tables import OnboardingPart, login_proofs, onboarding_part

_MOST_LISTED = 100


class RepairOnboardingConfig(dg.Config):
    """Whose onboarding is repaired, and whether anything may be changed."""

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
    "no workspace is made, no member added or removed. Tenants without a workspace are told and left alone.",
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
    for sentence in (sentence for found in parts for sentence in _told(found)):
        context.log.info(visible(sentence))


def _told(found: OnboardingPart) -> Iterator[str]:
    """What a person should know of tenants for which nothing is done."""
    if found.nothing_pending and not (found.plan.work or found.not_looked_at):
        yield "Nothing is pending there; the job verify proves logins."
    if found.not_looked_at:
        yield (
            f"Nobody knows what is pending there: {_listed(found.not_looked_at)}; `provisioning status TENANT` says "
            "why."
        )
    if found.without_workspace:
        yield (
            f"Left alone, since they have no workspace: {_listed(found.without_workspace)}; `provisioning status "
            "TENANT` says why."
        )


def _listed(slugs: Sequence[str]) -> str:
    more = f" and {len(slugs) - _MOST_LISTED} more" if len(slugs) > _MOST_LISTED else ""
    return ", ".join(slugs[:_MOST_LISTED]) + more


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
    context: dg.OpExecutionContext, config: VerifySampleConfig, systems: Systems
) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None]]:
    """Real logins; the run fails only when the verification itself does."""
    verified = systems.wait(
        verify(
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
    yield proofs_recorded(systems.read(login_proofs))
    if verified.broken:
        why = [*verified.defects, *dict.fromkeys(missed.message for missed in verified.not_looked_at)]
        raise dg.Failure(
            f"Nobody's login could be looked at: {' '.join(why[:_MOST_LISTED])}",
            metadata=_metadata(verified),
            allow_retries=False,
        )
    yield dg.Output(None, metadata=_metadata(verified))


def _metadata(verified: Verified) -> dict[str, dg.MetadataValue]:
    failed = [(failure.slug, failure.email, failure.reason, failure.seen) for failure in verified.failures]
    missed = [(tenant.slug, tenant.reason, tenant.message) for tenant in verified.not_looked_at]
    servers = [(server.server, server.message) for server in verified.servers]
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
            markdown.table(("server", "contract"), servers) if servers else "Not looked at: only some tenants were."
        ),
        "seconds": dg.MetadataValue.float(round(verified.seconds, 3)),
    }
