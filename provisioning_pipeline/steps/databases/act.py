"""The step repair_databases: what is done by SQL in a tenant's own database, which no Twenty server serves.

One transaction for the onboarding rows and one for an activation status; what is removed or changed is written down
before, so that `provisioning undo` can put it back.
"""

from collections.abc import Awaitable, Callable, Sized
from contextlib import suppress
from dataclasses import replace
from functools import partial

from psycopg import Error

from provisioning_pipeline.clients.onboarding_rows import activate_workspaces, remove_rows
from provisioning_pipeline.ledger.inspections import ONBOARDING_TABLE, WORKSPACE_TABLE
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, is_false, is_unknown
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.tenant import DatabasePlan
from provisioning_pipeline.steps.databases.changes import MEND_WORKSPACE
from provisioning_pipeline.steps.onboarding.changes import REMOVE_ROWS
from provisioning_pipeline.steps.scope import Scope, WriteDown, written_down


async def repair_database(scope: Scope) -> None:
    """Remove the planned rows and set the planned workspaces to ACTIVE; what befalls the database is its condition."""
    plan = scope.plan.database
    assert plan is not None
    condition = plan.after
    try:
        async with scope.own_database() as database:
            rows = f"onboarding rows ({', '.join(sorted({row.key for row in plan.rows}))})"
            remove = partial(remove_rows, database, plan.rows)
            workspaces = "workspaces set from PENDING_CREATION to ACTIVE"
            activate = partial(activate_workspaces, database, plan.activate)
            for left in [
                await _recorded(scope, REMOVE_ROWS, len(plan.rows), rows, ONBOARDING_TABLE, remove),
                await _recorded(scope, MEND_WORKSPACE, len(plan.activate), workspaces, WORKSPACE_TABLE, activate),
            ]:
                if left:
                    condition = is_false(ConditionType.TENANT_DATABASE, Reason.ROWS_CHANGED, left)
    except Fault as fault:
        condition = is_unknown(ConditionType.TENANT_DATABASE, fault.reason, fault.message)
    except Error as error:
        condition = _refused(plan, error)
    if condition is not plan.after and plan.told:
        condition = replace(condition, message=f"{condition.message} {plan.told}")
    scope.set(condition)


async def _recorded(
    scope: Scope,
    change: Change,
    planned: int,
    what: str,
    table: str,
    doing: Callable[[WriteDown], Awaitable[Sized]],
) -> str:
    """Change the rows; what is to be reported of those that were left, or nothing."""
    if not planned:
        return ""
    told = ""
    # a change of which nothing was made is none that was done
    with suppress(_AllLeft):
        async with scope.change(change, f"{planned} {what} in the tenant's database") as learnt:
            async with written_down(scope.removed_rows, scope.run_id, scope.database_name, None, table) as write_down:
                left = planned - len(await doing(write_down))
            if left:
                told = f"{left} of {planned} {what} changed meanwhile and were left; the next run looks again."
                learnt.append(f"{left} of them changed meanwhile and were left")
            if left == planned:
                raise _AllLeft(FaultKind.BUSY, Reason.ROWS_CHANGED, "all of them changed meanwhile and were left")
    return told


class _AllLeft(Fault):
    """Nothing was as it was planned."""


def _refused(plan: DatabasePlan, error: Error) -> Condition:
    rights = [
        *(['the right to read, lock and delete rows of core."keyValuePair"'] if plan.rows else []),
        *(["UPDATE on the whole of core.workspace"] if plan.activate else []),
    ]
    policies = [
        *(["PROVISIONING_TENANT_DATABASES=report"] if plan.rows else []),
        *(["PROVISIONING_MEND_HAND_MADE=false"] if plan.activate else []),
    ]
    return is_unknown(
        ConditionType.TENANT_DATABASE,
        Reason.DATABASE_REFUSED,
        f"The tenant's database refused to be repaired: {str(error).splitlines()[0]}. Give our user "
        f"{' and '.join(rights)} there, or set {' and '.join(policies)}.",
    )
