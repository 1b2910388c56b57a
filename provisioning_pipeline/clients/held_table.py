"""A table that we write to, held so that nothing of its owner's runs with our rights meanwhile.

The owner of a tenant database may be an enemy. A temporary view of ours binds the table by its identity: no schema that
is renamed meanwhile leads anywhere else. The lock keeps its owner from giving it a trigger, a rule, a policy, an index,
statistics, a constraint or a child, and only behind the lock the catalogue is asked what it has.
"""

import re
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, LiteralString

from psycopg import sql

from provisioning_pipeline.clients.postgres import Connection, Database
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

_LONGEST_TREE: Final = 8192
_MOST_EXPRESSIONS: Final = 200
_PLAIN_NODES: Final = frozenset(
    {
        *("VAR", "CONST", "NULLTEST", "BOOLEANTEST", "BOOLEXPR", "RELABELTYPE", "SQLVALUEFUNCTION"),
        *("OPEXPR", "SCALARARRAYOPEXPR", "FUNCEXPR"),
        # before PostgreSQL 16 and since
        *("ARRAY", "ARRAYEXPR", "COALESCE", "COALESCEEXPR"),
    }
)
"""Nodes of a stored expression that call nothing but the function or operator that they name."""
_NODE: Final = re.compile(r"\{(\w*)")
_FUNCTION: Final = re.compile(r":funcid (\d+)")
_OPERATOR: Final = re.compile(r":opno (\d+)")

_FACTS: LiteralString = """
    SELECT json_build_object(
        'kind', c.relkind, 'persistence', c.relpersistence,
        'row_security', c.relrowsecurity OR c.relforcerowsecurity,
        'inherits', c.relispartition OR EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)),
        'rule', (SELECT min(r.rulename::text) FROM pg_rewrite r WHERE r.ev_class = c.oid),
        'trigger', (
            SELECT min(t.tgname::text) FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT (t.tgisinternal AND EXISTS (
                SELECT FROM pg_constraint k WHERE k.oid = t.tgconstraint AND k.contype = 'f'))
        ),
        'columns', COALESCE((
            SELECT json_agg(json_build_object(
                'name', a.attname, 'type', format_type(a.atttypid, NULL), 'is_enum', t.typtype = 'e',
                'is_built_in', t.oid < 16384 AND t.typtype = 'b', 'is_generated', a.attgenerated <> '')
                ORDER BY a.attnum)
            FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
        'expressions', COALESCE((
            SELECT json_agg(json_build_object('of', e.of, 'name', e.name, 'tree', left(e.tree, %(longest)s + 1)))
            FROM (
                SELECT 'index' AS of, i.indexrelid::regclass::text AS name, one.tree
                FROM pg_index i CROSS JOIN LATERAL (VALUES (i.indexprs::text), (i.indpred::text)) one(tree)
                WHERE i.indrelid = c.oid AND one.tree IS NOT NULL
                UNION ALL
                SELECT 'statistics', s.stxname::text, s.stxexprs::text FROM pg_statistic_ext s
                WHERE s.stxrelid = c.oid AND s.stxexprs IS NOT NULL
                UNION ALL
                SELECT 'CHECK constraint', k.conname::text, k.conbin::text FROM pg_constraint k
                WHERE k.conrelid = c.oid AND k.contype = 'c'
                UNION ALL
                SELECT CASE WHEN a.attgenerated = '' THEN 'default' ELSE 'generated column' END, a.attname::text,
                    d.adbin::text
                FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                WHERE d.adrelid = c.oid
                LIMIT %(most)s + 1
            ) e), '[]'),
        'references', COALESCE((
            SELECT json_agg(json_build_object(
                'constraint', k.conname, 'oid', k.confrelid::int8, 'schema', n.nspname, 'table', r.relname,
                'column', (
                    SELECT min(a.attname::text) FROM pg_attribute a
                    WHERE a.attrelid = k.conrelid AND a.attnum = ANY(k.conkey)),
                'is_plain', (
                    SELECT bool_and(a.atttypid = b.atttypid AND a.atttypid < 16384)
                    FROM unnest(k.conkey, k.confkey) pair(here, there)
                    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = pair.here
                    JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = pair.there))
                ORDER BY k.confrelid)
            FROM pg_constraint k JOIN pg_class r ON r.oid = k.confrelid JOIN pg_namespace n ON n.oid = r.relnamespace
            WHERE k.conrelid = c.oid AND k.contype = 'f'), '[]'),
        'referenced', COALESCE((
            SELECT json_object_agg(one.name, one.by)
            FROM (
                SELECT a.attname AS name, min(k.conrelid::regclass::text) AS by
                FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(k.confkey)
                WHERE k.confrelid = c.oid AND k.contype = 'f' GROUP BY a.attname
            ) one), '{}')
    )
    FROM pg_class c WHERE c.oid = %(oid)s
"""

_HARMLESS: LiteralString = """
    SELECT json_build_object(
        'functions', COALESCE((
            SELECT json_agg(p.oid::int8) FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
            WHERE p.oid = ANY(%(functions)s) AND p.oid < 16384 AND p.provolatile = 'i' AND l.lanname = 'internal'
        ), '[]'),
        'operators', COALESCE((
            SELECT json_agg(o.oid::int8)
            FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode JOIN pg_language l ON l.oid = p.prolang
            WHERE o.oid = ANY(%(operators)s) AND o.oid < 16384 AND p.provolatile = 'i' AND l.lanname = 'internal'
        ), '[]'),
        'makers', COALESCE((
            SELECT json_agg(p.oid::int8) FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
            WHERE p.oid = ANY(%(functions)s) AND p.pronargs = 0 AND r.rolsuper), '[]'))
"""
"""Which of these are harmless: built in, immutable and in C; one in SQL may meet casts of theirs. `makers` take no
argument and belong to a superuser, such as `uuid_generate_v4()`."""


class Write(Enum):
    """What is about to be done to a table."""

    DELETE = auto()
    UPDATE = auto()
    INSERT = auto()
    LOOK_UP = auto()
    """PostgreSQL looks up there, with the owner's rights, what a row of another table refers to."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column and its type, in PostgreSQL's words."""

    name: str
    type: str
    is_enum: bool
    is_built_in: bool
    is_generated: bool


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that PostgreSQL may evaluate; `of` is a kind of thing, `name` that thing's."""

    of: str
    name: str
    tree: str


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key to a table; `is_plain`: its columns have the types of those that they refer to, built-in ones."""

    constraint: str
    oid: int
    schema: str
    table: str
    column: str
    is_plain: bool


@dataclass(frozen=True, slots=True)
class Table:
    """What the catalogue says of one table. `referenced`: column → a table whose foreign key refers to it."""

    kind: str
    persistence: str
    row_security: bool
    inherits: bool
    rule: str | None
    trigger: str | None
    columns: tuple[Column, ...]
    expressions: tuple[Expression, ...]
    references: tuple[Reference, ...]
    referenced: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Harmless:
    """Functions and operators that may be called, by OID."""

    functions: frozenset[int] = frozenset()
    operators: frozenset[int] = frozenset()
    makers: frozenset[int] = frozenset()


def called(table: Table) -> tuple[list[int], list[int]]:
    """The functions and the operators that the table's expressions name, by OID."""
    trees = [expression.tree for expression in table.expressions]
    return _all(_FUNCTION, trees), _all(_OPERATOR, trees)


def _all(pattern: re.Pattern[str], trees: Collection[str]) -> list[int]:
    return sorted({int(found) for tree in trees for found in pattern.findall(tree)})


def why_unsafe(table: Table, write: Write, columns: Collection[str], harmless: Harmless) -> str | None:
    """What of the table could run code of its owner's, in words that follow its name; None: nothing.

    Args:
        columns: those that the write names: for UPDATE those that change, for INSERT those that get a value.
    """
    return next(_dangers(table, write, columns, harmless), None)


def _dangers(table: Table, write: Write, columns: Collection[str], harmless: Harmless) -> Iterator[str]:
    if table.kind != "r" or table.persistence != "p":
        yield "is no plain table that lasts"
    if write is not Write.LOOK_UP:
        if table.row_security:
            yield "has row security"
        if table.inherits:
            yield "is a part of another table, or has parts"
        if table.rule is not None:
            yield f"has a rule ({table.rule!r})"
        if table.trigger is not None:
            yield f"has a trigger ({table.trigger!r})"
        yield from _types(table, write, columns)
        yield from _foreign_keys(table, write, columns)
    if len(table.expressions) > _MOST_EXPRESSIONS:
        yield f"has over {_MOST_EXPRESSIONS} expressions in indexes, constraints, defaults and statistics"
    for expression in table.expressions:
        if _is_met(expression, write, columns) and not _is_harmless(expression, harmless):
            yield f"has a {expression.of} ({expression.name!r}) that calls more than built-in immutable functions"


def _types(table: Table, write: Write, columns: Collection[str]) -> Iterator[str]:
    for column in table.columns:
        is_read = write is not Write.UPDATE or column.name in columns
        if is_read and not (column.is_built_in or column.is_enum):
            yield f"has a column ({column.name!r}) of type {column.type!r}, neither a built-in type nor an enum"


def _foreign_keys(table: Table, write: Write, columns: Collection[str]) -> Iterator[str]:
    if write is not Write.DELETE:
        for reference in table.references:
            if not reference.is_plain:
                yield f"has a foreign key ({reference.constraint!r}) between columns of different or own types"
    for name, by in table.referenced.items():
        if write is Write.DELETE or (write is Write.UPDATE and name in columns):
            yield f"is referred to by a foreign key of {by!r}"


def _is_met(expression: Expression, write: Write, columns: Collection[str]) -> bool:
    """Whether PostgreSQL evaluates it, or a constant part of it while it plans."""
    match expression.of:
        case "index" | "statistics":
            return True
        case "CHECK constraint":
            return write in (Write.UPDATE, Write.INSERT)
        case "generated column":
            return write is not Write.LOOK_UP
        case _:
            return write is Write.INSERT and expression.name not in columns


def _is_harmless(expression: Expression, harmless: Harmless) -> bool:
    tree = expression.tree
    if len(tree) > _LONGEST_TREE or not _PLAIN_NODES.issuperset(_NODE.findall(tree)):
        return False
    functions = harmless.functions | harmless.makers if expression.of == "default" else harmless.functions
    return functions.issuperset(_all(_FUNCTION, [tree])) and harmless.operators.issuperset(_all(_OPERATOR, [tree]))


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
"""The session is idle while rows are written down elsewhere; cut off then, the same ones would be kept each time."""
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
            raise self.is_older(f'column "{column}"')
        name = self.identifier(of, column)
        if self.columns[column].is_enum:
            return sql.SQL("pg_catalog.enum_out({})::pg_catalog.text").format(name)
        return sql.Composed([name])

    def is_older(self, lacking: str) -> Fault:
        """What to say of a table that lacks something."""
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
        columns: as `why_unsafe` takes them.
        owner_is_trusted: it is Twenty's own database: nothing is refused there, and nothing locked.

    Raises:
        Fault: when it could run code of its owner's, of which nothing ran; when its `id` is anything but a UUID.
        psycopg.Error: when there is no such table, or it may not be locked.
    """
    where = f"{database.system} ({database.where})"
    await connection.execute(_SET_UP)
    there = sql.Identifier(_SCHEMA, name)
    if owner_is_trusted:
        cursor = await connection.execute("SELECT %s::regclass::oid::int8", [there.as_string()])
        ((oid,),) = await cursor.fetchall()
        yield _held(where, name, there, await _facts(connection, oid))
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
    held_table = HeldTable(
        where,
        name,
        relation,
        {column.name: column for column in table.columns},
        {reference.constraint: reference.column for reference in table.references},
    )
    # ids are compared as what they are, so that an index finds them
    if "id" not in held_table.columns or held_table.columns["id"].type != "uuid":
        raise held_table.is_older('column "id" of type uuid')
    return held_table


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


async def _facts(connection: Connection, oid: int) -> Table:
    cursor = await connection.execute(_FACTS, {"oid": oid, "longest": _LONGEST_TREE, "most": _MOST_EXPRESSIONS})
    ((facts,),) = await cursor.fetchall()
    parts = {"columns": Column, "expressions": Expression, "references": Reference}
    return Table(**{**facts, **{name: tuple(kind(**part) for part in facts[name]) for name, kind in parts.items()}})


async def _must_be_safe(
    connection: Connection, where: str, name: str, table: Table, write: Write, columns: Collection[str]
) -> None:
    functions, operators = called(table)
    harmless = Harmless()
    if functions or operators:
        cursor = await connection.execute(_HARMLESS, {"functions": functions, "operators": operators})
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
