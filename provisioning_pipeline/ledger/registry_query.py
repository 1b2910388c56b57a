"""The query that reads the tenant manager's table, whatever columns it has.

A view is read under our role's own search path (`Registry.read`). So functions are named with their schema, and texts
are compared with texts: a function or an operator planted in `public` fits nowhere better.
"""

from collections.abc import Mapping

from psycopg import sql

from provisioning_pipeline.ledger.registry_table import Column, Table

MUST_HAVE = ("database_name", "slug")
WORKSPACE_COLUMNS = ("twenty_workspace_id", "workspace_id")
ADMIN_COLUMNS = ("twenty_admin_user_id",)
ASKED_ADMIN_COLUMN = "twenty_admin_email"
USED = (*MUST_HAVE, "id", "name", "status", "clerk_org_id", "admin_user_id", *WORKSPACE_COLUMNS, ASKED_ADMIN_COLUMN)
PEOPLE = "global_users"
USED_OF_PEOPLE = ("id", "email", "tenant_id", "role", "first_name", "last_name", "is_active")
JSON_TYPES = frozenset({"json", "jsonb"})
_NAMED = "{row}.database_name::text = ANY(%(names)s) OR {row}.slug::text = ANY(%(names)s)"
_WRITTEN_OTHERWISE = (
    " OR pg_catalog.lower(pg_catalog.btrim(r.database_name::text, E' \\t\\r\\n'::text) COLLATE \"C\")::name::text"
    " = ANY(%(written)s)"
)
"""As PostgreSQL writes the name of a database that was made without quotes."""
_RIVALS = " OR r.clerk_org_id::text = ANY(ARRAY(SELECT o.clerk_org_id::text FROM {table} o WHERE {named}))"
_EXACT = frozenset({"uuid", "text", "integer", "bigint"})
"""Types whose comparison is PostgreSQL's own, so that nothing planted fits better."""
LONGEST = 4000
"""Characters of a value that are read: whatever is longer is cut, and is no name, address or id of anything."""
MOST_ROWS = 200_000
"""A registry with more rows is none."""


def rows_query(registry: Table, people: Table, *, some: bool) -> sql.Composed:
    """The rows of the registry with the admin that it names; with `some`, those that `names` and `written` name."""
    columns = registry.columns

    def text(name: str) -> sql.Composable:
        return text_sql(sql.Identifier("r", name), columns[name]) if name in columns else sql.SQL("NULL::text")

    workspace = next((name for name in WORKSPACE_COLUMNS if name in columns), "")
    persons, named, owner = _people(columns, people, some=some)
    return sql.SQL(
        """
        WITH chosen AS MATERIALIZED (
            SELECT {used} FROM {table} r WHERE {chosen}
        ), persons AS MATERIALIZED ({persons})
        SELECT {database} AS database_name, {slug} AS slug, {name} AS name,
               {status} AS status, {clerk} AS clerk_org_id, {workspace} AS workspace_id,
               {asked} AS twenty_admin_email, COALESCE(named.email, owner.email) AS admin_email,
               CASE WHEN named.email IS NOT NULL THEN named.name ELSE owner.name END AS admin_name
        FROM chosen r {named} {owner} LIMIT {most}
        """
    ).format(
        most=sql.Literal(MOST_ROWS + 1),
        database=text("database_name"),
        slug=text("slug"),
        name=text("name"),
        status=text("status"),
        clerk=text("clerk_org_id"),
        workspace=text(workspace),
        asked=text(ASKED_ADMIN_COLUMN),
        # a right to read these columns is enough
        used=sql.SQL(", ").join(sql.Identifier("r", name) for name in USED if name in columns),
        table=registry.identifier,
        chosen=_chosen(registry.identifier, columns) if some else sql.SQL("true"),
        persons=persons,
        named=named,
        owner=owner,
    )


def _chosen(identifier: sql.Identifier, columns: Mapping[str, Column]) -> sql.Composed:
    """Whether a row is one of those asked for, or names the same organization as one of them."""
    named = sql.SQL(_NAMED + _WRITTEN_OTHERWISE).format(row=sql.Identifier("r"))
    if "clerk_org_id" not in columns:
        return named
    others = sql.SQL(_NAMED).format(row=sql.Identifier("o"))
    return named + sql.SQL(_RIVALS).format(table=identifier, named=others)


def _people(
    columns: Mapping[str, Column], people: Table, *, some: bool
) -> tuple[sql.Composable, sql.Composable, sql.Composable]:
    """The people of the chosen rows, and joins for a row's admin: the one that it names, else its owner or admin.

    One pass over the people and two plain joins, so that a large registry is read quickly, whole or in part.
    """
    nobody = sql.SQL("SELECT NULL::text AS id, NULL::text AS tenant_id, NULL::text AS email, NULL::text AS name")
    join = "LEFT JOIN ({}) {} ON {}"
    no_named = sql.SQL(join).format(nobody, sql.Identifier("named"), sql.SQL("true"))
    if not {"id", "email", "tenant_id", "role"} <= set(people.columns) or "id" not in columns:
        return nobody, no_named, sql.SQL(join).format(nobody, sql.Identifier("owner"), sql.SQL("true"))
    names = [_short("u", part) for part in ("first_name", "last_name") if part in people.columns]
    types = {name: column.type for name, column in people.columns.items()}
    chosen = [_equals("tenant_id", types["tenant_id"], "id", columns["id"].type, some=some)]
    if "admin_user_id" in columns:
        chosen.append(_equals("id", types["id"], "admin_user_id", columns["admin_user_id"].type, some=some))
    persons = sql.SQL(
        """
        SELECT u.id::text AS id, u.tenant_id::text AS tenant_id, {email} AS email, u.role::text AS role, {full} AS name
        FROM {users} u WHERE {active} AND ({chosen})
        """
    ).format(
        email=_short("u", "email"),
        full=sql.SQL("pg_catalog.concat_ws(' ', {})").format(sql.SQL(", ").join(names)) if names else sql.SQL("''"),
        users=people.identifier,
        active=sql.SQL("u.is_active IS NOT FALSE") if "is_active" in people.columns else sql.SQL("true"),
        chosen=sql.SQL(" OR ").join(chosen),
    )
    named = no_named
    if "admin_user_id" in columns:
        named = sql.SQL("LEFT JOIN persons named ON named.id = r.admin_user_id::text").format()
    owner = sql.SQL(
        """
        LEFT JOIN (
            SELECT DISTINCT ON (u.tenant_id) u.tenant_id, u.email, u.name FROM persons u
            WHERE u.email IS NOT NULL AND pg_catalog.lower(u.role COLLATE "C") IN ('owner', 'admin')
            ORDER BY u.tenant_id, pg_catalog.lower(u.role COLLATE "C") DESC, u.email
        ) owner ON owner.tenant_id = r.id::text
        """
    )
    return persons, named, owner


def _equals(person: str, person_type: str, chosen: str, chosen_type: str, *, some: bool) -> sql.Composed:
    """Whether a person's column is among the chosen rows' values; as texts only if the types differ: it is slower.

    A few values are compared as an array, which an index can serve; many are hashed.
    """
    cast = sql.SQL("" if person_type == chosen_type and person_type in _EXACT else "::text")
    among = sql.SQL("u.{}{} = ANY(ARRAY(SELECT {}{} FROM chosen))" if some else "u.{}{} IN (SELECT {}{} FROM chosen)")
    return among.format(sql.Identifier(person), cast, sql.Identifier(chosen), cast)


def text_sql(name: sql.Identifier, column: Column) -> sql.Composable:
    """A column as text; of JSON the text that it is, and nothing of an object."""
    if column.type in JSON_TYPES:
        return sql.SQL(
            "CASE pg_catalog.jsonb_typeof({0}::jsonb) WHEN 'string' THEN "
            "pg_catalog.left({0}::jsonb OPERATOR(pg_catalog.#>>) '{{}}'::text[], {1}) END"
        ).format(name, sql.Literal(LONGEST))
    return sql.SQL("pg_catalog.left({}::text, {})").format(name, sql.Literal(LONGEST))


def _short(*name: str) -> sql.Composable:
    return sql.SQL("pg_catalog.left({}::text, {})").format(sql.Identifier(*name), sql.Literal(LONGEST))


def cast_sql(value: sql.Composable, column: Column) -> sql.Composable:
    """A value as this column's type."""
    type_name = sql.Identifier(*column.type_name)
    if column.type in JSON_TYPES:
        return sql.SQL("pg_catalog.to_jsonb({}::text)::{}").format(value, type_name)
    return sql.SQL("{}::{}").format(value, type_name)
