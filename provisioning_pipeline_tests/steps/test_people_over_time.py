"""People who move, who come back as another user, or who go by another name in Twenty."""

from typing import Any

import pytest

from provisioning_pipeline_tests.steps.test_members import nothing_to_do, outcomes, people, ready
from provisioning_pipeline_tests.world import World

REMOVE: dict[str, Any] = {"members_gone": "remove"}


@pytest.fixture
def world(shared_world: World) -> World:
    return shared_world


def living(world: World, email: str) -> list[str]:
    """The accounts with that e-mail that are not deleted."""
    rows = world.twenty('SELECT id::text FROM core."user" WHERE email = %s AND "deletedAt" IS NULL', email)
    return [row[0] for row in rows]


def moves(world: World, email: str, old: str, new: str) -> None:
    clerk, user = world.sandbox.clerk, world.clerk_user(email)
    clerk.remove_membership(world.organization(old), user)
    clerk.add_membership(world.organization(new), user)


# --- from one organization to another ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("order", ["leaves first", "joins first", "at once", "one by one"])
def test_who_moves_leaves_one_workspace_and_is_in_the_other_with_one_account(world: World, order: str) -> None:
    word = order.replace(" ", "-")
    # tenants are worked on in the order of their names, one at a time, where only one may be under way
    first, second = (f"{letter}-{word}" for letter in ("a", "b"))
    old, new = (second, first) if order == "joins first" else (first, second)
    for slug in (first, second):
        ready(world, slug, members=3)
    email = people(world, old)[2].lower()
    moves(world, email, old, new)

    if order == "one by one":
        applied = world.apply(old, **REMOVE)
        world.apply(new, **REMOVE)
    else:
        applied = world.apply(first, second, **REMOVE, tenant_concurrency=4 if order == "at once" else 1)

    (proof,) = outcomes(applied, "remove member")
    assert "proved for sessions and logins" in proof
    assert email not in world.members(old)
    assert world.members(new)[email][0] == "Member"
    assert len(living(world, email)) == 1
    assert world.sees_as(new, email)["status"] == "COMPLETED"
    for slug in (old, new):
        assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert nothing_to_do(world, old, **REMOVE)
    assert nothing_to_do(world, new, **REMOVE)


# --- deleted at Clerk and made anew -----------------------------------------------------------------------------------


def made_anew(world: World, slug: str, email: str, role: str = "org:member") -> tuple[str, str]:
    """The user with this e-mail is deleted at Clerk, and another one is made with it: the old and the new user id."""
    clerk, old = world.sandbox.clerk, world.clerk_user(email)
    clerk.delete_user(old)
    new = clerk.add_user(email, first_name="Made", last_name="Anew")
    clerk.add_membership(world.organization(slug), new.id, role)
    return old, new.id


@pytest.mark.slow
def test_who_is_made_anew_has_the_same_account_the_new_role_and_a_line_in_the_timeline(world: World) -> None:
    slug = ready(world, "anew", members=6)
    # more than the budget of a run lets it take from anyone
    emails = [email.lower() for email in people(world, slug)[1:4]]
    for email in emails:
        world.sandbox.clerk.set_role(world.organization(slug), world.clerk_user(email), "org:admin")
    world.apply(slug)
    accounts = [living(world, email) for email in emails]
    assert {world.members(slug)[email][0] for email in emails} == {"Admin"}
    users = [made_anew(world, slug, email) for email in emails]

    applied = world.apply(slug, harm_most=1)

    assert [living(world, email) for email in emails] == accounts
    assert {world.members(slug)[email] for email in emails} == {("Member", "Made Anew")}
    linked = outcomes(applied, "link member")
    for old, new in users:
        assert any(f"the account of {old}, who was deleted at Clerk and made anew as {new}" in line for line in linked)
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert nothing_to_do(world, slug)


@pytest.mark.slow
def test_the_account_is_not_given_to_a_new_user_whose_address_is_not_verified(world: World) -> None:
    slug = ready(world, "anew-unverified", members=3)
    email = people(world, slug)[2].lower()
    old, new = made_anew(world, slug, email)
    world.sandbox.clerk.set_email_status(new, "unverified")

    world.apply(slug)

    links = world.registry("SELECT clerk_user_id FROM provisioning.member_link WHERE email = %s", email)
    assert links == [(old,)]
    assert world.conditions(slug)["MembersSynced"][1] == "EmailUnverified"


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_name_changed_in_twenty_stays_unless_policy_puts_it_back(world: World) -> None:
    slug = ready(world, "nicknames", members=3)
    email = people(world, slug)[2].lower()
    workspace = world.link(slug)["workspace_id"]
    schema = world.twenty('SELECT "databaseSchema" FROM core.workspace WHERE id = %s', workspace)[0][0]
    before = world.members(slug)[email][1]
    world.twenty(
        f'UPDATE "{schema}"."workspaceMember" SET "nameFirstName" = %s WHERE "userEmail" = %s RETURNING 1',
        "Nick",
        email,
    )

    assert nothing_to_do(world, slug)
    assert world.members(slug)[email][1].startswith("Nick ")
    applied = world.apply(slug, name_changes="restore")

    assert outcomes(applied, "set name") == [f"{email}: {before}"]
    assert world.members(slug)[email][1] == before
    assert nothing_to_do(world, slug, name_changes="restore")


# --- what is said of those who are removed ----------------------------------------------------------------------------


@pytest.mark.slow
def test_of_who_was_removed_in_twenty_before_a_run_saw_it_what_cannot_be_told_is_said(world: World) -> None:
    slug = ready(world, "seen-late", members=3)
    email = people(world, slug)[2].lower()
    user = world.clerk_user(email)
    world.twenty(
        'UPDATE core."userWorkspace" uw SET "deletedAt" = now() FROM core."user" u '
        'WHERE u.id = uw."userId" AND u.email = %s RETURNING 1',
        email,
    )
    world.sandbox.clerk.remove_membership(world.organization(slug), user)

    applied = world.apply(slug, **REMOVE)

    (told,) = outcomes(applied, "drop link")
    assert "sessions and API keys from before: cannot be told" in told
