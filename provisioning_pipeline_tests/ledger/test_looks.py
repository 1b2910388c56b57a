"""The last looks into tenant databases: kept as they are, the younger one, and forgotten."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger import schema
from provisioning_pipeline.ledger.inspections import Looks
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.tenant_database import LastLook
from provisioning_pipeline.sandbox.postgres import SandboxPostgres

T = TypeVar("T")
AT = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
FIRST, SECOND = LastLook("1 2 3 repair", AT, settled=True), LastLook("4 5 6 repair", AT, settled=False)


@pytest.fixture(scope="module")
def migrated(sandbox_postgres: SandboxPostgres) -> Iterator[str]:
    name = "looks_migrated"
    schema.migrate(sandbox_postgres.create_database(name))
    yield name
    sandbox_postgres.drop_database(name)


@pytest.fixture
def url(sandbox_postgres: SandboxPostgres, migrated: str) -> Iterator[str]:
    name = "looks_ledger"
    yield sandbox_postgres.create_database(name, template=migrated)
    sandbox_postgres.drop_database(name)


def ask(url: str, work: Callable[[Looks], Coroutine[Any, Any, T]]) -> T:
    async def go() -> T:
        async with Database(
            url, system="The registry", unreachable=Reason.REGISTRY_UNREACHABLE, read_only=False
        ) as database:
            return await work(Looks(database))

    return asyncio.run(go())


def last(url: str) -> dict[str, LastLook]:
    return ask(url, lambda looks: looks.last())


def store(url: str, **looks: LastLook) -> None:
    ask(url, lambda kept: kept.store(looks))


def test_looks_are_kept_as_they_are(url: str) -> None:
    assert last(url) == {}
    store(url, acme=FIRST, zenith=SECOND)
    assert last(url) == {"acme": FIRST, "zenith": SECOND}


def test_another_look_takes_the_place_of_the_last(url: str) -> None:
    store(url, acme=FIRST, zenith=FIRST)
    store(url, acme=SECOND)
    assert last(url) == {"acme": SECOND, "zenith": FIRST}


def test_a_run_that_looked_earlier_and_ended_later_changes_nothing(url: str) -> None:
    younger = LastLook("7 8 9 repair", AT + timedelta(seconds=1), settled=False)
    store(url, acme=younger)
    store(url, acme=FIRST, zenith=FIRST)
    assert last(url) == {"acme": younger, "zenith": FIRST}


def test_databases_that_are_no_more_are_forgotten(url: str) -> None:
    store(url, acme=FIRST, zenith=FIRST)
    ask(url, lambda looks: looks.forget({"acme", "no_such_tenant"}))
    ask(url, lambda looks: looks.forget(set()))
    assert last(url) == {"zenith": FIRST}


def test_nothing_to_store_is_nothing_stored(url: str) -> None:
    store(url)
    assert last(url) == {}


def test_without_a_ledger_nothing_was_looked_into(sandbox_postgres: SandboxPostgres) -> None:
    url = sandbox_postgres.create_database("looks_no_ledger")
    try:
        assert last(url) == {}
    finally:
        sandbox_postgres.drop_database("looks_no_ledger")
