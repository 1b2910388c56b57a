"""The cluster: which tenant databases there are."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.observe.snapshots import tenant_databases
from provisioning_pipeline.sandbox.postgres import SandboxPostgres

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
        return list((await tenant_databases(database, *arguments))["database_name"])


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
