"""The Twenty servers: one that cannot be read is a row with a reason."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.twenty.database import TwentyDatabase
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.frames import FLAGS, SERVERS, WORKSPACES, TwentySnapshot, records
from provisioning_pipeline.observe.snapshots import twenty_servers, with_users
from provisioning_pipeline.sandbox.postgres import SandboxPostgres, free_port
from provisioning_pipeline.sandbox.twenty import core_sql
from provisioning_pipeline.settings import TwentyServer

pytestmark = pytest.mark.anyio
SHARED, OWN = "watched_shared", "watched_tenant_acme"
SERVICE = "provisioner@platform.test"


@pytest.fixture(scope="module")
def postgres(sandbox_postgres: SandboxPostgres) -> Iterator[SandboxPostgres]:
    for name in (SHARED, OWN):
        sandbox_postgres.create_database(name)
        sandbox_postgres.execute(name, core_sql())
        sandbox_postgres.execute(
            name,
            f"""INSERT INTO core."user" (email) VALUES ('{SERVICE}');
                INSERT INTO core.workspace (subdomain, "activationStatus", "deletedAt")
                VALUES ('{name.replace("_", "-")}', 'ACTIVE', NULL), ('gone', 'ACTIVE', now());
                INSERT INTO core."keyValuePair" (key, "workspaceId", value)
                SELECT 'ONBOARDING_INVITE_TEAM_PENDING', id, 'true' FROM core.workspace""",
        )
    yield sandbox_postgres
    for name in (SHARED, OWN):
        sandbox_postgres.drop_database(name)


def server(name: str, url: str, **other: Any) -> TwentyServer:
    return TwentyServer(
        name=name,
        base_url="http://127.0.0.1:9",
        database_url=SecretStr(url),
        service_email="Provisioner@Platform.test",
        service_password=SecretStr("service-c4nary"),
        **other,
    )


@asynccontextmanager
async def databases_of(*servers: TwentyServer) -> AsyncIterator[dict[str, TwentyDatabase]]:
    async with AsyncExitStack() as stack:
        yield {
            each.name: TwentyDatabase(
                await stack.enter_async_context(
                    Database(
                        each.database_url.get_secret_value(),
                        system=f'The database of Twenty server "{each.name}"',
                        unreachable=Reason.SERVER_DATABASE_UNREACHABLE,
                        read_only=True,
                    )
                )
            )
            for each in servers
        }


async def snapshot(*servers: TwentyServer, only: list[str] | None = None) -> TwentySnapshot:
    async with databases_of(*servers) as databases:
        return await twenty_servers(servers, databases, "^watched_tenant_", only)


async def test_every_server_is_read_whole(postgres: SandboxPostgres) -> None:
    found = await snapshot(
        server("eu", postgres.url(SHARED), capacity=5, tenants="^a"), server("own", postgres.url(OWN))
    )
    eu, own = records(found.servers)
    assert eu == {
        "server": "eu",
        "database_name": SHARED,
        "dedicated": False,
        "capacity": 5,
        "workspaces": 1,
        "tenants": "^a",
        "reason": None,
        "message": None,
    }
    assert (own["database_name"], own["dedicated"], own["capacity"]) == (OWN, True, None)
    assert sorted((row["server"], row["subdomain"], row["deleted"]) for row in records(found.workspaces)) == [
        ("eu", "gone", True),
        ("eu", "watched-shared", False),
        ("own", "gone", True),
        ("own", "watched-tenant-acme", False),
    ]
    assert [row["server"] for row in records(found.flags)] == ["eu", "eu", "own", "own"]
    assert {name: len(ids) for name, ids in found.service_users.items()} == {"eu": 1, "own": 1}


async def test_only_the_workspaces_asked_for_are_read_but_all_are_counted(postgres: SandboxPostgres) -> None:
    wanted = str(postgres.execute(SHARED, "SELECT id::text FROM core.workspace WHERE subdomain <> 'gone'")[0][0])
    found = await snapshot(server("eu", postgres.url(SHARED)), only=[wanted])
    assert [row["workspace_id"] for row in records(found.workspaces)] == [wanted]
    assert [row["workspace_id"] for row in records(found.flags)] == [wanted]
    assert records(found.servers)[0]["workspaces"] == 1


async def test_a_server_that_cannot_be_read_does_not_hide_the_others(postgres: SandboxPostgres) -> None:
    away = f"postgresql://u:c4nary@127.0.0.1:{free_port()}/twenty"
    found = await snapshot(
        server("away", away), server("eu", postgres.url(SHARED)), server("wrong", postgres.url("postgres"))
    )
    reasons = {row["server"]: row["reason"] for row in records(found.servers)}
    assert reasons == {
        "away": Reason.SERVER_DATABASE_UNREACHABLE,
        "eu": None,
        "wrong": Reason.UNSUPPORTED_TWENTY,
    }
    assert {row["server"] for row in records(found.workspaces)} == {"eu"}
    assert found.service_users["away"] == ()
    assert "c4nary" not in str(records(found.servers))


async def test_without_servers_the_frames_are_whole_and_empty() -> None:
    found = await snapshot()
    assert (list(found.servers.columns), list(found.workspaces.columns), list(found.flags.columns)) == (
        list(SERVERS),
        list(WORKSPACES),
        list(FLAGS),
    )
    assert len(found.servers) == 0


async def test_accounts_of_a_server_that_fails_between_two_reads_are_not_taken_for_none(
    postgres: SandboxPostgres,
) -> None:
    both = server("eu", postgres.url(SHARED)), server("own", postgres.url(OWN))
    gone = server("own", f"postgresql://u:c4nary@127.0.0.1:{free_port()}/twenty")
    async with databases_of(*both) as databases, databases_of(gone) as after:
        first = await twenty_servers(both, databases, "^watched_tenant_", [])
        whole = await with_users(first, databases, [SERVICE], [])
        cut = await with_users(first, databases | after, [SERVICE], [])
        again = await with_users(cut, databases, [SERVICE], [])
    assert [(row["server"], row["email"]) for row in records(whole.users)] == [("eu", SERVICE), ("own", SERVICE)]
    assert [row["server"] for row in records(cut.users)] == ["eu"]
    reasons = {row["server"]: row["reason"] for row in records(cut.servers)}
    assert reasons == {"eu": None, "own": Reason.SERVER_DATABASE_UNREACHABLE}
    assert "c4nary" not in str(records(cut.servers))
    assert [row["server"] for row in records(again.users)] == ["eu"], "a server without workspaces is asked no more"
