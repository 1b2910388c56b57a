"""An empty ledger for each test, and how a test asks one."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger import schema
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.sandbox.postgres import SandboxPostgres

T = TypeVar("T")
MIGRATED = "ledger_migrated"


@pytest.fixture(scope="session")
def migrated(sandbox_postgres: SandboxPostgres) -> str:
    """The name of a database with a ledger and nothing else, to be copied."""
    schema.migrate(sandbox_postgres.create_database(MIGRATED))
    return MIGRATED


@pytest.fixture
def url(sandbox_postgres: SandboxPostgres, migrated: str) -> Iterator[str]:
    """A ledger of the test's own."""
    name = f"ledger_{uuid.uuid4().hex[:8]}"
    yield sandbox_postgres.create_database(name, template=migrated)
    sandbox_postgres.drop_database(name)


def opened(url: str, *, read_only: bool = False, most_connections: int = 4) -> Database:
    """The database as a run opens it."""
    return Database(
        url,
        system="The registry",
        unreachable=Reason.REGISTRY_UNREACHABLE,
        read_only=read_only,
        most_connections=most_connections,
    )


def ask_ledger(
    url: str, work: Callable[[Database], Awaitable[T]], *, read_only: bool = False, most_connections: int = 4
) -> T:
    """What this answers on the database."""

    async def go() -> T:
        async with opened(url, read_only=read_only, most_connections=most_connections) as database:
            return await work(database)

    return asyncio.run(go())
