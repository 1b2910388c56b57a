"""Which steps are pending and which rows are in the way, against a slow and literal reading of the facts."""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.onboarding import (
    COMPLETED,
    UNKNOWN_STEP,
    Flag,
    Level,
    Seen,
    pending_for,
    rows_in_the_way,
    seen_by,
)

ME, OTHER = "user-me", "user-other"
HERE, ELSEWHERE = "workspace-here", "workspace-elsewhere"
CONNECT_ACCOUNT = "ONBOARDING_CONNECT_ACCOUNT_PENDING"
INSTALL_APPS = "ONBOARDING_INSTALL_APPS_PENDING"
CREATE_PROFILE = "ONBOARDING_CREATE_PROFILE_PENDING"
INVITE_TEAM = "ONBOARDING_INVITE_TEAM_PENDING"
BOOK_ONBOARDING = "ONBOARDING_BOOK_ONBOARDING_PENDING"
LATER = "ONBOARDING_OF_A_LATER_VERSION_PENDING"
KEYS = (
    CONNECT_ACCOUNT,
    INSTALL_APPS,
    CREATE_PROFILE,
    INVITE_TEAM,
    BOOK_ONBOARDING,
    LATER,
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
        st.sampled_from(["USER_VARIABLE"] * 5 + ["FEATURE_FLAG", "CONFIG_VARIABLE"]),
    )
    return st.lists(flag, max_size=32, unique_by=lambda row: (row.key, row.user_id, row.workspace_id))


def merged(flags: Sequence[Flag], user_id: str) -> dict[str, Flag]:
    """The facts, word for word: three dictionaries, merged in their order, later ones winning."""
    of_workspace, of_user, of_both = (
        {
            flag.key: flag
            for flag in flags
            if (flag.user_id, flag.workspace_id) == place and flag.type == "USER_VARIABLE"
        }
        for place in ((None, HERE), (user_id, None), (user_id, HERE))
    )
    return of_workspace | of_user | of_both


def is_step(key: str) -> bool:
    return key.startswith("ONBOARDING_") and key.endswith("_PENDING") and len(key) > len("ONBOARDING__PENDING")


def as_twenty_reads_it(flags: Sequence[Flag], user_id: str = ME) -> dict[str, Level]:
    """Only the JSON value true is pending."""
    levels = {(user is None, here is None): level for level, user, here in LEVELS}
    return {
        key: levels[flag.user_id is None, flag.workspace_id is None]
        for key, flag in merged(flags, user_id).items()
        if is_step(key) and flag.value is True
    }


TABLE = (
    (CONNECT_ACCOUNT, "SYNC_EMAIL"),
    (INSTALL_APPS, "APPS_INSTALLATION"),
    (CREATE_PROFILE, "PROFILE_CREATION"),
    (INVITE_TEAM, "INVITE_TEAM"),
)
"""The facts' table once more: what is shown for which key, the first match winning."""
ACTIVATION = st.sampled_from(
    ["ACTIVE", "ACTIVE", "SUSPENDED", "INACTIVE", None, "PENDING_CREATION", "ONGOING_CREATION"]
)


def as_twenty_shows_it(flags: Sequence[Flag], activation_status: str | None) -> Seen:
    pending = as_twenty_reads_it(flags)
    unknown = tuple(sorted(pending.keys() - {key for key, _ in TABLE}))
    if activation_status in ("PENDING_CREATION", "ONGOING_CREATION"):
        return Seen("WORKSPACE_ACTIVATION", unknown)
    for key, status in TABLE:
        if key in pending:
            return Seen(status, unknown)
    return Seen("UNKNOWN_STEP" if unknown else "COMPLETED", unknown)


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


def test_a_row_of_another_type_is_no_step() -> None:
    assert pending_for(ME, HERE, [Flag(INVITE_TEAM, None, HERE, True, type="FEATURE_FLAG")]) == {}
    assert pending_for(ME, HERE, [Flag(INVITE_TEAM, None, HERE, True)]) == {INVITE_TEAM: Level.WORKSPACE}


@given(rows(), ACTIVATION)
def test_what_is_seen_is_what_the_table_says(flags: list[Flag], activation: str | None) -> None:
    assert seen_by(ME, HERE, activation, flags) == as_twenty_shows_it(flags, activation)


def test_an_unknown_step_is_named_and_never_taken_for_done() -> None:
    unknown = Flag(LATER, ME, HERE, True)
    assert seen_by(ME, HERE, "ACTIVE", [unknown]) == Seen(UNKNOWN_STEP, (LATER,))
    known = Flag(INVITE_TEAM, None, HERE, True)
    assert seen_by(ME, HERE, "ACTIVE", [unknown, known]) == Seen("INVITE_TEAM", (LATER,))
    assert seen_by(ME, HERE, "ACTIVE", [Flag(BOOK_ONBOARDING, None, HERE, True)]).status == UNKNOWN_STEP


USERS = st.sampled_from([(ME,), (OTHER,), (ME, OTHER), ()])


def without(flags: Sequence[Flag], gone: Sequence[Flag]) -> list[Flag]:
    """What a DELETE by primary key leaves."""
    ids = {flag.row_id for flag in gone}
    assert len(ids) == len(gone)
    return [flag for flag in flags if flag.row_id not in ids]


def numbered(flags: Sequence[Flag]) -> list[Flag]:
    return [replace(flag, row_id=str(number)) for number, flag in enumerate(flags)]


def anything_pending(flags: Sequence[Flag], users: Collection[str]) -> bool:
    return any(as_twenty_reads_it(flags, user) for user in users)


@given(rows().map(numbered), USERS)
def test_nothing_is_pending_without_the_rows_in_the_way(flags: list[Flag], users: tuple[str, ...]) -> None:
    assert not anything_pending(without(flags, rows_in_the_way(users, HERE, flags)), users)


@given(rows().map(numbered), USERS)
def test_every_row_in_the_way_is_needed(flags: list[Flag], users: tuple[str, ...]) -> None:
    gone = rows_in_the_way(users, HERE, flags)
    for kept in gone:
        assert anything_pending(without(flags, [flag for flag in gone if flag is not kept]), users)


@given(rows().map(numbered), USERS)
def test_only_true_steps_of_these_users_and_that_workspace_are_in_the_way(
    flags: list[Flag], users: tuple[str, ...]
) -> None:
    for flag in rows_in_the_way(users, HERE, flags):
        assert any(flag is row for row in flags)
        assert flag.value is True
        assert flag.type == "USER_VARIABLE"
        assert is_step(flag.key)
        assert flag.user_id in users or (flag.user_id, flag.workspace_id) == (None, HERE)
        assert flag.workspace_id in (None, HERE)


@given(rows().map(numbered), USERS)
def test_what_anybody_else_sees_is_less_but_never_more(flags: list[Flag], users: tuple[str, ...]) -> None:
    left = without(flags, rows_in_the_way(users, HERE, flags))
    for user in {ME, OTHER} - set(users):
        assert as_twenty_reads_it(left, user).items() <= as_twenty_reads_it(flags, user).items()


@given(rows().map(numbered), st.randoms())
def test_the_rows_in_the_way_come_in_the_given_order(flags: list[Flag], random: Any) -> None:
    found = rows_in_the_way([ME, OTHER], HERE, flags)
    assert list(found) == [flag for flag in flags if flag in found]
    shuffled = rows_in_the_way([OTHER, ME, ME], HERE, random.sample(flags, len(flags)))
    assert {flag.row_id for flag in shuffled} == {flag.row_id for flag in found}


@dataclass(frozen=True)
class Example:
    """Rows, those in the way of me in this workspace, and what `DELETE WHERE "userId" = me` would have done instead.

    Args:
        shows: the wizard's step for me after the statement, or COMPLETED.
        lost: rows that the statement takes and that were in nobody's way.
    """

    flags: tuple[Flag, ...]
    in_the_way: tuple[Flag, ...]
    shows: str
    lost: tuple[Flag, ...] = ()


def example(*flags: Flag, in_the_way: Sequence[int], shows: str, lost: Sequence[int] = ()) -> Example:
    rows = numbered(flags)
    return Example(
        tuple(rows), tuple(rows[number] for number in in_the_way), shows, tuple(rows[number] for number in lost)
    )


NOT_PENDING: dict[str, Any] = {"false": False, "the text true": "true", "null": None, "one": 1}
EXAMPLES = {
    "user and workspace, and my theme": example(
        Flag(CREATE_PROFILE, ME, HERE, True),
        Flag("THEME", ME, None, "dark", type="CONFIG_VARIABLE"),
        in_the_way=[0],
        shows=COMPLETED,
        lost=[1],
    ),
    "user level, and my own steps in another workspace": example(
        Flag(CONNECT_ACCOUNT, ME, None, True),
        Flag(CREATE_PROFILE, ME, ELSEWHERE, True),
        in_the_way=[0],
        shows=COMPLETED,
        lost=[1],
    ),
    "user level, and the same key of another type": example(
        Flag(CONNECT_ACCOUNT, ME, None, True),
        Flag(CONNECT_ACCOUNT, ME, HERE, True, type="FEATURE_FLAG"),
        in_the_way=[0],
        shows=COMPLETED,
        lost=[1],
    ),
    "invite team, of everybody": example(
        Flag(INVITE_TEAM, None, HERE, True),
        in_the_way=[0],
        shows="INVITE_TEAM",
    ),
    "invite team, of everybody and of me": example(
        Flag(INVITE_TEAM, ME, HERE, True),
        Flag(INVITE_TEAM, None, HERE, True),
        in_the_way=[0, 1],
        shows="INVITE_TEAM",
    ),
    "workspace level, of a key that is usually a person's": example(
        Flag(CONNECT_ACCOUNT, None, HERE, True),
        Flag(CREATE_PROFILE, ME, HERE, True),
        in_the_way=[0, 1],
        shows="SYNC_EMAIL",
    ),
    "user level and workspace level": example(
        Flag(CREATE_PROFILE, ME, None, True),
        Flag(CREATE_PROFILE, None, HERE, True),
        in_the_way=[0, 1],
        shows="PROFILE_CREATION",
    ),
    "all three levels": example(
        Flag(CREATE_PROFILE, ME, HERE, True),
        Flag(CREATE_PROFILE, ME, None, True),
        Flag(CREATE_PROFILE, None, HERE, True),
        in_the_way=[0, 1, 2],
        shows="PROFILE_CREATION",
    ),
    "what is between stays and hides": example(
        Flag(CREATE_PROFILE, ME, HERE, True),
        Flag(CREATE_PROFILE, ME, None, False),
        Flag(CREATE_PROFILE, None, HERE, True),
        in_the_way=[0],
        shows="PROFILE_CREATION",
        lost=[1],
    ),
    "an unknown key of everybody": example(
        Flag(LATER, None, HERE, True),
        in_the_way=[0],
        shows=UNKNOWN_STEP,
    ),
    "an unknown key of mine, and a key that is no step": example(
        Flag(LATER, ME, HERE, True),
        Flag("ONBOARDING_REVERSIBLE_STEP_HISTORY", ME, HERE, ["SYNC_EMAIL"]),
        in_the_way=[0],
        shows=COMPLETED,
        lost=[1],
    ),
    **{
        f"{name} hides what is wider": example(
            Flag(INVITE_TEAM, ME, HERE, value),
            Flag(INVITE_TEAM, None, HERE, True),
            in_the_way=[],
            shows="INVITE_TEAM",
            lost=[0],
        )
        for name, value in NOT_PENDING.items()
    },
    **{
        f"{name} of everybody is not pending": example(
            Flag(CONNECT_ACCOUNT, None, HERE, value),
            Flag(CONNECT_ACCOUNT, ME, None, value),
            in_the_way=[],
            shows=COMPLETED,
            lost=[1],
        )
        for name, value in NOT_PENDING.items()
    },
}


@pytest.mark.parametrize("told", EXAMPLES.values(), ids=EXAMPLES)
def test_examples(told: Example) -> None:
    assert rows_in_the_way([ME], HERE, told.flags) == told.in_the_way
    assert seen_by(ME, HERE, "ACTIVE", without(told.flags, told.in_the_way)) == Seen(COMPLETED, ())


@pytest.mark.parametrize("told", EXAMPLES.values(), ids=EXAMPLES)
def test_a_statement_by_hand_would_not_have_done(told: Example) -> None:
    left = [flag for flag in told.flags if flag.user_id != ME]
    assert seen_by(ME, HERE, "ACTIVE", left).status == told.shows
    assert tuple(flag for flag in told.flags if flag not in left and flag not in told.in_the_way) == told.lost
    assert told.shows != COMPLETED or told.lost


def test_a_row_that_one_user_hides_goes_for_the_other_alone() -> None:
    wide, hiding, own = numbered(
        [Flag(INVITE_TEAM, None, HERE, True), Flag(INVITE_TEAM, ME, HERE, False), Flag(INVITE_TEAM, OTHER, HERE, True)]
    )
    flags = [wide, hiding, own]
    assert rows_in_the_way([ME], HERE, flags) == ()
    assert rows_in_the_way([OTHER], HERE, flags) == (wide, own)
    assert rows_in_the_way([ME, OTHER], HERE, flags) == (wide, own)
    by_hand = [flag for flag in flags if flag.user_id not in (ME, OTHER)]
    assert [seen_by(user, HERE, "ACTIVE", by_hand).status for user in (ME, OTHER)] == ["INVITE_TEAM"] * 2


def test_nobody_has_nothing_in_the_way() -> None:
    assert rows_in_the_way([], HERE, [Flag(INVITE_TEAM, None, HERE, True)]) == ()
