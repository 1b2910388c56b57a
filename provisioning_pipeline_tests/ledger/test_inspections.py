"""The last looks into tenant databases: kept as they are, the younger one, and forgotten."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.inspections import InsertedWorkspaces, Inspections
from provisioning_pipeline.model.tenant import InsertedWorkspace
from provisioning_pipeline.model.tenant_database import LastInspection
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.ledger.conftest import ask_ledger

T = TypeVar("T")
AT = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
ID = "11111111-1111-4111-8111-11111111111a"
FIRST, SECOND = LastInspection("1 2 3 repair", AT, settled=True), LastInspection("4 5 6 repair", AT, settled=False)


def ask(url: str, work: Callable[[Inspections], Coroutine[Any, Any, T]]) -> T:
    return ask_ledger(url, lambda database: work(Inspections(database)))


def last(url: str) -> dict[str, LastInspection]:
    return ask(url, lambda inspections: inspections.last())


def store(url: str, **inspections: LastInspection) -> None:
    ask(url, lambda kept: kept.store(inspections))


def test_looks_are_kept_as_they_are(url: str) -> None:
    assert last(url) == {}
    store(url, acme=FIRST, zenith=SECOND)
    assert last(url) == {"acme": FIRST, "zenith": SECOND}


def test_another_look_takes_the_place_of_the_last(url: str) -> None:
    store(url, acme=FIRST, zenith=FIRST)
    store(url, acme=SECOND)
    assert last(url) == {"acme": SECOND, "zenith": FIRST}


def test_a_run_that_looked_earlier_and_ended_later_changes_nothing(url: str) -> None:
    younger = LastInspection("7 8 9 repair", AT + timedelta(seconds=1), settled=False)
    store(url, acme=younger)
    store(url, acme=FIRST, zenith=FIRST)
    assert last(url) == {"acme": younger, "zenith": FIRST}


def test_databases_that_are_no_more_are_forgotten(url: str) -> None:
    store(url, acme=FIRST, zenith=FIRST)
    ask(url, lambda inspections: inspections.forget({"acme", "no_such_tenant"}))
    ask(url, lambda inspections: inspections.forget(set()))
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


def test_ids_that_are_none_and_one_id_twice_stop_nobody(url: str) -> None:
    odd = [InsertedWorkspace(name, "Acme", ("no metadata",)) for name in ("1", "x' --", ID, ID.upper(), "{" + ID + "}")]

    async def work(database: Database) -> list[tuple[Any, ...]]:
        known = InsertedWorkspaces(database)
        await known.store({"hostile": odd, "honest": [InsertedWorkspace(ID, "Honest", ())]})
        await known.store({"hostile": odd})
        return await database.fetch_tuples(
            "SELECT database_name, workspace_id::text FROM provisioning.hand_made_workspace ORDER BY 1"
        )

    assert ask_ledger(url, work) == [("honest", ID), ("hostile", ID)]
