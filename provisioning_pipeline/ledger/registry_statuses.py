"""How the tenant manager's table spells a status, whose words we may not choose."""

import re
from collections.abc import Sequence

from psycopg import sql

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.model.tenant import registry_status

_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_MOST_VALUES = 500


async def allowed_statuses(database: Database, identifier: sql.Identifier, column: str) -> tuple[str, ...]:
    """What the column takes: labels of its enum, texts in its CHECK constraints, values of the table that it refers to.

    Empty where nothing says so.
    """
    rows = await database.fetch(_RULES, [column, identifier.as_string()])
    found = [value for row in rows if row["labels"] for value in row["labels"]]
    found += [text.replace("''", "'") for row in rows if row["rule"] for text in _LITERAL.findall(row["rule"])]
    for row in rows:
        if row["referenced"]:
            query = sql.SQL("SELECT {column}::text AS value FROM {table} LIMIT {most}").format(
                column=sql.Identifier(row["referenced_column"]),
                table=sql.Identifier(row["referenced_schema"], row["referenced"]),
                most=sql.Literal(_MOST_VALUES),
            )
            found += [str(value["value"]) for value in await database.fetch(query)]
    return tuple(dict.fromkeys(found))


def spelled(wanted: Sequence[str], allowed: Sequence[str], like: str | None = None) -> str:
    """The first of these statuses that the table takes, as the table spells it; the first one where none is known.

    `like` is a status of the table's own: a status that is written in small letters follows its case where nothing
    says which statuses there are.
    """
    for status in wanted:
        if status in allowed:
            return status
        for known in allowed:
            if registry_status(known) == registry_status(status):
                return known
    first = wanted[0]
    said = (like or "").strip()
    if not first.islower() or not said:
        return first
    if said.isupper():
        return first.upper()
    return first.capitalize() if said.istitle() else first


_RULES = """
    WITH status AS (
        SELECT a.attrelid, a.attnum, a.atttypid, COALESCE(NULLIF(t.typbasetype, 0), a.atttypid) AS base
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE a.attname = %s AND a.attrelid = to_regclass(%s) AND NOT a.attisdropped
    )
    SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) AS labels, NULL::text AS rule,
           NULL::text AS referenced_schema, NULL::text AS referenced, NULL::text AS referenced_column
    FROM status s JOIN pg_enum e ON e.enumtypid = s.base
    UNION ALL
    SELECT NULL, pg_get_constraintdef(c.oid), NULL, NULL, NULL FROM status s JOIN pg_constraint c
        ON c.contype = 'c' AND (c.conrelid = s.attrelid AND s.attnum = ANY(c.conkey) OR c.contypid = s.atttypid)
    UNION ALL
    SELECT NULL, NULL, n.nspname, r.relname, a.attname FROM status s
        JOIN pg_constraint c ON c.contype = 'f' AND c.conrelid = s.attrelid AND c.conkey = ARRAY[s.attnum]
        JOIN pg_class r ON r.oid = c.confrelid JOIN pg_namespace n ON n.oid = r.relnamespace
        JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = c.confkey[1]
"""
