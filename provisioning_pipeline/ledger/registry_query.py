"""The query that reads the tenant manager's table, whatever columns it has."""

from collections.abc import Mapping

from psycopg import sql

from provisioning_pipeline.ledger.registry_table import Column

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
    " OR lower(btrim(r.database_name::text, E' \\t\\r\\n') COLLATE \"C\")::name::text = ANY(%(written)s)"
)
"""As PostgreSQL writes the name of a database that was made without quotes."""
_RIVALS = " OR r.clerk_org_id = ANY(ARRAY(SELECT o.clerk_org_id FROM {table} o WHERE {named}))"


def rows_query(table: str, columns: Mapping[str, Column], people: Mapping[str, str], *, some: bool) -> sql.Composed:
    """The rows of the registry with the admin that it names; with `some`, those that `names` and `written` name."""
    identifier = sql.Identifier(*table.split("."))

    def text(name: str) -> sql.Composable:
        return _text(sql.Identifier("r", name), columns[name]) if name in columns else sql.SQL("NULL::text")

    workspace = next((name for name in WORKSPACE_COLUMNS if name in columns), "")
    persons, named, owner = _people(table, columns, people, some=some)
    return sql.SQL(
        """
        WITH chosen AS MATERIALIZED (
            SELECT {used} FROM {table} r WHERE {chosen}
        ), persons AS MATERIALIZED ({persons})
        SELECT r.database_name::text AS database_name, r.slug::text AS slug, {name} AS name,
               {status} AS status, {clerk} AS clerk_org_id, {workspace} AS workspace_id,
               {asked} AS twenty_admin_email, COALESCE(named.email, owner.email) AS admin_email,
               CASE WHEN named.email IS NOT NULL THEN named.name ELSE owner.name END AS admin_name
        FROM chosen r {named} {owner}
        """
    ).format(
        name=text("name"),
        status=text("status"),
        clerk=text("clerk_org_id"),
        workspace=text(workspace),
        asked=text(ASKED_ADMIN_COLUMN),
        # a right to read these columns is enough
        used=sql.SQL(", ").join(sql.Identifier("r", name) for name in USED if name in columns),
        table=identifier,
        chosen=_chosen(identifier, columns) if some else sql.SQL("true"),
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
    table: str, columns: Mapping[str, Column], people: Mapping[str, str], *, some: bool
) -> tuple[sql.Composable, sql.Composable, sql.Composable]:
    """The people of the chosen rows, and joins for a row's admin: the one that it names, else its owner or admin.

    One pass over the people and two plain joins, so that a large registry is read quickly, whole or in part.
    """
    nobody = sql.SQL("SELECT NULL::text AS id, NULL::text AS tenant_id, NULL::text AS email, NULL::text AS name")
    join = "LEFT JOIN ({}) {} ON {}"
    no_named = sql.SQL(join).format(nobody, sql.Identifier("named"), sql.SQL("true"))
    if not {"id", "email", "tenant_id", "role"} <= set(people) or "id" not in columns:
        return nobody, no_named, sql.SQL(join).format(nobody, sql.Identifier("owner"), sql.SQL("true"))
    names = [sql.Identifier("u", part) for part in ("first_name", "last_name") if part in people]
    chosen = [_equals("tenant_id", people["tenant_id"], "id", columns["id"].type, some=some)]
    if "admin_user_id" in columns:
        chosen.append(_equals("id", people["id"], "admin_user_id", columns["admin_user_id"].type, some=some))
    persons = sql.SQL(
        """
        SELECT u.id::text AS id, u.tenant_id::text AS tenant_id, u.email::text AS email, u.role::text AS role,
               {full} AS name
        FROM {users} u WHERE {active} AND ({chosen})
        """
    ).format(
        full=sql.SQL("concat_ws(' ', {})").format(sql.SQL(", ").join(names)) if names else sql.SQL("''"),
        users=sql.Identifier(*table.split(".")[:-1], PEOPLE),
        active=sql.SQL("u.is_active IS NOT FALSE") if "is_active" in people else sql.SQL("true"),
        chosen=sql.SQL(" OR ").join(chosen),
    )
    named = no_named
    if "admin_user_id" in columns:
        named = sql.SQL("LEFT JOIN persons named ON named.id = r.admin_user_id::text").format()
    owner = sql.SQL(
        """
        LEFT JOIN (
            SELECT DISTINCT ON (u.tenant_id) u.tenant_id, u.email, u.name FROM persons u
            WHERE u.email IS NOT NULL AND lower(u.role COLLATE "C") IN ('owner', 'admin')
            ORDER BY u.tenant_id, lower(u.role COLLATE "C") DESC, u.email
        ) owner ON owner.tenant_id = r.id::text
        """
    )
    return persons, named, owner


def _equals(person: str, person_type: str, chosen: str, chosen_type: str, *, some: bool) -> sql.Composed:
    """Whether a person's column is among the chosen rows' values; as texts only if the types differ: it is slower.

    A few values are compared as an array, which an index can serve; many are hashed.
    """
    cast = sql.SQL("" if person_type == chosen_type else "::text")
    among = sql.SQL("u.{}{} = ANY(ARRAY(SELECT {}{} FROM chosen))" if some else "u.{}{} IN (SELECT {}{} FROM chosen)")
    return among.format(sql.Identifier(person), cast, sql.Identifier(chosen), cast)


def _text(name: sql.Identifier, column: Column) -> sql.Composable:
    """A column as text; of JSON the text that it is, and nothing of an object."""
    if column.type in JSON_TYPES:
        return sql.SQL("CASE jsonb_typeof({0}::jsonb) WHEN 'string' THEN {0} #>> '{{}}' END").format(name)
    return sql.SQL("{}::text").format(name)


def cast_sql(value: sql.Composable, column: Column) -> sql.Composable:
    """A value as this column's type."""
    if column.type in JSON_TYPES:
        return sql.SQL("to_jsonb({}::text)::" + column.type).format(value)
    return sql.SQL("{}::" + column.type).format(value)
