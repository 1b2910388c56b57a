"""What is remembered: for its time, up to so many, and what was asked for lately before what was not."""

from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.clients.remembered import Remembered

KEYS = st.sampled_from("abcdef")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), KEYS, st.sampled_from([0.0, 1.0, 5.0, float("inf")])),
        st.tuples(st.just("get"), KEYS, st.just(0.0)),
        st.tuples(st.just("forget"), KEYS, st.just(0.0)),
        st.tuples(st.just("wait"), st.just(""), st.sampled_from([0.5, 1.0, 10.0])),
    ),
    max_size=40,
)


@given(STEPS)
def test_it_gives_what_was_kept_last_and_never_after_its_time(steps: list[tuple[str, str, float]]) -> None:
    now = 0.0
    remembered: Remembered[str, int] = Remembered(3, clock=lambda: now)
    ends: dict[str, tuple[int, float]] = {}
    for number, (what, key, seconds) in enumerate(steps):
        if what == "wait":
            now += seconds
        elif what == "keep":
            remembered.keep(key, number, seconds)
            ends[key] = number, now + seconds
        elif what == "forget":
            remembered.forget(key)
            ends.pop(key, None)
        else:
            found = remembered.get(key)
            kept, end = ends.get(key, (None, 0.0))
            assert found in (None, kept)
            assert found is None or now < end
        assert len(remembered._kept) <= 3


def test_what_was_asked_for_longest_ago_goes_first() -> None:
    remembered: Remembered[str, bool] = Remembered(2)
    remembered.keep("a", True)
    remembered.keep("b", True)
    assert "a" in remembered
    remembered.keep("c", True)
    assert [key for key in "abc" if key in remembered] == ["a", "c"]
