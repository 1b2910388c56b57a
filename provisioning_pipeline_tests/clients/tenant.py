"""A tenant database to be filled by SQL."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import uuid4

from psycopg import sql

from provisioning_pipeline.clients import tenant_database
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.tenant_database import look
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.onboarding import Flag
from provisioning_pipeline.model.tenant_database import Inspection
from provisioning_pipeline.sandbox import hand_made
from provisioning_pipeline.sandbox.hand_made import HandMadeWorkspace
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.registry import SeededMember

AT = datetime(2026, 1, 1, tzinfo=UTC)
ANN = SeededMember("Ann@Acme.example", "Ann", "Lee", "user_ann", "org:admin")
BOB = SeededMember("bob@acme.example", "Bob", "Ray", "user_bob", "org:member")
NUMBERS = count()


class Tenant:
    """A tenant database to be filled by SQL."""

    def __init__(self, postgres: SandboxPostgres, name: str) -> None:
        self.postgres, self.name = postgres, name

    def sql(self, statement: str, *values: Any) -> list[Any]:
        return list(self.postgres.execute(self.name, statement, values or None))

    def write(self, *statements: str) -> None:
        """In one session, whose counts others see before it ends."""
        with self.postgres.connect(self.name) as connection:
            for statement in statements:
                connection.execute(statement.encode())
                connection.execute("SELECT pg_stat_force_next_flush()")

    def insert(self, *members: SeededMember, slug: str = "acme", **options: Any) -> HandMadeWorkspace:
        with self.postgres.connect(self.name) as connection:
            return hand_made.insert_workspace(connection, slug, slug.title(), members, **options)

    def record(self, schema: str, user_id: str, first_name: str = "", last_name: str = "") -> None:
        table = sql.Identifier(schema, "workspaceMember")
        self.postgres.execute(
            self.name,
            sql.SQL('INSERT INTO {} (id, "userId", "nameFirstName", "nameLastName") VALUES (%s, %s, %s, %s)').format(
                table
            ),
            [uuid4(), user_id, first_name, last_name],
        )

    def flag(self, key: str, user_id: str | None, workspace_id: str | None, value: Any = True) -> Flag:
        (row,) = self.sql(
            'INSERT INTO core."keyValuePair" (key, value, "userId", "workspaceId") VALUES (%s, %s, %s, %s)'
            " RETURNING id::text",
            *(key, json.dumps(value), user_id, workspace_id),
        )
        return Flag(key, user_id, workspace_id, value, row_id=row[0])

    async def look(self, **options: Any) -> Inspection:
        return await look(self.postgres.url(), self.name, "evidence", AT, **options)

    async def evidence(self) -> str:
        async with opened(self.postgres.url()) as cluster:
            return (await tenant_database.evidence(cluster, [self.name]))[self.name]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    async with Database(
        url, system="The tenant cluster", unreachable=Reason.DATABASE_UNREACHABLE, read_only=True
    ) as database:
        yield database


def registry(url: str, *, read_only: bool = False, **options: Any) -> Database:
    """A database under the name of the registry."""
    return Database(url, system="The registry", unreachable=Reason.REGISTRY_UNREACHABLE, read_only=read_only, **options)
