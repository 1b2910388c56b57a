"""Whether a write to another owner's table could run code of theirs with our rights.

Everything is read from PostgreSQL's own catalogue. An expression is judged by its stored tree: what is no plain node,
or calls anything but an immutable built-in function, is not let through.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, LiteralString

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

FACTS: LiteralString = """
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
LIMITS: Final[Mapping[str, int]] = {"longest": _LONGEST_TREE, "most": _MOST_EXPRESSIONS}
"""Parameters of `FACTS`, besides the table's `oid`."""

HARMLESS: LiteralString = """
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


def table_of(facts: Mapping[str, Any]) -> Table:
    """The row of `FACTS`."""
    return Table(
        **{
            **facts,
            "columns": tuple(Column(**column) for column in facts["columns"]),
            "expressions": tuple(Expression(**expression) for expression in facts["expressions"]),
            "references": tuple(Reference(**reference) for reference in facts["references"]),
        }
    )


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
        yield from _what_stands_on_it(table)
        yield from _types(table, write, columns)
        yield from _foreign_keys(table, write, columns)
    if len(table.expressions) > _MOST_EXPRESSIONS:
        yield f"has over {_MOST_EXPRESSIONS} expressions in indexes, constraints, defaults and statistics"
    for expression in table.expressions:
        if _is_met(expression, write, columns) and not _is_harmless(expression, harmless):
            yield f"has a {expression.of} ({expression.name!r}) that calls more than built-in immutable functions"


def _what_stands_on_it(table: Table) -> Iterator[str]:
    if table.row_security:
        yield "has row security"
    if table.inherits:
        yield "is a part of another table, or has parts"
    if table.rule is not None:
        yield f"has a rule ({table.rule!r})"
    if table.trigger is not None:
        yield f"has a trigger ({table.trigger!r})"


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
