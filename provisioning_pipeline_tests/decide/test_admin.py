"""Who becomes the first admin."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.decide.organizations import admin_holders, choose_admin
from provisioning_pipeline.model import frames
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.people import Membership, User
from provisioning_pipeline.model.tenant import Admin, AdminUnknown

ORG, ROLE = "org_1", "org:admin"


def holder(user_id: str, created_at: int = 0, *, banned: bool = False) -> Membership:
    return Membership(user_id, ROLE, banned, created_at)


def user(user_id: str, *, email: str | None = "", banned: bool = False) -> User:
    return User(user_id, f"{user_id}@x.test" if email == "" else email, "Ada", "L", banned)


def chosen(
    members: tuple[Membership, ...] | AdminUnknown, *users: User, org: str | None = ORG, email: str | None = None
) -> Admin | AdminUnknown:
    return choose_admin(org, email, "Reg Istry Admin", {ORG: members}, {each.user_id: each for each in users}, ROLE)


def test_the_longest_holder_is_chosen() -> None:
    answer = chosen((holder("u1", 2), holder("u2", 1)), user("u1"), user("u2"))
    assert answer == Admin("u2@x.test", "Ada", "L", "u2")


def test_of_two_holders_since_the_same_moment_the_smaller_id_is_chosen() -> None:
    answer = chosen((holder("u2", 1), holder("u1", 1)), user("u1"), user("u2"))
    assert isinstance(answer, Admin)
    assert answer.clerk_user_id == "u1"


def test_banned_deleted_and_unverified_people_are_passed_over() -> None:
    members = (holder("m-banned", 1, banned=True), holder("u-banned", 2), holder("deleted", 3), holder("plain", 4))
    people = (user("m-banned"), user("u-banned", banned=True), user("plain", email=None), user("good"))
    answer = chosen((*members, holder("good", 5)), *people)
    assert isinstance(answer, Admin)
    assert answer.clerk_user_id == "good"


def test_an_admin_without_a_verified_address_is_a_reason_of_its_own() -> None:
    answer = chosen((holder("u1"),), user("u1", email=None))
    assert isinstance(answer, AdminUnknown)
    assert answer.reason is Reason.ADMIN_EMAIL_UNVERIFIED
    assert ORG in answer.message


def test_an_organization_without_an_active_admin_does_not_fall_back_to_the_registry() -> None:
    for members in ((), (holder("u1", banned=True),), (holder("deleted"),)):
        answer = chosen(members, user("u1"), email="reg@x.test")
        assert isinstance(answer, AdminUnknown)
        assert answer.reason is Reason.ADMIN_UNKNOWN


def test_clerks_trouble_is_handed_on() -> None:
    trouble = AdminUnknown(Reason.ORGANIZATION_MISSING, "no such organization")
    assert chosen(trouble, email="reg@x.test") is trouble


def test_without_an_organization_the_registrys_admin_is_taken() -> None:
    assert chosen((), org=None, email=" Reg@X.test ") == Admin("reg@x.test", "Reg", "Istry Admin", None)
    assert chosen((), org="", email="reg@x.test") == Admin("reg@x.test", "Reg", "Istry Admin", None)


def test_without_any_word_nobody_is_guessed() -> None:
    for email in (None, "", "not-an-address"):
        answer = chosen((), org=None, email=email)
        assert isinstance(answer, AdminUnknown)
        assert answer.reason is Reason.ADMIN_UNKNOWN
        assert "clerk_org_id" in answer.message


# --- who holds the role -------------------------------------------------------------------------------------------


def clerk(
    memberships: list[tuple[str, str, str, int]], *people: tuple[str, bool]
) -> tuple[dict[str, tuple[Membership, ...]], dict[str, User]]:
    """Holders of the admin's role in org_1 and org_2."""
    users = [(user, f"{user}@x.test", "Ada", "L", banned, None) for user, banned in people]
    return admin_holders(
        [ORG, "org_2"],
        [ROLE, "org:owner"],
        frames.frame(frames.MEMBERSHIPS, memberships),
        frames.frame(frames.CLERK_USERS, users),
    )


def test_only_the_asked_roles_in_the_asked_organizations_count() -> None:
    rows = [
        (ORG, "u1", ROLE, 5),
        (ORG, "u2", "org:member", 1),
        (ORG, "u3", "org:owner", 2),
        ("org_3", "u4", ROLE, 1),
    ]
    holders, users = clerk(rows, *((f"u{number}", False) for number in range(1, 5)))
    assert set(holders[ORG]) == {Membership("u1", ROLE, False, 5), Membership("u3", "org:owner", False, 2)}
    assert set(users) == {"u1", "u3"}


def test_an_organization_without_a_holder_is_named_all_the_same() -> None:
    holders, users = clerk([])
    assert holders == {ORG: (), "org_2": ()}
    assert users == {}


def test_whoever_is_banned_holds_the_role_as_a_banned_one_everywhere() -> None:
    holders, users = clerk([(ORG, "u1", ROLE, 1), ("org_2", "u1", ROLE, 2)], ("u1", True))
    assert holders == {ORG: (Membership("u1", ROLE, True, 1),), "org_2": (Membership("u1", ROLE, True, 2),)}
    assert isinstance(choose_admin(ORG, None, None, holders, users, ROLE), AdminUnknown)


def test_a_holder_whom_the_list_of_people_does_not_know_is_not_chosen() -> None:
    holders, users = clerk([(ORG, "u1", ROLE, 1)])
    assert users == {}
    assert isinstance(choose_admin(ORG, None, None, holders, users, ROLE), AdminUnknown)


# --- the choice over any of them ----------------------------------------------------------------------------------

IDS = ["u1", "u2", "u3", "u4"]
MEMBERS = st.lists(
    st.builds(Membership, st.sampled_from(IDS), st.just(ROLE), st.booleans(), st.integers(0, 3)),
    max_size=4,
    unique_by=lambda member: member.user_id,
)
PEOPLE = st.lists(
    st.builds(User, st.sampled_from(IDS), st.none() | st.just("v@x.test"), st.just("A"), st.just("B"), st.booleans()),
    max_size=4,
    unique_by=lambda person: person.user_id,
)


@given(MEMBERS, PEOPLE, st.randoms())
def test_the_choice_does_not_depend_on_order_and_is_always_a_lawful_one(
    members: list[Membership], people: list[User], random: Any
) -> None:
    answer = chosen(tuple(members), *people)
    assert chosen(tuple(random.sample(members, len(members))), *random.sample(people, len(people))) == answer
    banned = {member.user_id for member in members if member.banned}
    lawful = {
        person.user_id
        for person in people
        if person.verified_email and not person.banned and person.user_id not in banned
    } & {member.user_id for member in members}
    assert isinstance(answer, Admin) == bool(lawful)
    if isinstance(answer, Admin):
        assert answer.clerk_user_id in lawful
