"""The limit that all with one key share; tried in a loop whose time passes only where a call waits."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.clients.concurrency import LimitOfAll, RateLimit, shared_limit
from provisioning_pipeline.clients.windows import BURST, GOOD_FOR_SECONDS

T = TypeVar("T")


class _Skipping(selectors.SelectSelector):
    """Does not wait: moves the clock on by what it was to wait, and by a little each time, as a real one does."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += (timeout or 0.0) + 1e-9
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Skipping()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(work)


async def sent(limit: RateLimit, pauses: list[float]) -> list[float]:
    """When each call was let through; before each of them its caller pauses so long, all side by side."""
    loop = asyncio.get_running_loop()
    times: list[float] = []

    async def call(at: float) -> None:
        await asyncio.sleep(at)
        await limit.turn()
        times.append(loop.time())

    starts = [sum(pauses[: index + 1]) for index in range(len(pauses))]
    await asyncio.gather(*(call(start) for start in starts))
    return sorted(times)


def most_in_a_window(times: list[float]) -> int:
    """Most calls within 10 s, the end not counted."""
    return max(sum(start <= time < start + 10 - 1e-6 for time in times) for start in times)


@given(
    calls=st.integers(1, 60),
    pauses=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.3, 3.0, 11.0]), min_size=1, max_size=200),
)
def test_no_ten_seconds_hold_more_calls_than_allowed(calls: int, pauses: list[float]) -> None:
    times = run(sent(RateLimit(calls), pauses))
    assert len(times) == len(pauses)
    assert most_in_a_window(times) <= calls


@pytest.mark.parametrize("calls", [1, 2, 3, 80, 200])
def test_a_rush_uses_the_allowance_and_no_more(calls: int) -> None:
    times = run(sent(RateLimit(calls), [0.0] * 3 * calls))
    assert most_in_a_window(times) == calls


def test_reading_a_large_instance_never_waits() -> None:
    assert run(sent(RateLimit(800), [0.0] * 320))[-1] < 0.001


def test_a_long_run_still_gets_its_part() -> None:
    calls = 80
    times = run(sent(RateLimit(calls), [0.0] * 10 * calls))
    trickle = (1 - BURST) * calls
    assert times[-1] == pytest.approx(10 * (10 * calls - BURST * calls) / trickle, rel=0.05)


def test_a_refusal_holds_everybody_and_the_longest_one_counts() -> None:
    limit = RateLimit(80)

    async def work() -> tuple[list[float], list[float]]:
        await limit.hold(7)
        await limit.hold(3)
        held = await sent(limit, [0.0, 1.0, 2.0])
        return held, await sent(limit, [0.0])

    held, after = run(work())
    assert held == pytest.approx([7.0, 7.0, 7.0])
    assert after == pytest.approx([7.0])


def test_a_refusal_also_holds_those_who_wait_for_their_turn_already() -> None:
    limit = RateLimit(1)

    async def refuse() -> None:
        await asyncio.sleep(9.5)
        await limit.hold(20)

    async def work() -> list[float]:
        times, _ = await asyncio.gather(sent(limit, [0.0, 0.0]), refuse())
        return times

    first, second = run(work())
    assert first < 0.001
    assert second >= 29.5


def test_a_crowd_that_was_held_stays_within_the_allowance() -> None:
    limit = RateLimit(10)

    async def work() -> list[float]:
        await limit.hold(5)
        return await sent(limit, [0.0] * 40)

    times = run(work())
    assert times[0] == pytest.approx(5.0)
    assert most_in_a_window(times) <= 10


def test_a_loop_that_ended_leaves_no_trace() -> None:
    limit = RateLimit(1)
    assert run(sent(limit, [0.0])) == pytest.approx([0.0], abs=0.001)
    assert run(sent(limit, [0.0])) == pytest.approx([0.0], abs=0.001)
    assert len(limit._buckets) == 1


def test_the_same_key_shares_a_limit_and_another_key_does_not() -> None:
    assert shared_limit("sk_test_1", 80) is shared_limit("sk_test_1", 80)
    assert shared_limit("sk_test_1", 80) is not shared_limit("sk_test_2", 80)


# --- the budget behind it, which other processes share ----------------------------------------------------------------


class Budget:
    """Gives out what a test says, and notes what it is asked for."""

    def __init__(self, *answers: list[float]) -> None:
        self._answers = list(answers)
        self.taken_at: list[float] = []
        self.closed: list[float] = []

    async def take_some(self) -> list[float]:
        self.taken_at.append(asyncio.get_running_loop().time())
        return self._answers.pop(0)

    async def close_for(self, seconds: float) -> None:
        self.closed.append(seconds)


def test_calls_go_out_when_the_budget_says_and_each_permit_once() -> None:
    budget = Budget([0.0, 0.0, 5.0], [7.0])
    times = run(sent(LimitOfAll(RateLimit(100), budget), [0.0, 0.0, 0.0, 0.5]))
    assert times == pytest.approx([0.0, 0.0, 5.0, 7.5], abs=0.001)
    assert budget.taken_at == pytest.approx([0.0, 0.5], abs=0.001)


def test_what_was_taken_for_later_calls_is_good_for_a_second() -> None:
    soon, late = Budget([0.0, 0.0]), Budget([0.0, 0.0], [0.0])
    run(sent(LimitOfAll(RateLimit(100), soon), [0.0, 0.9 * GOOD_FOR_SECONDS]))
    run(sent(LimitOfAll(RateLimit(100), late), [0.0, 1.1 * GOOD_FOR_SECONDS]))
    assert len(soon.taken_at) == 1
    assert len(late.taken_at) == 2


def test_a_permit_that_came_too_late_is_taken_anew() -> None:
    class Slow(Budget):
        async def take_some(self) -> list[float]:
            found = await super().take_some()
            await asyncio.sleep(1.5 * GOOD_FOR_SECONDS if len(self.taken_at) == 1 else 0)
            return found

    budget = Slow([0.0], [0.0])
    assert run(sent(LimitOfAll(RateLimit(100), budget), [0.0])) == pytest.approx([1.5 * GOOD_FOR_SECONDS])
    assert len(budget.taken_at) == 2


def test_a_refusal_is_told_to_all_and_ends_what_was_taken() -> None:
    budget = Budget([0.0, 0.0], [0.2])
    limit = LimitOfAll(RateLimit(100), budget)

    async def work() -> list[float]:
        await limit.turn()
        await limit.hold(0.5)
        return await sent(limit, [0.0])

    assert run(work()) == pytest.approx([0.7])
    assert budget.closed == [0.5]


def test_a_process_keeps_to_its_own_limit_whatever_the_budget_gives() -> None:
    calls = 10
    times = run(sent(LimitOfAll(RateLimit(calls), Budget(*[[0.0]] * 40)), [0.0] * 40))
    assert most_in_a_window(times) <= calls
