"""Turns of member checks: never more in any window than were allowed, and all of them when they are wanted."""

from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.gateway.turns import Turns

WAITS = st.lists(st.floats(0, 3), min_size=1, max_size=60)


@given(WAITS, st.integers(1, 8), st.floats(0.2, 5), st.floats(0, 3))
def test_no_window_sees_more_than_were_allowed(
    waits: list[float], at_once: int, per_second: float, patience: float
) -> None:
    now = 0.0
    turns = Turns(at_once, per_second, clock=lambda: now)
    begun: list[float] = []
    for wait in waits:
        now += wait
        after = turns.take(patience)
        assert after is None or 0 <= after <= patience
        if after is not None:
            begun.append(now + after)
    assert begun == sorted(begun)
    for place, first in enumerate(begun):
        within = [one for one in begun[place:] if one < first + 10]
        assert len(within) <= at_once + 10 * per_second + 1e-6


@given(st.integers(1, 8), st.floats(0.2, 5))
def test_after_a_rest_so_many_begin_at_once_and_then_one_after_another(at_once: int, per_second: float) -> None:
    now = 100.0
    turns = Turns(at_once, per_second, clock=lambda: now)
    assert [turns.take(0) for _ in range(at_once)] == [0.0] * at_once
    assert turns.take(0) is None
    assert turns.take(1 / per_second + 0.001) is not None


def test_one_that_does_not_come_in_time_is_not_taken() -> None:
    now = 0.0
    turns = Turns(1, 1, clock=lambda: now)
    assert turns.take(0) == 0.0
    assert [turns.take(0.5) for _ in range(10)] == [None] * 10
    assert turns.take(1.5) == 1.0
