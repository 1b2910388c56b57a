"""A registry, a Twenty server's database and tenant databases, out of which runs remove rows by SQL."""

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from provisioning_pipeline.clients.onboarding_rows import activate_workspaces, remove_rows
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger import schema
from provisioning_pipeline.ledger.history import History
from provisioning_pipeline.ledger.inspections import ONBOARDING_TABLE, WORKSPACE_TABLE, RemovedRows
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.onboarding import CONNECT_ACCOUNT, CREATE_PROFILE, Flag
from provisioning_pipeline.model.tenant import Tenant
from provisioning_pipeline.sandbox.hand_made import (
    HandMadeWorkspace,
    core_schema,
    insert_onboarding,
    insert_workspace,
)
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.registry import SeededMember
from provisioning_pipeline.settings import PREFIX, Settings
from provisioning_pipeline.steps.scope import written_down
from provisioning_pipeline_tests.world import settings_of

LEDGER, CORE = "undoing_ledger", "undoing_core"
PEOPLE = (
    SeededMember("jane@one.example", "Jane", "Doe", "user_1", "org:admin"),
    SeededMember("john@one.example", "John", "Roe", "user_2", "org:member"),
)
_ALL = 'SELECT to_jsonb(k) FROM core."keyValuePair" k ORDER BY id'


class Site:
    """A registry and a Twenty server, and as many tenant databases as a test adds."""

    def __init__(self, postgres: SandboxPostgres) -> None:
        self.postgres = postgres
        if LEDGER not in postgres.databases():
            schema.migrate(postgres.create_database(LEDGER))
            postgres.create_database(CORE)
            postgres.execute(CORE, core_schema())
        self.mark = uuid.uuid4().hex[:8]
        self.registry = f"undoing_registry_{self.mark}"
        self.server = f"undoing_twenty_{self.mark}"
        self.registry_url = postgres.create_database(self.registry, template=LEDGER)
        postgres.create_database(self.server, template=CORE)

    def environment(self) -> dict[str, str]:
        """Settings under which nobody answers but PostgreSQL."""
        values = {
            "registry_url": self.registry_url,
            "tenant_cluster_url": self.postgres.url(),
            "clerk_base_url": "http://127.0.0.1:9/v1",
            "clerk_secret_key": "sk_test_nobody",
            "twenty_base_url": "http://127.0.0.1:9",
            "twenty_database_url": self.postgres.url(self.server),
            "twenty_service_email": "provisioner@platform.test",
            "twenty_service_password": "nobody-signs-in",
            "member_password_key": "undone-by-the-key-of-a-test",
        }
        return {PREFIX + name.upper(): value for name, value in values.items()}

    def settings(self, **overrides: Any) -> Settings:
        """The same as settings."""
        return settings_of(self.environment(), **overrides)

    def tenant(self, slug: str, database: str | None = None) -> "Seeded":
        """A tenant with two people and three pending rows, in its own database or in the server's."""
        name = f"twenty_tenant_{slug}_{self.mark}"
        where = database or name
        if database is None:
            self.postgres.create_database(name, template=CORE)
        with self.postgres.connect(where) as connection:
            workspace = insert_workspace(connection, slug, slug.title(), PEOPLE)
            jane, john = workspace.users
            for key, user in ((CREATE_PROFILE, jane), (CONNECT_ACCOUNT, jane), (CREATE_PROFILE, john)):
                insert_onboarding(connection, key, value=True, user_id=user, workspace_id=workspace.id)
        self.with_ledger(lambda database: Ledger(database).ensure_links([Tenant(name, slug, slug.title())]))
        return Seeded(self, name, where, workspace)

    def with_ledger(self, work: Callable[[Database], Any]) -> Any:
        """Do something with the ledger's database."""
        return asyncio.run(self._with(self.registry_url, work))

    async def _with(self, url: str, work: Callable[[Database], Any]) -> Any:
        async with Database(
            url, system="A database", unreachable=Reason.DATABASE_UNREACHABLE, read_only=False
        ) as database:
            return await work(database)


@dataclass(frozen=True)
class Seeded:
    """A tenant; `where` is the database in which its rows are."""

    site: Site
    name: str
    where: str
    workspace: HandMadeWorkspace

    def execute(self, query: str, *parameters: Any) -> list[Any]:
        """Rows of that database."""
        return list(self.site.postgres.execute(self.where, query, parameters or None))

    def rows(self) -> list[dict[str, Any]]:
        """All rows of core."keyValuePair", whole."""
        return [row[0] for row in self.execute(_ALL)]

    def remove(self, run_id: str) -> list[dict[str, Any]]:
        """What a run does: remove all pending rows. The whole rows as they were."""
        rows = self.rows()
        flags = [Flag(r["key"], r["userId"], r["workspaceId"], r["value"], r["type"], r["id"]) for r in rows]
        self._as_a_run(run_id, ONBOARDING_TABLE, lambda database, keep: remove_rows(database, flags, keep))
        return rows

    def activate(self, run_id: str) -> None:
        """What a run does with a whole workspace that was left in PENDING_CREATION."""
        self.set_status("PENDING_CREATION")
        self._as_a_run(
            run_id, WORKSPACE_TABLE, lambda database, keep: activate_workspaces(database, [self.workspace.id], keep)
        )

    def set_status(self, status: str) -> None:
        """Set the activation status of its workspace."""
        self.execute(f"UPDATE core.workspace SET \"activationStatus\" = '{status}' RETURNING 1")

    def status(self) -> str:
        """The activation status of its workspace."""
        return str(self.execute('SELECT "activationStatus"::text FROM core.workspace')[0][0])

    def insert(self, row: dict[str, Any]) -> None:
        """Somebody else puts a row there."""
        self.execute(
            'INSERT INTO core."keyValuePair" SELECT * FROM jsonb_populate_record(NULL::core."keyValuePair", %s::jsonb) '
            "RETURNING 1",
            json.dumps(row),
        )

    def _as_a_run(self, run_id: str, table: str, doing: Callable[[Database, Any], Any]) -> None:
        server = None if self.where == self.name else "twenty"

        async def go() -> None:
            async with (
                Database(
                    self.site.registry_url, system="", unreachable=Reason.REGISTRY_UNREACHABLE, read_only=False
                ) as ledger,
                Database(
                    self.site.postgres.url(self.where),
                    system="",
                    unreachable=Reason.DATABASE_UNREACHABLE,
                    read_only=False,
                ) as database,
            ):
                await History(ledger).begin_run(run_id, "operator")
                async with written_down(RemovedRows(ledger), run_id, self.name, server, table) as keep:
                    await doing(database, keep)

        asyncio.run(go())
