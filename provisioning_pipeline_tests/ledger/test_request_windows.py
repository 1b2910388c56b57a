"""Requests in a minute, as several servers count them in one row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.request_windows import Window, forget_requests, take_request
from provisioning_pipeline_tests.ledger.conftest import ask_ledger


def weight(window: Window) -> float:
    return window.before * (1 - window.gone_by) + window.taken


def after(window: Window, seconds: float) -> Window:
    """The same so many seconds later, if nothing is asked meanwhile."""
    at = window.gone_by + seconds / 60
    if at < 1:
        return Window(at, window.taken, window.before)
    return Window(at - 1, 0, window.taken) if at < 2 else Window(at % 1, 0, 0)


@given(
    most=st.integers(1, 50),
    gone_by=st.floats(0, 0.999),
    taken=st.integers(0, 50),
    before=st.integers(0, 50),
)
def test_who_waits_as_long_as_told_is_let_in(most: int, gone_by: float, taken: int, before: int) -> None:
    window = Window(gone_by, min(taken, most), min(before, most))
    if weight(window) + 1 <= most:
        return
    wait = window.seconds_until_room(most)
    assert 0 < wait <= 120
    assert weight(after(window, wait + 1e-6)) + 1 <= most + 1e-6
    assert weight(after(window, wait * 0.99)) + 1 > most - 1e-6, "and not much longer than needed"


def test_as_many_as_the_limit_are_let_in_and_the_next_is_told_when(url: str) -> None:
    async def ask(ledger: Database) -> list[float]:
        return [await take_request(ledger, "requests of key 1", 5) for _ in range(7)]

    waits = ask_ledger(url, ask)
    assert waits[:5] == [0.0] * 5
    assert all(0 < wait <= 120 for wait in waits[5:])
    assert ask_ledger(url, lambda ledger: take_request(ledger, "requests of key 2", 5)) == 0.0


@pytest.mark.parametrize(
    ("minutes_ago", "sent", "let_in"),
    [
        pytest.param(-1, 100, False, id="another server was quicker at the turn of the minute"),
        pytest.param(0, 100, False, id="this minute"),
        pytest.param(1, 50, True, id="the minute before counts for the part that is left"),
        pytest.param(2, 100, True, id="before that"),
        pytest.param(-60, 100, True, id="the clock was put back"),
    ],
)
def test_what_counts_is_this_minute_and_a_part_of_the_last(url: str, minutes_ago: int, sent: int, let_in: bool) -> None:
    async def ask(ledger: Database) -> list[float]:
        await take_request(ledger, "mine", 100)
        await ledger.execute(
            """
            UPDATE provisioning.request_window SET taken = %s, before = 0,
                at = floor(extract(epoch FROM clock_timestamp())::float8 / 60) - %s + 0.5
            """,
            [sent, minutes_ago],
        )
        return [await take_request(ledger, "mine", 100) for _ in range(2)]

    waits = ask_ledger(url, ask)
    assert [wait == 0.0 for wait in waits] == [let_in, let_in]


def test_what_counts_no_more_is_forgotten_and_no_name_is_kept(url: str) -> None:
    async def ask(ledger: Database) -> list[str]:
        await take_request(ledger, "old", 1)
        await ledger.execute("UPDATE provisioning.request_window SET at = at - 5")
        await take_request(ledger, "new", 1)
        await forget_requests(ledger)
        return [row["caller"] for row in await ledger.fetch("SELECT caller FROM provisioning.request_window")]

    (kept,) = ask_ledger(url, ask)
    assert len(kept) == 64
