"""A tenant whose database was renamed takes over what the ledger knows under the old name."""

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

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
