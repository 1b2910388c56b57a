"""The services' side of the HTTP API: callers with API keys, tenants as rows, and a sandbox in which runs are real."""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from provisioning_pipeline.http.app import create_app
from provisioning_pipeline.ledger.api_keys import ApiKeys
from provisioning_pipeline.ledger.schema import ledger_database
from provisioning_pipeline.run.run import apply
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.registry import TABLES
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.serving import LoopbackServer
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline.settings import Settings
from provisioning_pipeline_tests.http.dagster_stand_in import Run, StandInDagster
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in
from provisioning_pipeline_tests.world import World

PROBLEM = "application/problem+json"


def key_of(settings: Settings, name: str = "tenant-manager", *, days: int | None = None, **limits: Any) -> str:
    """A new API key, as `provisioning keys create` makes it; `limits` as `ApiKeys.create` has them."""

    async def create() -> str:
        async with ledger_database(settings, read_only=False) as database:
            return (await ApiKeys(database).create(name, days=days, **limits))[1]

    return asyncio.run(create())


def caller(url: str, key: str | None = None, **headers: str) -> httpx2.Client:
    """Somebody who asks the HTTP API at this address; with a key, in its name."""
    given = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx2.Client(base_url=url, headers=given | headers, timeout=30, verify=False)


@contextmanager
def serving(settings: Settings, stopping: Callable[[], bool] = lambda: False) -> Iterator[str]:
    """The real application on a loopback port; its address."""
    server = LoopbackServer(create_app(settings, stopping))
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


class Tenants(Fleet):
    """A ledger beside a whole tenant registry, and rows in both as runs leave them."""

    def row(self, database_name: str) -> dict[str, Any]:
        """What the registry says."""
        rows = self.sql("SELECT to_jsonb(t) FROM tenant_registry t WHERE database_name = %s", database_name)
        return dict(rows[0][0]) if rows else {}

    def linked(self, database_name: str) -> dict[str, Any]:
        """What the ledger says."""
        rows = self.sql("SELECT to_jsonb(l) FROM provisioning.tenant_link l WHERE database_name = %s", database_name)
        return dict(rows[0][0]) if rows else {}

    def add(
        self,
        slug: str,
        organization: str | None = None,
        *,
        ready: bool = False,
        database_name: str | None = None,
        status: str = "active",
    ) -> str:
        """A tenant that both know; the name of its database."""
        name = database_name or database_of(slug)
        self.sql(
            "INSERT INTO tenant_registry (slug, name, database_name, database_url, status, clerk_org_id)"
            " VALUES (%s, %s, %s, '', %s, %s)",
            *(slug, slug.title(), name, status, organization),
        )
        self.sql(
            "INSERT INTO provisioning.tenant_link (database_name, slug, clerk_org_id) VALUES (%s, %s, %s)",
            *(name, slug, organization),
        )
        if ready:
            self.looked(str(uuid.uuid4()), name)
        return name

    def looked(self, run_id: str, database_name: str, *, ready: bool = True, reason: str = "ServerFull") -> None:
        """As if a run had looked at the tenant from its begin to its end."""
        self.sql(
            "INSERT INTO provisioning.run (run_id, trigger, ready, unwell, actions, seconds, record)"
            " VALUES (%s, 'sensor', 1, 0, 3, 4.5, '{\"clerk_calls\": 7, \"whole\": true}')",
            run_id,
        )
        self.condition(run_id, database_name, "True" if ready else "False", "AllTrue" if ready else reason)
        self.sql(
            "UPDATE provisioning.tenant_link SET ready = %(ready)s, marked_at = NULL, marked_by = NULL,"
            " server = 'twenty', workspace_id = COALESCE(workspace_id, CASE WHEN %(ready)s THEN gen_random_uuid() END),"
            " workspace_url = 'https://' || slug || '.crm.test', admin_email = 'ada@acme.test',"
            " admin_user_id = COALESCE(admin_user_id, CASE WHEN %(ready)s THEN gen_random_uuid() END)"
            " WHERE database_name = %(name)s",
            ready=ready,
            name=database_name,
        )
        # the end is the last that a run tells
        self.sql("UPDATE provisioning.run SET finished_at = now() WHERE run_id = %s", run_id)

    def condition(self, run_id: str, database_name: str, status: str, reason: str, type_: str = "Ready") -> None:
        """Store one condition of a tenant."""
        self.sql(
            "INSERT INTO provisioning.condition (database_name, type, status, reason, message, run_id)"
            " VALUES (%s, %s, %s, %s, 'As the test has it.', %s) ON CONFLICT (database_name, type) DO UPDATE SET"
            " status = excluded.status, reason = excluded.reason",
            *(database_name, type_, status, reason, run_id),
        )

    def sql(self, statement: str, *parameters: Any, **named: Any) -> list[tuple[Any, ...]]:
        return self.ask(statement, named or parameters or None)

    def requests(self) -> int:
        """How many requests the ledger keeps."""
        return int(self.sql("SELECT count(*) FROM provisioning.tenant_request")[0][0])


@contextmanager
def tenants_in(postgres: SandboxPostgres) -> Iterator[Tenants]:
    """An empty ledger and an empty registry with all columns that the tenant manager's has."""
    with fleet_in(postgres) as made:
        tenants = Tenants(postgres, made.name)
        tenants.sql("DROP TABLE tenant_registry")
        tenants.sql(TABLES)
        yield tenants
        tenants.leave()


def database_of(slug: str) -> str:
    """What the tests call a tenant's database."""
    return f"twenty_tenant_{slug.replace('-', '_')}"


@contextmanager
def small_world(tenants: int = 1, members: int = 2, **overrides: Any) -> Iterator[World]:
    """A sandbox whose workspaces are activated at once, and every tenant of it is ready."""
    options = SandboxOptions(tenants=tenants, members=members, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as sandbox:
        made = World(sandbox, clerk_issuers=(sandbox.clerk.frontend_url,), **overrides)
        made.apply()
        yield made


def reconciled_by(settings: Settings) -> Callable[[Run], None]:
    """What a run does: a real reconciliation."""

    def work(run: Run) -> None:
        asyncio.run(apply(settings, run.tenants, trigger=run.tags["trigger"], run_id=run.id))

    return work


class Service:
    """The tenant manager, and what it sees."""

    def __init__(self, http: httpx2.Client, tenants: Tenants, dagster: StandInDagster, settings: Settings) -> None:
        self.http, self.tenants, self.dagster, self.settings = http, tenants, dagster, settings

    def put(self, slug: str, *, wait: float = 0, word: str | None = None, **body: Any) -> httpx2.Response:
        """Ask for a tenant; without a body when nothing is said of it."""
        headers = {"Idempotency-Key": word} if word else {}
        return self.http.put(f"/v1/tenants/{slug}", params={"wait": wait}, json=body or None, headers=headers)

    def reconcile(self, name: str, *, wait: float = 0, word: str | None = None) -> httpx2.Response:
        headers = {"Idempotency-Key": word} if word else {}
        return self.http.post(f"/v1/tenants/{name}/reconcile", params={"wait": wait}, headers=headers)

    def get(self, name: str) -> httpx2.Response:
        return self.http.get(f"/v1/tenants/{name}")

    def looked(self, run: Run) -> None:
        """A run that finds all of its tenants ready."""
        for number, name in enumerate(run.tenants):
            self.tenants.looked(run.id if not number else str(uuid.uuid4()), name)


@contextmanager
def own_api(service: Service, stopping: Callable[[], bool] = lambda: False, **overrides: Any) -> Iterator[Service]:
    """Another server before the same tenants, which has not met Dagster yet."""
    settings = service.settings.model_copy(update=overrides)
    with serving(settings, stopping) as url, caller(url, key_of(settings)) as http:
        yield Service(http, service.tenants, service.dagster, settings)


def problem(answer: httpx2.Response, status: int) -> str:
    """What a problem document says."""
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert document["status"] == status
    assert document["request_id"] == answer.headers["x-request-id"]
    return str(document["detail"])


def accepted(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text[:500]
    document: dict[str, Any] = answer.json()
    assert answer.headers["location"] == document["status_url"]
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["cache-control"] == "no-store"
    return document


def ready(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text[:500]
    document: dict[str, Any] = answer.json()
    assert document["state"] == "ready"
    assert (document["workspace_id"], document["user_id"]) != (None, None)
    assert "location" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    return document
