"""The stand-in's state: Postgres, and nothing else."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg.sql import SQL, Composed, Identifier
from psycopg_pool import AsyncConnectionPool

from provisioning_pipeline.sandbox.twenty.versions import Traits

Row = dict[str, Any]
Query = str | bytes | SQL | Composed

# What the real server keeps in its environment, in Redis and in its file storage; and records of workspaces, which it
# has in tables of their own.
_OWN_TABLES = """
CREATE SCHEMA IF NOT EXISTS sandbox_twenty;
CREATE TABLE IF NOT EXISTS sandbox_twenty.secret (
  only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one), value text NOT NULL
);
CREATE TABLE IF NOT EXISTS sandbox_twenty.invitation_sent (
  "workspaceId" uuid NOT NULL, email text NOT NULL, "sentAt" timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS sandbox_twenty.object (
  "workspaceId" uuid NOT NULL, "nameSingular" text NOT NULL, "namePlural" text NOT NULL,
  "isActive" boolean NOT NULL DEFAULT true, fields text NOT NULL DEFAULT '',
  PRIMARY KEY ("workspaceId", "nameSingular")
);
CREATE TABLE IF NOT EXISTS sandbox_twenty.record (
  "workspaceId" uuid NOT NULL, object text NOT NULL, id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  data jsonb NOT NULL DEFAULT '{}', "createdAt" timestamptz NOT NULL DEFAULT now(),
  "updatedAt" timestamptz NOT NULL DEFAULT now(), "deletedAt" timestamptz
);
CREATE TABLE IF NOT EXISTS sandbox_twenty.file (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), content bytea NOT NULL);
"""


def core_sql(*, newer: bool = False) -> str:
    """The DDL of schema `core`, or what 2.38 adds to it; may be run again, and on a database that has part of it."""
    name = "core_newer.sql" if newer else "core.sql"
    return resources.files("provisioning_pipeline.sandbox.twenty").joinpath(name).read_text("utf-8")


def schema_name(workspace_id: UUID) -> str:
    """A workspace's own schema: the id as a number, in base 36 (recorded on 2.21.0)."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    number, name = workspace_id.int, ""
    while number:
        number, rest = divmod(number, 36)
        name = digits[rest] + name
    return f"workspace_{name or '0'}"


def members_table(schema: str) -> Composed:
    """The quoted name of a workspace's member table."""
    return SQL("{}.{}").format(Identifier(schema), Identifier("workspaceMember"))


def prepare(database_url: str, traits: Traits) -> str:
    """Create what is missing and return the secret that signs this server's tokens."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        # One at a time: two servers starting on one database would race on the same catalogue rows.
        connection.execute("SELECT pg_advisory_lock(6002210)")
        connection.execute(core_sql().encode())
        if traits.sessions:
            # One by one: a value that is added to an enum has to be committed before it is used.
            for statement in core_sql(newer=True).split(";\n\n"):
                connection.execute(statement.encode())
        connection.execute(_OWN_TABLES)
        connection.execute(
            "INSERT INTO sandbox_twenty.secret (value) VALUES (%s) ON CONFLICT DO NOTHING",
            [secrets.token_hex(32)],
        )
        row = connection.execute("SELECT value FROM sandbox_twenty.secret").fetchone()
    assert row is not None
    return str(row[0])


class Session:
    """Statements on one connection, or on whichever connection is free."""

    def __init__(
        self,
        pool: AsyncConnectionPool[AsyncConnection[DictRow]],
        held: AsyncConnection[DictRow] | None = None,
    ):
        self._pool = pool
        self._held = held

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection[DictRow]]:
        if self._held is not None:
            yield self._held
            return
        async with self._pool.connection() as connection:
            yield connection

    async def all(self, query: Query, *values: Any) -> list[Row]:
        """Every row."""
        async with self._connection() as connection:
            return await (await connection.execute(query, values)).fetchall()

    async def one(self, query: Query, *values: Any) -> Row | None:
        """The first row, if there is one."""
        async with self._connection() as connection:
            return await (await connection.execute(query, values)).fetchone()

    async def the(self, query: Query, *values: Any) -> Row:
        """The row that must be there."""
        row = await self.one(query, *values)
        assert row is not None, "a statement that always gives a row gave none"
        return row

    async def run(self, query: Query, *values: Any) -> int:
        """Run a statement and count the rows that it touched."""
        async with self._connection() as connection:
            return (await connection.execute(query, values)).rowcount

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Session"]:
        """All or nothing."""
        async with self._connection() as connection, connection.transaction():
            yield Session(self._pool, connection)


def open_pool(database_url: str) -> AsyncConnectionPool[AsyncConnection[DictRow]]:
    """A pool to be opened inside the server's own event loop."""
    return AsyncConnectionPool(
        database_url,
        connection_class=AsyncConnection[DictRow],
        kwargs={"autocommit": True, "row_factory": dict_row},
        min_size=1,
        max_size=10,
        open=False,
    )
