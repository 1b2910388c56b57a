"""Each tenant's history and its check: a line per change, who failed, and an event per tenant that a run changed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from provisioning_pipeline.defs.names import partition_keys
from provisioning_pipeline.defs.recording import about, check, check_result, evaluation, table
from provisioning_pipeline.model.condition import Status, StoredCondition
from provisioning_pipeline.model.names import unsteered, visible
from provisioning_pipeline.model.tenant import OutcomeStatus, Plan, Tenant
from provisioning_pipeline.report.summary import OutcomeLine, Summary, TenantLine, grouped
from provisioning_pipeline.run.conclude import last_summary
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.work import TenantResult

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


_UNFORESEEN = "It failed without a condition that says why."


@dataclass(frozen=True, slots=True)
class Failed:
    """A tenant that did not get through a step, and why. `step` is an op's name."""

    database_name: str
    slug: str
    step: str
    reason: str
    message: str


def log_progress(log: dg.DagsterLogManager, step: str, tenant: Tenant, result: TenantResult) -> Iterator[Failed]:
    """A line for each change of one tenant, and one more for a failure, which is yielded."""
    slug = visible(tenant.slug)
    for outcome in result.outcomes:
        if outcome.status is OutcomeStatus.DONE:
            log.info(f"{slug}: {step}: {outcome.change}, {visible(outcome.detail)} ({outcome.seconds:.2f} s)")
    if result.failed:
        # the step's own condition is the last that was settled
        why = next((found for found in reversed(result.conditions) if found.status is not Status.TRUE), None)
        reason, message = (str(why.reason), why.message) if why else ("UnexpectedError", result.defect or _UNFORESEEN)
        log.error(f"{slug}: {step} failed: {reason}: {unsteered(message)}")
        yield Failed(tenant.database_name, tenant.slug, step, reason, message)


def log_settled(log: dg.DagsterLogManager, plan: Plan, results: Sequence[TenantResult]) -> tuple[Failed, ...]:
    """The same for tenants that were settled before anything fanned out: those that went first on their server."""
    tenants = {entry.tenant.database_name: entry.tenant for entry in plan.tenants}
    return tuple(
        failed
        for result in results
        for failed in log_progress(log, "detect_tenants", tenants[result.database_name], result)
    )


def who_got_through(failed: Sequence[Failed]) -> dg.AssetCheckEvaluation:
    """The check that every tenant got through, for an op to yield: the tenants that did not, at which step and why."""
    rows = [(found.slug, found.step, found.reason, found.message) for found in failed]
    return evaluation(every_tenant_got_through, got_through_result(rows))


def history_recorded(
    instance: dg.DagsterInstance, summary: Summary, conditions: Sequence[StoredCondition]
) -> Iterator[dg.AssetMaterialization]:
    """An event in the partition of each tenant that the run changed; the others get none.

    The instance learns of new partitions, all at once. `conditions`: at least those of the tenants that changed.
    """
    changed = summary.changed
    if not changed:
        return
    keys = partition_keys(
        [Tenant(line.database_name, line.slug, line.slug) for line in changed], (line.slug for line in summary.tenants)
    )
    instance.add_dynamic_partitions(str(TENANTS.name), keys)
    held = grouped(conditions, lambda stored: stored.database_name)
    done = grouped(summary.outcomes, lambda outcome: outcome.database_name)
    for line, key in zip(changed, keys, strict=True):
        metadata = _metadata(line, done[line.database_name], held.get(line.database_name, ()))
        yield dg.AssetMaterialization(tenant_workspace.key, partition=key, metadata=metadata)


def _metadata(
    line: TenantLine, outcomes: Sequence[OutcomeLine], conditions: Sequence[StoredCondition]
) -> dict[str, Any]:
    rows = [(one.change, "done" if one.done else "failed", one.detail, f"{one.seconds:.2f}") for one in outcomes]
    held = [
        (found.type, found.status, found.reason, found.message) for found in (stored.condition for stored in conditions)
    ]
    url = {"workspace": dg.MetadataValue.url(line.workspace_url)} if line.workspace_url else {}
    return {
        "tenant": line.slug,
        "database": line.database_name,
        "ready": line.state == "ready",
        "reason": str(line.reason),
        "changes": table(("change", "ended", "what", "seconds"), rows),
        "conditions": table(("condition", "status", "reason", "what it says"), held),
        **url,
    }
