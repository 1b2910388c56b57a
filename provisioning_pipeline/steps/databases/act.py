"""What is done by SQL in a tenant's own database, which no Twenty server serves.

One transaction for the onboarding rows and one for an activation status; what is removed or changed is written down
before, so that `provisioning undo` can put it back.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from psycopg import Error

from provisioning_pipeline.clients.onboarding_rows import activate_workspaces, remove_rows
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.locks import tenant_lock
from provisioning_pipeline.ledger.removed_rows import WORKSPACE_TABLE, RemovedRows
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, is_false, is_unknown
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.tenant import DatabasePlan
from provisioning_pipeline.steps.chain import ChainResult
from provisioning_pipeline.steps.databases.changes import MEND_WORKSPACE
from provisioning_pipeline.steps.onboarding.changes import REMOVE_ROWS
from provisioning_pipeline.steps.record import Record
from provisioning_pipeline.steps.row_removal import kept


@dataclass(frozen=True)
class TenantDatabase:
    """One tenant's own database being worked on. `database` may write; `ledger` is where the lock is taken."""

    name: str
    plan: DatabasePlan
    database: Database
    ledger: Database
    removed_rows: RemovedRows
    record: Record
    lock_wait_seconds: float


async def repair_tenant_database(work: TenantDatabase) -> ChainResult:
    """Remove the planned rows and set the planned workspaces to ACTIVE. Never raises for what befalls one database."""
    condition = work.plan.after
    try:
        async with tenant_lock(work.ledger, work.name, wait_seconds=work.lock_wait_seconds):
            for change, doing in ((REMOVE_ROWS, _remove), (MEND_WORKSPACE, _activate)):
                left = await doing(work, change)
                if left:
                    condition = is_false(ConditionType.TENANT_DATABASE, Reason.ROWS_CHANGED, left)
    except Fault as fault:
        condition = is_unknown(ConditionType.TENANT_DATABASE, fault.reason, fault.message)
    except Error as error:
        condition = _refused(work.plan, error)
    if condition is not work.plan.after and work.plan.told:
        condition = replace(condition, message=f"{condition.message} {work.plan.told}")
    return ChainResult(work.name, (condition,), tuple(work.record.outcomes), failed=False)


async def _remove(work: TenantDatabase, change: Change) -> str:
    """Remove the rows; what is to be told of those that were left, or nothing."""
    rows = work.plan.rows
    what = f"onboarding rows ({', '.join(sorted({row.key for row in rows}))})"

    async def remove() -> int:
        async with kept(work.removed_rows, work.record.run_id, work.name, None) as keep:
            return len(await remove_rows(work.database, rows, keep))

    return await _recorded(work, change, len(rows), what, remove)


async def _activate(work: TenantDatabase, change: Change) -> str:
    planned = work.plan.activate

    async def activate() -> int:
        async with kept(work.removed_rows, work.record.run_id, work.name, None, WORKSPACE_TABLE) as keep:
            return len(await activate_workspaces(work.database, planned, keep))

    return await _recorded(work, change, len(planned), "workspaces set from PENDING_CREATION to ACTIVE", activate)


async def _recorded(
    work: TenantDatabase, change: Change, planned: int, what: str, doing: Callable[[], Awaitable[int]]
) -> str:
    if not planned:
        return ""
    told = ""
    # a change of which nothing was made is none that was done
    with suppress(_AllLeft):
        async with work.record.change(change, f"{planned} {what} in the tenant's database") as learnt:
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
