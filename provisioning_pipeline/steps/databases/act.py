"""The step repair_databases: what is done by SQL in a tenant's own database, which no Twenty server serves.

One transaction for the onboarding rows and one for an activation status; what is removed or changed is written down
before, so that `provisioning undo` can put it back.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from psycopg import Error

from provisioning_pipeline.clients.onboarding_rows import activate_workspaces, remove_rows
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.inspections import WORKSPACE_TABLE
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, is_false, is_unknown
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.tenant import DatabasePlan
from provisioning_pipeline.steps.databases.changes import MEND_WORKSPACE
from provisioning_pipeline.steps.onboarding.changes import REMOVE_ROWS
from provisioning_pipeline.steps.row_removal import kept
from provisioning_pipeline.steps.scope import Scope


async def repair_database(scope: Scope) -> None:
    """Remove the planned rows and set the planned workspaces to ACTIVE; what befalls the database is its condition."""
    plan = scope.plan.database
    assert plan is not None
    condition = plan.after
    try:
        async with scope.own_database() as database:
            for left in [await _remove(scope, plan, database), await _activate(scope, plan, database)]:
                if left:
                    condition = is_false(ConditionType.TENANT_DATABASE, Reason.ROWS_CHANGED, left)
    except Fault as fault:
        condition = is_unknown(ConditionType.TENANT_DATABASE, fault.reason, fault.message)
    except Error as error:
        condition = _refused(plan, error)
    if condition is not plan.after and plan.told:
        condition = replace(condition, message=f"{condition.message} {plan.told}")
    scope.set(condition)


async def _remove(scope: Scope, plan: DatabasePlan, database: Database) -> str:
    """Remove the rows; what is to be told of those that were left, or nothing."""
    what = f"onboarding rows ({', '.join(sorted({row.key for row in plan.rows}))})"

    async def remove() -> int:
        async with kept(scope.removed_rows, scope.run_id, scope.database_name, None) as keep:
            return len(await remove_rows(database, plan.rows, keep))

    return await _recorded(scope, REMOVE_ROWS, len(plan.rows), what, remove)


async def _activate(scope: Scope, plan: DatabasePlan, database: Database) -> str:
    async def activate() -> int:
        async with kept(scope.removed_rows, scope.run_id, scope.database_name, None, WORKSPACE_TABLE) as keep:
            return len(await activate_workspaces(database, plan.activate, keep))

    what = "workspaces set from PENDING_CREATION to ACTIVE"
    return await _recorded(scope, MEND_WORKSPACE, len(plan.activate), what, activate)


async def _recorded(scope: Scope, change: Change, planned: int, what: str, doing: Callable[[], Awaitable[int]]) -> str:
    if not planned:
        return ""
    told = ""
    # a change of which nothing was made is none that was done
    with suppress(_AllLeft):
        async with scope.change(change, f"{planned} {what} in the tenant's database") as learnt:
            left = planned - await doing()
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
