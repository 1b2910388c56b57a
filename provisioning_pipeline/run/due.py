"""What steps find due by themselves, put into a plan once all else is decided."""

from collections.abc import Mapping
from dataclasses import replace

from provisioning_pipeline import steps
from provisioning_pipeline.ledger.schema import has_ledger
from provisioning_pipeline.model.condition import ConditionType, Status
from provisioning_pipeline.model.history import Before
from provisioning_pipeline.model.tenant import Plan, TenantPlan
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.steps.members.plan.tenant_members import workspace_usable


async def with_due(connections: Connections, plan: Plan) -> Plan:
    """The plan with what the steps that plan for themselves find due. Without such a step nothing is read."""
    names = [entry.tenant.database_name for entry in plan.tenants if _can_be_worked_in(entry)]
    if not names or all(step.plan is None for step in steps.STEPS):
        return plan
    known = await connections.history.before(names) if await has_ledger(connections.history.database) else {}
    return replace(plan, tenants=tuple(due(entry, known) for entry in plan.tenants))


def due(entry: TenantPlan, known: Mapping[str, Before]) -> TenantPlan:
    """A tenant's plan with what is due by the conditions that held before, if a run can work in its workspace."""
    if not _can_be_worked_in(entry):
        return entry
    before = known.get(entry.tenant.database_name)
    for step in steps.STEPS:
        if step.plan is not None:
            entry = step.plan(entry, before.held if before else frozenset())
    return entry


def _can_be_worked_in(entry: TenantPlan) -> bool:
    wanted = all(
        known.status is Status.TRUE
        for known in entry.conditions
        if known.type in (ConditionType.DETECTED, ConditionType.REGISTERED)
    )
    return wanted and entry.server is not None and workspace_usable(entry)
