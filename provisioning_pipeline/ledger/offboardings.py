"""How far the offboarding of each tenant is, stage after stage, and what is left of those that are gone."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final, LiteralString

from psycopg import sql
from psycopg.types.json import Jsonb

from provisioning_pipeline.clients.postgres import Database, anew_if_lost
from provisioning_pipeline.ledger.restarts import let_go
from provisioning_pipeline.ledger.schema import LedgerTables
from provisioning_pipeline.model.change import RESTART_TENANT
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.offboarding import Begun, Offboarding, Return, Stage
from provisioning_pipeline.model.tenant import OutcomeStatus

_COLUMNS: Final[LiteralString] = """
    database_name, slug, clerk_org_id, server, workspace_id::text AS workspace_id, why, policy, begun_at, run_id,
    archived_at, delete_begun_at, export_path, exported_at, export_counts, members_removed_at,
    workspace_deleted_at, organization_cleared_at, gone_at, undone_at, taken_back_at
"""
_OF_WORKSPACE: Final[LiteralString] = "WHERE database_name = %(name)s AND workspace_id = %(workspace)s"
_UNDER_WAY: Final[LiteralString] = f"{_OF_WORKSPACE} AND gone_at IS NULL AND undone_at IS NULL"
_STAGES: Final = ", ".join(f"{stage} = NULL" for stage in Stage)


class Offboardings(LedgerTables):
    """The offboardings of all tenants: one for each workspace that a tenant had and left."""

    async def all(self) -> dict[str, Offboarding]:
        """Database name → its newest offboarding, gone or undone ones, too; none before there is a ledger."""
        rows = await self.fetch_if_made(
            f"""
            SELECT DISTINCT ON (database_name) {_COLUMNS} FROM provisioning.offboarding
            ORDER BY database_name, begun_at DESC, workspace_id
            """  # noqa: S608  # texts of ours alone
        )
        return {row["database_name"]: Offboarding(**row) for row in rows}

    async def of(self, database_name: str, workspace_id: str) -> Offboarding | None:
        """The offboarding of this tenant from this workspace."""
        rows = await self.database.fetch(
            f"SELECT {_COLUMNS} FROM provisioning.offboarding {_OF_WORKSPACE}",  # noqa: S608  # texts of ours alone
            {"name": database_name, "workspace": workspace_id},
        )
        return Offboarding(**rows[0]) if rows else None

    async def begin(self, offboarding: Begun) -> Offboarding:
        """Begin one, or go on with it: then only its policy changes. One that was undone begins anew.

        What is gone stays as it is.
        """
        await self.database.execute(
            """
            INSERT INTO provisioning.offboarding AS o
                (database_name, slug, clerk_org_id, server, workspace_id, why, policy, run_id)
            VALUES (%(database_name)s, %(slug)s, COALESCE(%(clerk_org_id)s, (
                        SELECT clerk_org_id FROM provisioning.tenant_link WHERE database_name = %(database_name)s
                    )), %(server)s, %(workspace_id)s, %(why)s, %(policy)s,
                    %(run_id)s)
            ON CONFLICT (database_name, workspace_id) DO UPDATE SET policy = EXCLUDED.policy
            WHERE o.gone_at IS NULL AND o.undone_at IS NULL
            """,
            asdict(offboarding),
        )
        await self.database.execute(
            sql.SQL(
                """
                UPDATE provisioning.offboarding SET {stages}, policy = %(policy)s, why = %(why)s, run_id = %(run_id)s,
                    export_path = NULL, export_counts = NULL, begun_at = now(),
                    undone_at = NULL, taken_back_at = NULL
                WHERE database_name = %(database_name)s AND workspace_id = %(workspace_id)s
                  AND gone_at IS NULL AND undone_at IS NOT NULL
                """
            ).format(stages=sql.SQL(_STAGES)),
            asdict(offboarding),
        )
        found = await self.of(offboarding.database_name, offboarding.workspace_id)
        assert found is not None
        return found

    async def mark(self, database_name: str, workspace_id: str, stage: Stage) -> None:
        """Store that a stage is proved; the first time counts."""
        column = sql.Identifier(stage)
        await self.database.execute(
            sql.SQL("UPDATE provisioning.offboarding SET {column} = COALESCE({column}, now()) {where}").format(
                column=column, where=sql.SQL(_UNDER_WAY)
            ),
            {"name": database_name, "workspace": workspace_id},
        )

    async def exported(self, database_name: str, workspace_id: str, path: str, counts: Mapping[str, int]) -> None:
        """Store where the newest export is, and how many records of each object it has."""
        await self.database.execute(
            f"""
            UPDATE provisioning.offboarding SET exported_at = now(), export_path = %(path)s, export_counts = %(counts)s
            {_UNDER_WAY}
            """,  # noqa: S608  # texts of ours alone
            {"name": database_name, "workspace": workspace_id, "path": path, "counts": Jsonb(dict(counts))},
        )

    async def undo(self, end: Return) -> bool:
        """The tenant came back before its workspace was deleted, and is not said to leave; False: it cannot, or has."""
        touched = await self.database.execute(
            f"""
            WITH said AS (
                DELETE FROM provisioning.condition c USING provisioning.offboarding o
                WHERE o.database_name = %(name)s AND o.workspace_id = %(workspace)s AND o.gone_at IS NULL
                  AND o.workspace_deleted_at IS NULL AND c.database_name = o.database_name AND c.type = 'Offboarded'
            )
            UPDATE provisioning.offboarding SET undone_at = now(), taken_back_at = CASE WHEN %(by_hand)s THEN now() END
            {_UNDER_WAY} AND workspace_deleted_at IS NULL
            """,  # noqa: S608  # texts of ours alone
            {"name": end.database_name, "workspace": end.workspace_id, "by_hand": end.by_hand},
        )
        return touched > 0


@anew_if_lost
async def dig_up(database: Database, known: Offboarding, run_id: str) -> bool:
    """Let a tenant whose workspace is deleted begin anew: what is left of it counts no more. False: nothing is left."""
    async with database.transaction() as connection:
        cursor = await connection.execute(
            f"UPDATE provisioning.offboarding SET undone_at = now() {_OF_WORKSPACE} AND gone_at IS NOT NULL "  # noqa: S608  # ours
            "AND undone_at IS NULL",
            {"name": known.database_name, "workspace": known.workspace_id},
        )
        if not cursor.rowcount:
            return False
        await connection.execute(
            "UPDATE provisioning.tenant_link SET attempts = 0, look_again_at = now(), restarts = restarts + 1 "
            "WHERE database_name = %s",
            [known.database_name],
        )
        await connection.execute(
            """
            INSERT INTO provisioning.outcome (run_id, database_name, change, status, detail, seconds)
            VALUES (%s, %s, %s, %s, %s, 0)
            """,
            [
                run_id,
                known.database_name,
                RESTART_TENANT,
                OutcomeStatus.DONE,
                f"workspace {known.workspace_id} is gone",
            ],
        )
    return True


@anew_if_lost
async def bury(offboardings: Offboardings, database_name: str, workspace_id: str, run_id: str, message: str) -> None:
    """Forget the workspace and its people, and store that the tenant is gone: one transaction.

    Args:
        message: what the conditions about the workspace say from now on.
    """
    async with offboardings.database.transaction() as connection:
        named = {"name": database_name, "workspace": workspace_id}
        if await let_go(connection, database_name, workspace_id, run_id, Reason.WORKSPACE_DELETED, message):
            await connection.execute(
                "UPDATE provisioning.tenant_link SET clerk_org_id = NULL WHERE database_name = %(name)s", named
            )
        await connection.execute(
            f"""
            UPDATE provisioning.offboarding SET gone_at = COALESCE(gone_at, now()) {_OF_WORKSPACE}
            """,  # noqa: S608  # texts of ours alone
            named,
        )
