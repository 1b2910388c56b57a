"""A table that we write to, held so that nothing of its owner's runs with our rights meanwhile.

The owner of a tenant database may be anybody. A temporary view of ours binds the table by its identity: no schema that
is renamed meanwhile leads anywhere else. The lock keeps its owner from giving it a trigger, a rule, a policy, an index,
statistics, a constraint or a child, and only behind the lock the catalogue is asked what it has.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, LiteralString

from psycopg import sql

from provisioning_pipeline.clients.postgres import Connection, Database
from provisioning_pipeline.clients.table_safety import (
    FACTS,
    HARMLESS,
    LIMITS,
    Column,
    Harmless,
    Table,
    Write,
    called,
    table_of,
    why_unsafe,
)
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

_LOCK_SECONDS: Final = 5
_STATEMENT_SECONDS: Final = 30
_VIEW: Final = "provisioning_held"
_SCHEMA: Final = "core"

_SET_UP: Final[sql.Composed] = sql.SQL(
    "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL row_security = off; SET LOCAL constraint_exclusion = off; "
    "SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}"
).format(sql.Literal(f"{_LOCK_SECONDS}s"), sql.Literal(f"{_STATEMENT_SECONDS}s"))
"""The owner of a database may give every session in it other settings than these."""
_NOT_CUT_OFF: LiteralString = """
    SELECT set_config(s.name, '0', true) FROM pg_settings s
    WHERE s.name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')  -- PostgreSQL 17 has the second
"""
"""While rows are written down elsewhere it is idle: cut off then, they would be kept by each run and never go."""
_BOUND: LiteralString = """
    SELECT DISTINCT d.refobjid::int8 FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass
        AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
    WHERE r.ev_class = %s::regclass
"""


@dataclass(frozen=True)
class HeldTable:
    """A table of schema core during one transaction.

    Args:
        where: its database, for messages.
        name: as it is called there.
        relation: what statements of this transaction call it.
        columns: by name.
        key_columns: constraint → the column whose foreign key it is.
    """

    where: str
    name: str
    relation: sql.Identifier
    columns: dict[str, Column]
    key_columns: dict[str, str]

    @staticmethod
    def identifier(*names: str) -> sql.Identifier:
        """A name in a statement with parameters, in which a per cent sign begins one of them."""
        return sql.Identifier(*(name.replace("%", "%%") for name in names))

    def value(self, column: str, of: str = "k") -> sql.Composed:
        """A column of the table, which stands as `of`; an enum as text, without any cast that its owner may have made.

        Raises:
            Fault: when there is no such column.
        """
        if column not in self.columns:
            raise self._is_older(f'column "{column}"')
        name = self.identifier(of, column)
        if self.columns[column].is_enum:
            return sql.SQL("pg_catalog.enum_out({})::pg_catalog.text").format(name)
        return sql.Composed([name])

    def must_have_uuids(self) -> None:
        """Ids are compared as what they are, so that an index finds them.

        Raises:
            Fault: when `id` is anything but a UUID.
        """
        if "id" not in self.columns or self.columns["id"].type != "uuid":
            raise self._is_older('column "id" of type uuid')

    def _is_older(self, lacking: str) -> Fault:
        return Fault(
            FaultKind.TENANT,
            Reason.OLDER_SCHEMA,
            f'{self.where} has no such rows as this program knows them: core."{self.name}" lacks {lacking}.',
        )


@asynccontextmanager
async def held(
    database: Database,
    connection: Connection,
    name: str,
    write: Write,
    columns: Collection[str] = (),
    *,
    owner_is_trusted: bool = False,
) -> AsyncIterator[HeldTable]:
    """Hold a table of schema core until the end of this transaction.

    Args:
        columns: as `table_safety.why_unsafe` takes them.
        owner_is_trusted: it is Twenty's own database: nothing is refused there, and nothing locked.

    Raises:
        Fault: when it could run code of its owner's; nothing of it ran.
        psycopg.Error: when there is no such table, or it may not be locked.
    """
    where = f"{database.system} ({database.where})"
    await connection.execute(_SET_UP)
    there = sql.Identifier(_SCHEMA, name)
    if owner_is_trusted:
        yield _held(where, name, there, await _facts(connection, await _oid(connection, there)))
        return
    await connection.execute(_NOT_CUT_OFF)
    oid = await _bind(connection, _VIEW, there)
    table = await _facts(connection, oid)
    await _must_be_safe(connection, where, f'core."{name}"', table, write, columns)
    views = [_VIEW]
    if write is Write.INSERT:
        views += await _hold_what_it_refers_to(connection, where, table)
    yield _held(where, name, sql.Identifier("pg_temp", _VIEW), table)
    for view in views:
        # a pooler gives this session to others
        await connection.execute(sql.SQL("DROP VIEW {}").format(sql.Identifier("pg_temp", view)))


def _held(where: str, name: str, relation: sql.Identifier, table: Table) -> HeldTable:
    return HeldTable(
        where,
        name,
        relation,
        {column.name: column for column in table.columns},
        {reference.constraint: reference.column for reference in table.references},
    )


async def _hold_what_it_refers_to(connection: Connection, where: str, table: Table) -> list[str]:
    """The same for the tables in which PostgreSQL looks foreign keys up; the views that bind them."""
    views: list[str] = []
    for reference in {reference.oid: reference for reference in table.references}.values():
        view = f"{_VIEW}_{len(views)}"
        name = f'{reference.schema}."{reference.table}"'
        if await _bind(connection, view, sql.Identifier(reference.schema, reference.table)) != reference.oid:
            raise _unsafe(where, name, "became another table meanwhile")
        views.append(view)
        await _must_be_safe(connection, where, name, await _facts(connection, reference.oid), Write.LOOK_UP, ())
    return views


async def _bind(connection: Connection, view: str, table: sql.Identifier) -> int:
    """Have a view of ours stand for a table, and lock that table; its OID."""
    name = sql.Identifier("pg_temp", view)
    await connection.execute(
        sql.SQL("CREATE TEMPORARY VIEW {} AS SELECT * FROM ONLY {}").format(sql.Identifier(view), table)
    )
    await connection.execute(sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(name))
    cursor = await connection.execute(_BOUND, [name.as_string()])
    ((oid,),) = await cursor.fetchall()
    return int(oid)


async def _oid(connection: Connection, table: sql.Identifier) -> int:
    cursor = await connection.execute("SELECT %s::regclass::oid::int8", [table.as_string()])
    ((oid,),) = await cursor.fetchall()
    return int(oid)


async def _facts(connection: Connection, oid: int) -> Table:
    cursor = await connection.execute(FACTS, {"oid": oid, **LIMITS})
    ((facts,),) = await cursor.fetchall()
    return table_of(facts)


async def _must_be_safe(
    connection: Connection, where: str, name: str, table: Table, write: Write, columns: Collection[str]
) -> None:
    functions, operators = called(table)
    harmless = Harmless()
    if functions or operators:
        cursor = await connection.execute(HARMLESS, {"functions": functions, "operators": operators})
        ((found,),) = await cursor.fetchall()
        harmless = Harmless(**{kind: frozenset(oids) for kind, oids in found.items()})
    danger = why_unsafe(table, write, columns, harmless)
    if danger is not None:
        raise _unsafe(where, name, danger)


def _unsafe(where: str, name: str, danger: str) -> Fault:
    return Fault(
        FaultKind.TENANT,
        Reason.TENANT_DATABASE_UNSAFE,
        f"{where}: {name} {danger}. Its owner could run code with our rights through that, so nothing was changed. "
        "Have the owner take it away; being ready does not wait for it.",
    )
