"""Whose login is proved next: the admin always, and everybody else in turn."""

from datetime import UTC, datetime, timedelta
from math import ceil
from random import Random

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.frames import frame
from provisioning_pipeline.steps.logins.login_check import CANDIDATES, LAST_PROOFS, sample, to_prove

START = datetime(2026, 1, 1, tzinfo=UTC)
TENANTS = ("one", "two", "three")

Person = tuple[str, str]
"""Tenant and user id; who is called boss is admin."""


def members_of(people: list[Person]) -> pd.DataFrame:
    return frame(CANDIDATES, [(tenant, user, f"{user}@x.test", user == "boss") for tenant, user in people])


def proofs_of(times: dict[Person, datetime], failed: frozenset[Person] = frozenset()) -> pd.DataFrame:
    return frame(LAST_PROOFS, [(*person, at, person not in failed) for person, at in times.items()])


def people_in(rows: pd.DataFrame) -> list[Person]:
    return list(zip(rows["database_name"], rows["twenty_user_id"], strict=True))


@st.composite
def fleets(draw: st.DrawFn) -> list[Person]:
    counts = {tenant: draw(st.integers(0, 7)) for tenant in TENANTS}
    bosses = [(tenant, "boss") for tenant in TENANTS if draw(st.booleans())]
    return [*bosses, *((tenant, f"u{number}") for tenant, count in counts.items() for number in range(count))]


@st.composite
def looked_at(draw: st.DrawFn) -> tuple[list[Person], dict[Person, datetime]]:
    """A fleet of which some were proved before, several at the same time, and some strangers too."""
    people = draw(fleets())
    known = [person for person in [*people, ("one", "stranger"), ("gone", "u1")] if draw(st.booleans())]
    return people, {person: START - timedelta(hours=draw(st.integers(1, 3))) for person in known}


@given(looked_at(), st.integers(1, 4))
def test_after_enough_verifications_everybody_was_looked_at(
    fleet: tuple[list[Person], dict[Person, datetime]], size: int
) -> None:
    people, times = fleet
    most = max(sum(user != "boss" and tenant == name for name, user in people) for tenant in TENANTS)
    seen: set[Person] = set()
    for number in range(ceil(most / size) or 1):
        chosen = people_in(sample(members_of(people), proofs_of(times), size))
        seen |= set(chosen)
        times = times | dict.fromkeys(chosen, START + timedelta(hours=number))
    assert seen == set(people)


@given(looked_at(), st.integers(0, 4))
def test_the_admin_is_always_there_and_never_more_others_than_asked_for(
    fleet: tuple[list[Person], dict[Person, datetime]], size: int
) -> None:
    people, times = fleet
    chosen = people_in(sample(members_of(people), proofs_of(times), size))
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(people)
    for tenant in TENANTS:
        others = [person for person in people if person[0] == tenant and person[1] != "boss"]
        assert ((tenant, "boss") in chosen) == ((tenant, "boss") in people)
        assert len(set(others) & set(chosen)) == min(size, len(others))


@given(looked_at(), st.integers(0, 4), st.integers())
def test_the_same_facts_in_another_order_give_the_same_sample(
    fleet: tuple[list[Person], dict[Person, datetime]], size: int, seed: int
) -> None:
    people, times = fleet
    shuffled, shuffled_times = list(people), list(times.items())
    Random(seed).shuffle(shuffled)
    Random(seed + 1).shuffle(shuffled_times)
    pd.testing.assert_frame_equal(
        sample(members_of(people), proofs_of(times), size),
        sample(members_of(shuffled), proofs_of(dict(shuffled_times)), size),
    )


@given(looked_at(), st.integers(0, 2), st.integers())
def test_whoever_failed_is_looked_at_besides_and_changes_nobodys_turn(
    fleet: tuple[list[Person], dict[Person, datetime]], size: int, seed: int
) -> None:
    people, times = fleet
    failed = frozenset(Random(seed).sample(sorted(times), k=len(times) // 2))
    chosen = people_in(to_prove(members_of(people), proofs_of(times, failed), size))
    expected = set(people_in(sample(members_of(people), proofs_of(times), size))) | (failed & set(people))
    assert sorted(chosen) == sorted(expected)


def test_who_was_never_proved_comes_first_then_the_longest_ago() -> None:
    people = [("one", user) for user in ("boss", "early", "late", "never", "tie")]
    times = {
        ("one", "boss"): START,
        ("one", "late"): START + timedelta(hours=1),
        ("one", "early"): START,
        ("one", "tie"): START,
    }
    chosen = [people_in(sample(members_of(people), proofs_of(times), size)) for size in (0, 1, 2, 3)]
    assert chosen == [
        [("one", "boss")],
        [("one", "boss"), ("one", "never")],
        [("one", "boss"), ("one", "early"), ("one", "never")],
        [("one", "boss"), ("one", "early"), ("one", "never"), ("one", "tie")],
    ]


def test_a_fleet_without_anybody_has_an_empty_sample_with_all_columns() -> None:
    chosen = to_prove(members_of([]), proofs_of({}), 3)
    assert (len(chosen), list(chosen.columns)) == (0, list(CANDIDATES))
