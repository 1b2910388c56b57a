"""Onboarding rows out of a database and back, by SQL: of a tenant's own database, or of a Twenty server's.

Before a table of a tenant's own database is touched, `held_table` has made sure that nothing of its owner's will run.
"""

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final, LiteralString

from psycopg import errors, sql
from psycopg.types.json import Jsonb

from provisioning_pipeline.clients.held_table import HeldTable, Write, held
from provisioning_pipeline.clients.postgres import Connection, Database, Row
from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.onboarding import Flag

_PAIRS, _WORKSPACE, _STATUS = "keyValuePair", "workspace", "activationStatus"
_LONGEST_ROW: Final = 4096
"""Characters of a whole row as JSON; one of Twenty's has a tenth of that."""
_LONGEST_ROWS: Final = 4_000_000
"""Of all rows together: what Python makes of them can be twenty times as large."""
_CHANGED: Final = (
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.InvalidSchemaName,
    errors.InvalidTextRepresentation,
)

_STILL_AS_PLANNED: LiteralString = """
    SELECT CASE WHEN {size} <= {longest} THEN (
        SELECT CASE WHEN length(j.row) <= {longest} THEN j.row END
        FROM (SELECT to_jsonb(r)::text AS row FROM (SELECT {whole}) r) j) END
    FROM {table} k
    JOIN jsonb_to_recordset(%s) AS planned(row_id text, key text, user_id text, workspace_id text, type text)
        ON k.id = planned.row_id::uuid AND {key}::text = planned.key AND {type}::text = planned.type
        AND {user}::text IS NOT DISTINCT FROM planned.user_id
        AND {workspace}::text IS NOT DISTINCT FROM planned.workspace_id
    WHERE to_jsonb({value}) = 'true'
    ORDER BY k.id  -- the same order in every process, so that two of them cannot deadlock
    FOR UPDATE OF k
"""
_STILL_PENDING: LiteralString = """
    SELECT k.id::text, {status}::text FROM {table} k
    WHERE k.id = ANY(%s::uuid[]) AND {status}::text = 'PENDING_CREATION' AND {deleted} IS NULL
    ORDER BY k.id
    FOR UPDATE OF k
"""
_INSERT: LiteralString = """
    INSERT INTO {table} ({columns})
    SELECT {columns} FROM jsonb_populate_recordset(NULL::{table}, %s) r
    -- a table that was not made by Twenty may have no unique index that says so
    WHERE NOT EXISTS (SELECT FROM {table} k WHERE k.id = r.id) AND NOT EXISTS (
        SELECT FROM {table} k
        WHERE {key}::text = {new_key}::text AND COALESCE({user}::text, '') = COALESCE({new_user}::text, '')
            AND COALESCE({workspace}::text, '') = COALESCE({new_workspace}::text, ''))
    ON CONFLICT DO NOTHING
    RETURNING id::text
"""


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of rows that were to be put back, by their ids. Any other one has a newer row in its place.

    Args:
        inserted: those that are there now because of us.
        there: those that were there already.
        dangling: row → its column that refers to something that is gone.
    """

    inserted: frozenset[str] = frozenset()
    there: frozenset[str] = frozenset()
    dangling: dict[str, str] = field(default_factory=dict)


async def rights_missing(database: Database) -> tuple[str, ...]:
    """The rights that our user lacks there to remove onboarding rows and put them back; empty without such a table.

    Raises:
        Fault: when the database cannot be reached.
    """
    rows = await database.fetch_tuples(
        """
        SELECT needed FROM unnest(ARRAY['SELECT', 'UPDATE', 'DELETE', 'INSERT']) WITH ORDINALITY AS n(needed, place)
        WHERE NOT has_table_privilege(to_regclass('core."keyValuePair"'), needed) ORDER BY place
        """
    )
    return tuple(needed for (needed,) in rows)


async def remove_rows(
    database: Database,
    planned: Sequence[Flag],
    record: Callable[[list[Row]], Awaitable[None]],
    *,
    owner_is_trusted: bool = False,
) -> list[Row]:
    """Delete those of the planned onboarding rows that are still exactly as planned, all or none of them.

    A row is left alone when it was changed or removed meanwhile, and when it was not planned as
    pending (JSON `true`) or without its `row_id`.

    Args:
        database: a tenant database or that of a Twenty server; one transaction in it.
        planned: as they were read.
        record: gets the whole rows and writes them down elsewhere, before they are deleted; when it raises, nothing is
            deleted. Not called when there is nothing to delete.
        owner_is_trusted: it is a Twenty server's own database.

    Returns:
        The whole rows that are deleted now, each column by its name.

    Raises:
        Fault: when the database cannot be reached or the connection breaks (then the rows are there, or all of them
            gone), when another session holds a row, or the table is not one that this program knows, or one through
            which its owner could run code as us.
        psycopg.Error: whatever else PostgreSQL refuses, such as InsufficientPrivilege.
    """
    wanted = [asdict(flag) for flag in planned if flag.row_id is not None and flag.value is True]
    if not wanted:
        return []
    async with _held(database, _PAIRS, Write.DELETE, trusted=owner_is_trusted) as (connection, table):
        sizes = [
            sql.SQL("COALESCE(pg_column_size({}), 0)").format(table.identifier("k", name)) for name in table.columns
        ]
        whole = [sql.SQL("{} AS {}").format(table.value(name), table.identifier(name)) for name in table.columns]
        query = sql.SQL(_STILL_AS_PLANNED).format(
            table=table.relation,
            size=sql.SQL(" + ").join(sizes),
            longest=sql.Literal(_LONGEST_ROW),
            whole=sql.SQL(", ").join(whole),
            key=table.value("key"),
            type=table.value("type"),
            user=table.value("userId"),
            workspace=table.value("workspaceId"),
            value=table.value("value"),
        )
        cursor = await connection.execute(query, [Jsonb(wanted)])
        rows, length = [], 0
        async for (text,) in cursor:
            length += len(text or "")
            if length > _LONGEST_ROWS:
                raise _too_large(table, f"pending rows are longer than {_LONGEST_ROWS:,} characters together")
            rows.append(_parsed(table, text))
        if not rows:
            return []
        await record(rows)
        delete = sql.SQL("DELETE FROM {} WHERE id = ANY(%s::uuid[])").format(table.relation)
        cursor = await connection.execute(delete, [[row["id"] for row in rows]])
        _must_be_all(table, cursor.rowcount, rows)
    return rows


async def activate_workspaces(
    database: Database, planned: Sequence[str], record: Callable[[list[Row]], Awaitable[None]]
) -> list[Row]:
    """Set those of the planned workspaces that are still in PENDING_CREATION to ACTIVE, all or none of them.

    Args:
        database: a tenant database; one transaction in it.
        planned: workspace ids.
        record: as in `remove_rows`.

    Returns:
        `id` and `activationStatus` of each as they were before.

    Raises:
        Fault: as `remove_rows`.
        psycopg.Error: as `remove_rows`.
    """
    if not planned:
        return []
    async with _held(database, _WORKSPACE, Write.UPDATE, {_STATUS}) as (connection, table):
        query = sql.SQL(_STILL_PENDING).format(
            table=table.relation,
            status=table.value(_STATUS),
            deleted=table.value("deletedAt") if "deletedAt" in table.columns else sql.NULL,
        )
        cursor = await connection.execute(query, [list(planned)])
        # no more of them than this: a workspace has secrets
        rows: list[Row] = [{"id": row_id, _STATUS: status} for row_id, status in await cursor.fetchall()]
        if not rows:
            return []
        await record(rows)
        await _set_status(connection, table, rows, "ACTIVE")
    return rows


async def restore_status(
    database: Database, workspace_id: str, before: str, made_by_us: str, *, owner_is_trusted: bool = False
) -> str | None:
    """Set a workspace's activation status back, where it still is what a run made it.

    Returns:
        The status that it had until now; None: there is no such workspace any more.

    Raises:
        Fault: as `remove_rows`.
        psycopg.Error: as `remove_rows`.
    """
    async with _held(database, _WORKSPACE, Write.UPDATE, {_STATUS}, trusted=owner_is_trusted) as (
        connection,
        table,
    ):
        query = sql.SQL("SELECT {}::text FROM {} k WHERE k.id = %s::uuid FOR UPDATE OF k").format(
            table.value(_STATUS), table.relation
        )
        found = await (await connection.execute(query, [workspace_id])).fetchone()
        if found is None:
            return None
        now = str(found[0])
        if now == made_by_us and now != before:
            await _set_status(connection, table, [{"id": workspace_id}], before)
    return now


async def _set_status(connection: Connection, table: HeldTable, rows: Sequence[Row], status: str) -> None:
    update = sql.SQL('UPDATE {} SET "activationStatus" = %s WHERE id = ANY(%s::uuid[])').format(table.relation)
    cursor = await connection.execute(update, [status, [row["id"] for row in rows]])
    _must_be_all(table, cursor.rowcount, rows)


async def restore_rows(database: Database, rows: Sequence[Row], *, owner_is_trusted: bool = False) -> Restored:
    """Put whole rows of `core."keyValuePair"` back as they were, in one transaction. Safe to do twice.

    Left out are rows that are there already, rows in whose place, by key and level, is another one now, and rows of a
    user or a workspace that is gone.

    Args:
        rows: as `remove_rows` returned them. A column that the table no longer has is dropped, a new one gets its
            default.
        owner_is_trusted: it is a Twenty server's own database.

    Raises:
        Fault: as `remove_rows`.
        psycopg.Error: as `remove_rows`.
    """
    if not rows:
        return Restored()
    known = {column for row in rows for column in row}
    dangling: dict[str, str] = {}
    async with _held(database, _PAIRS, Write.INSERT, known, trusted=owner_is_trusted) as (connection, table):
        # a key that is looked up at the end only would keep all of them out
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        try:
            async with connection.transaction():
                inserted = await _insert(connection, table, rows, known)
        except errors.ForeignKeyViolation:
            inserted = set()
            for row in rows:
                try:
                    async with connection.transaction():
                        inserted |= await _insert(connection, table, [row], known)
                except errors.ForeignKeyViolation as error:
                    dangling[str(row["id"])] = table.key_columns.get(error.diag.constraint_name or "", "")
        there = sql.SQL("SELECT k.id::text FROM {} k WHERE k.id = ANY(%s::uuid[])").format(table.relation)
        cursor = await connection.execute(there, [[row["id"] for row in rows]])
        found = {str(row_id) for (row_id,) in await cursor.fetchall()}
    return Restored(frozenset(inserted), frozenset(found - inserted), dangling)


async def _insert(connection: Connection, table: HeldTable, rows: Sequence[Row], known: set[str]) -> set[str]:
    columns = [name for name, column in table.columns.items() if name in known and not column.is_generated]
    query = sql.SQL(_INSERT).format(
        table=table.relation,
        columns=sql.SQL(", ").join(table.identifier(name) for name in columns),
        **{name: table.value(column) for name, column in _LEVEL.items()},
        **{f"new_{name}": table.value(column, of="r") for name, column in _LEVEL.items()},
    )
    cursor = await connection.execute(query, [Jsonb(list(rows))])
    return {str(row_id) for (row_id,) in await cursor.fetchall()}


_LEVEL: Final = {"key": "key", "user": "userId", "workspace": "workspaceId"}
"""What makes two rows the same one."""


def _parsed(table: HeldTable, text: str | None) -> Row:
    """A whole row, as it can be recorded.

    Raises:
        Fault: when it is too large, or holds what JSON cannot say here.
    """
    try:
        row: dict[str, Any] = json.loads(text or "", parse_float=_finite)
    except (ValueError, RecursionError):
        what = f"a row is longer than {_LONGEST_ROW:,} characters or holds values that cannot be kept"
        raise _too_large(table, what) from None
    return row


def _too_large(table: HeldTable, what: str) -> Fault:
    return Fault(
        FaultKind.TENANT,
        Reason.TENANT_DATABASE_TOO_LARGE,
        f'{table.where}: of core."{table.name}", {what}, so none was changed. Have the owner of that database remove '
        "what is too long.",
    )


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _must_be_all(table: HeldTable, touched: int, rows: Sequence[Row]) -> None:
    if touched != len(rows):
        raise Fault(
            FaultKind.TENANT,
            Reason.ROWS_CHANGED,
            f'{table.where} lets us change {touched} of {len(rows)} rows of core."{table.name}", so none was changed. '
            "Look for a trigger or a row policy on that table.",
        )


@asynccontextmanager
async def _held(
    database: Database, name: str, write: Write, columns: Collection[str] = (), *, trusted: bool = False
) -> AsyncIterator[tuple[Connection, HeldTable]]:
    """One transaction that holds this table, with PostgreSQL's refusals as faults."""
    try:
        async with (
            database.transaction() as connection,
            held(database, connection, name, write, columns, owner_is_trusted=trusted) as table,
        ):
            yield connection, table
    except _CHANGED as error:
        raise Fault(
            FaultKind.TENANT,
            Reason.OLDER_SCHEMA,
            f"{database.system} ({database.where}) has no such rows as this program knows them: {first_line(error)}.",
        ) from None
