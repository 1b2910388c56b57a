"""Who belongs to a workspace at Twenty: memberships, member records, and the link by which members join."""

import uuid
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import product
from typing import Final, LiteralString, NoReturn
from uuid import UUID

from psycopg import errors, sql

from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import InviteLink, WorkspaceAddress
from provisioning_pipeline.clients.twenty.session import TwentySession
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """One record of the workspace's own member table, with or without a membership behind it.

    A deleted record still holds its e-mail: Twenty's unique index counts it, so no other account can join with it.
    """

    id: str
    user_id: str | None
    email: str | None
    first_name: str
    last_name: str
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """One membership of one workspace, with the person's member record in it.

    Without a `workspace_member_id` it is half a member: that person cannot come in. `role` is a label, None
    when there is none; the names are those of the member record, empty when there are none.
    """

    user_id: str
    email: str
    role: str | None
    workspace_member_id: str | None
    first_name: str
    last_name: str


@dataclass(frozen=True, slots=True)
class MemberState:
    """One person's membership of one workspace. `role` is the label of the role, None when there is none."""

    user_id: str
    role: str | None


@dataclass(frozen=True, slots=True)
class Roster:
    """Who belongs to one workspace, and all member records that it has. E-mails are in lower case."""

    members: tuple[RosterEntry, ...]
    records: tuple[MemberRecord, ...]

    def of(self, user_id: str | None, email: str) -> RosterEntry | None:
        """The membership of this account, or of the one with this e-mail where no account is known."""
        wanted = email.strip().lower()
        found = (entry for entry in self.members if (entry.user_id == user_id if user_id else entry.email == wanted))
        return next(found, None)

    def deleted_of(self, accounts: Collection[str]) -> MemberRecord | None:
        """The deleted record of one of these accounts, where none of them has a living one."""
        own = [record for record in self.records if record.user_id in accounts]
        return own[0] if own and all(record.deleted for record in own) else None

    def in_the_way(self, email: str, accounts: Collection[str]) -> MemberRecord | None:
        """The record, deleted or not, that holds this e-mail for an account that is none of these."""
        wanted = email.strip().lower()
        found = (record for record in self.records if record.email == wanted and record.user_id not in accounts)
        return next(found, None)


def roster_of(memberships: Sequence[Row], records: Sequence[Row]) -> Roster:
    """Put together what the two tables say. Of several living records of one person the first counts.

    Args:
        memberships: user_id, email, role.
        records: id, user_id, email, first_name, last_name, deleted.
    """
    living: dict[str, Row] = {}
    for record in records:
        if not record["deleted"]:
            living.setdefault(record["user_id"], record)
    members = []
    for row in memberships:
        record = living.get(row["user_id"], {"id": None, "first_name": "", "last_name": ""})
        names = {"first_name": record["first_name"], "last_name": record["last_name"]}
        members.append(RosterEntry(**row, workspace_member_id=record["id"], **names))
    return Roster(tuple(members), tuple(MemberRecord(**record) for record in records))


_PAIRS: Final = ["".join(pair) for pair in product("0123456789abcdefghijklmnopqrstuvwxyz", repeat=2)]
"""Two digits at a time: every workspace is named in every run."""


def schema_name(workspace_id: str) -> str:
    """The schema that Twenty makes for a workspace: its id as a number, in base 36."""
    number, name = UUID(workspace_id).int, ""
    while number:
        number, rest = divmod(number, len(_PAIRS))
        name = _PAIRS[rest] + name
    return f"workspace_{name.lstrip('0') or '0'}"


_SCHEMAS_AT_ONCE: Final = 200
"""Each table of a query, and each of its indexes, takes a lock of PostgreSQL's, which has some thousands by default."""
_CHANGED_MEANWHILE: Final = (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName)
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class HalfMembers:
    """Memberships whose record is not as it should be.

    Args:
        rows: workspace id, user id, e-mail in lower case, and the state: `missing`, `deleted` or `nameless`.
        unreadable: workspaces whose records our user may not read.
    """

    rows: list[tuple[str, str, str, str]]
    unreadable: int


class MemberRecords:
    """The member records of all workspaces of one Twenty server.

    Args:
        database: for reads.
        repairs: for writes; opened only when something is to be mended.
        in_words: makes what PostgreSQL says about a database that is none of Twenty's a fault.
    """

    def __init__(
        self,
        database: Database,
        repairs: Database | None,
        in_words: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        self._database = database
        self._repairs = repairs
        self._in_words = in_words

    # --- all workspaces -----------------------------------------------------------------------------------------

    async def half_members(self, workspace_ids: Sequence[str]) -> HalfMembers:
        """The memberships of these workspaces that have no living record, or one without any name.

        One query for some hundreds of workspaces. Those that are not active, or have no such table, are left out.

        Raises:
            Fault: when the database cannot be read.
        """
        rows: list[tuple[str, str, str, str]] = []
        unreadable = 0
        for start in range(0, len(workspace_ids), _SCHEMAS_AT_ONCE):
            found = await self._of_batch(workspace_ids[start : start + _SCHEMAS_AT_ONCE])
            rows += found.rows
            unreadable += found.unreadable
        return HalfMembers(rows, unreadable)

    async def names(self, workspace_ids: Sequence[str]) -> list[tuple[str, str, str, str]]:
        """Workspace id, user id, first and last name of every living member record that we may read.

        Raises:
            Fault: when the database cannot be read.
        """
        found: list[tuple[str, str, str, str]] = []
        for start in range(0, len(workspace_ids), _SCHEMAS_AT_ONCE):
            found += await self._names_of_batch(workspace_ids[start : start + _SCHEMAS_AT_ONCE])
        return found

    async def _names_of_batch(
        self, workspace_ids: Sequence[str], tries: int = _TRIES
    ) -> list[tuple[str, str, str, str]]:
        made_up = [schema_name(workspace_id) for workspace_id in workspace_ids]
        async with self._in_words():
            tables = await self._database.fetch(_TABLES, [list(workspace_ids), made_up, _MEMBER_TABLE])
            arms = [_naming_arm(table) for table in tables if table["readable"] and set(table["columns"]) >= _NAMED]
            if not arms:
                return []
            try:
                rows = await self._database.fetch_tuples(sql.Composed([sql.SQL(" UNION ALL ".join(arms))]))
            except _CHANGED_MEANWHILE:
                if tries <= 1:
                    raise
                return await self._names_of_batch(workspace_ids, tries - 1)
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    async def _of_batch(self, workspace_ids: Sequence[str], tries: int = _TRIES) -> HalfMembers:
        made_up = [schema_name(workspace_id) for workspace_id in workspace_ids]
        async with self._in_words():
            tables = await self._database.fetch(_TABLES, [list(workspace_ids), made_up, _MEMBER_TABLE])
            readable = [table for table in tables if table["readable"]]
            if not readable:
                return HalfMembers([], len(tables))
            ids = [table["workspace_id"] for table in readable]
            query = sql.SQL(_HALF_MEMBERS).format(records=sql.SQL(" UNION ALL ".join(map(_arm, readable))))
            try:
                rows = await self._database.fetch_tuples(query, [ids])
            except _CHANGED_MEANWHILE:
                if tries <= 1:
                    raise
                # a workspace was deleted for good since its table was seen
                return await self._of_batch(workspace_ids, tries - 1)
        return HalfMembers([(row[0], row[1], row[2], row[3]) for row in rows], len(tables) - len(readable))

    # --- one workspace ------------------------------------------------------------------------------------------

    async def roster(self, workspace_id: str) -> Roster:
        """Who belongs to one workspace, with the records that it keeps of them; empty for an unknown workspace."""
        async with self._in_words():
            memberships = await self._database.fetch(_ROSTER, [workspace_id])
        return roster_of(memberships, await self._records(workspace_id))

    async def _records(self, workspace_id: str) -> list[Row]:
        """Rows of the workspace's own member table, deleted ones last; none where there is no such table."""
        schema = await self._schema(workspace_id)
        if schema is None:
            return []
        async with self._in_words():
            columns = {row["name"] for row in await self._database.fetch(_COLUMNS, [schema, _MEMBER_TABLE])}
            if not {"id", "userId"} <= columns:
                return []
            query = sql.SQL(_MEMBER_RECORDS).format(
                user_id=_text("userId", columns),
                email=_text("userEmail", columns),
                first_name=_text("nameFirstName", columns),
                last_name=_text("nameLastName", columns),
                deleted=sql.SQL('m."deletedAt" IS NOT NULL' if "deletedAt" in columns else "false"),
                table=sql.Identifier(schema, _MEMBER_TABLE),
                age=_text("createdAt", columns),
            )
            try:
                return await self._database.fetch(query)
            except (errors.UndefinedTable, errors.InvalidSchemaName):
                # dropped since its columns were read
                return []

    async def _schema(self, workspace_id: str) -> str | None:
        async with self._in_words():
            found = await self._database.fetch(
                'SELECT "databaseSchema" AS schema FROM core.workspace WHERE id = %s', [workspace_id]
            )
        schema = (found[0]["schema"] or schema_name(workspace_id)) if found else None
        # psycopg would take what follows a per cent sign for a parameter
        return None if schema and "%" in schema else schema

    # --- mending ------------------------------------------------------------------------------------------------

    async def retire_membership(self, workspace_id: str, user_id: str) -> None:
        """Mark a membership without a member record as deleted, so that joining makes both.

        Nothing is written when there is a living record after all.

        Raises:
            Fault: HALF_MEMBER when our user may not write there, with the grant that is missing.
        """
        records = await self._records(workspace_id)
        if any(record["user_id"] == user_id and not record["deleted"] for record in records):
            return
        async with self._writing('UPDATE ("deletedAt") ON core."userWorkspace"', user_id, workspace_id) as database:
            await database.execute(
                """
                UPDATE core."userWorkspace" SET "deletedAt" = now()
                WHERE "workspaceId" = %s AND "userId" = %s AND "deletedAt" IS NULL
                """,
                [workspace_id, user_id],
            )

    async def retired_lately(self, workspace_id: str, user_id: str) -> int:
        """How many memberships of that person in that workspace were made within a day and are marked as deleted."""
        async with self._in_words():
            rows = await self._database.fetch(
                """
                SELECT count(*) AS found FROM core."userWorkspace"
                WHERE "workspaceId" = %s AND "userId" = %s AND "deletedAt" IS NOT NULL
                  AND "createdAt" > now() - interval '1 day'
                """,
                [workspace_id, user_id],
            )
        return int(rows[0]["found"])

    async def restore(self, workspace_id: str, record: MemberRecord) -> bool:
        """Take the mark of deletion off a person's own record; False when another session did, or removed it for good.

        Raises:
            Fault: HALF_MEMBER when our user may not write there, with the grant that is missing.
        """
        schema = await self._schema(workspace_id)
        if schema is None:
            return False
        table = sql.Identifier(schema, _MEMBER_TABLE)
        right = f'UPDATE ("deletedAt") ON "{schema}"."{_MEMBER_TABLE}"'
        async with self._writing(right, str(record.user_id), workspace_id) as database:
            touched = await database.execute(
                sql.SQL(
                    'UPDATE {} SET "deletedAt" = NULL WHERE id = %s AND "userId" = %s AND "deletedAt" IS NOT NULL'
                ).format(table),
                [record.id, record.user_id],
            )
        return touched > 0

    async def insert(self, workspace_id: str, entry: RosterEntry, first_name: str, last_name: str) -> None:
        """Make the record of a person who has a membership without one; everything else gets the table's defaults.

        For accounts that cannot join: one with a password of its own, or our own, without which no one
        could give it its role back. Nothing is written when there is a record.

        Raises:
            Fault: HALF_MEMBER when our user may not write there, with the grant that is missing, or when PostgreSQL
                refuses such a row.
        """
        schema = await self._schema(workspace_id)
        if schema is None:
            return
        table = sql.Identifier(schema, _MEMBER_TABLE)
        right = f'INSERT ON "{schema}"."{_MEMBER_TABLE}"'
        async with self._writing(right, entry.user_id, workspace_id) as database:
            await database.execute(
                sql.SQL(
                    """
                    INSERT INTO {table} ("userId", "userEmail", "nameFirstName", "nameLastName")
                    SELECT %s, %s, %s, %s WHERE NOT EXISTS (SELECT FROM {table} WHERE "userId" = %s)
                    """
                ).format(table=table),
                [entry.user_id, entry.email, first_name, last_name, entry.user_id],
            )

    @asynccontextmanager
    async def _writing(self, right: str, user_id: str, workspace_id: str) -> AsyncIterator[Database]:
        """What PostgreSQL refuses to write for this person, as a fault."""
        assert self._repairs is not None
        who = f"User {user_id} is half a member of workspace {workspace_id}"
        try:
            yield self._repairs
        except errors.InsufficientPrivilege as error:
            _refuse(f"{who}, and we may not mend it: {first_line(error)}. Grant our user {right}; the next run does.")
        except (errors.IntegrityError, *_CHANGED_MEANWHILE) as error:
            _refuse(
                f"{who}, and PostgreSQL refuses what would mend it: {first_line(error)}. Remove them in Twenty "
                "(Settings > Members), or delete their membership; the next run adds them."
            )


def _refuse(message: str) -> NoReturn:
    raise Fault(FaultKind.TENANT, Reason.HALF_MEMBER, message) from None


def _text(column: str, columns: set[str]) -> sql.Composable:
    return sql.SQL("m.{}::text").format(sql.Identifier(column)) if column in columns else sql.SQL("NULL::text")


def _arm(table: Row) -> str:
    """The records of one workspace; its id and table as PostgreSQL quotes them, for psycopg takes longer than it."""
    columns = set(table["columns"])
    deleted = 'm."deletedAt" IS NOT NULL' if "deletedAt" in columns else "false"
    named = (
        "COALESCE(m.\"nameFirstName\", '') <> '' OR COALESCE(m.\"nameLastName\", '') <> ''"
        if {"nameFirstName", "nameLastName"} <= columns
        else "true"
    )
    of = f"'{table['workspace_id']}'::uuid"
    return f'SELECT {of}, m."userId"::text, {deleted}, {named} FROM {table["quoted"]} m'  # noqa: S608  # quoted


_NAMED: Final = frozenset({"deletedAt", "nameFirstName", "nameLastName"})


def _naming_arm(table: Row) -> str:
    """What the members of one workspace are called, as `_arm`."""
    return (
        f"SELECT '{table['workspace_id']}', m.\"userId\"::text, left(COALESCE(m.\"nameFirstName\", ''), 400), "  # noqa: S608  # quoted
        f"left(COALESCE(m.\"nameLastName\", ''), 400) FROM {table['quoted']} m "
        'WHERE m."deletedAt" IS NULL AND m."userId" IS NOT NULL'
    )


_MEMBER_TABLE: Final = "workspaceMember"
_TABLES: Final = """
    SELECT w.id::text AS workspace_id, format('%%I.%%I', n.nspname, c.relname) AS quoted, a.names AS columns,
           has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS readable
    FROM unnest(%s::uuid[], %s::text[]) AS wanted(id, made_up)
    JOIN core.workspace w ON w.id = wanted.id AND w."deletedAt" IS NULL
        AND w."activationStatus"::text NOT IN ('PENDING_CREATION', 'ONGOING_CREATION')
    CROSS JOIN LATERAL (
        SELECT oid, nspname FROM pg_catalog.pg_namespace
        WHERE nspname = COALESCE(w."databaseSchema", wanted.made_up) AND position('%%' IN nspname) = 0 OFFSET 0
    ) n
    CROSS JOIN LATERAL (
        SELECT oid, relname FROM pg_catalog.pg_class
        WHERE relname = %s AND relnamespace = n.oid AND relkind IN ('r', 'p') OFFSET 0
    ) c
    CROSS JOIN LATERAL (
        SELECT array_agg(attname::text) AS names FROM pg_catalog.pg_attribute
        WHERE attrelid = c.oid AND attname IN ('id', 'userId', 'deletedAt', 'nameFirstName', 'nameLastName')
    ) a
    WHERE a.names @> ARRAY['id', 'userId']
"""
"""From the catalogue, which also says what may be read: one table that may not must not hide all others.

One workspace after another by the catalogue's indexes: a server with many workspaces has a million columns."""
_HALF_MEMBERS: LiteralString = """
    WITH record (workspace_id, user_id, deleted, named) AS MATERIALIZED ({records}),
    person AS (
        SELECT workspace_id, user_id, bool_or(NOT deleted) AS living, bool_or(NOT deleted AND named) AS named
        FROM record GROUP BY workspace_id, user_id
    )
    SELECT uw."workspaceId"::text, uw."userId"::text, left(lower(u.email), 400),
           CASE WHEN p.user_id IS NULL THEN 'missing' WHEN p.living THEN 'nameless' ELSE 'deleted' END
    FROM core."userWorkspace" uw
    JOIN core."user" u ON u.id = uw."userId" AND u."deletedAt" IS NULL
    LEFT JOIN person p ON p.workspace_id = uw."workspaceId" AND p.user_id = uw."userId"::text
    WHERE uw."deletedAt" IS NULL AND uw."workspaceId" = ANY(%s::uuid[]) AND p.named IS NOT TRUE
"""
_ROSTER: Final = """
    SELECT DISTINCT ON (uw."userId") uw."userId"::text AS user_id, left(lower(u.email), 400) AS email,
        left(r.label, 400) AS role
    FROM core."userWorkspace" uw
    JOIN core."user" u ON u.id = uw."userId" AND u."deletedAt" IS NULL
    LEFT JOIN core."roleTarget" rt ON rt."userWorkspaceId" = uw.id
    LEFT JOIN core.role r ON r.id = rt."roleId" AND r."workspaceId" = uw."workspaceId"
    WHERE uw."deletedAt" IS NULL AND uw."workspaceId" = %s
    ORDER BY uw."userId", r."canUpdateAllSettings" DESC NULLS LAST, r.label
"""
_COLUMNS: Final = """
    SELECT a.attname AS name
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
"""
"""From the catalogue, because information_schema hides what may not be read, and that must be reported."""
_MEMBER_RECORDS: LiteralString = """
    SELECT m.id::text AS id, {user_id} AS user_id, left(lower({email}), 400) AS email,
           COALESCE(left({first_name}, 400), '') AS first_name, COALESCE(left({last_name}, 400), '') AS last_name,
           {deleted} AS deleted
    FROM {table} m
    ORDER BY deleted, {age}, m.id
"""


class InviteLinks:
    """The invite links of one server's workspaces, as the service account sees and sets them."""

    def __init__(self, session: TwentySession) -> None:
        self._session = session

    async def read(self, address: WorkspaceAddress) -> InviteLink:
        """What lets one join the workspace without an e-mail.

        Raises:
            Fault: INVITE_LINK_DISABLED when the workspace has none.
        """
        answer = await self._session.call_in(address, operations.CURRENT_WORKSPACE)
        if not answer.invite_hash:
            raise Fault(
                FaultKind.TENANT,
                Reason.INVITE_LINK_DISABLED,
                f"{self._session.system}: workspace {address.workspace_id} has no invite link, so no one can join "
                "without an e-mail. Make one in Twenty under Settings > Members; the next run goes on.",
            )
        return InviteLink(answer.invite_hash, answer.is_public_invite_link_enabled)

    async def turn_on(self, address: WorkspaceAddress) -> None:
        """Let new members join by the invite link; its hash stays the same."""
        await self._switch(address, enabled=True)

    async def turn_off(self, address: WorkspaceAddress) -> None:
        """Let no one join by the invite link; members stay members."""
        await self._switch(address, enabled=False)

    async def _switch(self, address: WorkspaceAddress, *, enabled: bool) -> None:
        variables = {"isPublicInviteLinkEnabled": enabled}
        await self._session.call_in(address, operations.UPDATE_WORKSPACE, variables)

    async def can_be_renewed(self) -> bool:
        """Whether this server has a call for it."""
        return await self._session.first_taken((operations.RENEW_INVITE_LINK,)) is not None

    async def renew(self, address: WorkspaceAddress) -> str:
        """Give the workspace another invite link, on or off as before; no one joins with the earlier one any more.

        Twenty takes any text (run on 2.21.0), so it gets what Twenty itself makes: a random UUID.
        """
        variables = {"inviteHash": str(uuid.uuid4())}
        await self._session.call_in(address, operations.RENEW_INVITE_LINK, variables)
        return variables["inviteHash"]
