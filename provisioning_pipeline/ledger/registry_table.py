"""What kind of table the tenant manager's registry is, and whether our user sees all of it."""

from collections.abc import Collection
from dataclasses import dataclass, field

from psycopg import errors, sql
from psycopg.rows import dict_row

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

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
            raise Fault(
                FaultKind.SERVER,
                Reason.REGISTRY_REFUSED,
                f"{self.name} in {where} is a materialized view: it says who was a tenant, and who was suspended, when "
                "it was last refreshed. Set PROVISIONING_REGISTRY_TABLE to the table itself, or to a plain view of it.",
            )
        unreadable = sorted(name for name in used if name in self.columns and not self.columns[name].readable)
        if unreadable:
            raise Fault(
                FaultKind.SERVER,
                Reason.REGISTRY_REFUSED,
                f"User {self.role} may not read {', '.join(unreadable)} of {self.name} in {where}, so who is a tenant "
                f"and who is suspended is not known. Have its owner run: GRANT SELECT ({', '.join(unreadable)}) ON "
                f'{self.name} TO "{self.role}".',
            )


def hidden(table: str, role: str, where: str) -> Fault:
    """Row-level security keeps rows from our user: an answer would be a part, and look like the whole."""
    return Fault(
        FaultKind.SERVER,
        Reason.REGISTRY_REFUSED,
        f"Row-level security hides rows of {table} in {where} from user {role}, so who is a tenant and who is "
        f'suspended is not known for certain. Have an administrator run: ALTER ROLE "{role}" BYPASSRLS; or have the '
        f'table\'s owner run: CREATE POLICY provisioning ON {table} TO "{role}" USING (true) WITH CHECK (true).',
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
    """Every table and view of this name, whatever its schema, each with its schema."""
    rows = await database.fetch(
        """
        SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'f', 'm') AND n.nspname <> 'provisioning'
          AND n.nspname !~ '^pg_(temp|toast)' ORDER BY 1
        """,
        [name],
    )
    return [row["name"] for row in rows]


async def lookalikes(database: Database) -> list[str]:
    """Every table and view with the columns that make a tenant registry, whatever its name, each with its schema."""
    rows = await database.fetch(
        """
        SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'f') AND NOT c.relispartition
          AND n.nspname NOT IN ('provisioning', 'information_schema') AND n.nspname !~ '^pg_' AND 2 = (
            SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname IN ('database_name', 'slug')
              AND NOT a.attisdropped)
        ORDER BY 1
        """
    )
    return [row["name"] for row in rows]


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
"""By our role's own search path, as the setting is meant; what follows in that transaction has the fixed one."""
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
    WHERE c.oid = %s::oid
"""
