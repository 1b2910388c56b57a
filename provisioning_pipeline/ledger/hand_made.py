"""The ledger's rows about workspaces that were inserted by SQL into tenant databases."""

import json
from collections.abc import Mapping, Sequence

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.model.tenant import HandMade


class HandMadeWorkspaces:
    """What hand-made workspaces the last looks found, in the registry's database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def store(self, found: Mapping[str, Sequence[HandMade]]) -> None:
        """Remember these for each database that was looked into; those that are no longer there are forgotten."""
        if not found:
            return
        rows = json.dumps(
            [
                {
                    "database_name": name,
                    "workspace_id": workspace.workspace_id,
                    "display_name": workspace.display_name,
                    "failed_checks": workspace.failed_checks,
                }
                for name, workspaces in found.items()
                for workspace in workspaces
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
