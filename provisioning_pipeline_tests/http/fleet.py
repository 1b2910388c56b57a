"""A registry's database with a ledger and tenants that Clerk's events may concern, and what events look like."""

import base64
import hashlib
import hmac
import itertools
import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from provisioning_pipeline.ledger import schema
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.settings import Settings
from provisioning_pipeline_tests.world import settings_of

SECRET = "whsec_" + base64.b64encode(b"twenty-four bytes of key").decode()
NUMBERS = itertools.count(1)
_MIGRATED = "marks_migrated"
"""A ledger without rows, of which each test gets a copy."""


class Fleet:
    """Tenants as rows alone: nothing but the registry's database is there."""

    def __init__(self, postgres: SandboxPostgres, name: str) -> None:
        self.postgres = postgres
        self.name = name
        self.url = postgres.url(name)
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def environment(self) -> dict[str, str]:
        """Settings under which nothing but the registry can be reached."""
        return {
            "PROVISIONING_REGISTRY_URL": self.url,
            "PROVISIONING_TENANT_CLUSTER_URL": self.url,
            "PROVISIONING_TWENTY_BASE_URL": "http://127.0.0.1:9",
            "PROVISIONING_TWENTY_DATABASE_URL": self.url,
            "PROVISIONING_TWENTY_SERVICE_EMAIL": "service@platform.test",
            "PROVISIONING_TWENTY_SERVICE_PASSWORD": "a password of the service",
            "PROVISIONING_CLERK_BASE_URL": "http://127.0.0.1:9/v1",
            "PROVISIONING_CLERK_SECRET_KEY": "sk_test_0",
            "PROVISIONING_CLERK_WEBHOOK_SECRET": SECRET,
            "PROVISIONING_MEMBER_PASSWORD_KEY": "sixteen characters",
        }

    def settings(self, **overrides: Any) -> Settings:
        return settings_of(self.environment(), **overrides)

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.ask(statement, parameters or None)

    def ask(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] | None) -> list[tuple[Any, ...]]:
        """Run it on a connection that is kept: to connect takes longer than most statements."""
        if self._connection is None or self._connection.closed:
            self._connection = self.postgres.connect(self.name)
        try:
            cursor = self._connection.execute(statement.encode(), parameters)
        except psycopg.OperationalError:
            if not self._connection.broken:
                raise
            # the server was stopped and started since
            self._connection = self.postgres.connect(self.name)
            cursor = self._connection.execute(statement.encode(), parameters)
        return cursor.fetchall() if cursor.description else []

    def leave(self) -> None:
        """Close the kept connection."""
        if self._connection is not None:
            self._connection.close()

    def register(self, database_name: str, organization: str | None) -> None:
        """A row of the tenant manager's."""
        self.sql(
            "INSERT INTO tenant_registry (database_name, slug, clerk_org_id) VALUES (%s, %s, %s)",
            *(database_name, database_name, organization),
        )

    def link(self, database_name: str, organization: str | None = None, users: Sequence[str] = ()) -> None:
        """A tenant that the ledger knows, with its linked members."""
        self.sql(
            "INSERT INTO provisioning.tenant_link (database_name, slug, clerk_org_id) VALUES (%s, %s, %s)",
            *(database_name, database_name, organization),
        )
        for user in users:
            self.sql(
                "INSERT INTO provisioning.member_link (database_name, clerk_user_id, twenty_user_id, email, first_name,"
                " last_name, run_id) VALUES (%s, %s, gen_random_uuid(), 'a@acme.test', 'A', 'B', 'r1')",
                *(database_name, user),
            )

    def marked(self) -> list[str]:
        """The marked tenants, sorted."""
        rows = self.sql(
            "SELECT database_name FROM provisioning.tenant_link WHERE marked_at IS NOT NULL ORDER BY database_name"
        )
        return [row[0] for row in rows]

    def unmark(self) -> None:
        """As if a run had looked."""
        self.sql("UPDATE provisioning.tenant_link SET marked_at = NULL")

    def events(self) -> list[str]:
        """The types of the stored events, sorted."""
        return [row[0] for row in self.sql("SELECT type FROM provisioning.clerk_event ORDER BY type")]

    def shut(self) -> None:
        """Take the database away: every connection is cut, and none is let in."""
        self._let_in(allowed=False)
        self.leave()
        self.postgres.execute(
            "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self.name]
        )

    def open(self) -> None:
        """Bring it back."""
        self._let_in(allowed=True)

    def _let_in(self, *, allowed: bool) -> None:
        statement = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        self.postgres.execute("postgres", statement.format(sql.Identifier(self.name), sql.Literal(allowed)))


@contextmanager
def fleet_in(postgres: SandboxPostgres, template: str = _MIGRATED) -> Iterator[Fleet]:
    """A migrated ledger beside an empty registry table, or a copy of a fleet of that name."""
    if _MIGRATED not in postgres.databases():
        schema.migrate(postgres.create_database(_MIGRATED))
        postgres.execute(_MIGRATED, "CREATE TABLE tenant_registry (database_name text, slug text, clerk_org_id text)")
    fleet = Fleet(postgres, f"marks_{uuid.uuid4().hex[:8]}")
    postgres.create_database(fleet.name, template=template)
    try:
        yield fleet
    finally:
        fleet.leave()
        fleet.open()
        postgres.drop_database(fleet.name)


# --- what Clerk sends -------------------------------------------------------------------------------------------


def organization_event(verb: str, organization: str) -> dict[str, Any]:
    return envelope(f"organization.{verb}", {"object": "organization", "id": organization})


def membership_event(verb: str, organization: str, user: str) -> dict[str, Any]:
    data = {"object": "organization_membership", "id": "orgmem_1", "organization": {"id": organization}}
    return envelope(f"organizationMembership.{verb}", data | {"public_user_data": {"user_id": user}})


def user_event(verb: str, user: str) -> dict[str, Any]:
    return envelope(f"user.{verb}", {"object": "user", "id": user})


def envelope(type_: str, data: Any) -> dict[str, Any]:
    return {"data": data, "object": "event", "type": type_, "timestamp": 1716883200123, "instance_id": "ins_1"}


def signed(
    body: bytes | dict[str, Any], event_id: str | None = None, *, seconds: float = 0.0, secret: str = SECRET
) -> tuple[bytes, dict[str, str]]:
    """Body and headers as Svix makes them, by its description and not with the package that checks them.

    `seconds` moves the time of sending.
    """
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    event_id = event_id or f"msg_{next(NUMBERS)}"
    sent = str(int(time.time() + seconds))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{event_id}.{sent}.".encode() + raw, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return raw, {"svix-id": event_id, "svix-timestamp": sent, "svix-signature": signature}
