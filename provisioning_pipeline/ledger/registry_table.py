"""The tenant registry's table as its owner made it: its columns, its statuses, and the query that reads it."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from psycopg import errors, sql
from psycopg.rows import dict_row

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.revisions import registry_refused
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.registry import registry_status

VIEW, MATERIALIZED_VIEW = "v", "m"
_TABLES = frozenset({"r", "p"})
REFUSALS = (
    errors.IntegrityError,
    errors.DataError,
    errors.InsufficientPrivilege,
    # a trigger of the tenant manager's says no; or the table is a view that takes no rows
    errors.RaiseException,
    errors.ObjectNotInPrerequisiteState,
    errors.FeatureNotSupported,
    errors.WrongObjectType,
)
"""How a table says that it does not take a row or a value."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table: its type, whether an insert must give it a value, and what we may do with it.

    `type` is PostgreSQL's own word for it; `type_name` is where the catalogue has it: its schema and its name there.
    """

    name: str
    type: str
    type_name: tuple[str, str]
    required: bool
    writable: bool
    readable: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """A table as PostgreSQL's catalogue describes it to our user.

    Args:
        identifier: with its schema, so that it stands for the same table under every search path.
        name: the same, quoted, for people; empty when there is no such table.
        kind: as `pg_class.relkind` has it.
        role: our user.
        owner: the role that owns it.
        owned: we may alter it.
        hides_rows: row-level security applies to us, and no policy shows us every row.
        takes_rows: we may insert into it.
    """

    identifier: sql.Identifier
    name: str = ""
    kind: str = "r"
    role: str = ""
    owner: str = ""
    owned: bool = False
    hides_rows: bool = False
    takes_rows: bool = True
    columns: dict[str, Column] = field(default_factory=dict)

    @property
    def is_table(self) -> bool:
        """A table of this database, and no view or foreign table."""
        return self.kind in _TABLES

    @property
    def alterable(self) -> bool:
        """Whether we can add a column: to a view no one can, and a foreign table's server would not know it."""
        return self.owned and self.is_table

    @property
    def runs_code(self) -> bool:
        """Whether a read may run functions of the tenant manager's: they rely on our role's own search path."""
        return bool(self.name) and not self.is_table

    def must_show(self, used: Collection[str], where: str) -> None:
        """Refuse a table of which our user sees only a part, or what was there once.

        Raises:
            Fault: with the statement that lets our user see all of it.
        """
        if self.hides_rows:
            raise hidden(self.name, self.role, where)
        if self.kind == MATERIALIZED_VIEW:
            raise registry_refused(
                f"{self.name} in {where} is a materialized view: it says who was a tenant, and who was suspended, when "
                "it was last refreshed. Set PROVISIONING_REGISTRY_TABLE to the table itself, or to a plain view of it."
            )
        unreadable = sorted(name for name in used if name in self.columns and not self.columns[name].readable)
        if unreadable:
            raise registry_refused(
                f"User {self.role} may not read {', '.join(unreadable)} of {self.name} in {where}, so who is a tenant "
                f"and who is suspended is not known. Have its owner run: GRANT SELECT ({', '.join(unreadable)}) ON "
                f'{self.name} TO "{self.role}".'
            )


def hidden(table: str, role: str, where: str) -> Fault:
    """Row-level security keeps rows from our user: an answer would be a part, and look like the whole."""
    return registry_refused(
        f"Row-level security hides rows of {table} in {where} from user {role}, so who is a tenant and who is "
        f'suspended is not known for certain. Have an administrator run: ALTER ROLE "{role}" BYPASSRLS; or have the '
        f'table\'s owner run: CREATE POLICY provisioning ON {table} TO "{role}" USING (true) WITH CHECK (true).'
    )


async def describe(database: Database, identifier: sql.Identifier) -> Table:
    """The table of this name on our role's own search path; one without a name when there is none."""
    async with database.transaction(own_path=True, writes=False) as connection:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(_RESOLVE, [identifier.as_string()])
        resolved = await cursor.fetchone()
        assert resolved is not None
        if resolved["oid"] is None:
            return Table(identifier)
        await cursor.execute(_DESCRIBE, [resolved["oid"]])
        rows = await cursor.fetchall()
    if not rows:
        return Table(identifier)
    facts = ("name", "kind", "role", "owner", "owned", "hides_rows", "takes_rows")
    columns = {
        row["column_name"]: Column(
            row["column_name"],
            row["type"],
            (row["type_schema"], row["type_name"]),
            row["required"],
            row["writable"],
            readable=row["readable"],
        )
        for row in rows
    }
    found = sql.Identifier(rows[0]["schema"], rows[0]["relation"])
    return Table(found, **{fact: rows[0][fact] for fact in facts}, columns=columns)


async def namesakes(database: Database, name: str) -> list[str]:
    """Every table and view of this name, each with its schema."""
    rows = await database.fetch_tuples(
        """
        SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'f', 'm') AND n.nspname <> 'provisioning'
          AND n.nspname !~ '^pg_(temp|toast)' ORDER BY 1
        """,
        [name],
    )
    return [row[0] for row in rows]


async def lookalikes(database: Database) -> list[str]:
    """Every table and view with the columns that make a tenant registry, each with its schema."""
    rows = await database.fetch_tuples(
        """
        SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'f') AND NOT c.relispartition
          AND n.nspname NOT IN ('provisioning', 'information_schema') AND n.nspname !~ '^pg_' AND 2 = (
            SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname IN ('database_name', 'slug')
              AND NOT a.attisdropped)
        ORDER BY 1
        """
    )
    return [row[0] for row in rows]


async def open_schemas(database: Database) -> list[str]:
    """The schemas on our role's own search path in which every role may make functions and tables."""
    rows = await database.fetch(
        """
        SELECT pg_catalog.quote_ident(n.nspname) AS name FROM pg_catalog.pg_namespace n
        WHERE n.nspname = ANY(pg_catalog.current_schemas(false)) AND EXISTS (
            SELECT 1 FROM pg_catalog.aclexplode(n.nspacl) a
            WHERE a.grantee = 0::oid AND a.privilege_type = 'CREATE'::text)
        ORDER BY n.nspname
        """,
        own_path=True,
    )
    return [row["name"] for row in rows]


async def create_table(database: Database, table: str) -> None:
    """Make the table in the shape that the tenant manager uses."""
    # a user called like our schema would get the tenant manager's table made inside it
    (row,) = await database.fetch(
        "SELECT COALESCE((SELECT s FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY p(s, n) "
        "WHERE s <> 'provisioning'::name ORDER BY n LIMIT 1), 'public') AS schema",
        own_path=True,
    )
    identifier = sql.Identifier(*table.split(".")) if "." in table else sql.Identifier(row["schema"], table)
    await database.execute(
        sql.SQL(
            """
            CREATE TABLE IF NOT EXISTS {} (
                id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
                slug                text NOT NULL UNIQUE,
                name                text NOT NULL,
                database_name       text NOT NULL UNIQUE,
                database_url        text,
                status              text NOT NULL DEFAULT 'provisioning',
                plan                text,
                admin_user_id       uuid,
                clerk_org_id        text,
                twenty_workspace_id uuid,
                twenty_admin_user_id uuid,
                twenty_admin_email  text,
                created_at          timestamptz NOT NULL DEFAULT now(),
                updated_at          timestamptz NOT NULL DEFAULT now()
            )
            """
        ).format(identifier),
        # the owner of this database may have triggers on changes of its tables
        own_path=True,
    )


_RESOLVE = """
    SELECT pg_catalog.to_regclass(%s)::oid AS oid,
           pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)
"""
"""By our role's own search path, as the setting is meant; the rest of that transaction has the fixed one."""
_DESCRIBE = """
    SELECT n.nspname AS schema, c.relname AS relation, c.oid::regclass::text AS name, c.relkind::text AS kind,
           current_user AS role, pg_get_userbyid(c.relowner) AS owner, pg_has_role(c.relowner, 'USAGE') AS owned,
           row_security_active(c.oid) AND NOT shown.everything AS hides_rows,
           has_table_privilege(c.oid, 'INSERT') OR has_any_column_privilege(c.oid, 'INSERT') AS takes_rows,
           a.attname AS column_name,
           format_type(a.atttypid, NULL) AS type, tn.nspname AS type_schema, t.typname AS type_name,
           a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS required,
           a.attgenerated = '' AND has_column_privilege(c.oid, a.attnum, 'UPDATE')
               AND CASE WHEN c.relkind IN ('v', 'f') THEN pg_column_is_updatable(c.oid, a.attnum, true)
                   ELSE c.relkind <> 'm' END AS writable,
           has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace tn ON tn.oid = t.typnamespace
    CROSS JOIN LATERAL (
        -- policies that show us everything hide nothing
        SELECT COALESCE(bool_or(p.polpermissive AND pg_get_expr(p.polqual, p.polrelid) = 'true'), false)
               AND COALESCE(bool_and(p.polpermissive), true) AS everything
        FROM pg_policy p WHERE p.polrelid = c.oid AND p.polcmd IN ('r', '*') AND EXISTS (
            SELECT 1 FROM unnest(p.polroles) AS named(role) WHERE named.role = 0 OR pg_has_role(named.role, 'USAGE'))
    ) shown
    WHERE c.oid = %s::oid ORDER BY a.attnum
"""


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
"""Characters of a value that we read: longer ones are cut, and are no name, address or id of anything."""
MOST_ROWS = 200_000
"""A registry with more rows is none."""


def rows_query(registry: Table, people: Table, *, some: bool) -> sql.Composed:
    """The rows of the registry with the admin that it names; with `some`, those that `names` and `written` name."""
    columns = registry.columns
    workspace = next((name for name in WORKSPACE_COLUMNS if name in columns), "")
    persons, named, owner = _people(columns, people, some=some)
    return sql.SQL(
        """
        WITH chosen AS MATERIALIZED (
            SELECT {used} FROM {table} r WHERE {chosen}
        ), persons AS MATERIALIZED ({persons})
        SELECT {database} AS database_name, {slug} AS slug, {name} AS name,
               {status} AS status, {clerk} AS clerk_org_id, {workspace} AS workspace_id,
               {asked} AS twenty_admin_email, {id} AS registry_id, COALESCE(named.email, owner.email) AS admin_email,
               CASE WHEN named.email IS NOT NULL THEN named.name ELSE owner.name END AS admin_name
        FROM chosen r {named} {owner} LIMIT {most}
        """
    ).format(
        most=sql.Literal(MOST_ROWS + 1),
        database=text_of(columns, "r", "database_name"),
        slug=text_of(columns, "r", "slug"),
        name=text_of(columns, "r", "name"),
        status=text_of(columns, "r", "status"),
        clerk=text_of(columns, "r", "clerk_org_id"),
        workspace=text_of(columns, "r", workspace),
        asked=text_of(columns, "r", ASKED_ADMIN_COLUMN),
        id=text_of(columns, "r", "id"),
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
    no_one = sql.SQL("SELECT NULL::text AS id, NULL::text AS tenant_id, NULL::text AS email, NULL::text AS name")
    join = "LEFT JOIN ({}) {} ON {}"
    no_named = sql.SQL(join).format(no_one, sql.Identifier("named"), sql.SQL("true"))
    if not {"id", "email", "tenant_id", "role"} <= set(people.columns) or "id" not in columns:
        return no_one, no_named, sql.SQL(join).format(no_one, sql.Identifier("owner"), sql.SQL("true"))
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


def text_of(columns: Mapping[str, Column], *name: str) -> sql.Composable:
    """`whole_text_of`, cut where it is longer than we read."""
    return _cut(whole_text_of(columns, *name))


def whole_text_of(columns: Mapping[str, Column], *name: str) -> sql.Composable:
    """A column as text, NULL where the table lacks it; of JSON the text that it is, and nothing of an object.

    A comparison of it can use an index of the column, unless that is JSON.
    """
    column = columns.get(name[-1])
    if column is None:
        return sql.SQL("NULL::text")
    if column.type in JSON_TYPES:
        return sql.SQL(
            "CASE pg_catalog.jsonb_typeof({0}::jsonb) WHEN 'string' THEN "
            "{0}::jsonb OPERATOR(pg_catalog.#>>) '{{}}'::text[] END"
        ).format(sql.Identifier(*name))
    return sql.SQL("{}::text").format(sql.Identifier(*name))


def _short(*name: str) -> sql.Composable:
    return _cut(sql.SQL("{}::text").format(sql.Identifier(*name)))


def _cut(text: sql.Composable) -> sql.Composable:
    return sql.SQL("pg_catalog.left({}, {})").format(text, sql.Literal(LONGEST))


def cast_sql(value: sql.Composable, column: Column) -> sql.Composable:
    """A value as this column's type."""
    type_name = sql.Identifier(*column.type_name)
    if column.type in JSON_TYPES:
        return sql.SQL("pg_catalog.to_jsonb({}::text)::{}").format(value, type_name)
    return sql.SQL("{}::{}").format(value, type_name)


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
