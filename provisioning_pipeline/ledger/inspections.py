"""What inspections of tenants' databases left in the ledger: when, what was inserted by SQL, and removed rows."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from provisioning_pipeline.clients.postgres import Row, anew_if_lost
from provisioning_pipeline.ledger.schema import LedgerTables, columns
from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.model.tenant import InsertedWorkspace
from provisioning_pipeline.model.tenant_database import LastInspection


class Inspections(LedgerTables):
    """The last inspection of each tenant database."""

    async def last(self) -> dict[str, LastInspection]:
        """Database name → its last inspection; empty where there is no ledger yet."""
        rows = await self.tuples_if_made(
            "SELECT database_name, evidence, looked_at, settled FROM provisioning.tenant_database_look"
        )
        return {name: LastInspection(evidence, looked_at, settled) for name, evidence, looked_at, settled in rows}

    async def store(self, found: Mapping[str, LastInspection]) -> None:
        """Store these inspections, by database name, all or none. One older than the stored one changes nothing."""
        if not found:
            return
        await self.database.execute(
            """
            INSERT INTO provisioning.tenant_database_look AS known (database_name, evidence, looked_at, settled)
            SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::boolean[]) AS new
            -- the same order in every process, so that two of them cannot deadlock
            ORDER BY 1
            ON CONFLICT (database_name) DO UPDATE
            SET evidence = EXCLUDED.evidence, looked_at = EXCLUDED.looked_at, settled = EXCLUDED.settled
            WHERE known.looked_at <= EXCLUDED.looked_at
            """,
            columns([(name, last.evidence, last.looked_at, last.settled) for name, last in found.items()]),
        )

    async def forget(self, names: Collection[str]) -> None:
        """Forget the inspections of databases that are no more; one that is there after all is inspected again."""
        if not names:
            return
        await self.database.execute(
            "DELETE FROM provisioning.tenant_database_look WHERE database_name = ANY(%s)", [sorted(names)]
        )


class InsertedWorkspaces(LedgerTables):
    """The workspaces inserted by SQL that the last inspections found."""

    async def known_at_clerk(self, database_names: Sequence[str] | None = None) -> list[tuple[str, str]]:
        """(database name, e-mail) of the people that Clerk once knew, of these databases or of all."""
        rows = await self.tuples_if_made(
            """
            SELECT database_name, email FROM provisioning.known_at_clerk
            WHERE %(names)s::text[] IS NULL OR database_name = ANY(%(names)s)
            """,
            {"names": None if database_names is None else list(database_names)},
        )
        return [(name, email) for name, email in rows]

    async def store_known_at_clerk(self, people: Sequence[tuple[str, str]]) -> None:
        """Remember that Clerk knows these (database name, e-mail)."""
        if not people:
            return
        await self.database.execute(
            """
            INSERT INTO provisioning.known_at_clerk (database_name, email)
            SELECT DISTINCT * FROM unnest(%s::text[], %s::text[]) ORDER BY 1, 2 ON CONFLICT DO NOTHING
            """,
            columns(people),
        )

    @anew_if_lost
    async def forget(self, database_names: Collection[str]) -> None:
        """Forget what was found in databases that are no more, and what was reported of them."""
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
    async def store(self, found: Mapping[str, Sequence[InsertedWorkspace]]) -> None:
        """Store these for each database that was inspected; those that are no longer there are forgotten.

        Only those whose id is a UUID: an id inserted by SQL may be anything.
        """
        if not found:
            return
        by_id = {
            (name, workspace_id): {
                "database_name": name,
                "workspace_id": workspace_id,
                "display_name": workspace.display_name,
                "failed_checks": workspace.failed_checks,
            }
            for name, workspaces in found.items()
            for workspace in workspaces
            if (workspace_id := _uuid(workspace.workspace_id))
        }
        rows = json.dumps(list(by_id.values()))
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


ONBOARDING_TABLE = 'core."keyValuePair"'
WORKSPACE_TABLE = "core.workspace"
"""A row of this table was not removed: its activation status was set from PENDING_CREATION to ACTIVE."""


@dataclass(frozen=True, slots=True)
class RemovedRow:
    """One row as it was before a run removed or changed it.

    Args:
        id: of our own row about it.
        database_name: the tenant for which it was done.
        server: the Twenty server in whose database it was; None: in the tenant's own database.
        table_name: `ONBOARDING_TABLE` or `WORKSPACE_TABLE`.
        row_id: its primary key there.
        row: all of it, by column name, as JSON values.
        certain: the deletion is known to have been committed; otherwise the row may still be there.
    """

    id: int
    run_id: str
    database_name: str
    server: str | None
    table_name: str
    row_id: str
    row: Row
    certain: bool
    removed_at: datetime


@dataclass(frozen=True, slots=True)
class Removals:
    """How many rows one run removed, how many of them were put back since, and when it removed the last."""

    run_id: str
    removed: int
    restored: int
    last_at: datetime


class RemovedRows(LedgerTables):
    """Rows that runs removed or changed by SQL."""

    async def store(
        self, run_id: str, database_name: str, server: str | None, table_name: str, rows: Sequence[Row]
    ) -> list[int]:
        """Record rows before their deletion is committed. The ids are for `settle` or `forget`, in order.

        Args:
            rows: whole rows by column name, `id` among them. What JSON does not have is stored as text.
        """
        if not rows:
            return []
        stored = await self.database.fetch(
            """
            INSERT INTO provisioning.removed_row (run_id, database_name, server, table_name, row_id, row, status)
            SELECT %s, %s, %s, %s, (whole->>'id')::uuid, whole, 'removing'
            FROM unnest(%s::jsonb[]) WITH ORDINALITY AS found(whole, place) ORDER BY place
            RETURNING id
            """,
            [run_id, database_name, server, table_name, [json.dumps(row, default=str) for row in rows]],
        )
        return [row["id"] for row in stored]

    async def settle(self, ids: Sequence[int]) -> None:
        """Record that their deletion was committed."""
        await self.database.execute(
            "UPDATE provisioning.removed_row SET status = 'removed' WHERE id = ANY(%s) AND status = 'removing'",
            [list(ids)],
        )

    async def forget(self, ids: Sequence[int]) -> None:
        """Record that their deletion did not take place."""
        await self.database.execute(
            "DELETE FROM provisioning.removed_row WHERE id = ANY(%s) AND status = 'removing'", [list(ids)]
        )

    async def restored(self, ids: Sequence[int]) -> None:
        """Record that they are back."""
        await self.database.execute(
            "UPDATE provisioning.removed_row SET status = 'restored' WHERE id = ANY(%s)", [list(ids)]
        )

    async def of_run(self, run_id: str) -> list[RemovedRow]:
        """What a run removed and was not put back yet, in the order in which it was removed."""
        rows = await self.fetch_if_made(
            """
            SELECT id, run_id, database_name, server, table_name, row_id::text AS row_id, row,
                   status = 'removed' AS certain, removed_at
            FROM provisioning.removed_row WHERE run_id = %s AND status <> 'restored' ORDER BY id
            """,
            [run_id],
        )
        return [RemovedRow(**row) for row in rows]

    async def count(self, run_id: str, table_name: str) -> int:
        """How many rows of this table a run removed that were not put back yet."""
        rows = await self.tuples_if_made(
            "SELECT count(*) FROM provisioning.removed_row "
            "WHERE run_id = %s AND table_name = %s AND status <> 'restored'",
            [run_id, table_name],
        )
        return rows[0][0] if rows else 0

    async def runs(self) -> list[Removals]:
        """The runs that removed something, those whose rows were all put back included; newest first."""
        rows = await self.fetch_if_made(
            """
            SELECT run_id, count(*) AS removed, count(*) FILTER (WHERE status = 'restored') AS restored,
                   max(removed_at) AS last_at
            FROM provisioning.removed_row GROUP BY run_id ORDER BY max(id) DESC
            """
        )
        return [Removals(**row) for row in rows]

    async def is_run(self, run_id: str) -> bool:
        """Whether there was such a run, whatever it did."""
        return bool(await self.fetch_if_made("SELECT 1 FROM provisioning.run WHERE run_id = %s", [run_id]))

    async def run_ids(self, beginning: str) -> list[str]:
        """The ids of all runs, whatever they did, that begin so; sorted."""
        rows = await self.fetch_if_made(
            """
            SELECT run_id FROM provisioning.run WHERE starts_with(run_id, %(beginning)s)
            UNION SELECT run_id FROM provisioning.removed_row WHERE starts_with(run_id, %(beginning)s)
            ORDER BY run_id
            """,
            {"beginning": beginning},
        )
        return [row["run_id"] for row in rows]

    async def removed_again_by(self, run_id: str) -> str | None:
        """The newest run that, after this one, removed the same rows and whose removal was not put back yet."""
        rows = await self.fetch_if_made(
            """
            SELECT later.run_id FROM provisioning.removed_row AS later
            JOIN provisioning.removed_row AS mine ON mine.row_id = later.row_id AND mine.table_name = later.table_name
                AND mine.database_name = later.database_name AND mine.server IS NOT DISTINCT FROM later.server
            WHERE mine.run_id = %s AND later.run_id <> mine.run_id AND later.id > mine.id
                AND later.status <> 'restored'
            ORDER BY later.id DESC LIMIT 1
            """,
            [run_id],
        )
        return str(rows[0]["run_id"]) if rows else None
