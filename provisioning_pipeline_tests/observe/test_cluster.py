"""The cluster: which tenant databases there are, and what a look inside says."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.frames import PROBES, records
from provisioning_pipeline.observe import cluster
from provisioning_pipeline.sandbox.postgres import SandboxPostgres, free_port

pytestmark = pytest.mark.anyio
NAMES = ("seen_template", "seen_acme-west_0a1b2c3d", "seen_bare", "seen_zen_0a1b2c3d", "unseen_one")


@pytest.fixture(scope="module")
def postgres(sandbox_postgres: SandboxPostgres) -> Iterator[SandboxPostgres]:
    sandbox_postgres.create_databases(NAMES)
    yield sandbox_postgres
    for name in NAMES:
        sandbox_postgres.drop_database(name)


@asynccontextmanager
async def opened(postgres: SandboxPostgres) -> AsyncIterator[Database]:
    async with Database(
        postgres.url(), system="The tenant cluster", unreachable=Reason.DATABASE_UNREACHABLE, read_only=True
    ) as database:
        yield database


async def listed(postgres: SandboxPostgres, *arguments: Any) -> list[str]:
    async with opened(postgres) as database:
        return list((await cluster.databases(database, *arguments))["database_name"])


async def test_tenant_databases_are_those_that_match_and_are_not_excluded(postgres: SandboxPostgres) -> None:
    assert await listed(postgres, "^seen_.+", ["seen_template"]) == [
        "seen_acme-west_0a1b2c3d",
        "seen_bare",
        "seen_zen_0a1b2c3d",
    ]
    assert await listed(postgres, "^seen_", []) == sorted(NAMES[:4])
    assert await listed(postgres, "^nothing_like_it", []) == []


async def test_only_those_asked_for_are_listed_and_only_if_they_are_tenants(postgres: SandboxPostgres) -> None:
    asked = ["seen_bare", "seen_template", "unseen_one", "seen_gone"]
    assert await listed(postgres, "^seen_.+", ["seen_template"], asked) == ["seen_bare"]
    assert await listed(postgres, "^seen_.+", ["seen_template"], []) == []


async def test_a_database_marked_as_a_template_is_no_tenant(postgres: SandboxPostgres) -> None:
    postgres.execute("postgres", "ALTER DATABASE seen_bare IS_TEMPLATE true")
    try:
        assert "seen_bare" not in await listed(postgres, "^seen_", [])
    finally:
        postgres.execute("postgres", "ALTER DATABASE seen_bare IS_TEMPLATE false")


async def look(url: str, name: str) -> dict[str, Any]:
    found = await cluster.probes(url, [name])
    assert list(found.columns) == list(PROBES)
    (row,) = records(found)
    return row


async def test_a_database_without_a_schema_is_there_and_empty(postgres: SandboxPostgres) -> None:
    assert await look(postgres.url(), "seen_bare") == {
        "database_name": "seen_bare",
        "reachable": True,
        "vanished": False,
        "has_core": False,
        "display_name": None,
        "problem": None,
    }


async def test_a_database_that_is_gone_has_vanished(postgres: SandboxPostgres) -> None:
    row = await look(postgres.url(), "seen_gone")
    assert (row["reachable"], row["vanished"]) == (False, True)
    assert "seen_gone" in row["problem"]


async def test_a_cluster_that_is_away_has_lost_nothing_and_shows_no_password() -> None:
    row = await look(f"postgresql://u:c4nary@127.0.0.1:{free_port()}/postgres", "seen_bare")
    assert (row["reachable"], row["vanished"]) == (False, False)
    assert "c4nary" not in row["problem"]


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        ("", None),
        ("(1, 'Acme')", "Acme"),
        ("(1, NULL)", None),
        ("(1, '')", None),
        ("(1, 'Acme'), (2, 'Zenith')", None),
    ],
)
async def test_a_database_may_say_what_its_tenant_is_called(
    postgres: SandboxPostgres, rows: str, name: str | None
) -> None:
    table = 'CREATE SCHEMA core; CREATE TABLE core.workspace (id int, "displayName" text);'
    fill = f"INSERT INTO core.workspace VALUES {rows};" if rows else ""
    postgres.execute("seen_zen_0a1b2c3d", f"DROP SCHEMA IF EXISTS core CASCADE; {table} {fill}")
    row = await look(postgres.url(), "seen_zen_0a1b2c3d")
    assert (row["reachable"], row["has_core"], row["display_name"]) == (True, True, name)


async def test_part_of_twentys_schema_is_no_error(postgres: SandboxPostgres) -> None:
    for tables in ("", "CREATE TABLE core.workspace (id int);", 'CREATE TABLE core."user" (id int);'):
        postgres.execute("seen_acme-west_0a1b2c3d", f"DROP SCHEMA IF EXISTS core CASCADE; CREATE SCHEMA core; {tables}")
        row = await look(postgres.url(), "seen_acme-west_0a1b2c3d")
        assert (row["reachable"], row["has_core"], row["display_name"], row["problem"]) == (True, True, None, None)


async def test_what_cannot_be_read_says_why_and_is_never_an_error_of_the_run(postgres: SandboxPostgres) -> None:
    table = 'CREATE TABLE core.workspace ("displayName" text)'  # no id to order by
    postgres.execute("seen_acme-west_0a1b2c3d", f"DROP SCHEMA IF EXISTS core CASCADE; CREATE SCHEMA core; {table}")
    row = await look(postgres.url(), "seen_acme-west_0a1b2c3d")
    assert (row["reachable"], row["vanished"]) == (False, False)
    assert "id" in row["problem"]


async def test_many_are_looked_into_and_each_has_its_own_row(postgres: SandboxPostgres) -> None:
    names = ["seen_bare", "seen_gone"] * 6
    rows = records(await cluster.probes(postgres.url(), names))
    assert [row["database_name"] for row in rows] == names
    assert [row["vanished"] for row in rows] == [False, True] * 6
    assert records(await cluster.probes(postgres.url(), [])) == []
