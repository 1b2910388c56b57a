"""What a tenant's database has of the tables that an inspection reads, and how its rows are copied out."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, LiteralString

from psycopg import Error, errors, sql
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from provisioning_pipeline.clients.postgres import Connection

Line = list[str | None]

_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_MEANT: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def comes_raw(connection: Connection) -> bool:
    """Whether its database has no encoding, so that PostgreSQL would refuse to send what is no UTF-8."""
    return connection.pgconn.parameter_status(b"server_encoding") == b"SQL_ASCII"


def copy_of(what: sql.Composable, *, raw: bool) -> sql.Composed:
    """The statement that reads `what`: a query in brackets, or a table with its columns. `raw`: bytes as they are."""
    return sql.SQL("COPY {} TO STDOUT (ENCODING {})").format(what, "SQL_ASCII" if raw else "UTF8")


async def copied(
    connection: Connection, statements: bytes, begins: Callable[[int], None] = lambda _: None
) -> AsyncIterator[tuple[int, Line]]:
    """The rows that these statements in UTF-8 give, sent in one message, each with the number of its COPY, from 0 on.

    Values are as PostgreSQL writes them, NULL is None; what is no UTF-8 is replaced by U+FFFD. Others than COPY give no
    rows. `begins` gets the number of each COPY before its rows.

    Raises:
        psycopg.Error: what PostgreSQL refuses, or that the connection broke.
    """
    pgconn = connection.pgconn
    pgconn.send_query(statements)
    while pgconn.flush():
        await _ready(pgconn, to_write=True)
    number = -1
    refused: Error | None = None
    try:
        while (result := await _result(pgconn)) is not None:
            if result.status == ExecStatus.FATAL_ERROR:
                refused = refused or errors.error_from_result(result)
            elif result.status == ExecStatus.COPY_OUT:
                number += 1
                begins(number)
                while (line := await _line(pgconn)) is not None:
                    values = line.removesuffix(b"\n").split(b"\t")
                    yield number, [None if value == b"\\N" else _text(value) for value in values]
    except Error:
        # the end of a connection comes after the server's reason for it
        if refused is None:
            raise
    if refused is not None:
        raise refused


async def _result(pgconn: PGconn) -> PGresult | None:
    while pgconn.is_busy():
        await _ready(pgconn)
        pgconn.consume_input()
    return pgconn.get_result()


async def _line(pgconn: PGconn) -> bytes | None:
    while True:
        length, line = pgconn.get_copy_data(1)
        if length > 0:
            return bytes(line)
        if length < 0:
            return None
        await _ready(pgconn)
        pgconn.consume_input()


async def _ready(pgconn: PGconn, *, to_write: bool = False) -> None:
    loop, place = asyncio.get_running_loop(), pgconn.socket
    ready = loop.create_future()

    def now() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(place, now)
    if to_write:
        loop.add_writer(place, now)
    try:
        await ready
    finally:
        loop.remove_reader(place)
        if to_write:
            loop.remove_writer(place)


def _text(value: bytes) -> str:
    if b"\\" in value:
        value = _ESCAPED.sub(lambda found: _MEANT.get(found[1], found[1]), value)
    return value.decode(errors="replace")


_KINDS: Final = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "p": "a partitioned table",
}
_SHOWN: Final = 63

_BEGIN: LiteralString = """
    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL search_path = pg_catalog, pg_temp;
    SET LOCAL client_encoding = 'UTF8';
    SET LOCAL row_security = off;
    SET LOCAL standard_conforming_strings = on;
    SET LOCAL client_min_messages = error;
    SET LOCAL statement_timeout = {statement};
    SET LOCAL lock_timeout = {lock};
"""
_OWNERS: LiteralString = """(
    SELECT o.rolname
    FROM pg_catalog.pg_database d LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = 'core'
    JOIN pg_catalog.pg_roles o ON o.oid IN (d.datdba, n.nspowner)
    WHERE d.datname = current_database() AND NOT o.rolsuper AND o.rolname <> 'pg_database_owner'
)"""
"""A superuser is no stranger anywhere, and pg_database_owner is another name for the first."""
_TABLES: LiteralString = """(
    SELECT n.nspname, c.relname, c.relkind, CASE WHEN NOT o.rolsuper THEN o.rolname END, row_security_active(c.oid),
           EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid),
           a.attname, t.typname, tn.nspname, a.attgenerated <> '',
           -- what runs when a value is read: enums and domains have functions of PostgreSQL's own
           t.typtype IN ('b', 'd', 'e') AND t.typcategory NOT IN ('A', 'C', 'R') AND COALESCE(r.rolsuper, false)
    FROM pg_catalog.pg_namespace n
    LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = ANY({tables}::name[])
    LEFT JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
    LEFT JOIN pg_catalog.pg_attribute a
        ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname = ANY({columns}::name[])
    LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
    LEFT JOIN pg_catalog.pg_proc p ON p.oid = t.typoutput
    LEFT JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
    WHERE n.nspname = ANY({schemas}::name[])
)"""


@dataclass(slots=True)
class Table:
    """One relation.

    Args:
        owner: a role; None for a superuser.
        columns: name → name of its type, of those that were asked for.
        unsafe: why it is not read, in words that follow its name or that of one of its columns.
    """

    schema: str
    name: str
    owner: str | None
    columns: dict[str, str] = field(default_factory=dict)
    unsafe: list[str] = field(default_factory=list)

    @property
    def shown(self) -> str:
        """Its name, to be shown."""
        return f'{shown(self.schema)}."{shown(self.name)}"'


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What there is of what was asked for."""

    schemas: frozenset[str]
    tables: Mapping[tuple[str, str], Table]

    @property
    def unsafe(self) -> list[str]:
        """Every reason not to read, each a clause."""
        return [why for table in self.tables.values() for why in table.unsafe]

    @property
    def owners(self) -> frozenset[str]:
        """The roles that own these tables, superusers left out."""
        return frozenset(table.owner for table in self.tables.values() if table.owner is not None)


async def begin(
    connection: Connection, tables: Mapping[str, Sequence[str]], *, statement_seconds: float
) -> tuple[frozenset[str], Catalogue]:
    """Begin to look: a transaction of one snapshot that can write nothing, and what schema core has.

    What is set holds for the transaction alone, since a pooler gives the session to others after it. The roles that own
    the database and schema core come beside, superusers left out; without such a schema the catalogue is empty.

    Args:
        tables: name → the columns that matter.
        statement_seconds: how long one statement may take; half as long is waited for a lock.

    Raises:
        psycopg.Error: what PostgreSQL refuses, or that the connection broke.
    """
    message = _beginning(
        comes_raw(connection),
        max(2, round(statement_seconds * 1000)),
        tuple((name, tuple(columns)) for name, columns in tables.items()),
    )
    lines: tuple[list[Line], list[Line]] = ([], [])
    async for number, line in copied(connection, message):
        lines[number].append(line)
    owners = frozenset(owner for (owner,) in lines[0] if owner is not None)
    return owners, _catalogue(lines[1], tables)


async def members_tables(
    connection: Connection, schemas: Sequence[str], tables: Mapping[str, Sequence[str]]
) -> Catalogue:
    """Which of these schemas there are, with which of these tables.

    Raises:
        psycopg.Error: what PostgreSQL refuses, or that the connection broke.
    """
    query = copy_of(_tables(schemas, tables), raw=comes_raw(connection))
    found = [line async for _, line in copied(connection, query.as_bytes(connection))]
    return _catalogue(found, tables)


async def has_database(connection: Connection, name: str) -> bool:
    """Whether the cluster has a database of that name.

    Raises:
        psycopg.Error: what PostgreSQL refuses, or that the connection broke.
    """
    query = sql.SQL("(SELECT FROM pg_catalog.pg_database WHERE datname = {})").format(name)
    statements = sql.SQL(_BEGIN).format(statement=0, lock=0) + copy_of(query, raw=comes_raw(connection))
    return bool([line async for _, line in copied(connection, statements.as_bytes(connection))])


def shown(name: str) -> str:
    """A name that its owner chose, to be shown: nothing in it leaves its line, or lasts."""
    return "".join(letter if letter.isprintable() else "�" for letter in name[:_SHOWN])


@lru_cache(maxsize=8)
def _beginning(raw: bool, milliseconds: int, tables: tuple[tuple[str, tuple[str, ...]], ...]) -> bytes:
    """The first message of a look, the same for most databases."""
    statements = [
        sql.SQL(_BEGIN).format(statement=milliseconds, lock=milliseconds // 2),
        copy_of(sql.SQL(_OWNERS), raw=raw),
        sql.SQL(";"),
        copy_of(_tables(["core"], dict(tables)), raw=raw),
    ]
    return sql.SQL("").join(statements).as_bytes()


def _tables(schemas: Sequence[str], tables: Mapping[str, Sequence[str]]) -> sql.Composed:
    columns = sorted({column for wanted in tables.values() for column in wanted})
    return sql.SQL(_TABLES).format(schemas=list(schemas), tables=list(tables), columns=columns)


def _catalogue(lines: Iterable[Line], wanted: Mapping[str, Sequence[str]]) -> Catalogue:
    schemas: set[str] = set()
    found: dict[tuple[str, str], Table] = {}
    for schema, name, kind, owner, hides, has_children, column, of_type, of_schema, generated, own in lines:
        schemas.add(schema or "")
        if schema is None or name is None:
            continue
        table = found.get((schema, name))
        if table is None:
            table = found[schema, name] = Table(schema, name, owner)
            if kind != "r":
                table.unsafe.append(f"{table.shown} is {_KINDS.get(kind or '', 'no table')}")
            if hides == "t":
                table.unsafe.append(f"{table.shown} has row security, whose policies hold for our user")
            if has_children == "t":
                table.unsafe.append(f"{table.shown} has tables that inherit from it")
        if column is None or column not in wanted[name]:
            continue
        table.columns[column] = of_type or ""
        if generated == "t":
            table.unsafe.append(f'{table.shown}."{column}" is a generated column')
        if own != "t":
            theirs = f"{shown(of_schema or '')}.{shown(of_type or '')}"
            table.unsafe.append(
                f'{table.shown}."{column}" has the type {theirs}, which is no plain one of PostgreSQL\'s own'
            )
    return Catalogue(frozenset(schemas), found)


_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "workspace": ("id",),
    "user": ("id", "email"),
    "userWorkspace": ("userId", "workspaceId"),
    "keyValuePair": ("id", "key", "value", "type", "userId", "workspaceId"),
    "role": ("id", "label"),
    "roleTarget": ("roleId", "userWorkspaceId"),
    "userWorkspaceRole": ("roleId", "userWorkspaceId"),
    "objectMetadata": ("workspaceId",),
}
"""Without these columns nothing of a table is read. Every other column is taken as NULL where it is missing."""
_REPORTED: Final[Mapping[str, tuple[str, ...]]] = {
    "workspace": ("displayName", "activationStatus"),
    "userWorkspace": ("id",),
}
"""Reported where they are missing, like those that are needed; the others older versions do well without."""
READ: Final[Mapping[str, tuple[str, ...]]] = {
    **_NEEDED,
    "workspace": ("id", "displayName", "activationStatus", "databaseSchema", "defaultRoleId", "deletedAt"),
    "user": ("id", "email", "firstName", "lastName", "deletedAt"),
    "userWorkspace": ("id", "userId", "workspaceId", "deletedAt"),
    "role": ("id", "label", "workspaceId", "canUpdateAllSettings"),
}
"""Every column that is read, where it is there."""
MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "workspaceMember": ("userId", "nameFirstName", "nameLastName", "deletedAt")
}
"""The same of the workspaces' own schemas."""
ROLES: Final = ("roleTarget", "userWorkspaceRole")
"""Where the roles of members are: in newer and in older versions."""
_MAY_BE_MISSING: Final = frozenset({"objectMetadata", *ROLES})


def is_whole(table: Table) -> bool:
    """Whether it has the columns without which nothing of it is read."""
    return table.columns.keys() >= set(_NEEDED[table.name])


def missing(tables: Mapping[str, Table]) -> list[str]:
    """Tables, and columns of tables that are there, of which we would have read something."""
    found = [f'"{name}"' for name in _NEEDED if name not in tables.keys() | _MAY_BE_MISSING]
    if not any(name in tables for name in ROLES):
        found.append(f'"{ROLES[0]}"')
    for name in (name for name in _NEEDED if name in tables):
        columns = (*_NEEDED[name], *_REPORTED.get(name, ()))
        found += [f'"{name}"."{column}"' for column in columns if column not in tables[name].columns]
    return found
