"""The turns of due tenants, and which code location of Dagster works on this ledger."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.lock_holders import logging_holders_of
from provisioning_pipeline.ledger.locks import alone
from provisioning_pipeline.model.turn import Turn

_TURNS: Final = "code_location"
"""The table whose lock those take who take turns: it has one row that hardly ever changes."""
_WAIT_SECONDS = 30.0
_KEPT_DAYS = 7


class OpenTurns:
    """The turns while no other process takes any; all changes are kept at the end, or none."""

    def __init__(self, connection: AsyncConnection[TupleRow], now: datetime) -> None:
        self._connection = connection
        self.now = now

    async def of(self, names: Collection[str]) -> dict[str, Turn]:
        """Database name → turn, of those that have one."""
        cursor = await self._connection.execute(
            """
            SELECT database_name, due_since, cause, attempts, launched_at, work, asked_by
            FROM provisioning.turn WHERE database_name = ANY(%s)
            """,
            [list(names)],
        )
        return {name: Turn(*columns) for name, *columns in await cursor.fetchall()}

    async def see(self, due: Collection[str]) -> None:
        """These are due, some of them since now; forget those that were not due for a week."""
        await self._connection.execute(
            """
            INSERT INTO provisioning.turn (database_name, due_since) SELECT name, %s FROM unnest(%s::text[]) name
            ON CONFLICT DO NOTHING
            """,
            [self.now, list(due)],
        )
        await self._connection.execute(
            """
            DELETE FROM provisioning.turn WHERE greatest(due_since, launched_at) < %s - make_interval(days => %s)
            AND NOT database_name = ANY(%s)
            """,
            [self.now, _KEPT_DAYS, list(due)],
        )

    async def launch(self, turns: Mapping[str, Turn]) -> None:
        """These are launched now."""
        await self._connection.execute(
            """
            UPDATE provisioning.turn t
            SET cause = n.cause, attempts = n.attempts, launched_at = %s, work = n.work, asked_by = n.asked_by
            FROM unnest(%s::text[], %s::text[], %s::integer[], %s::text[], %s::text[])
                AS n(database_name, cause, attempts, work, asked_by)
            WHERE t.database_name = n.database_name
            """,
            [
                self.now,
                list(turns),
                [turn.cause for turn in turns.values()],
                [turn.attempts for turn in turns.values()],
                [turn.work for turn in turns.values()],
                [turn.asked_by for turn in turns.values()],
            ],
        )


class Turns:
    """Turns in the ledger."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[OpenTurns]:
        """Take turns, one sensor after another: two that tick at the same time never take the same tenant.

        Raises:
            Fault: BUSY when another one takes them for more than half a minute.
        """
        async with logging_holders_of(self.database, _TURNS), self.database.transaction() as connection:
            await alone(connection, _TURNS, wait_seconds=_WAIT_SECONDS)
            cursor = await connection.execute("SELECT clock_timestamp()")
            row = await cursor.fetchone()
            assert row is not None
            yield OpenTurns(connection, row[0])

    async def databases_of(self, named: Collection[str]) -> frozenset[str]:
        """The database names of tenants that are named by slug or database name."""
        rows = await self.database.fetch(
            "SELECT database_name FROM provisioning.tenant_link WHERE slug = ANY(%s)", [list(named)]
        )
        return frozenset(named).union(row["database_name"] for row in rows)

    async def end(self, names: Sequence[str]) -> None:
        """A run has had these tenants as far as their end: whatever is due next is due anew.

        A tenant keeps its turn while the mark stands that it had when it was launched: Clerk was not read for it.
        """
        if not names:
            return
        await self.database.execute(
            """
            DELETE FROM provisioning.turn t WHERE t.database_name = ANY(%s) AND NOT EXISTS (
                SELECT 1 FROM provisioning.tenant_link l
                WHERE l.database_name = t.database_name AND l.marked_at <= t.launched_at)
            """,
            [list(names)],
        )


class CodeLocations:
    """Which code location of Dagster works on this ledger, as its own sensors say it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def known(self) -> tuple[str, str] | None:
        """Names of the location and of its repository; None when no sensor has said it yet."""
        found = await self.database.fetch("SELECT to_regclass('provisioning.code_location') IS NOT NULL AS found")
        if not found[0]["found"]:
            return None
        rows = await self.database.fetch("SELECT location, repository FROM provisioning.code_location")
        return (rows[0]["location"], rows[0]["repository"]) if rows else None

    async def store(self, location: str, repository: str) -> None:
        """Remember it in place of an earlier one."""
        await self.database.execute(
            """
            INSERT INTO provisioning.code_location (location, repository) VALUES (%s, %s)
            ON CONFLICT (only_row) DO UPDATE
            SET location = excluded.location, repository = excluded.repository, seen_at = now()
            """,
            [location, repository],
        )
