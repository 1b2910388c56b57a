"""What a fleet's members see, against the same question asked member by member."""

from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model import frames
from provisioning_pipeline.model.onboarding import (
    CONNECT_ACCOUNT,
    CREATE_PROFILE,
    INSTALL_APPS,
    INVITE_TEAM,
    UNKNOWN_STEP,
    Flag,
    Level,
    pending_for,
    seen_by,
)
from provisioning_pipeline.steps.onboarding.plan import member_statuses
from provisioning_pipeline_tests.decide.facts import flag, workspace

SERVERS = ("eu", "us")
# the same ids on both servers: what one server holds says nothing about the other
WORKSPACES = ("w1", "w2", "w3")
USERS = ("u1", "u2", "u3", "u4")
LATER = "ONBOARDING_LATER_PENDING"
KEYS = (CONNECT_ACCOUNT, INSTALL_APPS, CREATE_PROFILE, INVITE_TEAM, LATER, "ONBOARDING_PENDING", "THEME")

Rows = list[dict[str, Any]]


def rows(fewest: int, most: int, unique: tuple[str, ...], **columns: Any) -> st.SearchStrategy[Rows]:
    row = st.fixed_dictionaries({"server": st.sampled_from(SERVERS)} | columns)
    return st.lists(row, min_size=fewest, max_size=most, unique_by=lambda row: tuple(row[name] for name in unique))


PLACES = rows(
    2,
    6,
    ("server", "workspace_id"),
    workspace_id=st.sampled_from(WORKSPACES),
    activation_status=st.sampled_from(["ACTIVE", "ACTIVE", "ONGOING_CREATION", "PENDING_CREATION", "SUSPENDED", None]),
    deleted=st.sampled_from([False, False, False, True, None]),
)
MEMBERS = rows(
    6,
    24,
    ("server", "workspace_id", "user_id"),
    workspace_id=st.sampled_from(WORKSPACES),
    user_id=st.sampled_from(USERS),
    role=st.sampled_from(["Admin", None]),
)
FLAGS = rows(
    6,
    40,
    ("server", "key", "user_id", "workspace_id"),
    key=st.sampled_from(KEYS),
    user_id=st.sampled_from([None, *USERS]),
    workspace_id=st.sampled_from([None, *WORKSPACES]),
    value=st.sampled_from([True, True, False, None, "true", 1, [True], {"value": True}]),
)


def told(workspaces: Rows, members: Rows, flags: Rows) -> list[dict[str, Any]]:
    answer = member_statuses(
        frames.frame(frames.WORKSPACES, workspaces),
        frames.frame(frames.TWENTY_MEMBERS, members),
        frames.frame(frames.FLAGS, flags),
    )
    assert list(answer.columns) == list(frames.MEMBER_STATUSES)
    assert {str(dtype) for dtype in answer.dtypes} == {"object"}
    return frames.records(answer)


def one_by_one(workspaces: Rows, members: Rows, flags: Rows) -> list[dict[str, Any]]:
    found = []
    for member in members:
        for place in workspaces:
            if place["deleted"] or any(place[name] != member[name] for name in ("server", "workspace_id")):
                continue
            server, here, user = member["server"], member["workspace_id"], member["user_id"]
            own = [
                Flag(row["key"], row["user_id"], row["workspace_id"], row["value"])
                for row in flags
                if row["server"] == server
            ]
            seen = seen_by(user, here, place["activation_status"], own)
            found.append(
                {
                    "server": server,
                    "workspace_id": here,
                    "user_id": user,
                    "status": seen.status,
                    "keys": tuple(pending_for(user, here, own)),
                    "unknown": seen.unknown,
                }
            )
    return found


@pytest.mark.slow
@given(PLACES, MEMBERS, FLAGS)
def test_every_member_sees_what_they_would_see_alone(workspaces: Rows, members: Rows, flags: Rows) -> None:
    assert told(workspaces, members, flags) == one_by_one(workspaces, members, flags)


def member(user_id: str, **other: Any) -> dict[str, Any]:
    return {"server": "eu", "workspace_id": workspace()["workspace_id"], "user_id": user_id, "role": "Member"} | other


def statuses(found: list[dict[str, Any]]) -> dict[str, str]:
    return {row["user_id"]: row["status"] for row in found}


def test_a_row_of_the_workspace_is_met_by_everybody_and_a_row_of_mine_by_me() -> None:
    members = [member("ada"), member("bob"), member("eve")]
    flags = [flag(INVITE_TEAM, None), flag(INVITE_TEAM, "bob", value=False), flag(CREATE_PROFILE, "eve")]
    found = told([workspace()], members, flags)
    assert statuses(found) == {"ada": "INVITE_TEAM", "bob": "COMPLETED", "eve": "PROFILE_CREATION"}
    assert [row["keys"] for row in found] == [(INVITE_TEAM,), (), (CREATE_PROFILE, INVITE_TEAM)]


def test_an_unknown_step_is_named() -> None:
    (found,) = told([workspace()], [member("ada")], [flag(LATER, None)])
    assert (found["status"], found["keys"], found["unknown"]) == (UNKNOWN_STEP, (LATER,), (LATER,))


@pytest.mark.parametrize("place", [(None, "w1"), ("ada", None), ("ada", "w1")], ids=list(Level))
def test_what_one_server_holds_says_nothing_about_another(place: tuple[str | None, str | None]) -> None:
    places = [workspace(workspace_id="w1"), workspace(workspace_id="w1", server="us")]
    members = [member("ada", workspace_id="w1"), member("ada", workspace_id="w1", server="us")]
    found = told(places, members, [flag(INVITE_TEAM, *place)])
    assert [(row["server"], row["status"]) for row in found] == [("eu", "INVITE_TEAM"), ("us", "COMPLETED")]


def test_who_is_in_two_workspaces_has_a_row_for_each() -> None:
    places = [workspace(), workspace(workspace_id="other"), workspace(workspace_id="gone", deleted=True)]
    members = [member("ada"), member("ada", workspace_id="other"), member("ada", workspace_id="gone")]
    flags = [flag(CONNECT_ACCOUNT, "ada", None), flag(CONNECT_ACCOUNT, "ada", "other", value=False)]
    found = told(places, members, flags)
    assert [(row["workspace_id"], row["status"]) for row in found] == [
        (workspace()["workspace_id"], "SYNC_EMAIL"),
        ("other", "COMPLETED"),
    ]


def test_without_members_without_flags_and_without_anything() -> None:
    assert told([workspace()], [], [flag(INVITE_TEAM, None)]) == []
    assert statuses(told([workspace()], [member("ada")], [])) == {"ada": "COMPLETED"}
    assert told([], [member("ada")], []) == []
    assert told([], [], []) == []


def test_the_frames_that_came_in_stay_as_they_were() -> None:
    workspaces = frames.frame(frames.WORKSPACES, [workspace()])
    members = frames.frame(frames.TWENTY_MEMBERS, [member("ada")])
    flags = frames.frame(frames.FLAGS, [flag(INVITE_TEAM, None), flag(CREATE_PROFILE, "ada", None, value=False)])
    before = [given_frame.copy(deep=True) for given_frame in (workspaces, members, flags)]
    member_statuses(workspaces, members, flags)
    for given_frame, copied in zip((workspaces, members, flags), before, strict=True):
        pd.testing.assert_frame_equal(given_frame, copied)
