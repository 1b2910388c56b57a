"""What workspaces and people rows make together."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.core_rows import (
    CoreRows,
    MembershipRow,
    RecordRow,
    RoleOfMemberRow,
    RoleRow,
    UserRow,
    WorkspaceRow,
    found_workspaces,
)
from provisioning_pipeline.model.tenant_database import FoundMember

ACME = WorkspaceRow("acme", "Acme", "ACTIVE")
ANN = UserRow("ann", "ann@acme.example", "Ann", "Lee")
ROWS = CoreRows(
    workspaces=[ACME],
    users=[ANN],
    memberships=[MembershipRow("m", "ann", "acme")],
    roles=[RoleRow("admin", "Admin", "acme", "t"), RoleRow("a", "A", "acme", "f"), RoleRow("b", "B", "other")],
)


@pytest.mark.parametrize(
    ("held", "label", "own"),
    [
        ([], None, True),
        (["a"], "A", True),
        (["a", "admin"], "Admin", True),
        (["b", "a"], "A", False),
        (["b"], "B", False),
        (["gone"], None, False),
        (["gone", "b"], "B", False),
    ],
)
def test_of_several_roles_the_strongest_counts_and_all_must_be_the_workspaces(
    held: list[str], label: str | None, *, own: bool
) -> None:
    rows = replace(ROWS, roles_of_members=[RoleOfMemberRow(role, "m") for role in held])
    (found,) = found_workspaces(rows)
    assert [member.role for member in found.members] == [label]
    assert found.has_own_roles is own


def test_a_record_with_a_name_goes_before_the_user() -> None:
    named, unnamed = RecordRow("acme", "ann", "Anna", ""), RecordRow("acme", "ann")
    for record, first, last in ((named, "Anna", ""), (unnamed, "Ann", "Lee")):
        (found,) = found_workspaces(replace(ROWS, records=[record, RecordRow("acme", "ann", "No", "One")]))
        assert found.members == (FoundMember("ann", "ann@acme.example", first, last, None, has_record=True),)


_IDS = st.sampled_from("abc")
_SOME_ROWS = st.builds(
    CoreRows,
    workspaces=st.lists(st.builds(WorkspaceRow, _IDS, default_role_id=st.none() | _IDS), max_size=4),
    users=st.lists(st.builds(UserRow, _IDS, st.sampled_from(["x@y.example", ""])), max_size=4),
    memberships=st.lists(st.builds(MembershipRow, st.none() | _IDS, _IDS, _IDS), max_size=6),
    roles=st.none() | st.lists(st.builds(RoleRow, _IDS, st.none() | _IDS, st.none() | _IDS), max_size=4),
    roles_of_members=st.lists(st.builds(RoleOfMemberRow, _IDS, _IDS), max_size=6),
    with_metadata=st.frozensets(_IDS),
    with_schema=st.frozensets(_IDS),
    records=st.lists(st.builds(RecordRow, _IDS, _IDS), max_size=4),
)


@given(rows=_SOME_ROWS)
def test_each_workspace_and_member_stands_once_and_for_a_row(rows: CoreRows) -> None:
    found = found_workspaces(rows)
    assert [workspace.workspace_id for workspace in found] == sorted({row.id for row in rows.workspaces})
    users = {user.id for user in rows.users}
    for workspace in found:
        members = [member.user_id for member in workspace.members]
        in_it = {row.user_id for row in rows.memberships if row.workspace_id == workspace.workspace_id}
        assert members == sorted(in_it & users)
        assert workspace.has_metadata == (workspace.workspace_id in rows.with_metadata)
        assert workspace.has_schema == (workspace.workspace_id in rows.with_schema)
        for member in workspace.members:
            own = [record for record in rows.records if record.workspace_id == workspace.workspace_id]
            assert member.has_record == any(record.user_id == member.user_id for record in own)


@given(rows=_SOME_ROWS)
def test_rows_of_one_workspace_say_nothing_of_another(rows: CoreRows) -> None:
    before = {workspace.workspace_id: workspace for workspace in found_workspaces(rows)}
    without = replace(
        rows,
        memberships=[row for row in rows.memberships if row.workspace_id != "a"],
        records=[row for row in rows.records if row.workspace_id != "a"],
    )
    after = {workspace.workspace_id: workspace for workspace in found_workspaces(without)}
    assert {name: found for name, found in before.items() if name != "a"} == {
        name: found for name, found in after.items() if name != "a"
    }
