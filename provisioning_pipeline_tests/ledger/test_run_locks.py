"""Who is at work, by real locks: a lost connection takes the lock again, a gone process lets go."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger import runs
from provisioning_pipeline.ledger.locks import begin_to_hold, request_lock, tenant_lock
from provisioning_pipeline.ledger.runs import hold_run_lock, runs_at_work, tenants_at_work
from provisioning_pipeline.ledger.schema import ledger_database
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in

NAMES = ["acme", "日本", "", "x" * 63, *(f"tenant {number}" for number in range(5))]
"""Their hashes have either sign."""


@pytest.fixture
def fleet(sandbox_postgres: SandboxPostgres) -> Iterator[Fleet]:
    with fleet_in(sandbox_postgres) as made:
        yield made


def database(fleet: Fleet) -> Database:
    return ledger_database(fleet.settings(), read_only=True, most_connections=2)


async def until(holds: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(30):
        while not await holds():  # noqa: ASYNC110  # a server's state has no event
            await asyncio.sleep(0.01)


@pytest.mark.anyio
async def test_a_tenants_lock_is_seen_whatever_its_name_and_no_other_lock_is_taken_for_it(fleet: Fleet) -> None:
    async with database(fleet) as ledger:
        for name in NAMES:
            async with tenant_lock(ledger, name, wait_seconds=1), request_lock(ledger, "beta", wait_seconds=1):
                held = await tenants_at_work(ledger, [*NAMES, "beta"])
            # one that was let go a moment ago may still be seen
            assert name in held
            assert "beta" not in held
        await until(lambda: none_at_work(ledger))
        assert await tenants_at_work(ledger, []) == frozenset()
    rows = fleet.sql("SELECT DISTINCT hashtext(n) < 0 FROM unnest(%s::text[]) n", NAMES)
    assert len(rows) == 2


@pytest.mark.anyio
async def test_each_process_of_a_run_holds_its_lock_until_it_ends(fleet: Fleet) -> None:
    async with database(fleet) as ledger, database(fleet) as first, database(fleet) as second:
        processes = [asyncio.create_task(hold_run_lock(one, "r1")) for one in (first, second)]
        await until(lambda: held_by(fleet, 2))
        for left in (1, 0):
            process = processes.pop()
            process.cancel()
            await asyncio.wait([process])
            await until(lambda left=left: held_by(fleet, left))
            assert await runs_at_work(ledger, ["r1", "r2"]) == ({"r1"} if left else frozenset())


@pytest.mark.anyio
async def test_a_lock_that_was_lost_with_its_connection_is_taken_again(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_EVERY_SECONDS", 0.02)
    monkeypatch.setattr(runs, "_AGAIN_SECONDS", 0.02)
    async with database(fleet) as own:
        process = asyncio.create_task(hold_run_lock(own, "r1"))
        await until(lambda: held_by(fleet, 1))
        (before,) = holders(fleet)
        fleet.sql("SELECT pg_terminate_backend(%s)", before)
        await until(lambda: held_by(fleet, 1, but=before))
        process.cancel()
        await asyncio.wait([process])


@pytest.mark.anyio
async def test_a_server_that_ends_idle_sessions_does_not_end_the_lock(fleet: Fleet) -> None:
    fleet.sql("SET idle_session_timeout = 0")
    fleet.sql(f"ALTER DATABASE {fleet.name} SET idle_session_timeout = '300ms'")
    async with database(fleet) as own:
        process = asyncio.create_task(hold_run_lock(own, "r1"))
        await until(lambda: held_by(fleet, 1))
        before = holders(fleet)
        idle = fleet.postgres.connect(fleet.name)
        await until(lambda: has_ended(fleet, idle.info.backend_pid))
        assert holders(fleet) == before
        process.cancel()
        await asyncio.wait([process])


@pytest.mark.anyio
async def test_a_machine_that_vanishes_lets_go_within_a_minute(fleet: Fleet) -> None:
    """The server asks for a sign of life itself: nobody is left who could end the connection."""
    async with database(fleet) as own:
        connection = await own.connect_alone()
        await begin_to_hold(connection)
        shown = [
            await (await connection.execute(f"SHOW tcp_keepalives_{name}".encode())).fetchone()
            for name in ("idle", "interval", "count")
        ]
        await connection.close()
    idle, interval, count = (int(row[0]) for row in shown if row)
    assert 0 < idle + interval * count <= 60


async def none_at_work(ledger: Database) -> bool:
    return not await tenants_at_work(ledger, NAMES)


async def held_by(fleet: Fleet, processes: int, *, but: int | None = None) -> bool:
    found = holders(fleet)
    return len(found) == processes and but not in found


async def has_ended(fleet: Fleet, backend: int) -> bool:
    return not fleet.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", backend)


def holders(fleet: Fleet) -> list[int]:
    """The backends that hold locks of runs."""
    return [row[0] for row in fleet.sql("SELECT pid FROM pg_locks WHERE classid = 730161 AND locktype = 'advisory'")]
