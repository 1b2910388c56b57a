"""The asset with each tenant's history, and what should be true of each tenant after a run."""

from collections.abc import Sequence

import dagster as dg

from provisioning_pipeline.defs.recording import about, check, check_result, table
from provisioning_pipeline.model.names import unsteered, visible
from provisioning_pipeline.run.conclude import last_summary
from provisioning_pipeline.run.connections import Connections

_MOST_SHOWN = 10

TENANTS = dg.DynamicPartitionsDefinition(name="tenants")
"""A partition for each tenant that a run has changed."""

tenant_workspace = dg.AssetSpec(
    "tenant_workspace",
    **about("provisioning"),
    kinds={"postgres"},
    partitions_def=TENANTS,
    description="A tenant's workspace, one partition for each tenant. Every run that changes something for a tenant "
    "adds an event: what it did, the conditions that hold since, and the sign-in URL. A run that changes nothing "
    "for a tenant adds none.",
)


def got_through_result(rows: Sequence[tuple[str, str, str, str]]) -> dg.AssetCheckResult:
    """The check over tenants that failed: slug, at which step, reason, message."""
    return check_result(
        "tenant_workspace",
        "every_tenant_got_through",
        passed=not rows,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "failed": len({slug for slug, *_ in rows}),
            # the first ones to be read without a click
            **{
                f"{visible(slug)} at {step}": unsteered(": ".join(filter(None, (reason, message))))
                for slug, step, reason, message in rows[:_MOST_SHOWN]
            },
            "who": table(("tenant", "step", "reason", "why"), rows, most=100),
        },
    )


async def _last_failures(connections: Connections) -> list[tuple[str, str, str, str]]:
    summary = await last_summary(connections.ledger, connections.removed_rows, connections.settings)
    reasons = {line.slug: str(line.reason) for line in summary.tenants} if summary else {}
    failures = summary.failures if summary else ()
    return [(one.tenant, one.change, reasons.get(one.tenant, ""), one.detail) for one in failures]


every_tenant_got_through = check(
    "tenant_workspace",
    "every_tenant_got_through",
    _last_failures,
    got_through_result,
    "Every tenant that the last run worked on got through each of its steps. A run evaluates it at the step where a "
    "tenant fails, and once more at its end.",
)
