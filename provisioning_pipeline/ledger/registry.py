"""The tenant manager's own table. It belongs to the tenant manager: we read what is there, add rows only for adopted
databases, and write only our own columns and the status of a tenant that became ready."""

from collections.abc import Mapping, Sequence

import pandas as pd
from psycopg import errors, sql

from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.ledger.registry_reading import RegistryReading
from provisioning_pipeline.ledger.registry_table import (
    ADMIN_COLUMNS,
    ASKED_ADMIN_COLUMN,
    MOST_ROWS,
    MUST_HAVE,
    PEOPLE,
    REFUSALS,
    USED_OF_PEOPLE,
    WORKSPACE_COLUMNS,
    Column,
    Table,
    allowed_statuses,
    cast_sql,
    create_table,
    describe,
    lookalikes,
    namesakes,
    rows_query,
    spelled,
    text_of,
    whole_text_of,
)
from provisioning_pipeline.ledger.revisions import registry_refused
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.frames import REGISTRY, frame
from provisioning_pipeline.model.registry import folded_name, is_pending_status

OUR_COLUMNS: Sequence[tuple[tuple[str, ...], str]] = (
    (WORKSPACE_COLUMNS, "uuid"),
    (ADMIN_COLUMNS, "uuid"),
    ((ASKED_ADMIN_COLUMN,), "text"),
)
"""Our own columns: the names that one may have, the first for a new one; and its type."""
_LOCK_WAIT = "3s"


class Registry(RegistryReading):
    """The registry table as a run reads it whole, and writes to it."""

    def __init__(self, database: Database, table: str) -> None:
        super().__init__(database, table)
        self._statuses: tuple[str, ...] | None = None

    async def rows(self, only: Sequence[str] | None = None) -> pd.DataFrame:
        """Rows, all or by slug or database name; columns of `REGISTRY`, None where the table lacks one.

        With those asked for come the rows that name the same Clerk organization: they dispute it; and those that write
        the same database's name otherwise.

        Raises:
            Fault: when the table exists without the columns that make it a tenant registry, or hides rows from us.
        """
        columns = await self.readable_columns()
        if not columns:
            return frame(REGISTRY, [])
        self._must_be_registry(columns)
        people = await self._people()
        query = rows_query(await self.described(), people, some=only is not None)
        named = None if only is None else {"names": list(only), "written": sorted({folded_name(name) for name in only})}
        found = await self.read(query, named, own_path=people.runs_code)
        if len(found) > MOST_ROWS:
            raise registry_refused(
                f"{self.table} in {self.database.where} has more than {MOST_ROWS:,} rows, so it is no registry of "
                "tenants. Set PROVISIONING_REGISTRY_TABLE to the tenant manager's table."
            )
        for row in found:
            # not by the database, whose locale may know no capitals but A to Z, or make another letter of I
            for address in ("admin_email", "twenty_admin_email"):
                row[address] = row[address] and row[address].lower()
        return frame(REGISTRY, found)

    async def names_by_id(self, ids: Sequence[str]) -> list[str]:
        """The database names of the rows with these ids. Raises as `rows`."""
        columns = await self.readable_columns()
        if not ids or not {"id", *MUST_HAVE} <= columns.keys():
            return []
        query = sql.SQL("SELECT database_name::text AS name FROM {} WHERE {} = ANY(%s)").format(
            self.identifier, text_of(columns, "id")
        )
        return [row["name"] for row in await self.read(query, [list(ids)]) if row["name"]]

    async def databases_of(self, organization_id: str) -> list[str]:
        """The database names of the rows that carry this Clerk organization; none where the table cannot say."""
        if "database_name" not in await self.readable_columns():
            return []
        return [row["database_name"] for row in await self._texts(["database_name"], clerk_org_id=organization_id)]

    async def named(self, name: str) -> list[Row]:
        """database_name, slug and clerk_org_id of the rows with this slug or database name."""
        if not set(MUST_HAVE) <= (await self.readable_columns()).keys():
            return []
        return await self._texts([*MUST_HAVE, "clerk_org_id"], slug=name, database_name=name)

    @staticmethod
    def stores_workspaces(columns: dict[str, Column]) -> bool:
        """Whether the table has a column for the workspace id, and we may write to it."""
        return any(name in columns and columns[name].writable for name in WORKSPACE_COLUMNS)

    async def _people(self) -> Table:
        """The table of people; one without columns when there is no such table."""
        people = await describe(self.database, sql.Identifier(*self.table.split(".")[:-1], PEOPLE))
        people.must_show(USED_OF_PEOPLE, self.database.where)
        return people

    async def ensure_table(self) -> None:
        """Create the table where there is none, in the shape that the tenant manager uses.

        Raises:
            Fault: when our user may not make it, or as `must_be_makeable` says.
        """
        if await self.columns():
            return
        await self.must_be_makeable()
        try:
            await create_table(self.database, self.table)
        except errors.InsufficientPrivilege as error:
            raise registry_refused(
                f"{self.database.where} has no table {self.table}, and none could be made: "
                f"{first_line(error)}. Correct PROVISIONING_REGISTRY_TABLE, or grant CREATE on its schema."
            ) from None
        self._described = None

    async def must_be_makeable(self) -> None:
        """Refuse to make a second registry beside one that is only out of sight, or goes by another name.

        Raises:
            Fault: when a table of that name is in a schema that is not searched, or another one looks like a registry.
        """
        elsewhere = await namesakes(self.database, self.table.rpartition(".")[2]) or await lookalikes(self.database)
        if elsewhere:
            raise registry_refused(
                f"{self.database.where} shows our user no table {self.table}, but has {', '.join(elsewhere)}. Set "
                f"PROVISIONING_REGISTRY_TABLE={elsewhere[0]}, and grant our user USAGE on that schema; or make the "
                "table yourself, if it is to be a second one."
            )

    def lacking(self, table: Table) -> list[tuple[str, str]]:
        """Our own columns that the table has not, each with its type."""
        if not table.columns:
            return []
        return [(names[0], type_) for names, type_ in OUR_COLUMNS if not set(names) & table.columns.keys()]

    async def ensure_our_columns(self) -> None:
        """Add our own columns, if the table lacks them and we may.

        Where the tenant manager keeps its table to itself, our own schema has both ids in any case.
        """
        table = await self.described()
        lacking = self.lacking(table)
        if not lacking or not table.alterable:
            return
        try:
            async with self.database.transaction(own_path=True) as connection:
                # all other statements would queue behind ours: a restore by the tenant manager goes first
                await connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_LOCK_WAIT)))
                await connection.execute(
                    sql.SQL("ALTER TABLE {} {}").format(
                        self.identifier,
                        sql.SQL(", ").join(
                            sql.SQL("ADD COLUMN IF NOT EXISTS {} {}").format(sql.Identifier(name), sql.SQL(type_))
                            for name, type_ in lacking
                        ),
                    )
                )
        except (*REFUSALS, Fault) as error:
            if isinstance(error, Fault) and error.kind is not FaultKind.BUSY:
                raise
            return
        self._described = None

    async def spelling(self, wanted: Sequence[str], like: str | None = None) -> str:
        """The first of these statuses that the table takes, as the table spells it."""
        if self._statuses is None:
            await self.described()
            self._statuses = await allowed_statuses(self.database, self.identifier, "status")
        return spelled(wanted, self._statuses, like)

    async def store_asked_admins(self, asked: Mapping[str, str]) -> None:
        """Write the admins that the tenant manager named over HTTP to the rows, so that they outlive the ledger.

        `asked`: database name → e-mail. A table without that column is left alone.
        """
        columns = await self.columns()
        column = columns.get(ASKED_ADMIN_COLUMN)
        if not asked or column is None or not column.writable:
            return
        await self.database.execute(
            sql.SQL(
                """
                UPDATE {table} r SET {column} = {email}
                FROM unnest(%s::text[], %s::text[]) AS asked(name, email)
                WHERE r.database_name::text = asked.name AND {known} IS DISTINCT FROM asked.email
                """
            ).format(
                table=self.identifier,
                column=sql.Identifier(ASKED_ADMIN_COLUMN),
                known=whole_text_of(columns, "r", ASKED_ADMIN_COLUMN),
                email=cast_sql(sql.Identifier("asked", "email"), column),
            ),
            [list(asked), list(asked.values())],
            own_path=True,
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

        Raises:
            Fault: when the row is gone, or does not take what is written.
        """
        columns = {name: column for name, column in (await self.columns()).items() if column.writable}
        wanted = {
            next(name for name in names if name in columns): value
            for names, value in ((WORKSPACE_COLUMNS, workspace_id), (ADMIN_COLUMNS, admin_user_id))
            if value and columns.keys() & set(names)
        }
        sets_status = ready_status is not None and "status" in columns
        if not wanted and not sets_status:
            return False
        rows = await self._texts([*wanted, *(["status"] if sets_status else [])], database_name=database_name)
        if not rows:
            raise Fault(
                FaultKind.TENANT,
                Reason.REGISTRY_REFUSED,
                f"{self.table} has no row for database {database_name} any more, so its workspace could not be written "
                "there. The next run looks whether the row was taken away.",
            )
        row = rows[0]
        changed = {name: value for name, value in wanted.items() if (row[name] or "").lower() != value.lower()}
        assignments = {name: cast_sql(sql.Literal(value), columns[name]) for name, value in changed.items()}
        if sets_status and is_pending_status(row["status"], pending_statuses):
            assert ready_status is not None
            changed["status"] = await self.spelling([ready_status], row["status"])
            # the tenant manager may have suspended it since it was read
            assignments["status"] = sql.SQL("CASE WHEN {} IS NOT DISTINCT FROM {} THEN {} ELSE status END").format(
                whole_text_of(columns, "status"),
                sql.Literal(row["status"]),
                cast_sql(sql.Literal(changed["status"]), columns["status"]),
            )
        if not changed:
            return False
        await self._update(database_name, changed, assignments, row.get("status"))
        return True

    async def clear_workspace(self, database_name: str, workspace_id: str) -> bool:
        """Take the workspace and its admin out of the row, if it still names this workspace; True when it did.

        A row that is gone, or that we may not write to, is left alone.

        Raises:
            Fault: when the row does not take it.
        """
        columns = {name: column for name, column in (await self.columns()).items() if column.writable}
        workspace = next((name for name in WORKSPACE_COLUMNS if name in columns), None)
        if workspace is None:
            return False
        names = [workspace, *(name for name in ADMIN_COLUMNS if name in columns)]
        rows = await self._texts([workspace], database_name=database_name)
        if not rows or (rows[0][workspace] or "").lower() != workspace_id.lower():
            return False
        cleared = {name: cast_sql(sql.Literal(None), columns[name]) for name in names}
        await self._update(database_name, dict.fromkeys(names, ""), cleared, None)
        return True

    async def _update(
        self, database_name: str, changed: Mapping[str, str], assignments: Mapping[str, sql.Composable], status: object
    ) -> None:
        """Change a row, and see that it took the change: a trigger or a rule may drop it without a word."""
        columns = await self.columns()
        updated_at = columns.get("updated_at")
        touched = sql.SQL(", updated_at = pg_catalog.now()" if updated_at and updated_at.writable else "")
        taken = [
            sql.SQL("{} IS DISTINCT FROM {}").format(whole_text_of(columns, name), sql.Literal(status))
            if name == "status"
            else sql.SQL("{}::text IS NOT DISTINCT FROM ({})::text").format(sql.Identifier(name), assignments[name])
            for name in changed
        ]
        statement = sql.SQL("UPDATE {} SET {}{} WHERE database_name::text = {} RETURNING {} AS taken").format(
            self.identifier,
            sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), value) for name, value in assignments.items()
            ),
            touched,
            sql.Literal(database_name),
            sql.SQL(" AND ").join(taken),
        )
        what = ", ".join(f"{name} {value!r}" for name, value in changed.items())
        try:
            rows = await self.database.fetch(statement, own_path=True)
        except REFUSALS as error:
            raise Fault(
                FaultKind.TENANT,
                Reason.REGISTRY_REFUSED,
                f"{self.table} does not take {what}: {first_line(error)}. Set "
                "PROVISIONING_REGISTRY_READY_STATUS to a status that it knows.",
            ) from None
        if not rows or not rows[0]["taken"]:
            raise Fault(
                FaultKind.TENANT,
                Reason.REGISTRY_REFUSED,
                f"{self.table} was given {what} for database {database_name} and keeps what it had: a trigger, a rule "
                "or a policy of it drops the change. Let our user's changes of these columns through.",
            )
