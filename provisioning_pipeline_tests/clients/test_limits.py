"""The limit that all with one key share; tried in a loop whose time passes only where a call waits."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.clients.concurrency import BURST, RateLimit, shared_limit

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
