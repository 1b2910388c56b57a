"""The tenant manager's own table. It belongs to the tenant manager: we read what is there, add rows only for adopted
databases, and write only our workspace id, our admin's id and the status of a tenant that became ready."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from psycopg import errors, sql

from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.frames import REGISTRY, frame
from provisioning_pipeline.model.tenant import Tenant

_WORKSPACE_COLUMNS = ("twenty_workspace_id", "workspace_id")
_ADMIN_COLUMNS = ("twenty_admin_user_id",)
_MUST_HAVE = ("database_name", "slug")
_NAMED = "{row}.database_name::text = ANY(%(names)s) OR {row}.slug::text = ANY(%(names)s)"
_RIVALS = " OR r.clerk_org_id = ANY(ARRAY(SELECT o.clerk_org_id FROM {table} o WHERE {named}))"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table: its type, whether an insert must give it a value, and whether we may update it."""

    name: str
    type: str
    required: bool
    writable: bool


class Registry:
    """The registry table in its database.

    Args:
        database: where it is.
        table: its name, with or without a schema.
    """

    def __init__(self, database: Database, table: str) -> None:
        self.database = database
        self.table = table
        self.identifier = sql.Identifier(*table.split("."))
        self._columns: dict[str, Column] | None = None

    async def columns(self) -> dict[str, Column]:
        """The columns that the table has; empty when there is no such table. Read once; our own changes renew it."""
        if self._columns is None:
            rows = await self.database.fetch(
                """
                SELECT a.attname AS name,
                       -- a cast to the other name of bpchar would cut to one character
                       CASE WHEN a.atttypid = 'bpchar'::regtype THEN 'bpchar'
                           ELSE format_type(a.atttypid, NULL) END AS type,
                       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS required,
                       has_column_privilege(a.attrelid, a.attnum, 'UPDATE') AS writable
                FROM pg_attribute a
                WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
                """,
                [self.identifier.as_string()],
            )
            self._columns = {row["name"]: Column(**row) for row in rows}
        return self._columns

    async def rows(self, only: Sequence[str] | None = None) -> pd.DataFrame:
        """Rows, all or by slug or database name; columns of `REGISTRY`, None where the table lacks one.

        With those asked for come the rows that name the same Clerk organization: they dispute it.

        Raises:
            Fault: when the table exists without the columns that make it a tenant registry.
        """
        columns = await self.columns()
        if not columns:
            return frame(REGISTRY, [])
        self._must_be_registry(columns)
        people = await self._people_columns()
        if only is None:
            return frame(REGISTRY, await self.database.fetch(self._select(columns, people, some=False)))
        found = await self.database.fetch(self._select(columns, people, some=True), {"names": list(only)})
        return frame(REGISTRY, found)

    async def databases_of(self, organization_id: str) -> list[str]:
        """The database names of the rows that carry this Clerk organization; none where the table cannot say."""
        if not {"database_name", "clerk_org_id"} <= (await self.columns()).keys():
            return []
        rows = await self.database.fetch(
            sql.SQL(
                "SELECT database_name::text AS database_name FROM {} "
                "WHERE clerk_org_id::text = %s AND database_name IS NOT NULL"
            ).format(self.identifier),
            [organization_id],
        )
        return [row["database_name"] for row in rows]

    async def named(self, name: str) -> list[Row]:
        """database_name, slug and clerk_org_id of the rows with this slug or database name."""
        columns = await self.columns()
        if not set(_MUST_HAVE) <= columns.keys():
            return []
        return await self.database.fetch(
            sql.SQL(
                "SELECT database_name::text AS database_name, slug::text AS slug, {organization} AS clerk_org_id "
                "FROM {table} WHERE (slug::text = %s OR database_name::text = %s) AND database_name IS NOT NULL"
            ).format(
                organization=sql.SQL("clerk_org_id::text" if "clerk_org_id" in columns else "NULL::text"),
                table=self.identifier,
            ),
            [name, name],
        )

    async def standing(self, organization_id: str, database_name: str | None) -> list[Row]:
        """database_name, clerk_org_id and status of the rows of this organization and of this database.

        None where the table has no such column.

        Raises:
            Fault: when there is no such table, or it is no tenant registry: nobody knows who is suspended then.
        """
        columns = await self.columns()
        self._must_be_registry(columns)
        parts = {
            name: sql.SQL("{}::text").format(sql.Identifier(name)) if name in columns else sql.SQL("NULL::text")
            for name in ("clerk_org_id", "status")
        }
        return await self.database.fetch(
            sql.SQL(
                "SELECT database_name::text AS database_name, {clerk} AS clerk_org_id, {status} AS status FROM {table} "
                "WHERE ({clerk} = %s OR database_name::text = %s) AND database_name IS NOT NULL"
            ).format(clerk=parts["clerk_org_id"], status=parts["status"], table=self.identifier),
            [organization_id, database_name],
        )

    @staticmethod
    def stores_workspaces(columns: dict[str, Column]) -> bool:
        """Whether the table has a column for the workspace id, and we may write to it."""
        return any(name in columns and columns[name].writable for name in _WORKSPACE_COLUMNS)

    def _must_be_registry(self, columns: dict[str, Column]) -> None:
        missing = [name for name in _MUST_HAVE if name not in columns]
        if missing:
            raise Fault(
                FaultKind.SERVER,
                Reason.NOT_REGISTERED,
                f"Table {self.table} in {self.database.where} is no tenant registry: it lacks {', '.join(missing)}. "
                "Set PROVISIONING_REGISTRY_TABLE to the tenant manager's table.",
            )

    async def _people_columns(self) -> dict[str, str]:
        """The columns of the table of people, with their types; empty when there is no such table."""
        table = sql.Identifier(*self.table.split(".")[:-1], "global_users")
        rows = await self.database.fetch(
            """
            SELECT attname AS name, format_type(atttypid, NULL) AS type FROM pg_attribute
            WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
            """,
            [table.as_string()],
        )
        return {row["name"]: row["type"] for row in rows}

    def _select(self, columns: dict[str, Column], people: dict[str, str], *, some: bool) -> sql.Composed:
        def text(name: str) -> sql.Composable:
            return sql.SQL("r.{}::text").format(sql.Identifier(name)) if name in columns else sql.SQL("NULL")

        workspace = next((name for name in _WORKSPACE_COLUMNS if name in columns), "")
        persons, named, owner = self._people(columns, people, some=some)
        return sql.SQL(
            """
            WITH chosen AS MATERIALIZED (
                SELECT * FROM {table} r WHERE {chosen}
            ), persons AS MATERIALIZED ({persons})
            SELECT r.database_name::text AS database_name, r.slug::text AS slug, {name} AS name,
                   {status} AS status, {clerk} AS clerk_org_id, {workspace} AS workspace_id,
                   lower(COALESCE(named.email, owner.email)) AS admin_email,
                   CASE WHEN named.email IS NOT NULL THEN named.name ELSE owner.name END AS admin_name
            FROM chosen r {named} {owner}
            """
        ).format(
            name=text("name"),
            status=text("status"),
            clerk=text("clerk_org_id"),
            workspace=text(workspace),
            table=self.identifier,
            chosen=self._chosen(columns) if some else sql.SQL("true"),
            persons=persons,
            named=named,
            owner=owner,
        )

    def _chosen(self, columns: dict[str, Column]) -> sql.Composed:
        """Whether a row is one of those asked for, or names the same organization as one of them."""
        named = sql.SQL(_NAMED).format(row=sql.Identifier("r"))
        if "clerk_org_id" not in columns:
            return named
        others = sql.SQL(_NAMED).format(row=sql.Identifier("o"))
        return named + sql.SQL(_RIVALS).format(table=self.identifier, named=others)

    def _people(
        self, columns: dict[str, Column], people: dict[str, str], *, some: bool
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
            users=sql.Identifier(*self.table.split(".")[:-1], "global_users"),
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
                WHERE u.email IS NOT NULL AND lower(u.role) IN ('owner', 'admin')
                ORDER BY u.tenant_id, lower(u.role) DESC, u.email
            ) owner ON owner.tenant_id = r.id::text
            """
        )
        return persons, named, owner

    async def ensure_table(self) -> None:
        """Create the table where there is none, in the shape that the tenant manager uses."""
        if await self.columns():
            return
        try:
            await self._create_table()
        except errors.InsufficientPrivilege as error:
            raise Fault(
                FaultKind.SERVER,
                Reason.REGISTRY_REFUSED,
                f"{self.database.where} has no table {self.table}, and none could be made: "
                f"{str(error).splitlines()[0]}. Correct PROVISIONING_REGISTRY_TABLE, or grant CREATE on its schema.",
            ) from None
        self._columns = None

    async def _create_table(self) -> None:
        # a user called like our schema would get the tenant manager's table made inside it
        (row,) = await self.database.fetch(
            "SELECT COALESCE((SELECT s FROM unnest(current_schemas(false)) WITH ORDINALITY AS p(s, n) "
            "WHERE s <> 'provisioning' ORDER BY n LIMIT 1), 'public') AS schema"
        )
        identifier = self.identifier if "." in self.table else sql.Identifier(row["schema"], self.table)
        await self.database.execute(
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
                    created_at          timestamptz NOT NULL DEFAULT now(),
                    updated_at          timestamptz NOT NULL DEFAULT now()
                )
                """
            ).format(identifier)
        )

    async def ensure_our_columns(self) -> None:
        """Add the columns for workspace id and admin user id, if the table lacks them and we may."""
        columns = await self.columns()
        if not columns:
            return
        for candidates in (_WORKSPACE_COLUMNS, _ADMIN_COLUMNS):
            if any(name in columns for name in candidates):
                continue
            try:
                await self.database.execute(
                    sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} uuid").format(
                        self.identifier, sql.Identifier(candidates[0])
                    )
                )
            except errors.InsufficientPrivilege:
                # the tenant manager keeps its table to itself; our own schema has both ids in any case
                return
            self._columns = None

    async def adopt(self, tenant: Tenant, status: str) -> None:
        """Add a row for a database that has none.

        Required columns beyond those known here are a refusal, not a guess. `database_url`, when required, gets
        a URL without user and password.

        Raises:
            Fault: when the table does not take the row.
        """
        columns = await self.columns()
        offered: dict[str, sql.Composable] = {
            "id": sql.SQL("gen_random_uuid()"),
            "slug": sql.Literal(tenant.slug),
            "name": sql.Literal(tenant.name),
            "database_name": sql.Literal(tenant.database_name),
            "status": sql.Literal(status),
            "database_url": sql.Literal(f"postgresql:///{tenant.database_name}"),
            "created_at": sql.SQL("now()"),
            "updated_at": sql.SQL("now()"),
        }
        always = {"slug", "name", "database_name", "status"}
        unknown = [name for name, column in columns.items() if column.required and name not in offered]
        if unknown:
            raise self._adoption_refused(tenant, f"it requires {', '.join(sorted(unknown))}")
        used = [name for name in offered if name in columns and (name in always or columns[name].required)]
        try:
            await self.database.execute(
                sql.SQL(
                    "INSERT INTO {table} ({names}) SELECT {values} "
                    "WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE database_name = {name})"
                ).format(
                    table=self.identifier,
                    names=sql.SQL(", ").join(sql.Identifier(name) for name in used),
                    values=sql.SQL(", ").join(cast_sql(offered[name], columns[name]) for name in used),
                    name=offered["database_name"],
                )
            )
        except (errors.IntegrityError, errors.DataError, errors.InsufficientPrivilege) as error:
            raise self._adoption_refused(tenant, str(error).splitlines()[0]) from None

    def _adoption_refused(self, tenant: Tenant, why: str) -> Fault:
        return Fault(
            FaultKind.TENANT,
            Reason.ADOPTION_REFUSED,
            f"Database {tenant.database_name} has no row in {self.table}, and none could be added: {why}. "
            "Let the tenant manager register it.",
        )

    async def store(
        self,
        database_name: str,
        workspace_id: str,
        admin_user_id: str | None,
        *,
        ready_status: str | None,
        pending_statuses: Sequence[str],
    ) -> bool:
        """Write workspace id, admin id and, for a tenant that became ready, its status. True when a row changed.

        A table that we may not write to is left alone: the ledger has both ids in any case.
        """
        columns = {name: column for name, column in (await self.columns()).items() if column.writable}
        assignments: list[tuple[str, sql.Composable]] = []
        workspace = next((name for name in _WORKSPACE_COLUMNS if name in columns), None)
        if workspace:
            assignments.append((workspace, _cast(workspace_id, columns[workspace])))
        admin = next((name for name in _ADMIN_COLUMNS if name in columns), None)
        if admin and admin_user_id:
            assignments.append((admin, _cast(admin_user_id, columns[admin])))
        if ready_status is not None and "status" in columns:
            pending = sql.SQL("CASE WHEN status::text = ANY({}) OR status IS NULL THEN {} ELSE status END").format(
                sql.Literal(list(pending_statuses)), _cast(ready_status, columns["status"])
            )
            assignments.append(("status", pending))
        if not assignments:
            return False
        changes = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), value) for name, value in assignments
        )
        differs = sql.SQL(" OR ").join(
            sql.SQL("{} IS DISTINCT FROM {}").format(sql.Identifier(name), value) for name, value in assignments
        )
        touched = sql.SQL(", updated_at = now()") if "updated_at" in columns else sql.SQL("")
        statement = sql.SQL("UPDATE {} SET {}{} WHERE database_name = {} AND ({})").format(
            self.identifier, changes, touched, sql.Literal(database_name), differs
        )
        try:
            return await self.database.execute(statement) > 0
        except (errors.DataError, errors.IntegrityError) as error:
            raise Fault(
                FaultKind.TENANT,
                Reason.REGISTRY_REFUSED,
                f"{self.table} does not take the workspace id or the status {ready_status!r}: "
                f"{str(error).splitlines()[0]}. Set PROVISIONING_REGISTRY_READY_STATUS to a status that it knows.",
            ) from None


def _equals(person: str, person_type: str, chosen: str, chosen_type: str, *, some: bool) -> sql.Composed:
    """Whether a person's column is among the chosen rows' values; as texts only if the types differ: it is slower.

    A few values are compared as an array, which an index can serve; many are hashed.
    """
    cast = sql.SQL("" if person_type == chosen_type else "::text")
    among = sql.SQL("u.{}{} = ANY(ARRAY(SELECT {}{} FROM chosen))" if some else "u.{}{} IN (SELECT {}{} FROM chosen)")
    return among.format(sql.Identifier(person), cast, sql.Identifier(chosen), cast)


def _cast(value: str, column: Column) -> sql.Composable:
    return cast_sql(sql.Literal(value), column)


def cast_sql(value: sql.Composable, column: Column) -> sql.Composable:
    """A value as this column's type."""
    return sql.SQL("{}::" + column.type).format(value)
