"""The ledger's rows about what runs removed or changed by SQL, as it was before, so that it can be put back."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.ledger.schema import has_ledger

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


class RemovedRows:
    """Rows that runs removed or changed by SQL, in the registry's database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def keep(
        self, run_id: str, database_name: str, server: str | None, table_name: str, rows: Sequence[Row]
    ) -> list[int]:
        """Write rows down before their deletion is committed. The ids are for `settle` or `forget`, in order.

        Args:
            rows: whole rows by column name, `id` among them. What JSON does not have is kept as text.
        """
        if not rows:
            return []
        kept = await self.database.fetch(
            """
            INSERT INTO provisioning.removed_row (run_id, database_name, server, table_name, row_id, row, status)
            SELECT %s, %s, %s, %s, (whole->>'id')::uuid, whole, 'removing'
            FROM unnest(%s::jsonb[]) WITH ORDINALITY AS found(whole, place) ORDER BY place
            RETURNING id
            """,
            [run_id, database_name, server, table_name, [json.dumps(row, default=str) for row in rows]],
        )
        return [row["id"] for row in kept]

    async def settle(self, ids: Sequence[int]) -> None:
        """Their deletion was committed."""
        await self.database.execute(
            "UPDATE provisioning.removed_row SET status = 'removed' WHERE id = ANY(%s) AND status = 'removing'",
            [list(ids)],
        )

    async def forget(self, ids: Sequence[int]) -> None:
        """Their deletion did not take place."""
        await self.database.execute(
            "DELETE FROM provisioning.removed_row WHERE id = ANY(%s) AND status = 'removing'", [list(ids)]
        )

    async def restored(self, ids: Sequence[int]) -> None:
        """They are back."""
        await self.database.execute(
            "UPDATE provisioning.removed_row SET status = 'restored' WHERE id = ANY(%s)", [list(ids)]
        )

    async def of_run(self, run_id: str) -> list[RemovedRow]:
        """What a run removed and was not put back yet, in the order in which it was removed."""
        if not await has_ledger(self.database):
            return []
        rows = await self.database.fetch(
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
        if not await has_ledger(self.database):
            return 0
        rows = await self.database.fetch(
            """
            SELECT count(*) AS found FROM provisioning.removed_row
            WHERE run_id = %s AND table_name = %s AND status <> 'restored'
            """,
            [run_id, table_name],
        )
        return int(rows[0]["found"])

    async def runs(self) -> list[Removals]:
        """The runs that removed something, those whose rows were all put back included; newest first."""
        if not await has_ledger(self.database):
            return []
        rows = await self.database.fetch(
            """
            SELECT run_id, count(*) AS removed, count(*) FILTER (WHERE status = 'restored') AS restored,
                   max(removed_at) AS last_at
            FROM provisioning.removed_row GROUP BY run_id ORDER BY max(id) DESC
            """
        )
        return [Removals(**row) for row in rows]

    async def is_run(self, run_id: str) -> bool:
        """Whether there was such a run, whatever it did."""
        if not await has_ledger(self.database):
            return False
        rows = await self.database.fetch("SELECT 1 FROM provisioning.run WHERE run_id = %s", [run_id])
        return bool(rows)

    async def run_ids(self, beginning: str) -> list[str]:
        """The ids of all runs, whatever they did, that begin so; sorted."""
        if not await has_ledger(self.database):
            return []
        rows = await self.database.fetch(
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
        if not await has_ledger(self.database):
            return None
        rows = await self.database.fetch(
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
