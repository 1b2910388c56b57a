"""What a lock still has to take of any workspace, and what each thing that it took becomes again."""

from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.access_lock import DEFAULT_ROLE, EMPTY_ROLE, INVITE_LINK, ItemKind, LockedItem
from provisioning_pipeline.steps.suspension.plan import (
    RoleAgain,
    SeenMember,
    SeenWorkspace,
    default_role_again,
    has_rights,
    member_role_again,
    of_kind,
    setting,
    still_to_take,
    told,
)

EMPTY = "empty"
ROLES = {"Admin": "admin", "Member": "member", "Sales": "sales", EMPTY_ROLE: EMPTY}
LABELS = st.sampled_from([*ROLES, None])
NAMES = st.text("abcdef", min_size=1, max_size=4)


def seen_member(name: str, label: str | None, *, living: bool = True) -> SeenMember:
    role = ROLES[label] if label and living else None
    return SeenMember(f"user {name}", name, f"record {name}" if living else None, role, label, label == "Admin")


MEMBERS = st.lists(st.builds(seen_member, NAMES, LABELS, living=st.booleans()), unique_by=lambda member: member.email)
WORKSPACES = st.builds(
    SeenWorkspace,
    MEMBERS.map(tuple),
    st.dictionaries(NAMES, NAMES, max_size=3),
    st.sampled_from([("member", "Member"), (EMPTY, EMPTY_ROLE), None]),
    st.booleans(),
)


def taken(seen: SeenWorkspace, items: tuple[LockedItem, ...]) -> SeenWorkspace:
    """The workspace once all of these are taken."""
    gone = {item.id for item in of_kind(items, ItemKind.MEMBER)}
    return SeenWorkspace(
        tuple(
            seen_member(member.email, EMPTY_ROLE, living=False) if member.member_id in gone else member
            for member in seen.members
        ),
        {key: name for key, name in seen.keys.items() if (ItemKind.API_KEY, key) not in {item.key for item in items}},
        (EMPTY, EMPTY_ROLE) if setting(items, DEFAULT_ROLE) else seen.default_role,
        seen.link_enabled and setting(items, INVITE_LINK) is None,
    )


@given(WORKSPACES)
def test_nothing_is_left_to_take_once_it_is_taken(seen: SeenWorkspace) -> None:
    assert still_to_take(taken(seen, still_to_take(seen, EMPTY)), EMPTY) == ()


@given(WORKSPACES)
def test_every_living_member_is_taken_once_those_who_manage_first(seen: SeenWorkspace) -> None:
    items = of_kind(still_to_take(seen, EMPTY), ItemKind.MEMBER)
    living = {member.member_id: member for member in seen.members if member.member_id}
    assert sorted(item.id for item in items) == sorted(living)
    manages = [living[item.id].manages for item in items]
    assert manages == sorted(manages, reverse=True)


@given(WORKSPACES)
def test_who_has_the_empty_role_or_none_has_no_rights_to_take(seen: SeenWorkspace) -> None:
    living = {member.member_id: member for member in seen.members if member.member_id}
    for item in of_kind(still_to_take(seen, EMPTY), ItemKind.MEMBER):
        assert has_rights(item) == (living[item.id].role_id not in (None, EMPTY))


@given(WORKSPACES)
def test_each_member_gets_back_what_they_had(seen: SeenWorkspace) -> None:
    living = {member.member_id: member for member in seen.members if member.member_id}
    for item in of_kind(still_to_take(seen, EMPTY), ItemKind.MEMBER):
        again = member_role_again(item, ROLES, "member")
        if living[item.id].role_id == EMPTY:
            assert again.id == "member"
            assert again.note is not None
        else:
            assert again == RoleAgain(living[item.id].role_id)


def test_a_role_that_is_gone_becomes_the_default_role() -> None:
    item = LockedItem(ItemKind.MEMBER, "record", "jane@one.example", {"role": "gone", "label": "Buyers"}, "user")
    again = member_role_again(item, ROLES, "member")
    assert again.id == "member"
    assert again.note == "the role Buyers of jane@one.example is no longer there, so they have the default role"


def test_a_default_role_that_is_gone_becomes_the_one_of_the_settings() -> None:
    item = LockedItem(ItemKind.SETTING, DEFAULT_ROLE, DEFAULT_ROLE, {"role": "gone", "label": "Buyers"})
    assert default_role_again(item, ROLES, "Member").id == "member"
    assert default_role_again(item, {EMPTY_ROLE: EMPTY}, "Member") == RoleAgain(
        None, f"the default role Buyers is no longer there, so it is {EMPTY_ROLE} now"
    )


def test_what_was_taken_is_told_in_figures() -> None:
    seen = SeenWorkspace((seen_member("a", "Admin"), seen_member("b", None)), {"k": "sync"}, ("member", "Member"), True)
    assert told(still_to_take(seen, EMPTY)) == "2 members, 1 API key, invite link, default role"
    assert told(()) == "nothing"
