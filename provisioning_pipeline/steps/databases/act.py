"""What is done by SQL in a tenant's own database, which no Twenty server serves.

One transaction for the onboarding rows and one for an activation status; what is removed or changed is written down
before, so that `provisioning undo` can put it back.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from psycopg import Error

from provisioning_pipeline.clients.onboarding_rows import activate_workspaces, remove_rows
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.locks import tenant_lock
from provisioning_pipeline.ledger.removed_rows import WORKSPACE_TABLE, RemovedRows
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, is_false, is_unknown
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.tenant import DatabasePlan, Outcome, OutcomeStatus
from provisioning_pipeline.steps.chain import ChainResult
from provisioning_pipeline.steps.databases.changes import MEND_WORKSPACE
from provisioning_pipeline.steps.onboarding.changes import REMOVE_ROWS
from provisioning_pipeline.steps.row_removal import kept


@dataclass(frozen=True)
class TenantDatabase:
    """One tenant's own database being worked on. `database` may write; `ledger` is where the lock is taken."""

    name: str
    plan: DatabasePlan
    database: Database
    ledger: Database
    removed_rows: RemovedRows
    run_id: str
    lock_wait_seconds: float


async def repair_tenant_database(work: TenantDatabase) -> ChainResult:
    """Remove the planned rows and set the planned workspaces to ACTIVE. Never raises for what befalls one database."""
    outcomes: list[Outcome] = []
    condition = work.plan.after
    try:
        async with tenant_lock(work.ledger, work.name, wait_seconds=work.lock_wait_seconds):
            for change, doing in ((REMOVE_ROWS, _remove), (MEND_WORKSPACE, _activate)):
                told, whole = await _timed(work, change, doing, outcomes)
                if not whole:
                    condition = is_false(ConditionType.TENANT_DATABASE, Reason.ROWS_CHANGED, told)
    except Fault as fault:
        condition = is_unknown(ConditionType.TENANT_DATABASE, fault.reason, fault.message)
    except Error as error:
        condition = _refused(work.plan, error)
    if condition is not work.plan.after and work.plan.told:
        condition = replace(condition, message=f"{condition.message} {work.plan.told}")
    return ChainResult(work.name, (condition,), tuple(outcomes), failed=False)


async def _timed(
    work: TenantDatabase,
    change: Change,
    doing: Callable[[TenantDatabase], Awaitable[tuple[int, int, str]]],
    outcomes: list[Outcome],
) -> tuple[str, bool]:
    """Do one kind of change and record it: what to tell, and whether all that was planned was done."""
    begun = time.perf_counter()
    try:
        done, planned, what = await doing(work)
    except (Fault, Error) as error:
        text = error.message if isinstance(error, Fault) else str(error).splitlines()[0]
        outcomes.append(
            Outcome(
                work.name,
                change,
                OutcomeStatus.FAILED,
                f"in the tenant's database: {text}",
                time.perf_counter() - begun,
            )
        )
        raise
    if done:
        outcomes.append(
            Outcome(
                work.name,
                change,
                OutcomeStatus.DONE,
                f"{done} {what} in the tenant's database",
                time.perf_counter() - begun,
            )
        )
    left = planned - done
    return f"{left} of {planned} {what} changed meanwhile and were left; the next run looks again.", not left


async def _remove(work: TenantDatabase) -> tuple[int, int, str]:
    rows = work.plan.rows
    if not rows:
        return 0, 0, ""
    async with kept(work.removed_rows, work.run_id, work.name, None) as keep:
        removed = await remove_rows(work.database, rows, keep)
    return len(removed), len(rows), f"onboarding rows ({', '.join(sorted({row.key for row in rows}))})"


async def _activate(work: TenantDatabase) -> tuple[int, int, str]:
    planned = work.plan.activate
    if not planned:
        return 0, 0, ""
    async with kept(work.removed_rows, work.run_id, work.name, None, WORKSPACE_TABLE) as keep:
        changed = await activate_workspaces(work.database, planned, keep)
    return len(changed), len(planned), "workspaces set from PENDING_CREATION to ACTIVE"


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
