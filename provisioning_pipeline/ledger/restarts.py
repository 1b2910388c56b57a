"""Letting go of a workspace that is gone, so that its tenant gets a new one."""

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from provisioning_pipeline.clients.postgres import anew_if_lost
from provisioning_pipeline.ledger.schema import LedgerTables
from provisioning_pipeline.model.change import RESTART_TENANT
from provisioning_pipeline.model.condition import ConditionType, Reason, Status
from provisioning_pipeline.model.tenant import OutcomeStatus

_FORGOTTEN = ("member_link", "member_intent", "login_proof")
"""Tables of what was so in the old workspace."""


class Restarts(LedgerTables):
    """Restarts of tenants, in the registry's database."""

    @anew_if_lost
    async def restart(self, database_name: str, workspace_id: str, run_id: str, detail: str) -> bool:
        """Drop everything that was known of this workspace, in one transaction; False when it is not the tenant's.

        Who left the old workspace stays away from the new one; everyone else who came over from a hand-made workspace
        comes again. What was done to the tenant, its organization and the admin that was asked for stay.
        """
        async with self.database.transaction() as connection:
            cursor = await connection.execute(
                """
                UPDATE provisioning.tenant_link
                SET server = NULL, subdomain = NULL, workspace_id = NULL, workspace_url = NULL, admin_user_id = NULL,
                    admin_email = NULL, invite_link_opened = false, default_role_before = NULL, ready = false,
                    attempts = 0, look_again_at = now(), restarts = restarts + 1, updated_at = now()
                WHERE database_name = %s AND workspace_id = %s
                """,
                [database_name, workspace_id],
            )
            if not cursor.rowcount:
                return False
            for table in _FORGOTTEN:
                await connection.execute(
                    f"DELETE FROM provisioning.{table} WHERE database_name = %s",  # noqa: S608  # a name of ours
                    [database_name],
                )
            await connection.execute(
                "DELETE FROM provisioning.taken_over_member WHERE database_name = %s AND left_at IS NULL",
                [database_name],
            )
            await _settle(connection, database_name, run_id)
            await connection.execute(
                """
                INSERT INTO provisioning.outcome (run_id, database_name, change, status, detail, seconds)
                VALUES (%s, %s, %s, %s, %s, 0)
                """,
                [run_id, database_name, RESTART_TENANT, OutcomeStatus.DONE, detail],
            )
        return True


async def _settle(connection: AsyncConnection[TupleRow], database_name: str, run_id: str) -> None:
    """What held in the old workspace is not known of the new one."""
    waits = [ConditionType.WORKSPACE_READY, ConditionType.MEMBERS_SYNCED, ConditionType.ONBOARDING_COMPLETE,
             ConditionType.LOGIN_PROVED, ConditionType.READY]  # fmt: skip
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
            "reason": Reason.WAITING,
            "message": "An operator let the tenant start anew: the next run makes it a new workspace.",
            "run": run_id,
            "name": database_name,
            "types": waits,
        },
    )


_OF_PEOPLE = ("member_link", "member_intent", "login_proof")
"""Tables of what is known of a workspace's people."""


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
    await connection.execute(
        """
        UPDATE provisioning.tenant_link
        SET server = NULL, subdomain = NULL, workspace_id = NULL, workspace_url = NULL, admin_user_id = NULL,
            admin_email = NULL, invite_link_opened = false, default_role_before = NULL, ready = false,
            updated_at = now()
        WHERE database_name = %s
        """,
        [renamed_from],
    )
    for table in _OF_PEOPLE:
        await connection.execute(
            f"UPDATE provisioning.{table} SET database_name = %s WHERE database_name = %s",  # noqa: S608  # our names
            [database_name, renamed_from],
        )
