"""What the ledger keeps of locks: what was so before is never written over, and goes once all of it is given back."""

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.access_locks import AccessLocks
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.model.access_lock import DEFAULT_ROLE, ItemKind, LockedItem, LockState
from provisioning_pipeline.model.tenant import Tenant
from provisioning_pipeline_tests.ledger.conftest import ask_ledger

T = TypeVar("T")
ONE, TWO = "twenty_tenant_one", "twenty_tenant_two"
WORKSPACE, OTHER, JANE = (str(uuid.UUID(int=number)) for number in (1, 2, 3))


def run(url: str, work: Callable[[AccessLocks], Awaitable[T]]) -> T:
    async def go(database: Database) -> T:
        await Ledger(database).ensure_links([Tenant(ONE, "one", "One"), Tenant(TWO, "two", "Two")])
        return await work(AccessLocks(database))

    return ask_ledger(url, go)


def member(label: str) -> LockedItem:
    return LockedItem(ItemKind.MEMBER, "record", "jane@one.example", {"role": f"id of {label}", "label": label}, JANE)


KEY = LockedItem(ItemKind.API_KEY, "key", "sync", {})
SETTING = LockedItem(ItemKind.SETTING, DEFAULT_ROLE, DEFAULT_ROLE, {"role": None, "label": None})


def test_what_was_so_before_is_never_written_over(url: str) -> None:
    async def work(locks: AccessLocks) -> list[LockedItem]:
        await locks.begin(ONE, "eu", WORKSPACE, "suspended", "r1")
        await locks.record(ONE, [member("Sales"), KEY])
        await locks.begin(ONE, "eu", WORKSPACE, "suspended", "r2")
        await locks.record(ONE, [member("nothing"), KEY, SETTING])
        return await locks.items(ONE)

    assert run(url, work) == [KEY, member("Sales"), SETTING]


def test_a_lock_is_locking_then_locked_then_unlocking_then_gone(url: str) -> None:
    async def work(locks: AccessLocks) -> list[LockState | None]:
        seen = []

        async def look() -> None:
            found = await locks.all()
            assert (await locks.of(ONE)) == found.get(ONE)
            seen.append(found[ONE].state if ONE in found else None)

        await look()
        await locks.begin(ONE, "eu", WORKSPACE, "suspended", "r1")
        await look()
        await locks.settle_locked(ONE, None)
        await look()
        await locks.begin_release(ONE, "r2")
        await look()
        await locks.release(ONE)
        await look()
        return seen

    assert run(url, work) == [None, LockState.LOCKING, LockState.LOCKED, LockState.UNLOCKING, None]


def test_what_was_given_back_is_looked_at_anew_when_it_is_locked_again(url: str) -> None:
    async def work(locks: AccessLocks) -> tuple[LockState, list[LockedItem]]:
        await locks.begin(ONE, "eu", WORKSPACE, "suspended", "r1")
        await locks.record(ONE, [member("Sales"), KEY])
        await locks.settle_locked(ONE, None)
        await locks.begin_release(ONE, "r2")
        await locks.note_given_back(ONE, [member("Sales")])
        await locks.begin(ONE, "eu", WORKSPACE, "suspended", "r3")
        await locks.record(ONE, [member("Admin"), LockedItem(ItemKind.API_KEY, "key", "renamed", {})])
        return (await locks.all())[ONE].state, await locks.items(ONE)

    # not proved since: so it is locking, not locked
    assert run(url, work) == (LockState.LOCKING, [KEY, member("Admin")])


def test_a_lock_after_one_that_was_given_back_begins_with_nothing(url: str) -> None:
    async def work(locks: AccessLocks) -> list[LockedItem]:
        await locks.begin(ONE, "eu", WORKSPACE, "suspended", "r1")
        await locks.record(ONE, [member("Sales")])
        await locks.release(ONE)
        assert await locks.items(ONE) == []
        await locks.begin(ONE, "eu", WORKSPACE, "suspended", "r2")
        await locks.record(ONE, [member("Admin")])
        return await locks.items(ONE)

    assert run(url, work) == [member("Admin")]


def test_a_lock_of_another_workspace_keeps_nothing_of_the_former(url: str) -> None:
    async def work(locks: AccessLocks) -> tuple[str, list[LockedItem]]:
        await locks.begin(ONE, "eu", WORKSPACE, "suspended", "r1")
        await locks.record(ONE, [member("Sales")])
        await locks.begin(ONE, "eu", OTHER, "suspended", "r2")
        return (await locks.all())[ONE].workspace_id, await locks.items(ONE)

    assert run(url, work) == (OTHER, [])


def test_when_tokens_from_before_run_out_is_the_latest_that_was_told(url: str) -> None:
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=1)

    async def work(locks: AccessLocks) -> list[datetime | None]:
        await locks.begin(ONE, "eu", WORKSPACE, "suspended", "r1")
        told = []
        for moment in (None, late, early, None):
            await locks.settle_locked(ONE, moment)
            told.append((await locks.all())[ONE].tokens_until)
        return told

    assert run(url, work) == [None, late, late, late]


def test_all_locks_come_with_the_people_they_shut_out(url: str) -> None:
    async def work(locks: AccessLocks) -> dict[str, dict[str, str | None]]:
        await locks.begin(ONE, "eu", WORKSPACE, "suspended", "r1")
        await locks.record(ONE, [member("Sales"), KEY])
        await locks.begin(TWO, "eu", OTHER, "suspended", "r1")
        return {name: dict(lock.roles) for name, lock in (await locks.all()).items()}

    assert run(url, work) == {ONE: {JANE: "Sales"}, TWO: {}}


def test_a_lock_that_is_made_again_while_it_was_given_back_is_a_newer_one(url: str) -> None:
    async def work(locks: AccessLocks) -> list[datetime]:
        begun = []
        for run_id, given_back in (("r1", False), ("r2", True), ("r3", False)):
            await locks.begin(ONE, "eu", WORKSPACE, "suspended", run_id)
            begun.append((await locks.all())[ONE].begun_at)
            if given_back:
                await locks.begin_release(ONE, run_id)
        return begun

    first, again, anew = run(url, work)
    assert first == again < anew
