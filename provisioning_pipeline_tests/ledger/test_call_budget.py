"""Clerk's budget, which all processes share: its arithmetic, its row, and two processes before one Clerk."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.clients.guards import guarded_by, noting_writes
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.windows import GOOD_FOR_SECONDS
from provisioning_pipeline.ledger.call_budget import Budget, CallBudget, budget_of_runs, budgets_of_checks, used
from provisioning_pipeline.sandbox.clerk import ClerkOptions, StandInClerk
from provisioning_pipeline.sandbox.clerk.gate import Gate
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.settings import PREFIX, Settings
from provisioning_pipeline_tests.ledger.conftest import ask_ledger
from provisioning_pipeline_tests.settings.complete import COMPLETE
from provisioning_pipeline_tests.world import settings_of

CALLS = 200
NOWHERE = "postgresql://ours:word@127.0.0.1:9/tenant_manager"


def environment(url: str, **more: str) -> dict[str, str]:
    given = COMPLETE | {"REGISTRY_URL": url, "CLERK_REQUESTS_PER_10_SECONDS": str(CALLS), "CLERK_SHARE": "1"} | more
    return {PREFIX + name: value for name, value in given.items()}


def of_runs(found: Settings) -> Budget:
    return budget_of_runs(found.sessions, found.clerk_share)


def call_budget(found: Settings) -> CallBudget:
    return CallBudget(found.registry_url.get_secret_value(), of_runs(found))


def settings(url: str, **more: str) -> Settings:
    return settings_of(environment(url, **more))


def most_in_ten_seconds(times: list[float]) -> int:
    return max((sum(start <= time < start + 10 for time in times) for start in times), default=0)


# --- the arithmetic ---------------------------------------------------------------------------------------------------


@given(
    calls=st.integers(1, 60),
    asked=st.lists(
        st.tuples(st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.3, 3.0, 11.0]), st.floats(0, GOOD_FOR_SECONDS)), max_size=150
    ),
)
def test_no_ten_seconds_hold_more_calls_than_the_budget_however_late_each_goes_out(
    calls: int, asked: list[tuple[float, float]]
) -> None:
    budget = Budget("runs", "runs", calls)
    taken_until, sent = 0.0, []
    for now, late in zip(accumulate(pause for pause, _ in asked), (late for _, late in asked), strict=True):
        # what the statement does to the row
        taken_until = max(taken_until, now) + budget.seconds_each
        sent.append(now + max(0.0, taken_until - now - budget.burst_seconds) + late)
    assert most_in_ten_seconds(sorted(time - 1e-9 * place for place, time in enumerate(sent))) <= calls


def test_the_uses_of_one_key_have_rows_and_shares_of_their_own() -> None:
    found = settings(NOWHERE, CLERK_SHARE="0.8")
    checks = budgets_of_checks(found.sessions)
    assert [of_runs(found).calls, checks[True].calls, checks[False].calls] == [160, 5, 5], "a check is two calls"
    other = settings(NOWHERE, CLERK_SECRET_KEY="sk_test_of_another")
    names = {of_runs(found).name, checks[True].name, checks[False].name, of_runs(other).name}
    assert len(names) == 4
    assert found.clerk_secret_key.get_secret_value() not in "".join(names)


# --- the row ----------------------------------------------------------------------------------------------------------


async def takes(settings: Settings, count: int, *, within: float | None = None) -> list[float | None]:
    async with call_budget(settings) as budget:
        return [await budget.take(within=within) for _ in range(count)]


def test_two_processes_have_one_burst_between_them(url: str) -> None:
    here, there = [asyncio.run(takes(settings(url), 60)) for _ in range(2)]
    budget = of_runs(settings(url))
    free = [wait for wait in here + there if wait == 0.0]
    assert budget.at_once == 80
    # a little trickles in meanwhile
    assert 80 <= len(free) < 120
    assert here == [0.0] * 60


def test_who_cannot_wait_takes_nothing(url: str) -> None:
    known = settings(url, CLERK_REQUESTS_PER_10_SECONDS="5")
    assert asyncio.run(takes(known, 5, within=0.0)) == [0.0, 0.0, None, None, None]
    wait = asyncio.run(takes(known, 1))[0]
    assert wait is not None
    assert 0 < wait <= of_runs(known).seconds_each, "those who got none do not stand in the queue"


def test_a_refusal_keeps_every_process_away_and_ends_the_burst(url: str) -> None:
    async def refused() -> None:
        async with call_budget(settings(url)) as budget:
            await budget.close_for(7)

    asyncio.run(refused())
    first, second = asyncio.run(takes(settings(url), 2))
    assert first is not None
    assert second is not None
    assert 6 < first <= 7.1
    assert second > first


def test_a_clock_that_was_put_back_by_a_day_keeps_no_call_waiting(url: str) -> None:
    known = settings(url)
    asyncio.run(takes(known, 1))
    ask_ledger(url, lambda ledger: ledger.execute("UPDATE provisioning.call_budget SET taken_until = now() + '1 day'"))
    assert asyncio.run(takes(known, 2, within=0.0)) == [0.0, 0.0]


def test_it_is_told_how_much_is_used_up(url: str) -> None:
    known = settings(url)
    budgets = [of_runs(known), *budgets_of_checks(known.sessions).values()]

    async def read(ledger: Database) -> dict[str, float]:
        return await used(ledger, budgets)

    assert ask_ledger(url, read) == {"runs": 0.0, "sign-ins": 0.0, "sessions": 0.0}
    asyncio.run(takes(known, 40))
    assert 0.3 < ask_ledger(url, read)["runs"] <= 0.5


def test_to_take_a_call_is_no_write_of_the_run_and_asks_no_lock_of_a_tenant(url: str) -> None:
    asked: list[str] = []

    async def guard() -> None:
        asked.append("asked")

    async def go() -> bool:
        with noting_writes() as writes, guarded_by(guard):
            await takes(settings(url), 1)
            return writes.begun

    assert asyncio.run(go()) is False
    assert asked == []


# --- a ledger that does not answer ------------------------------------------------------------------------------------


def test_a_ledger_that_is_away_keeps_nothing_back_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert asyncio.run(takes(settings(NOWHERE), 3)) == [0.0, 0.0, 0.0]
    (line,) = [record.getMessage() for record in caplog.records if "budget" in record.getMessage()]
    assert "for runs is not shared with other processes" in line
    assert f"keeps to {CALLS} in 10 s" in line


def test_a_role_that_may_not_write_the_row_is_told_what_it_lacks(
    url: str, sandbox_postgres: SandboxPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    ask_ledger(
        url, lambda ledger: ledger.execute(f"ALTER DATABASE {ledger.name} SET default_transaction_read_only = on")
    )
    with caplog.at_level(logging.WARNING):
        assert asyncio.run(takes(settings(url), 2)) == [0.0, 0.0]
    assert [record.getMessage() for record in caplog.records if "read-only transaction" in record.getMessage()]


def test_before_there_is_a_ledger_nothing_is_shared_and_nothing_told(
    sandbox_postgres: SandboxPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    url = sandbox_postgres.create_database("no_ledger_for_a_budget")
    with caplog.at_level(logging.INFO, "provisioning_pipeline"):
        assert asyncio.run(takes(settings(url), 2)) == [0.0, 0.0]
    assert caplog.records == []
    sandbox_postgres.drop_database("no_ledger_for_a_budget")


def test_a_ledger_that_hangs_delays_one_call_and_no_other(url: str) -> None:
    async def go() -> list[float | None]:
        async with call_budget(settings(url)) as budget:
            return [await budget.take() for _ in range(5)]

    async def held(ledger: Database) -> list[float | None]:
        async with ledger.transaction() as connection:
            await connection.execute("LOCK TABLE provisioning.call_budget")
            return await go()

    assert ask_ledger(url, held) == [0.0] * 5


# --- two processes before one Clerk -----------------------------------------------------------------------------------


@contextmanager
def caller(url: str, clerk: StandInClerk) -> Iterator["subprocess.Popen[bytes]"]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    ours = environment(url, CLERK_BASE_URL=clerk.base_url, CLERK_SECRET_KEY=clerk.secret_key)
    running = subprocess.Popen(
        [sys.executable, "-m", "provisioning_pipeline_tests.ledger.clerk_caller"],
        env=clean | ours,
        cwd=Path(__file__).parents[2],
    )
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            running.kill()
        running.wait()


@pytest.mark.slow
def test_two_processes_never_exceed_the_budget_and_one_that_is_killed_leaves_it_to_the_other(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived: list[float] = []
    check = Gate._check_rate

    def noting(gate: Gate, *arguments: object, **named: object) -> None:
        arrived.append(time.monotonic())
        check(gate, *arguments, **named)

    monkeypatch.setattr(Gate, "_check_rate", noting)
    with StandInClerk(ClerkOptions(requests_per_10_seconds=CALLS)) as clerk:

        def pass_on_until(calls: int) -> None:
            while len(arrived) < calls:
                assert one.poll() is None or one.returncode == -signal.SIGKILL
                assert other.poll() is None
                time.sleep(0.05)

        with caller(url, clerk) as one, caller(url, clerk) as other:
            # a burst of 80, and what trickles in within more than ten seconds
            pass_on_until(80 + 120)
            one.kill()
            one.wait()
            left_at = len(arrived)
            pass_on_until(left_at + 120)
    assert most_in_ten_seconds(arrived) <= CALLS
    assert most_in_ten_seconds(arrived) >= 0.9 * CALLS
    survivor = arrived[left_at:]
    # alone it gets all that both had: eleven calls a second
    assert survivor[-1] - survivor[0] < 1.3 * 120 * 11 / 121
