"""Onboarding rows out of a database and back, by SQL: of a tenant's own database, or of a Twenty server's."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, LiteralString

from psycopg import errors, sql
from psycopg.types.json import Jsonb

from provisioning_pipeline.clients.postgres import Connection, Database, Row
from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.onboarding import Flag

_LOCK_SECONDS: Final = 5
_CHANGED: Final = (
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.InvalidSchemaName,
    errors.InvalidTextRepresentation,
)

_STILL_AS_PLANNED: LiteralString = """
    SELECT to_jsonb(k) AS row
    FROM core."keyValuePair" k
    JOIN jsonb_to_recordset(%s) AS planned(row_id text, key text, user_id text, workspace_id text, type text)
        ON k.id = planned.row_id::uuid AND k.key = planned.key AND k.type::text = planned.type
        AND k."userId"::text IS NOT DISTINCT FROM planned.user_id
        AND k."workspaceId"::text IS NOT DISTINCT FROM planned.workspace_id
    WHERE to_jsonb(k.value) = 'true'
    ORDER BY k.id  -- the same order in every process, so that two of them cannot deadlock
    FOR UPDATE OF k
"""
_STILL_PENDING: LiteralString = """
    SELECT jsonb_build_object('id', w.id, 'activationStatus', w."activationStatus") AS row  -- no more: it has secrets
    FROM core.workspace w
    WHERE w.id = ANY(%s::uuid[]) AND w."activationStatus"::text = 'PENDING_CREATION'
        AND to_jsonb(w)->>'deletedAt' IS NULL
    ORDER BY w.id
    FOR UPDATE OF w
"""
_INSERT: LiteralString = """
    INSERT INTO core."keyValuePair" AS k ({columns})
    SELECT {columns} FROM jsonb_populate_recordset(NULL::core."keyValuePair", %s) r
    -- a hand-made table may have no unique index that says so
    WHERE NOT EXISTS (SELECT FROM core."keyValuePair" there WHERE there.id = r.id) AND NOT EXISTS (
        SELECT FROM core."keyValuePair" there
        WHERE there.key = r.key AND COALESCE(there."userId"::text, '') = COALESCE(r."userId"::text, '')
            AND COALESCE(there."workspaceId"::text, '') = COALESCE(r."workspaceId"::text, ''))
    ON CONFLICT DO NOTHING
    RETURNING k.id::text
"""


async def rights_missing(database: Database) -> tuple[str, ...]:
    """The rights that our user lacks there to remove onboarding rows and put them back; empty without such a table.

    Raises:
        Fault: when the database cannot be reached.
    """
    rows = await database.fetch(
        """
        SELECT needed FROM unnest(ARRAY['SELECT', 'UPDATE', 'DELETE', 'INSERT']) WITH ORDINALITY AS n(needed, place)
        WHERE NOT has_table_privilege(to_regclass('core."keyValuePair"'), needed) ORDER BY place
        """
    )
    return tuple(row["needed"] for row in rows)


async def remove_rows(
    database: Database, planned: Sequence[Flag], keep: Callable[[list[Row]], Awaitable[None]]
) -> list[Row]:
    """Delete those of the planned onboarding rows that are still exactly as planned, all or none of them.

    A row is left alone when it was changed or removed meanwhile, and when it was not planned as
    pending (JSON `true`) or without its `row_id`.

    Args:
        database: a tenant database or that of a Twenty server; one transaction in it.
        planned: as they were read.
        keep: gets the whole rows and writes them down elsewhere, before they are deleted; when it raises, nothing is
            deleted. Not called when there is nothing to delete.

    Returns:
        The whole rows that are deleted now, each column by its name.

    Raises:
        Fault: when the database cannot be reached or the connection breaks (then the rows are there, or all of them
            gone), when a row is held by somebody else, or the table is not one that this program knows.
        psycopg.Error: whatever else PostgreSQL refuses, such as InsufficientPrivilege.
    """
    wanted = [_as_json(flag) for flag in planned if flag.row_id is not None and flag.value is True]
    if not wanted:
        return []
    with _in_words(database):
        async with database.transaction() as connection:
            await _wait_no_longer(connection)
            cursor = await connection.execute(_STILL_AS_PLANNED, [Jsonb(wanted)])
            rows: list[Row] = [row for (row,) in await cursor.fetchall()]
            if not rows:
                return []
            await keep(rows)
            cursor = await connection.execute(
                'DELETE FROM core."keyValuePair" WHERE id = ANY(%s::uuid[])', [[row["id"] for row in rows]]
            )
            _must_be_all(database, 'core."keyValuePair"', cursor.rowcount, rows)
        return rows


async def activate_workspaces(
    database: Database, planned: Sequence[str], keep: Callable[[list[Row]], Awaitable[None]]
) -> list[Row]:
    """Set those of the planned workspaces that are still in PENDING_CREATION to ACTIVE, all or none of them.

    Args:
        database: a tenant database; one transaction in it.
        planned: workspace ids.
        keep: as in `remove_rows`.

    Returns:
        `id` and `activationStatus` of each as they were before.

    Raises:
        Fault: as `remove_rows`.
        psycopg.Error: as `remove_rows`.
    """
    if not planned:
        return []
    with _in_words(database):
        async with database.transaction() as connection:
            await _wait_no_longer(connection)
            cursor = await connection.execute(_STILL_PENDING, [list(planned)])
            rows: list[Row] = [row for (row,) in await cursor.fetchall()]
            if not rows:
                return []
            await keep(rows)
            cursor = await connection.execute(
                "UPDATE core.workspace SET \"activationStatus\" = 'ACTIVE' WHERE id = ANY(%s::uuid[])",
                [[row["id"] for row in rows]],
            )
            _must_be_all(database, "core.workspace", cursor.rowcount, rows)
        return rows


async def restore_rows(database: Database, rows: Sequence[Row]) -> set[str]:
    """Put whole rows of `core."keyValuePair"` back as they were, in one transaction. Safe to do twice.

    Left out are rows that are there already, rows in whose place, by key and level, is another one now, and rows of a
    user or a workspace that is gone.

    Args:
        rows: as `remove_rows` returned them. A column that the table no longer has is dropped, a new one gets its
            default.

    Returns:
        The ids of the rows that were inserted.

    Raises:
        Fault: as `remove_rows`.
        psycopg.Error: as `remove_rows`.
    """
    if not rows:
        return set()
    with _in_words(database):
        async with database.transaction() as connection:
            await _wait_no_longer(connection)
            try:
                async with connection.transaction():
                    return await _insert(connection, rows)
            except errors.ForeignKeyViolation:
                return await _insert_one_by_one(connection, rows)


async def _insert_one_by_one(connection: Connection, rows: Sequence[Row]) -> set[str]:
    inserted: set[str] = set()
    for row in rows:
        with suppress(errors.ForeignKeyViolation):
            async with connection.transaction():
                inserted |= await _insert(connection, [row])
    return inserted


async def _insert(connection: Connection, rows: Sequence[Row]) -> set[str]:
    cursor = await connection.execute(
        """
        SELECT attname FROM pg_attribute
        WHERE attrelid = 'core."keyValuePair"'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
        """
    )
    known = {column for row in rows for column in row}
    columns = [sql.Identifier(name) for (name,) in await cursor.fetchall() if name in known]
    query = sql.SQL(_INSERT).format(columns=sql.SQL(", ").join(columns))
    return {str(row_id) for (row_id,) in await (await connection.execute(query, [Jsonb(list(rows))])).fetchall()}


def _as_json(flag: Flag) -> Row:
    return {
        "row_id": flag.row_id,
        "key": flag.key,
        "user_id": flag.user_id,
        "workspace_id": flag.workspace_id,
        "type": flag.type,
    }


def _must_be_all(database: Database, table: str, touched: int, rows: Sequence[Row]) -> None:
    if touched != len(rows):
        raise Fault(
            FaultKind.TENANT,
            Reason.ROWS_CHANGED,
            f"{database.system} ({database.where}) lets us change {touched} of {len(rows)} rows of {table}, so none "
            "was changed. Look for a trigger or a row policy on that table.",
        )


async def _wait_no_longer(connection: Connection) -> None:
    await connection.execute("SELECT set_config('lock_timeout', %s, true)", [f"{_LOCK_SECONDS}s"])


@contextmanager
def _in_words(database: Database) -> Iterator[None]:
    """PostgreSQL's refusals as faults."""
    where = f"{database.system} ({database.where})"
    try:
        yield
    except _CHANGED as error:
        raise Fault(
            FaultKind.TENANT,
            Reason.OLDER_SCHEMA,
            f"{where} has no such rows as this program knows them: {first_line(error)}.",
        ) from None
