"""The ledger's rows about what was removed by SQL, in a real database."""

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from provisioning_pipeline.ledger.history import History
from provisioning_pipeline.ledger.inspections import ONBOARDING_TABLE, Removals, RemovedRows
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.ledger.conftest import ask_ledger

T = TypeVar("T")
TENANT = "twenty_tenant_one"


def run(url: str, work: Callable[[RemovedRows], Awaitable[T]]) -> T:
    return ask_ledger(url, lambda database: work(RemovedRows(database)))


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"id": str(uuid.UUID(int=number)), "key": "ONBOARDING_X_PENDING", "value": True, **more}


async def keep(removed: RemovedRows, run_id: str, *numbers: int) -> list[int]:
    return await removed.store(run_id, TENANT, None, ONBOARDING_TABLE, [row(number) for number in numbers])


def test_a_whole_row_is_kept_as_it_was(url: str) -> None:
    odd = row(1, userId=None, value={"a": [1, "ü", None]}, text='it\'s \\ "quoted"')

    async def work(removed: RemovedRows) -> Any:
        await removed.settle(await removed.store("r1", TENANT, "eu", ONBOARDING_TABLE, [odd]))
        return await removed.of_run("r1")

    (kept,) = run(url, work)
    assert (kept.database_name, kept.server, kept.table_name) == (TENANT, "eu", ONBOARDING_TABLE)
    assert (kept.row_id, kept.row, kept.certain) == (odd["id"], odd, True)


def test_times_are_kept_in_a_form_that_postgres_reads(url: str) -> None:
    made = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    async def work(removed: RemovedRows) -> Any:
        await removed.store("r1", TENANT, None, ONBOARDING_TABLE, [row(1, createdAt=made)])
        return await removed.database.fetch(
            "SELECT (row->>'createdAt')::timestamptz AS made FROM provisioning.removed_row"
        )

    assert run(url, work) == [{"made": made}]


def test_ids_come_in_the_order_of_the_rows(url: str) -> None:
    numbers = [9, 3, 7, 1]

    async def work(removed: RemovedRows) -> tuple[list[int], Any]:
        return await keep(removed, "r1", *numbers), await removed.of_run("r1")

    ids, kept = run(url, work)
    assert [(known.id, known.row_id) for known in kept] == [
        (id_, str(uuid.UUID(int=number))) for id_, number in zip(ids, numbers, strict=True)
    ]


def test_what_was_never_settled_may_still_be_there(url: str) -> None:
    async def work(removed: RemovedRows) -> Any:
        await keep(removed, "r1", 1)
        return await removed.of_run("r1")

    (kept,) = run(url, work)
    assert not kept.certain


def test_a_deletion_that_did_not_take_place_leaves_nothing(url: str) -> None:
    async def work(removed: RemovedRows) -> Any:
        done = await keep(removed, "r1", 1)
        await removed.settle(done)
        await removed.forget([*done, *await keep(removed, "r1", 2)])
        return await removed.of_run("r1")

    # what was settled is no longer forgotten
    assert [known.row_id for known in run(url, work)] == [str(uuid.UUID(int=1))]


def test_what_was_put_back_is_no_longer_of_the_run(url: str) -> None:
    async def work(removed: RemovedRows) -> Any:
        one, _ = await keep(removed, "r1", 1, 2)
        await removed.restored([one])
        await removed.restored([one])
        return await removed.of_run("r1"), await removed.of_run("r2")

    left, others = run(url, work)
    assert [known.row_id for known in left] == [str(uuid.UUID(int=2))]
    assert others == []


def test_runs_come_newest_first_with_their_counts(url: str) -> None:
    async def work(removed: RemovedRows) -> list[Removals]:
        await keep(removed, "old", 1)
        await removed.restored(await keep(removed, "new", 2, 3))
        return await removed.runs()

    assert [(found.run_id, found.removed, found.restored) for found in run(url, work)] == [
        ("new", 2, 2),
        ("old", 1, 0),
    ]


def test_nothing_kept_writes_nothing(url: str) -> None:
    async def work(removed: RemovedRows) -> Any:
        return await removed.store("r1", TENANT, None, ONBOARDING_TABLE, []), await removed.runs()

    assert run(url, work) == ([], [])


def test_a_run_is_known_whatever_it_did(url: str) -> None:
    async def work(removed: RemovedRows) -> tuple[bool, bool]:
        await History(removed.database).begin_run("r1", "operator")
        return await removed.is_run("r1"), await removed.is_run("r2")

    assert run(url, work) == (True, False)


def test_runs_are_found_by_how_they_begin_and_nothing_stands_for_any_character(url: str) -> None:
    async def work(removed: RemovedRows) -> Any:
        await History(removed.database).begin_run("run_1", "operator")
        await keep(removed, "run_1", 1)
        await keep(removed, "run_2", 2)
        await keep(removed, "runs", 3)
        return await removed.run_ids("run_"), await removed.run_ids("%"), await removed.run_ids("run_2")

    assert run(url, work) == (["run_1", "run_2"], [], ["run_2"])


def test_the_newest_later_run_that_removed_the_same_rows_is_known_until_they_are_back(url: str) -> None:
    async def work(removed: RemovedRows) -> Any:
        found = []
        await keep(removed, "before", 1)
        await keep(removed, "r1", 1, 2)
        await keep(removed, "of others", 3)
        found.append(await removed.removed_again_by("r1"))
        await keep(removed, "again", 1)
        newest = await keep(removed, "newest", 2)
        found.append(await removed.removed_again_by("r1"))
        await removed.restored(newest)
        found.append(await removed.removed_again_by("r1"))
        return found

    assert run(url, work) == [None, "newest", "again"]


def test_without_a_ledger_no_run_removed_anything(sandbox_postgres: SandboxPostgres) -> None:
    empty = sandbox_postgres.create_database(f"removed_none_{uuid.uuid4().hex[:8]}")

    async def work(removed: RemovedRows) -> Any:
        return (
            await removed.runs(),
            await removed.of_run("r1"),
            await removed.is_run("r1"),
            await removed.run_ids("r1"),
            await removed.removed_again_by("r1"),
        )

    assert run(empty, work) == ([], [], False, [], None)
