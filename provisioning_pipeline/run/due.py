"""What steps find due by themselves, put into a plan once all else is decided. Pure."""

from collections.abc import Iterable, Mapping

from provisioning_pipeline import steps
from provisioning_pipeline.model.condition import ConditionType, Status
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.steps.members.plan.tenant_members import workspace_usable
from provisioning_pipeline.steps.step import Held


def may_be_due(entries: Iterable[TenantPlan]) -> tuple[str, ...]:
    """Database names of the tenants for which a step may find something due; none where no step plans for itself."""
    if all(step.plan is None for step in steps.STEPS):
        return ()
    return tuple(entry.tenant.database_name for entry in entries if _can_be_worked_in(entry))


def with_due(entry: TenantPlan, held: Mapping[str, Held]) -> TenantPlan:
    """A tenant's plan with what is due by the conditions that held before, if a run can work in its workspace."""
    if _can_be_worked_in(entry):
        for step in steps.STEPS:
            if step.plan is not None:
                entry = step.plan(entry, held.get(entry.tenant.database_name, frozenset()))
    return entry


def _can_be_worked_in(entry: TenantPlan) -> bool:
    wanted = all(
        known.status is Status.TRUE
        for known in entry.conditions
        if known.type in (ConditionType.DETECTED, ConditionType.REGISTERED)
    )
    return wanted and entry.server is not None and workspace_usable(entry)
