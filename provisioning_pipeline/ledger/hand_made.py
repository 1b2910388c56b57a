"""The ledger's rows about workspaces that were inserted by SQL into tenant databases."""

import json
from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from provisioning_pipeline.clients.postgres import Database, anew_if_lost
from provisioning_pipeline.ledger.schema import has_ledger
from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.model.tenant import HandMade


class HandMadeWorkspaces:
    """What hand-made workspaces the last looks found, in the registry's database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def known_at_clerk(self, database_names: Sequence[str] | None = None) -> list[tuple[str, str]]:
        """(database name, e-mail) of people that Clerk was once seen to know, of these databases or of all."""
        if not await has_ledger(self.database):
            return []
        names = None if database_names is None else list(database_names)
        rows = await self.database.fetch_tuples(
            """
            SELECT database_name, email FROM provisioning.known_at_clerk
            WHERE %s::text[] IS NULL OR database_name = ANY(%s)
            """,
            [names, names],
        )
        return [(name, email) for name, email in rows]

    async def store_known_at_clerk(self, people: Sequence[tuple[str, str]]) -> None:
        """Remember that Clerk knows these (database name, e-mail)."""
        if not people:
            return
        names, emails = [list(column) for column in zip(*people, strict=True)]
        await self.database.execute(
            """
            INSERT INTO provisioning.known_at_clerk (database_name, email)
            SELECT DISTINCT * FROM unnest(%s::text[], %s::text[]) ORDER BY 1, 2 ON CONFLICT DO NOTHING
            """,
            [names, emails],
        )

    @anew_if_lost
    async def forget(self, database_names: Collection[str]) -> None:
        """Forget what was found in databases that are no more, and what was told of them."""
        if not database_names:
            return
        names = sorted(database_names)
        async with self.database.transaction() as connection:
            await connection.execute(
                "DELETE FROM provisioning.hand_made_workspace WHERE database_name = ANY(%s)", [names]
            )
            await connection.execute(
                "DELETE FROM provisioning.condition WHERE database_name = ANY(%s) AND type = %s",
                [names, ConditionType.TENANT_DATABASE],
            )

    @anew_if_lost
    async def store(self, found: Mapping[str, Sequence[HandMade]]) -> None:
        """Remember these for each database that was looked into; those that are no longer there are forgotten.

        Only those whose id is a UUID: a hand-made id may be anything.
        """
        if not found:
            return
        by_id = {
            (name, workspace_id): workspace
            for name, workspaces in found.items()
            for workspace in workspaces
            if (workspace_id := _uuid(workspace.workspace_id))
        }
        rows = json.dumps(
            [
                {
                    "database_name": name,
                    "workspace_id": workspace_id,
                    "display_name": workspace.display_name,
                    "failed_checks": workspace.failed_checks,
                }
                for (name, workspace_id), workspace in by_id.items()
            ]
        )
        async with self.database.transaction() as connection:
            await connection.execute(
                """
                DELETE FROM provisioning.hand_made_workspace old
                WHERE database_name = ANY(%s) AND NOT EXISTS (
                    SELECT 1 FROM jsonb_to_recordset(%s::jsonb) AS new(database_name text, workspace_id uuid)
                    WHERE new.database_name = old.database_name AND new.workspace_id = old.workspace_id)
                """,
                [list(found), rows],
            )
            await connection.execute(
                """
                INSERT INTO provisioning.hand_made_workspace AS known
                    (database_name, workspace_id, display_name, failed_checks)
                SELECT * FROM jsonb_to_recordset(%s::jsonb)
                    AS new(database_name text, workspace_id uuid, display_name text, failed_checks text[])
                ON CONFLICT (database_name, workspace_id) DO UPDATE
                SET display_name = excluded.display_name, failed_checks = excluded.failed_checks
                WHERE (known.display_name, known.failed_checks) IS DISTINCT FROM
                      (excluded.display_name, excluded.failed_checks)
                """,
                [rows],
            )


def _uuid(text: str) -> str | None:
    """The UUID in PostgreSQL's spelling; None where it is none."""
    try:
        return str(UUID(text))
    except ValueError:
        return None
