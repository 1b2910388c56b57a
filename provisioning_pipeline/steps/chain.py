"""The steps of one tenant in order, under its lock, with every failure turned into a condition."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg import Error

from provisioning_pipeline import steps
from provisioning_pipeline.ledger.locks import tenant_lock
from provisioning_pipeline.model.change import Where
from provisioning_pipeline.model.condition import ALWAYS_ASKED, Condition, ConditionType, Reason, is_false, is_unknown
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.tenant import Outcome, TenantPlan
from provisioning_pipeline.steps.scope import Scope, defect_of
from provisioning_pipeline.steps.step import Step


def questions() -> tuple[ConditionType, ...]:
    """The conditions that make a tenant ready: those that are always asked for, and what the steps settle besides."""
    settled = {step.condition for step in steps.STEPS if not step.condition.told_only}
    return tuple(sorted({*ALWAYS_ASKED, *settled}, key=lambda type_: type_.rank))


def steps_for(plan: TenantPlan) -> tuple[Step, ...]:
    """The steps that this plan wants; none on its server when no server can take it."""
    wanted: list[Step] = []
    for step in steps.STEPS:
        if step.where is Where.SERVER and plan.server is None:
            continue
        if (
            any(change in step.changes for change in plan.changes)
            or step.also_wanted(plan)
            or (step.follows and any(before.where is Where.SERVER for before in wanted))
        ):
            wanted.append(step)
    return tuple(wanted)


def server_steps(plan: TenantPlan) -> tuple[Step, ...]:
    """The steps that this plan wants on its server."""
    return tuple(step for step in steps_for(plan) if step.where is Where.SERVER)


def ops_for(plan: TenantPlan) -> tuple[Step, ...]:
    """The steps in whose Dagster ops something is to be done for this plan, in order."""
    ops = {step.beside or step for step in steps_for(plan)}
    return tuple(step for step in steps.STEPS if step in ops)


def op_of(step: Step, plan: TenantPlan) -> Step:
    """The step in whose Dagster op this one is taken for a plan that wants it.

    That is its own. One that needs no server is taken along in the tenant's first op, so that no failure on a server
    comes before it.
    """
    return step if step.where is Where.SERVER else ops_for(plan)[0]


@dataclass(frozen=True, slots=True)
class ChainResult:
    """What the steps of one tenant came to.

    Args:
        failed: a step did not get through, so later steps were not begun.
        defect: an unforeseen error, as `file:line ErrorName`; the run must fail for it in the end.
        again_seconds: after how long another try can succeed, where that is known.
    """

    database_name: str
    conditions: tuple[Condition, ...]
    outcomes: tuple[Outcome, ...]
    failed: bool
    defect: str | None = None
    again_seconds: float | None = None


def together(results: Sequence[ChainResult]) -> ChainResult:
    """What was done for one tenant in several places, as one; at least one result."""
    first = results[0]
    return ChainResult(
        first.database_name,
        tuple(condition for result in results for condition in result.conditions),
        tuple(outcome for result in results for outcome in result.outcomes),
        failed=any(result.failed for result in results),
        defect=next((result.defect for result in results if result.defect), None),
        again_seconds=next((result.again_seconds for result in results if result.again_seconds), None),
    )


def stopped(plan: TenantPlan, stop: Fault) -> ChainResult:
    """What a tenant's steps come to on a server where no run may work: its first step meets the stop."""
    type_ = server_steps(plan)[0].condition
    if stop.reason is Reason.CONTRACT_UNPROVED:
        # it holds for whatever is in that workspace, so it is told before all else
        condition = is_unknown(ConditionType.WORKSPACE_READY, stop.reason, stop.message)
    else:
        condition = _settled(type_, stop)
    return ChainResult(plan.tenant.database_name, (condition,), (), failed=True)


async def run_steps(scope: Scope, taken: Sequence[Step]) -> ChainResult:
    """Run these steps for one tenant. Never raises for what befalls one tenant."""
    current = taken[0]
    try:
        async with tenant_lock(scope.ledger.database, scope.database_name, wait_seconds=scope.lock_wait_seconds):
            for current in taken:
                await current.act(scope)
    except Fault as fault:
        on_server = current.where is Where.SERVER
        if on_server:
            scope.server.note(fault)
        scope.set(_failed_condition(scope, current, fault))
        return replace(_result(scope, failed=on_server), again_seconds=fault.again_seconds if on_server else None)
    except Error as error:
        # the ledger or Twenty's database refused a statement; the first line of such a text names no values
        why = f"PostgreSQL refused a statement of {current}: {str(error).splitlines()[0]}."
        return _met_a_defect(scope, current, error, why)
    except Exception as error:  # noqa: BLE001  # a defect of ours must not stop the other tenants; the run fails
        told = f"{current} met an error that nobody foresaw ({defect_of(error)})"
        return _met_a_defect(scope, current, error, f"{told}; its text is withheld, it may hold secrets.")
    finally:
        scope.record.note()
    return _result(scope, failed=False)


def _met_a_defect(scope: Scope, step: Step, error: Exception, why: str) -> ChainResult:
    scope.set(is_unknown(step.condition, Reason.UNEXPECTED_ERROR, why))
    return _result(scope, failed=True, defect=defect_of(error))


def _failed_condition(scope: Scope, step: Step, fault: Fault) -> Condition:
    type_ = step.condition
    if fault.reason is Reason.REGISTRY_REFUSED:
        type_ = ConditionType.REGISTERED
    elif type_ in scope.conditions:
        # the workspace is there; what failed is adding its admin
        type_ = ConditionType.LOGIN_PROVED
    return _settled(type_, fault)


def _settled(type_: ConditionType, fault: Fault) -> Condition:
    settle = is_unknown if fault.kind in (FaultKind.TRANSIENT, FaultKind.BUSY) else is_false
    return settle(type_, fault.reason, fault.message)


def _result(scope: Scope, *, failed: bool, defect: str | None = None) -> ChainResult:
    return ChainResult(scope.database_name, tuple(scope.conditions.values()), tuple(scope.outcomes), failed, defect)
