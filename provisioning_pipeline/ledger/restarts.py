"""Letting go of a workspace that is gone, so that its tenant gets a new one."""

from typing import LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from provisioning_pipeline.clients.postgres import Database, anew_if_lost
from provisioning_pipeline.model.change import RESTART_TENANT
from provisioning_pipeline.model.condition import ConditionType, Reason, Status
from provisioning_pipeline.model.tenant import OutcomeStatus

_OF_PEOPLE = ("member_link", "member_intent", "login_proof", "access_lock")
"""Tables of what is known of a workspace's people."""
_WITHOUT_WORKSPACE: LiteralString = """
    UPDATE provisioning.tenant_link
    SET server = NULL, subdomain = NULL, workspace_id = NULL, workspace_url = NULL, admin_user_id = NULL,
        admin_email = NULL, invite_link_opened = false, default_role_before = NULL, ready = false, updated_at = now(),
        -- it had a row, which the workspace shows no more
        registered_at = COALESCE(registered_at, now())
"""


_LOCKS: tuple[LiteralString, ...] = (
    "DELETE FROM provisioning.access_lock WHERE database_name = %s",
    "DELETE FROM provisioning.condition WHERE database_name = %s AND type = 'AccessLocked'",
)
_MADE_ANEW = "An operator let the tenant start anew: the next run makes it a new workspace."


async def let_go(
    connection: AsyncConnection[TupleRow],
    database_name: str,
    workspace_id: str,
    run_id: str,
    reason: Reason,
    message: str,
) -> bool:
    """Forget this workspace of the tenant and its people; False when it is not, or no longer, the tenant's.

    Args:
        reason, message: what the conditions about the workspace say from now on.
    """
    cursor = await connection.execute(
        f"{_WITHOUT_WORKSPACE} WHERE database_name = %s AND workspace_id = %s", [database_name, workspace_id]
    )
    if not cursor.rowcount:
        return False
    for table in _OF_PEOPLE:
        await connection.execute(
            f"DELETE FROM provisioning.{table} WHERE database_name = %s",  # noqa: S608  # a name of ours
            [database_name],
        )
    await connection.execute(
        "DELETE FROM provisioning.taken_over_member WHERE database_name = %s AND left_at IS NULL",
        [database_name],
    )
    for statement in _LOCKS:
        await connection.execute(statement, [database_name])
    # what held in the old workspace is not known of a new one
    await connection.execute(
        """
        UPDATE provisioning.condition SET since = CASE WHEN status = %(status)s THEN since ELSE now() END,
            status = CASE WHEN type = %(ready)s THEN %(false)s ELSE %(status)s END, reason = %(reason)s,
            message = %(message)s, run_id = %(run)s
        WHERE database_name = %(name)s AND type = ANY(%(types)s)
        """,
        {
            "status": Status.UNKNOWN,
            "false": Status.FALSE,
            "ready": ConditionType.READY,
            "reason": reason,
            "message": message,
            "run": run_id,
            "name": database_name,
            "types": _OF_THE_WORKSPACE,
        },
    )
    return True


@anew_if_lost
async def drop_workspace(database: Database, database_name: str, workspace_id: str, run_id: str, detail: str) -> bool:
    """Drop everything that is known of this workspace, in one transaction; False when it is not the tenant's.

    Members who left the old workspace stay away from the new one; everyone else who came over from a workspace inserted
    by SQL comes again. What was done to the tenant, its organization and the admin that was asked for stay.
    """
    async with database.transaction() as connection:
        cursor = await connection.execute(
            """
            UPDATE provisioning.tenant_link SET attempts = 0, look_again_at = now(), restarts = restarts + 1
            WHERE database_name = %s AND workspace_id = %s
            """,
            [database_name, workspace_id],
        )
        if not cursor.rowcount:
            return False
        await let_go(connection, database_name, workspace_id, run_id, Reason.WAITING, _MADE_ANEW)
        await connection.execute(
            """
            INSERT INTO provisioning.outcome (run_id, database_name, change, status, detail, seconds)
            VALUES (%s, %s, %s, %s, %s, 0)
            """,
            [run_id, database_name, RESTART_TENANT, OutcomeStatus.DONE, detail],
        )
    return True


_OF_THE_WORKSPACE = [
    ConditionType.WORKSPACE_READY,
    ConditionType.MEMBERS_SYNCED,
    ConditionType.ONBOARDING_COMPLETE,
    ConditionType.LOGIN_PROVED,
    ConditionType.READY,
]


async def take_over(
    connection: AsyncConnection[TupleRow], database_name: str, renamed_from: str, workspace_id: str
) -> None:
    """Have the tenant take the place of what it was called before, if that still has the workspace."""
    cursor = await connection.execute(
        """
        UPDATE provisioning.tenant_link l
        SET invite_link_opened = before.invite_link_opened, default_role_before = before.default_role_before,
            asked_admin_email = COALESCE(l.asked_admin_email, before.asked_admin_email)
        FROM provisioning.tenant_link before
        WHERE l.database_name = %s AND before.database_name = %s AND before.workspace_id = %s
        """,
        [database_name, renamed_from, workspace_id],
    )
    if not cursor.rowcount:
        return
    await connection.execute(f"{_WITHOUT_WORKSPACE} WHERE database_name = %s", [renamed_from])
    for table in _OF_PEOPLE:
        await connection.execute(
            f"UPDATE provisioning.{table} SET database_name = %s WHERE database_name = %s",  # noqa: S608  # our names
            [database_name, renamed_from],
        )
