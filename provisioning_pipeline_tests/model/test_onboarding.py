"""Which steps are pending, against a slow and literal reading of how Twenty merges its rows."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.onboarding import Flag, Level, pending_for

ME, OTHER = "user-me", "user-other"
HERE, ELSEWHERE = "workspace-here", "workspace-elsewhere"
KEYS = (
    "ONBOARDING_CONNECT_ACCOUNT_PENDING",
    "ONBOARDING_INVITE_TEAM_PENDING",
    "ONBOARDING_OF_A_LATER_VERSION_PENDING",
    "ONBOARDING__PENDING",
    "ONBOARDING_PENDING",
    "ONBOARDING_CONNECT_ACCOUNT_DONE",
    "MY_ONBOARDING_X_PENDING",
    "THEME",
)
VALUES = st.sampled_from([True, False, None, "true", "", 1, 0, 1.0, [True], {"value": True}])
LEVELS: tuple[tuple[Level, str | None, str | None], ...] = (
    (Level.USER_AND_WORKSPACE, ME, HERE),
    (Level.USER, ME, None),
    (Level.WORKSPACE, None, HERE),
)


def rows() -> st.SearchStrategy[list[Flag]]:
    """Rows as the table may hold them: each (key, user, workspace) at most once, for us and for others."""
    flag = st.builds(
        Flag,
        st.sampled_from(KEYS),
        st.sampled_from([None, ME, OTHER]),
        st.sampled_from([None, HERE, ELSEWHERE]),
        VALUES,
    )
    return st.lists(flag, max_size=24, unique_by=lambda row: (row.key, row.user_id, row.workspace_id))


def as_twenty_reads_it(flags: Sequence[Flag]) -> dict[str, Level]:
    """The facts, word for word: the narrowest row of a key decides, and only the JSON value true is pending."""
    pending: dict[str, Level] = {}
    for key in KEYS:
        if not (key.startswith("ONBOARDING_") and key.endswith("_PENDING") and len(key) > len("ONBOARDING__PENDING")):
            continue
        for level, user, workspace in LEVELS:
            values: list[Any] = [f.value for f in flags if (f.key, f.user_id, f.workspace_id) == (key, user, workspace)]
            if values:
                if values[0] is True:
                    pending[key] = level
                break
    return pending


@given(rows())
def test_pending_steps_are_those_of_the_literal_reading(flags: list[Flag]) -> None:
    assert pending_for(ME, HERE, flags) == as_twenty_reads_it(flags)


@given(rows(), st.randoms())
def test_the_order_of_the_rows_does_not_matter(flags: list[Flag], random: Any) -> None:
    shuffled = random.sample(flags, len(flags))
    assert list(pending_for(ME, HERE, shuffled).items()) == list(pending_for(ME, HERE, flags).items())


@given(rows())
def test_rows_of_other_people_and_other_workspaces_say_nothing(flags: list[Flag]) -> None:
    ours = [flag for flag in flags if flag.user_id != OTHER and flag.workspace_id != ELSEWHERE]
    assert pending_for(ME, HERE, flags) == pending_for(ME, HERE, ours)


@pytest.mark.parametrize("values", list(itertools.product([None, True, False], repeat=3)))
def test_the_narrowest_row_decides(values: tuple[bool | None, ...]) -> None:
    """Every way in which one step may stand at the three levels; None: no row there."""
    key = "ONBOARDING_INVITE_TEAM_PENDING"
    flags = [Flag(key, user, here, value) for (_, user, here), value in zip(LEVELS, values, strict=True)]
    present = [flag for flag in flags if flag.value is not None]
    expected = as_twenty_reads_it(present)
    assert pending_for(ME, HERE, present) == expected
    assert pending_for(ME, HERE, present[::-1]) == expected
    assert bool(expected) == (next((value for value in values if value is not None), None) is True)


def test_a_false_at_a_narrower_level_hides_a_true_at_a_wider_one() -> None:
    key = "ONBOARDING_INVITE_TEAM_PENDING"
    wide, narrow = Flag(key, None, HERE, True), Flag(key, ME, HERE, False)
    assert pending_for(ME, HERE, [wide]) == {key: Level.WORKSPACE}
    assert pending_for(ME, HERE, [wide, narrow]) == {}
    assert pending_for(OTHER, HERE, [wide, narrow]) == {key: Level.WORKSPACE}


def test_a_row_that_belongs_to_nobody_is_never_read() -> None:
    assert Flag("ONBOARDING_X_PENDING", None, None, True).level is None
    assert pending_for(ME, HERE, [Flag("ONBOARDING_X_PENDING", None, None, True)]) == {}
