"""A last look at the registry, right before access is taken or a workspace is deleted: the plan may be old by now."""

from psycopg import Error

from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.decide.lifecycle import LifecyclePolicy, not_ending_any_more
from provisioning_pipeline.model.condition import ConditionType, Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.lifecycle import LIFECYCLE_OF, Lifecycle
from provisioning_pipeline.model.registry import folded_name
from provisioning_pipeline.steps.scope import Scope


async def must_still_be_ending(scope: Scope) -> None:
    """Raise unless the registry says at this moment, too, that the tenant is suspended, or has left, as it was planned.

    Raises:
        Fault: REGISTRY_CHANGED, of kind BUSY, with what the registry says, or why it cannot be asked.
    """
    try:
        why = not_ending_any_more(_planned(scope), await _statuses(scope), LifecyclePolicy.of(scope.settings))
    except Fault as fault:
        why = f"the registry cannot be asked again about it: {fault.message.rstrip('.')}"
    except Error as error:
        why = f"the registry cannot be asked again about it: {first_line(error)}"
    if why is not None:
        raise Fault(
            FaultKind.BUSY,
            Reason.REGISTRY_CHANGED,
            f"Nothing more was taken of {scope.plan.tenant.slug}: {why}. The next run plans anew.",
        )


def _planned(scope: Scope) -> Lifecycle:
    """Where the plan saw the tenant in its life."""
    known = (LIFECYCLE_OF[each.reason] for each in scope.plan.conditions if each.type is ConditionType.LIFECYCLE)
    return next(known, Lifecycle.IN_DOUBT)


async def _statuses(scope: Scope) -> list[str | None]:
    """What the rows that name the tenant's database say, however they spell it."""
    if not await scope.registry.columns():
        raise Fault(FaultKind.BUSY, Reason.REGISTRY_CHANGED, f"there is no table {scope.registry.table}")
    rows = await scope.registry.rows([scope.database_name])
    ours = folded_name(scope.database_name)
    return [
        status
        for name, status in zip(rows["database_name"], rows["status"], strict=True)
        if name == scope.database_name or (name and folded_name(name) == ours)
    ]
