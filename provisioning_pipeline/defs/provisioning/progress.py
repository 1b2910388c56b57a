"""What a run's page shows of tenants while ops work: a line for each change, and who failed, where and why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import dagster as dg

from provisioning_pipeline.defs.provisioning.checks import got_through_result
from provisioning_pipeline.defs.recording import evaluation
from provisioning_pipeline.model.condition import Status
from provisioning_pipeline.model.names import unsteered, visible
from provisioning_pipeline.model.tenant import OutcomeStatus, Plan, Tenant
from provisioning_pipeline.steps.chain import ChainResult

_UNFORESEEN = "It failed without a condition that says why."


@dataclass(frozen=True, slots=True)
class Failed:
    """A tenant that did not get through a step, and why. `step` is an op's name."""

    database_name: str
    slug: str
    step: str
    reason: str
    message: str


class Log(Protocol):
    """The log of an op."""

    def info(self, message: str, /) -> Any:
        """What was done."""

    def error(self, message: str, /) -> Any:
        """What failed."""


def log_progress(log: Log, step: str, tenant: Tenant, result: ChainResult) -> Iterator[Failed]:
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


def log_settled(log: Log, plan: Plan, results: Sequence[ChainResult]) -> tuple[Failed, ...]:
    """The same for tenants that were settled before anything fanned out: those that went first on their server."""
    tenants = {entry.tenant.database_name: entry.tenant for entry in plan.tenants}
    return tuple(
        failed
        for result in results
        for failed in log_progress(log, "detect_tenants", tenants[result.database_name], result)
    )


def who_got_through(failed: Sequence[Failed]) -> dg.AssetCheckEvaluation:
    """The check that every tenant got through, for an op to yield: the tenants that did not, at which step and why."""
    return evaluation("tenant_workspace", got_through_result([(f.slug, f.step, f.reason, f.message) for f in failed]))
