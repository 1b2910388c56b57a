"""Reads of a Twenty server's own database (schema `core`), for one workspace or for all. Never writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import errors

from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.onboarding import Flag

_CLOCK_TOLERANCE = timedelta(seconds=5)
"""The server process and its database may be two machines."""


@dataclass(frozen=True, slots=True)
class WorkspaceState:
    """One workspace as its row says it."""

    subdomain: str
    activation_status: str
    deleted: bool


@dataclass(frozen=True, slots=True)
class MemberState:
    """One person's membership of one workspace. `role` is the label of the role, None when there is none."""

    user_id: str
    role: str | None


class TwentyDatabase:
    """The database of one Twenty server."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def _fetch(self, query: str, parameters: Sequence[object] = ()) -> list[Row]:
        try:
            return await self._database.fetch(query, parameters)
        except (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName) as error:
            raise Fault(
                FaultKind.SERVER,
                Reason.UNSUPPORTED_TWENTY,
                f"{self._database.system} ({self._database.where}) is not the database of a Twenty 2.x server: "
                f"{str(error).splitlines()[0]}. Point the setting at Twenty's own database.",
            ) from None
        except errors.InsufficientPrivilege as error:
            raise Fault(
                FaultKind.SERVER,
                Reason.SERVER_DATABASE_UNREACHABLE,
                f"{self._database.system} ({self._database.where}) may not be read: {str(error).splitlines()[0]}. "
                "Grant our user USAGE on schema core and SELECT on its tables.",
            ) from None

    async def has_any_user(self) -> bool:
        """Whether anyone ever signed up; the first who does becomes the server's admin."""
        rows = await self._fetch('SELECT EXISTS (SELECT 1 FROM core."user") AS found')
        return bool(rows[0]["found"])

    async def is_server_admin(self, email: str) -> bool:
        """Whether the account may create workspaces on a server that limits that to its admins."""
        rows = await self._fetch(
            """
            SELECT COALESCE(bool_or("canAccessFullAdminPanel"), false) AS admin FROM core."user"
            WHERE lower(email) = %s AND "deletedAt" IS NULL
            """,
            [email.lower()],
        )
        return bool(rows[0]["admin"])

    async def user_ids(self, email: str) -> list[str]:
        """Ids of the accounts with this e-mail, deleted ones left out."""
        rows = await self._fetch(
            'SELECT id::text AS id FROM core."user" WHERE lower(email) = %s AND "deletedAt" IS NULL',
            [email.lower()],
        )
        return [row["id"] for row in rows]

    async def workspace_count(self) -> int:
        """How many workspaces Twenty counts towards its limit: those not deleted."""
        rows = await self._fetch('SELECT count(*) AS found FROM core.workspace WHERE "deletedAt" IS NULL')
        return int(rows[0]["found"])

    async def now(self) -> datetime:
        """The time of this server's database, to which its rows are to be compared."""
        rows = await self._fetch("SELECT clock_timestamp() AS now")
        found: datetime = rows[0]["now"]
        return found

    async def places_taken(self, subdomains: Sequence[str]) -> int:
        """Workspaces that count towards a limit, and those of these subdomains that are not there yet."""
        rows = await self._fetch(
            """
            SELECT count(*) FILTER (WHERE "deletedAt" IS NULL) AS made,
                   count(*) FILTER (WHERE subdomain = ANY(%s)) AS there
            FROM core.workspace
            """,
            [list(subdomains)],
        )
        return int(rows[0]["made"]) + len(subdomains) - int(rows[0]["there"])

    async def workspaces(self, only: Sequence[str] | None = None) -> list[Row]:
        """Workspaces, all or by id: workspace_id, subdomain, activation_status, deleted, has_metadata."""
        ids = None if only is None else list(only)
        return await self._fetch(
            """
            SELECT w.id::text AS workspace_id, w.subdomain, w."activationStatus"::text AS activation_status,
                   w."deletedAt" IS NOT NULL AS deleted, o."workspaceId" IS NOT NULL AS has_metadata
            FROM core.workspace w
            LEFT JOIN (
                SELECT DISTINCT "workspaceId" FROM core."objectMetadata"
                WHERE %s::uuid[] IS NULL OR "workspaceId" = ANY(%s)
            ) o ON o."workspaceId" = w.id
            WHERE %s::uuid[] IS NULL OR w.id = ANY(%s)
            """,
            [ids, ids, ids, ids],
        )

    async def onboarding_rows(self, only: Sequence[str] | None = None) -> list[Row]:
        """Onboarding rows, all or those that concern these workspaces: key, user_id, workspace_id, value."""
        ids = None if only is None else list(only)
        return await self._fetch(
            _FLAGS + ' AND (%s::uuid[] IS NULL OR "workspaceId" = ANY(%s) OR "workspaceId" IS NULL)', [ids, ids]
        )

    async def workspace_state(self, workspace_id: str) -> WorkspaceState | None:
        """One workspace, or None when it does not exist."""
        rows = await self._fetch(
            """
            SELECT subdomain, "activationStatus"::text AS activation_status, "deletedAt" IS NOT NULL AS deleted
            FROM core.workspace WHERE id = %s
            """,
            [workspace_id],
        )
        return WorkspaceState(**rows[0]) if rows else None

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
        return MemberState(rows[0]["user_id"], rows[0]["role"]) if rows else None

    async def workspace_left_behind(self, subdomain: str, creator_email: str, begun_at: datetime) -> str | None:
        """The workspace that a call of ours made although its answer was lost, by evidence.

        It carries the subdomain that we chose, nobody activated it yet, its first member is our service account, and
        it is not older than our intent, whose time is this database's own (`now`).
        """
        rows = await self._fetch(
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
        return rows[0]["id"] if rows else None


_FLAGS = r"""
    SELECT key, "userId"::text AS user_id, "workspaceId"::text AS workspace_id, value
    FROM core."keyValuePair"
    WHERE type::text = 'USER_VARIABLE' AND key ~ '^ONBOARDING_.+_PENDING$' AND "deletedAt" IS NULL
"""
