"""Frames have their columns whatever the rows are, and None stays None."""

import pytest

from provisioning_pipeline.model import frames

ALL = [
    frames.DATABASES,
    frames.REGISTRY,
    frames.LINKS,
    frames.MEMBER_STATUSES,
    frames.WORKSPACES,
    frames.FLAGS,
    frames.ORGANIZATIONS,
    frames.MEMBERSHIPS,
    frames.CLERK_USERS,
    frames.TWENTY_USERS,
    frames.TWENTY_MEMBERS,
    frames.USER_LINKS,
    frames.MEMBER_LINKS,
    frames.SERVERS,
]


@pytest.mark.parametrize("columns", ALL)
def test_a_frame_without_rows_has_all_its_columns(columns: frames.Columns) -> None:
    empty = frames.frame(columns, [])
    assert list(empty.columns) == list(columns)
    assert frames.records(empty) == []


def test_values_come_back_as_they_went_in() -> None:
    rows = [
        {"server": "eu", "capacity": 5, "workspaces": 0, "dedicated": False},
        {"server": "us", "capacity": None, "workspaces": 3, "dedicated": True, "unknown": "left out"},
    ]
    first, second = frames.records(frames.frame(frames.SERVERS, rows))
    assert (first["capacity"], first["dedicated"], first["reason"]) == (5, False, None)
    assert (second["capacity"], second["dedicated"], second["workspaces"]) == (None, True, 3)
    assert "unknown" not in second


def test_json_values_of_flags_stay_what_they_are() -> None:
    values = [True, False, "true", 1, {"a": [None]}, [True]]
    rows = [{"server": "eu", "key": "k", "value": value} for value in values]
    read = [row["value"] for row in frames.records(frames.frame(frames.FLAGS, rows))]
    assert [(type(value), value) for value in read] == [(type(value), value) for value in values]


def test_rows_stay_what_they_are_when_their_equal_values_become_one() -> None:
    rows = [("".join(["a", "b"]), 1, None), ("".join(["a", "b"]), 2, None)]
    assert rows[0][0] is not rows[1][0]
    columns = ("name", "number", "nothing")
    shared = frames.frame_with_shared_values(columns, rows)
    assert frames.records(shared) == frames.records(frames.frame(columns, rows))
    assert shared["name"][0] is shared["name"][1]
    assert shared["nothing"][0] is None
    assert dict(shared.dtypes.astype(str)) == dict.fromkeys(columns, "object")


def test_no_rows_are_a_frame_with_its_columns() -> None:
    empty = frames.frame_with_shared_values(frames.MEMBERSHIPS, [])
    assert empty.empty
    assert dict(empty.dtypes.astype(str)) == dict.fromkeys(frames.MEMBERSHIPS, "object")
