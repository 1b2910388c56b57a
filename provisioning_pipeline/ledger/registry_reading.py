"""Reads the tenant manager's own table: which rows name a tenant or an organization, and which rows are gone."""

from collections.abc import Sequence

from psycopg import errors, sql
from psycopg.rows import dict_row

from provisioning_pipeline.clients.postgres import Database, Parameters, Row
from provisioning_pipeline.ledger.registry_table import (
    MUST_HAVE,
    USED,
    VIEW,
    Column,
    Table,
    describe,
    hidden,
    text_of,
    whole_text_of,
)
from provisioning_pipeline.ledger.revisions import has_ledger
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.history import KnownRows
from provisioning_pipeline.model.session import RegisteredTenant


class RegistryReading:
    """The registry table. `table` is its name, with or without a schema."""

    def __init__(self, database: Database, table: str) -> None:
        self.database = database
        self.table = table
        self.identifier = sql.Identifier(*table.split("."))
        """With its schema, once the table was described: the search path of our role is asked once."""
        self._described: Table | None = None

    async def described(self) -> Table:
        """What kind of table it is. Read once; our own changes renew it."""
        if self._described is None:
            self._described = await describe(self.database, sql.Identifier(*self.table.split(".")))
            self.identifier = self._described.identifier
        return self._described

    async def columns(self) -> dict[str, Column]:
        """The columns that the table has; empty when there is no such table."""
        return (await self.described()).columns

    async def readable_columns(self) -> dict[str, Column]:
        """The same, of a table that shows our user all of its rows; empty when there is no such table.

        Raises:
            Fault: when rows or columns are hidden from our user: a part of the registry looks like the whole.
        """
        table = await self.described()
        table.must_show(USED, self.database.where)
        return table.columns

    async def names(self) -> sql.Composed | None:
        """A query for the database names of all rows; None: there is no such table. Raises as `rows`."""
        columns = await self.readable_columns()
        if not columns:
            return None
        self._must_be_registry(columns)
        return sql.SQL("SELECT DISTINCT database_name::text AS name FROM {} WHERE database_name IS NOT NULL").format(
            self.identifier
        )

    async def ids(self) -> sql.Composable:
        """A query for the ids of all rows; without rows where the table is none, or has no ids. Raises as `rows`."""
        columns = await self.readable_columns()
        if "id" not in columns:
            return sql.SQL("SELECT NULL::text AS id WHERE false")
        return sql.SQL("SELECT DISTINCT {} AS id FROM {}").format(text_of(columns, "id"), self.identifier)

    async def read(self, query: sql.Composed, parameters: Parameters = None, *, own_path: bool = False) -> list[Row]:
        """Rows of a query over the table; `own_path` as in `Database.transaction`.

        Raises:
            Fault: when a policy of a table below a view would hide some, as PostgreSQL itself says.
        """
        table = await self.described()
        if table.kind != VIEW:
            return await self.database.fetch(query, parameters, own_path=own_path or table.runs_code)
        try:
            async with self.database.transaction(own_path=True, writes=False) as connection:
                await connection.execute("SET LOCAL row_security = off")
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(query, parameters)
                return await cursor.fetchall()
        except errors.InsufficientPrivilege as error:
            if "row-level security" not in str(error):
                raise
            raise hidden(f"the tables below view {table.name}", table.role, self.database.where) from None

    async def standing(self, organization_id: str, database_name: str | None) -> tuple[RegisteredTenant, ...]:
        """The rows of this organization, and of this database.

        Raises:
            Fault: when there is no such table, it is no tenant registry or hides rows: nothing says who is suspended.
        """
        self._must_be_registry(await self.readable_columns())
        names = ["database_name", "clerk_org_id", "status"]
        rows = await self._texts(names, clerk_org_id=organization_id, database_name=database_name)
        return tuple(RegisteredTenant(**row) for row in rows)

    async def _texts(self, names: Sequence[str], **either: str | None) -> list[Row]:
        """These columns as texts, None where the table lacks one, of rows with a database and one of these values."""
        columns = await self.columns()
        texts = {name: whole_text_of(columns, name) for name in (*names, *either)}
        query = sql.SQL("SELECT {} FROM {} WHERE ({}) AND database_name IS NOT NULL").format(
            sql.SQL(", ").join(sql.SQL("{} AS {}").format(texts[name], sql.Identifier(name)) for name in names),
            self.identifier,
            sql.SQL(" OR ").join(sql.SQL("{} = %s").format(texts[name]) for name in either),
        )
        return await self.read(query, list(either.values()))

    def _must_be_registry(self, columns: dict[str, Column]) -> None:
        missing = [name for name in MUST_HAVE if name not in columns]
        if missing:
            raise Fault(
                FaultKind.SERVER,
                Reason.NOT_REGISTERED,
                f"Table {self.table} in {self.database.where} is no tenant registry: it lacks {', '.join(missing)}. "
                "Set PROVISIONING_REGISTRY_TABLE to the tenant manager's table.",
            )


async def known_rows(registry: RegistryReading) -> KnownRows:
    """Compare the rows that the ledger remembers with those that are there, in one query.

    Raises:
        Fault: when the table is no tenant registry, or hides rows from our user.
    """
    if not await has_ledger(registry.database):
        return KnownRows(0, (), rows=True)
    names = await registry.names()
    (row,) = await registry.database.fetch(
        sql.SQL(
            """
            WITH there AS MATERIALIZED ({names}), ids AS MATERIALIZED ({ids})
            SELECT pg_catalog.count(*) AS known, EXISTS (SELECT 1 FROM there) AS rows,
                   COALESCE(pg_catalog.json_agg(l.database_name ORDER BY l.database_name)
                       FILTER (WHERE there.name IS NULL AND ids.id IS NULL), '[]') AS lost
            FROM provisioning.tenant_link l LEFT JOIN there ON there.name = l.database_name
            -- a row with another name in it is not lost
            LEFT JOIN ids ON ids.id = l.registry_id
            -- a tenant with a workspace had a row, whichever run wrote its link
            WHERE (l.registered_at IS NOT NULL OR l.workspace_id IS NOT NULL) AND l.registry_row_gone_at IS NULL
            """
        ).format(names=names or sql.SQL("SELECT NULL::text AS name WHERE false"), ids=await registry.ids()),
        own_path=(await registry.described()).runs_code,
    )
    return KnownRows(row["known"], tuple(row["lost"]), None if names is None else row["rows"])
