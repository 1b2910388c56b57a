"""Reads of a Twenty server's own database, for one workspace or for all, and one small repair.

They need schema `core` alone; `records` reads the workspaces' own schemas, too.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg import errors

from provisioning_pipeline.clients.onboarding_rows import remove_rows, rights_missing
from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.clients.twenty import accounts
from provisioning_pipeline.clients.twenty.contract import TABLES, Catalogue, catalogue_of, not_twenty
from provisioning_pipeline.clients.twenty.members import MemberRecords, MemberState
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.frames import STALE_ACTIVATION
from provisioning_pipeline.model.onboarding import Flag

_CLOCK_TOLERANCE = timedelta(seconds=5)
"""The server process and its database may be two machines."""
_ACTIVATION_IS_STALE = STALE_ACTIVATION + _CLOCK_TOLERANCE
"""After so long without an end Twenty 2.21.0 takes the call that activates a workspace again."""


@dataclass(frozen=True, slots=True)
class WorkspaceState:
    """One workspace by its row; `free_in`: seconds until Twenty takes an activation under way for crashed, or None."""

    subdomain: str
    activation_status: str
    deleted: bool
    free_in: float | None = None


@dataclass(frozen=True, slots=True)
class Role:
    """A role of one workspace."""

    id: str
    label: str


class TwentyDatabase:
    """The database of one Twenty server.

    Args:
        database: for all reads; PostgreSQL refuses every write on it.
        repairs: for the few states that no call of Twenty's can mend; opened only when one is met.
    """

    def __init__(self, database: Database, repairs: Database | None = None) -> None:
        self._database = database
        self._repairs = repairs
        self.records = MemberRecords(database, repairs, self._in_words)

    async def _fetch(self, query: LiteralString, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[Row]:
        async with self._in_words():
            return await self._database.fetch(query, parameters)

    async def _fetch_tuples(self, query: LiteralString, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        async with self._in_words():
            return await self._database.fetch_tuples(query, parameters)

    async def _value(self, query: LiteralString, parameters: Sequence[object] = ()) -> Any:
        """The first column of the first row; None: there is no row."""
        rows = await self._fetch_tuples(query, parameters)
        return rows[0][0] if rows else None

    async def _holds(self, query: LiteralString, parameters: Sequence[object] = ()) -> bool:
        return bool(await self._value(query, parameters))

    @asynccontextmanager
    async def _in_words(self) -> AsyncIterator[None]:
        try:
            yield
        except (
            errors.UndefinedTable,
            errors.UndefinedColumn,
            errors.InvalidSchemaName,
            # a column is of another kind than the query takes it for
            errors.UndefinedFunction,
            errors.DatatypeMismatch,
        ) as error:
            raise await not_twenty(self._database, first_line(error)) from None
        except errors.InsufficientPrivilege as error:
            raise Fault(
                FaultKind.SERVER,
                Reason.SERVER_DATABASE_UNREACHABLE,
                f"{self._database.system} ({self._database.where}) may not be read: {first_line(error)}. "
                "Grant our user USAGE on schema core and on those of the workspaces, and SELECT on their tables, or "
                "pg_read_all_data.",
            ) from None

    async def catalogue(self) -> Catalogue:
        """What schema core has of the columns that we read."""
        async with self._in_words():
            return await catalogue_of(self._database)

    async def a_workspace_of(self, email: str) -> str | None:
        """The oldest active workspace of which the account with this e-mail is a member, or None."""
        found: str | None = await self._value(
            """
            SELECT w.id::text AS id
            FROM core.workspace w
            JOIN core."userWorkspace" uw ON uw."workspaceId" = w.id AND uw."deletedAt" IS NULL
            JOIN core."user" u ON u.id = uw."userId" AND u."deletedAt" IS NULL
            WHERE lower(u.email) = %s AND w."activationStatus"::text IN ('ACTIVE', 'CREATED')
              AND w."deletedAt" IS NULL
            ORDER BY w."createdAt", w.id LIMIT 1
            """,
            [email.lower()],
        )
        return found

    async def has_any_user(self) -> bool:
        """Whether anyone ever signed up; the first who does becomes the server's admin."""
        return await self._holds('SELECT EXISTS (SELECT 1 FROM core."user") AS found')

    async def is_server_admin(self, email: str) -> bool:
        """Whether the account may create workspaces on a server that limits that to its admins."""
        return await self._holds(
            """
            SELECT COALESCE(bool_or("canAccessFullAdminPanel"), false) AS admin FROM core."user"
            WHERE lower(email) = %s AND "deletedAt" IS NULL
            """,
            [email.lower()],
        )

    async def user_ids(self, email: str) -> list[str]:
        """Ids of the accounts with this e-mail, deleted ones left out.

        The one that is written in lower case, as Twenty does it and looks it up, goes before others.
        """
        wanted = [email.lower()]
        rows = await self._fetch(accounts.USER_IDS + "email = %s", wanted)
        rows = rows or await self._fetch(accounts.USER_IDS + "lower(email) = %s", wanted)
        return [row["id"] for row in rows]

    async def workspace_count(self) -> int:
        """How many workspaces Twenty counts towards its limit: those not deleted.

        Raises:
            Fault: when row-level security hides rows from our user, so that this and all else would be a part.
        """
        rows = await self._fetch(_WORKSPACE_COUNT, [TABLES])
        hidden = rows[0]["hidden"]
        if hidden:
            tables = ", ".join(f'core."{name}"' for name in hidden)
            raise Fault(
                FaultKind.SERVER,
                Reason.SERVER_DATABASE_UNREACHABLE,
                f"{self._database.system} ({self._database.where}) hides rows of {tables} from our user by row-level "
                "security, so what is there is not known for certain. Let an administrator give it BYPASSRLS.",
            )
        return int(rows[0]["found"])

    async def unreadable_schemas(self) -> int:
        """Active workspaces whose own schema our user may not look into: their members cannot be set right."""
        return int(
            await self._value(
                """
            SELECT count(*) AS found FROM core.workspace w JOIN pg_namespace n ON n.nspname = w."databaseSchema"
            WHERE w."activationStatus"::text IN ('ACTIVE', 'CREATED') AND w."deletedAt" IS NULL
              AND NOT (has_schema_privilege(n.oid, 'USAGE') AND COALESCE((
                SELECT has_table_privilege(c.oid, 'SELECT') FROM pg_class c
                WHERE c.relnamespace = n.oid AND c.relname = 'workspaceMember'), true))
            """
            )
        )

    async def now(self) -> datetime:
        """The time of this server's database, to which its rows are to be compared."""
        found: datetime = await self._value("SELECT clock_timestamp()")
        return found

    async def places_taken(self, subdomains: Sequence[str]) -> int:
        """Workspaces that count towards a limit, and those of these subdomains that are not there yet."""
        taken = await self._value(
            """
            SELECT count(*) FILTER (WHERE "deletedAt" IS NULL) - count(*) FILTER (WHERE subdomain = ANY(%s))
            FROM core.workspace
            """,
            [list(subdomains)],
        )
        return int(taken) + len(subdomains)

    async def workspaces(self, only: list[str] | None = None) -> list[Row]:
        """Workspaces, all or by id: the columns of `WORKSPACES` without the server.

        An activation that was begun and never ended is Twenty's own for 5 minutes; then it takes the call again
        (2.21.0, run against it).
        """
        return await self._fetch(
            """
            SELECT w.id::text AS workspace_id, left(w.subdomain, 400) AS subdomain,
                   w."activationStatus"::text AS activation_status,
                   w."deletedAt" IS NOT NULL AS deleted, o."workspaceId" IS NOT NULL AS has_metadata,
                   -- of a fleet at rest no one asks, and ten thousand times take long to read
                   CASE WHEN w."activationStatus"::text IN ('PENDING_CREATION', 'ONGOING_CREATION', 'CREATED')
                       THEN w."createdAt" END AS created_at,
                   -- a time that is not yet, or no time at all, is now
                   CASE WHEN w."activationStatus"::text = 'ONGOING_CREATION'
                       THEN least(greatest(w."updatedAt", 'epoch'), now()) + %s END AS free_at,
                   CASE WHEN w."activationStatus"::text = 'ONGOING_CREATION'
                       THEN extract(
                           epoch FROM least(greatest(w."updatedAt", 'epoch'), now()) + %s - clock_timestamp()
                       )::float8 END AS free_in
            FROM core.workspace w
            LEFT JOIN (
                SELECT DISTINCT "workspaceId" FROM core."objectMetadata"
                WHERE %s::uuid[] IS NULL OR "workspaceId" = ANY(%s)
            ) o ON o."workspaceId" = w.id
            WHERE %s::uuid[] IS NULL OR w.id = ANY(%s)
            """,
            [_ACTIVATION_IS_STALE, _ACTIVATION_IS_STALE, only, only, only, only],
        )

    async def service_access(self, user_ids: Sequence[str], email: str, only: list[str] | None = None) -> list[Row]:
        """Workspaces, all or these, that our account (by its ids and e-mail) belongs to or is invited to.

        The columns of `SERVICE_ACCESS` without the server.
        """
        return await self._fetch(
            accounts.ACCESS, {"users": list(user_ids), "email": email.strip().lower(), "only": only}
        )

    async def invitations(self, only: list[str] | None = None) -> list[Row]:
        """Personal invitations to workspaces, all or these, that are still good.

        The columns of `INVITATIONS` without the server.
        """
        return await self._fetch(accounts.INVITATIONS, {"only": only})

    async def deleted_in_use(self, user_ids: Sequence[str]) -> list[Row]:
        """Workspaces that are marked as deleted although they have members: workspace_id, subdomain, members, service.

        Twenty's own deletion ends the memberships first. With one left, every sign-in of that person on this server
        fails with a TypeError (2.21.0, run against it). `service`: one of these accounts is such a person.
        """
        return await self._fetch(accounts.DELETED_IN_USE, [list(user_ids)])

    async def retire_memberships(self, workspace_id: str) -> int:
        """End the memberships of a workspace that is marked as deleted, as Twenty's own deletion does; how many.

        Nothing is written for a workspace that is not. Sign-ins work again at once (2.21.0, run against it).

        Raises:
            Fault: DELETED_WORKSPACE_IN_USE when our user may not write there, with the grant that is missing.
        """
        assert self._repairs is not None
        try:
            return await self._repairs.execute(
                """
                UPDATE core."userWorkspace" uw SET "deletedAt" = now()
                FROM core.workspace w
                WHERE w.id = uw."workspaceId" AND w.id = %s AND w."deletedAt" IS NOT NULL AND uw."deletedAt" IS NULL
                """,
                [workspace_id],
            )
        except errors.InsufficientPrivilege as error:
            raise Fault(
                FaultKind.TENANT,
                Reason.DELETED_WORKSPACE_IN_USE,
                f"The memberships of workspace {workspace_id}, which was deleted by SQL, cannot be ended: "
                f'{first_line(error)}. Grant our user UPDATE on core."userWorkspace"; the next run does it.',
            ) from None

    async def was_deleted(self, email: str) -> bool:
        """Whether there was an account with this e-mail and there is none any more.

        Twenty deletes an account with its last workspace, ours like any other.
        """
        return await self._holds(accounts.WAS_DELETED, [email.strip().lower()])

    async def onboarding_rows(self, only: list[str] | None = None) -> list[Row]:
        """Onboarding rows, all or those of these workspaces and of their members: row_id, key, both ids, value."""
        return await self._fetch(_FLAGS, [only, only, only])

    async def members(self, only: list[str] | None = None) -> list[tuple[str, str, str | None]]:
        """Memberships, all or of these workspaces: workspace id, user id, and the label of the role or None.

        Deleted memberships and accounts are left out. Each pair of workspace and user comes once; of several roles,
        one that may change all settings goes before others.
        """
        return [(workspace, user, role) for workspace, user, role in await self._fetch_tuples(_MEMBERS, [only, only])]

    async def users(self, emails: Sequence[str] | None = None, user_ids: Sequence[str] = ()) -> list[tuple[str, str]]:
        """Accounts that are not deleted: user id, and e-mail in lower case.

        All, or those that have one of these e-mails in any case, or one of these ids.
        """
        if emails is None:
            rows = await self._fetch_tuples(accounts.USERS)
        else:
            wanted = list({email.strip().lower() for email in emails})
            rows = await self._fetch_tuples(accounts.SOME_USERS, [wanted, wanted, list(user_ids)])
        return [(user, email) for user, email in rows]

    async def roles_given(
        self, members: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], tuple[datetime, datetime, datetime]]:
        """(workspace id, user id) → when they joined, and when their role was given and last changed.

        Who has no role is left out.
        """
        workspaces, users = [list(column) for column in zip(*members, strict=True)] if members else ([], [])
        rows = await self._fetch_tuples(
            """
            SELECT uw."workspaceId"::text, uw."userId"::text, uw."createdAt", max(rt."createdAt"), max(rt."updatedAt")
            FROM unnest(%s::uuid[], %s::uuid[]) AS wanted(workspace, person)
            JOIN core."userWorkspace" uw ON uw."workspaceId" = workspace AND uw."userId" = person
                AND uw."deletedAt" IS NULL
            JOIN core."roleTarget" rt ON rt."userWorkspaceId" = uw.id
            GROUP BY 1, 2, 3
            """,
            [workspaces, users],
        )
        return {(workspace, user): (joined, given, changed) for workspace, user, joined, given, changed in rows}

    async def member_since(self, workspace_id: str, user_id: str) -> datetime | None:
        """When this account became a member of the workspace; None when it is none."""
        found: datetime | None = await self._value(
            """
            SELECT "createdAt" AS since FROM core."userWorkspace"
            WHERE "workspaceId" = %s AND "userId" = %s AND "deletedAt" IS NULL ORDER BY "createdAt" LIMIT 1
            """,
            [workspace_id, user_id],
        )
        return found

    async def account_facts(self, user_ids: Sequence[str]) -> list[Row]:
        """user_id, email in lower case, verified, created_at, workspaces of those of these that are not deleted."""
        return await self._fetch(
            """
            SELECT id::text AS user_id, lower(email) AS email, "isEmailVerified" AS verified, "createdAt" AS created_at,
                (SELECT count(*)::int FROM core."userWorkspace" w
                 WHERE w."userId" = u.id AND w."deletedAt" IS NULL) AS workspaces
            FROM core."user" u WHERE "deletedAt" IS NULL AND id = ANY(%s::uuid[])
            """,
            [list(user_ids)],
        )

    async def rights_missing(self) -> tuple[str, ...]:
        """The rights that our user lacks to remove onboarding rows and put them back."""
        assert self._repairs is not None
        return await rights_missing(self._repairs)

    async def remove_rows(self, planned: Sequence[Flag], record: Callable[[list[Row]], Awaitable[None]]) -> list[Row]:
        """Remove exactly these onboarding rows in one transaction; `record` writes them down before they are gone.

        For rows that no call of Twenty's clears. Rows that changed meanwhile are left.

        Raises:
            Fault: STEPS_PENDING when our user may not delete there, with the grant that is missing.
        """
        assert self._repairs is not None
        try:
            return await remove_rows(self._repairs, planned, record, owner_is_trusted=True)
        except errors.InsufficientPrivilege as error:
            raise Fault(
                FaultKind.TENANT,
                Reason.STEPS_PENDING,
                f"No call of Twenty's clears {', '.join(sorted({flag.key for flag in planned}))}, and we may not "
                f"remove these rows: {first_line(error)}. Grant our user SELECT, UPDATE and DELETE on "
                'core."keyValuePair"; the next run removes them.',
            ) from None

    async def has_invitation(self, workspace_id: str, email: str) -> bool:
        """Whether this address has an invitation to this workspace that is still good."""
        return await self._holds(
            """
            SELECT EXISTS (
                SELECT 1 FROM core."appToken"
                WHERE "workspaceId" = %s AND type IN ('INVITATION_TOKEN', 'ONBOARDING_INVITATION_TOKEN')
                  AND lower(context->>'email') = %s AND "deletedAt" IS NULL AND "expiresAt" > now()
            ) AS found
            """,
            [workspace_id, email.strip().lower()],
        )

    async def workspace_state(self, workspace_id: str) -> WorkspaceState | None:
        """One workspace, or None when it does not exist."""
        rows = await self._fetch(
            """
            SELECT subdomain, "activationStatus"::text AS activation_status, "deletedAt" IS NOT NULL AS deleted,
                   CASE WHEN "activationStatus"::text = 'ONGOING_CREATION'
                       THEN greatest(0, extract(
                           epoch FROM least(greatest("updatedAt", 'epoch'), now()) + %s - clock_timestamp()
                       ))::float8 END AS free_in
            FROM core.workspace WHERE id = %s
            """,
            [_ACTIVATION_IS_STALE, workspace_id],
        )
        return WorkspaceState(**rows[0]) if rows else None

    async def default_role(self, workspace_id: str) -> Role | None:
        """The role that the workspace gives to those who join; None when it has none, or is not there."""
        rows = await self._fetch(
            """
            SELECT r.id::text AS id, r.label
            FROM core.workspace w JOIN core.role r ON r.id = w."defaultRoleId" WHERE w.id = %s
            """,
            [workspace_id],
        )
        return Role(**rows[0]) if rows else None

    async def holds_role(self, role_id: str) -> bool:
        """Whether anyone or anything has this role: a member, whatever became of their record, an API key, an agent."""
        return await self._holds('SELECT EXISTS (SELECT 1 FROM core."roleTarget" WHERE "roleId" = %s)', [role_id])

    async def shares_invite_link(self, workspace_id: str) -> bool:
        """Whether another workspace has the same invite link, which Twenty allows: who joins by it may land there."""
        return await self._holds(
            """
            SELECT EXISTS (
                SELECT FROM core.workspace w JOIN core.workspace o ON o."inviteHash" = w."inviteHash" AND o.id <> w.id
                WHERE w.id = %s AND o."deletedAt" IS NULL
            ) AS found
            """,
            [workspace_id],
        )

    async def flags(self, workspace_id: str) -> tuple[Flag, ...]:
        """The onboarding rows that concern one workspace, at every level."""
        return tuple(Flag(**row) for row in await self.onboarding_rows([workspace_id]))

    async def member_state(self, workspace_id: str, email: str) -> MemberState | None:
        """The membership of the account with this e-mail, or None."""
        rows = await self._fetch(
            """
            SELECT u.id::text AS user_id, r.label AS role
            FROM core."userWorkspace" uw
            JOIN core."user" u ON u.id = uw."userId" AND u."deletedAt" IS NULL
            LEFT JOIN core."roleTarget" rt ON rt."userWorkspaceId" = uw.id
            LEFT JOIN core.role r ON r.id = rt."roleId" AND r."workspaceId" = uw."workspaceId"
            WHERE uw."workspaceId" = %s AND uw."deletedAt" IS NULL AND lower(u.email) = %s
            """,
            [workspace_id, email.lower()],
        )
        return MemberState(**rows[0]) if rows else None

    async def workspace_left_behind(self, subdomain: str, creator_email: str, begun_at: datetime) -> str | None:
        """The workspace that a call of ours made although its answer was lost, by evidence.

        It carries the subdomain that we chose, it was never activated, its first member is our service account, and
        it is not older than our intent, whose time is this database's own (`now`).
        """
        found: str | None = await self._value(
            """
            SELECT w.id::text AS id
            FROM core.workspace w
            WHERE w.subdomain = %s AND w."deletedAt" IS NULL AND w."createdAt" >= %s
              AND w."activationStatus"::text = 'PENDING_CREATION'
              AND lower((
                SELECT u.email FROM core."userWorkspace" uw JOIN core."user" u ON u.id = uw."userId"
                WHERE uw."workspaceId" = w.id ORDER BY uw."createdAt", uw.id LIMIT 1
              )) = %s
            """,
            [subdomain, begun_at - _CLOCK_TOLERANCE, creator_email.lower()],
        )
        return found


_WORKSPACE_COUNT = """
    SELECT count(*) AS found, (
        SELECT array_agg(c.relname ORDER BY c.relname) FROM pg_catalog.pg_class c
        WHERE c.relnamespace = to_regnamespace('core') AND c.relname = ANY(%s) AND row_security_active(c.oid)
    ) AS hidden
    FROM core.workspace WHERE "deletedAt" IS NULL
"""
_FLAGS = r"""
    SELECT id::text AS row_id, left(key, 200) AS key, "userId"::text AS user_id, "workspaceId"::text AS workspace_id,
           -- JSON of any depth, and numbers of any length, may stand there; true is all that is asked for
           CASE WHEN pg_column_size(value) <= 64 AND length(value::text) <= 64 THEN value END AS value
    FROM core."keyValuePair" k
    WHERE type::text = 'USER_VARIABLE' AND key ~ '^ONBOARDING_.+_PENDING$'
      -- a column from 2.23 on: such rows are an application's, and no steps
      AND to_jsonb(k)->>'applicationId' IS NULL
      AND (%s::uuid[] IS NULL OR "workspaceId" = ANY(%s) OR ("workspaceId" IS NULL AND "userId" IN (
          SELECT "userId" FROM core."userWorkspace" WHERE "workspaceId" = ANY(%s))))
"""
"""Whatever "deletedAt" says: Twenty reads such rows like all others (2.21.0's entity has it as a plain column)."""

_MEMBERS = """
    SELECT DISTINCT ON (uw."workspaceId", uw."userId") uw."workspaceId"::text, uw."userId"::text, left(r.label, 400)
    FROM core."userWorkspace" uw
    JOIN core."user" u ON u.id = uw."userId" AND u."deletedAt" IS NULL
    LEFT JOIN core."roleTarget" rt ON rt."userWorkspaceId" = uw.id
    LEFT JOIN core.role r ON r.id = rt."roleId" AND r."workspaceId" = uw."workspaceId"
    WHERE uw."deletedAt" IS NULL AND (%s::uuid[] IS NULL OR uw."workspaceId" = ANY(%s))
    ORDER BY uw."workspaceId", uw."userId", r."canUpdateAllSettings" DESC NULLS LAST, r.label
"""
