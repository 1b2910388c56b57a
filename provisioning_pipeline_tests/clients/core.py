"""The database of a Twenty server, as the tests fill and read it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.twenty.database import TwentyDatabase
from provisioning_pipeline.clients.twenty.members import schema_name
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.sandbox.postgres import SandboxPostgres

NOW = datetime.now(UTC)


class Core:
    """A Twenty database to be filled by SQL."""

    def __init__(self, postgres: SandboxPostgres, name: str) -> None:
        self.postgres, self.name = postgres, name

    def sql(self, statement: str, *values: Any) -> list[Any]:
        return list(self.postgres.execute(self.name, statement, values or None))

    def user(self, email: str, *, admin: bool = False, deleted: bool = False) -> str:
        return str(
            self.sql(
                'INSERT INTO core."user" (email, "canAccessFullAdminPanel", "deletedAt") VALUES (%s, %s, %s)'
                " RETURNING id",
                email,
                admin,
                NOW if deleted else None,
            )[0][0]
        )

    def workspace(
        self,
        subdomain: str,
        *members: str,
        age: timedelta = timedelta(),
        deleted: bool = False,
        whole: bool = True,
        status: str = "ACTIVE",
    ) -> str:
        made = str(
            self.sql(
                'INSERT INTO core.workspace (subdomain, "activationStatus", "createdAt", "deletedAt")'
                " VALUES (%s, %s, %s, %s) RETURNING id",
                subdomain,
                status,
                NOW - age,
                NOW if deleted else None,
            )[0][0]
        )
        for number, user_id in enumerate(members):
            self.sql(
                'INSERT INTO core."userWorkspace" ("userId", "workspaceId", "createdAt") VALUES (%s, %s, %s)',
                user_id,
                made,
                NOW + timedelta(seconds=number),
            )
        if whole:
            objects = 'INSERT INTO core."objectMetadata" ("workspaceId", "nameSingular") VALUES (%s, %s)'
            for name in ("person", "workspaceMember"):
                self.sql(objects, made, name)
        return made

    def flag(
        self, key: str, user: str | None, workspace: str | None, value: str = "true", type_: str = "USER_VARIABLE"
    ) -> None:
        self.sql(
            'INSERT INTO core."keyValuePair" (key, "userId", "workspaceId", value, type)'
            " VALUES (%s, %s, %s, %s::jsonb, %s)",
            key,
            user,
            workspace,
            value,
            type_,
        )

    def role(self, workspace: str, label: str, user: str, *, all_settings: bool = False, of: str | None = None) -> None:
        """Give a member a role beside those they have; `of` is the workspace to which the role belongs."""
        self.sql(
            """WITH made AS (INSERT INTO core.role (label, "workspaceId", "canUpdateAllSettings")
                             VALUES (%s, %s, %s) RETURNING id)
               INSERT INTO core."roleTarget" ("workspaceId", "roleId", "userWorkspaceId")
               SELECT uw."workspaceId", made.id, uw.id FROM made, core."userWorkspace" uw
               WHERE uw."workspaceId" = %s AND uw."userId" = %s RETURNING id""",
            label,
            of or workspace,
            all_settings,
            workspace,
            user,
        )

    def member_table(self, workspace: str) -> None:
        """The workspace's own schema, as far as it is read."""
        schema = schema_name(workspace)
        self.sql(f'CREATE SCHEMA "{schema}"')
        self.sql(
            f'CREATE TABLE "{schema}"."workspaceMember" (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "userId" uuid,'
            ' "userEmail" text, "nameFirstName" text, "nameLastName" text,'
            ' "createdAt" timestamptz NOT NULL DEFAULT now(), "deletedAt" timestamptz)'
        )

    def member(self, workspace: str, user: str, email: str, *name: str, deleted: bool = False) -> str:
        """A record in the workspace's own member table."""
        first, last = name or (None, None)
        made = self.sql(
            f'INSERT INTO "{schema_name(workspace)}"."workspaceMember"'
            ' ("userId", "userEmail", "nameFirstName", "nameLastName", "deletedAt") VALUES (%s, %s, %s, %s, %s)'
            " RETURNING id",
            user,
            email,
            first,
            last,
            NOW if deleted else None,
        )
        return str(made[0][0])

    @asynccontextmanager
    async def reader(self, grants: str = "") -> AsyncIterator[TwentyDatabase]:
        """The same database, read by a user who has these rights alone."""
        role = f"reader_{uuid4().hex[:8]}"
        self.postgres.execute("postgres", f"CREATE ROLE {role} LOGIN PASSWORD 'c4nary'")
        try:
            for grant in filter(None, grants.split(";")):
                self.sql(grant.format(role=role))
            async with opened(f"postgresql://{role}:c4nary@127.0.0.1:{self.postgres.port}/{self.name}") as database:
                yield database
        finally:
            self.sql(f"DROP OWNED BY {role}")
            self.postgres.execute("postgres", f"DROP ROLE {role}")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[TwentyDatabase]:
        async with opened(self.postgres.url(self.name)) as database:
            yield database


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[TwentyDatabase]:
    system = 'The database of Twenty server "eu"'
    reason = Reason.SERVER_DATABASE_UNREACHABLE
    async with Database(url, system=system, unreachable=reason, read_only=True) as database:
        yield TwentyDatabase(database)
