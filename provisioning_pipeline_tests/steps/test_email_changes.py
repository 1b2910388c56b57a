"""An e-mail that changed at Clerk: followed where policy and Twenty let it, and the account goes on letting us in."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from provisioning_pipeline.clients.twenty.accounts import derived_password
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline.tasks.vouch import vouch
from provisioning_pipeline_tests.steps.killed import When, run_killed_at
from provisioning_pipeline_tests.steps.test_members import nothing_to_do, outcomes, people, ready, sign_up
from provisioning_pipeline_tests.world import World, real_login

FOLLOW: dict[str, Any] = {"email_changes": "follow"}
OWN = "Their0wn-Password!"


@pytest.fixture
def world(shared_world: World) -> World:
    return shared_world


def changes_at_clerk(world: World, slug: str) -> tuple[str, str, str]:
    """The second member has another verified address at Clerk: their user id there, the old and the new address."""
    before = people(world, slug)[1].lower()
    user, after = world.clerk_user(before), f"new.address@{slug}.example"
    world.sandbox.clerk.state.user(user).emails[0].email = after
    return user, before, after


def message(world: World, slug: str) -> str:
    rows = world.registry(
        "SELECT message FROM provisioning.condition WHERE database_name = %s AND type = 'MembersSynced'",
        world.link(slug)["database_name"],
    )
    return str(rows[0][0])


def comes_in(world: World, slug: str, email: str, *, password_of: str) -> bool:
    """A login by plain HTTP with the password of that address, in the tenant's workspace."""
    password = derived_password(world.settings.member_password_key, password_of).get_secret_value()
    seen = real_login(world.sandbox.twenty[0], email, password, world.link(slug)["workspace_url"])
    return (seen["email"], seen["status"]) == (email, "COMPLETED")


def accounts(world: World, pattern: str) -> list[str]:
    rows = world.twenty('SELECT email FROM core."user" WHERE email LIKE %s AND "deletedAt" IS NULL', pattern)
    return sorted(row[0] for row in rows)


@pytest.mark.slow
def test_by_policy_the_account_gets_the_new_address_and_goes_on_letting_them_in(world: World) -> None:
    slug = ready(world, "follows", members=2)
    _, before, after = changes_at_clerk(world, slug)

    applied = world.apply(slug, **FOLLOW)

    assert outcomes(applied, "follow e-mail") == [f"{before} → {after}"]
    assert after in outcomes(applied, "prove login")
    assert before not in accounts(world, "%@follows.example")
    # Twenty keeps the password, so it stays that of the address before
    assert comes_in(world, slug, after, password_of=before)
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert world.registry("SELECT email FROM provisioning.member_link WHERE email = %s", after) == [(after,)]
    assert nothing_to_do(world, slug, **FOLLOW)


@pytest.mark.slow
def test_an_account_that_followed_joins_a_second_workspace_and_then_stays_as_it_is(world: World) -> None:
    slug, other = ready(world, "mover", members=2), ready(world, "second-place", members=1)
    user, before, after = changes_at_clerk(world, slug)
    world.apply(slug, **FOLLOW)
    clerk = world.sandbox.clerk
    clerk.add_membership(world.organization(other), user)

    world.apply(other, **FOLLOW)

    assert accounts(world, "new.address@mover.example") == [after]
    assert comes_in(world, other, after, password_of=before)
    # who is in several workspaces of a server keeps the address: Twenty has no call for that
    clerk.state.user(user).emails[0].email = "newer@mover.example"
    world.apply(slug, other, **FOLLOW)
    for place in (slug, other):
        assert world.conditions(place)["MembersSynced"] == ("False", "EmailChanged")
    assert "several workspaces" in message(world, slug)
    assert nothing_to_do(world, slug, **FOLLOW)


@pytest.mark.slow
def test_a_second_and_a_third_change_are_followed_and_so_is_the_way_back(world: World) -> None:
    slug = ready(world, "again", members=2)
    user, before, after = changes_at_clerk(world, slug)
    world.apply(slug, **FOLLOW)

    for email in ("third@again.example", before, after):
        world.sandbox.clerk.state.user(user).emails[0].email = email
        world.apply(slug, **FOLLOW)
        assert comes_in(world, slug, email, password_of=before)
        assert world.conditions(slug)["Ready"] == ("True", "AllTrue")


@pytest.mark.slow
def test_an_address_that_another_account_has_is_not_taken(world: World) -> None:
    slug = ready(world, "taken-mail", members=2)
    _, before, after = changes_at_clerk(world, slug)
    sign_up(world, after, OWN)

    world.apply(slug, **FOLLOW)

    assert before in accounts(world, "%@taken-mail.example")
    assert world.conditions(slug)["MembersSynced"] == ("False", "EmailChanged")
    assert "another account there has that address" in message(world, slug)
    assert nothing_to_do(world, slug, **FOLLOW)


@pytest.mark.slow
def test_an_address_that_is_not_verified_is_not_followed(world: World) -> None:
    slug = ready(world, "unsure-mail", members=2)
    user, before, _ = changes_at_clerk(world, slug)
    world.sandbox.clerk.set_email_status(user, "unverified")

    world.apply(slug, **FOLLOW)

    assert before in accounts(world, "%@unsure-mail.example")
    assert nothing_to_do(world, slug, **FOLLOW)


@pytest.mark.slow
@pytest.mark.parametrize("trust", ["report", "trust"])
def test_an_account_that_was_made_elsewhere_is_only_reported_until_it_is_vouched_for(world: World, trust: str) -> None:
    slug = ready(world, f"elsewhere-{trust}", members=2)
    user, before, after = changes_at_clerk(world, slug)
    world.registry("UPDATE provisioning.account_origin SET ours = false WHERE email = %s RETURNING 1", before)

    world.apply(slug, **FOLLOW, members_unproven=trust)

    assert before in accounts(world, f"%@{slug}.example")
    assert "was not made here" in message(world, slug)
    asyncio.run(vouch(world.settings, before, server=None, by="ops", why="She told me."))
    world.apply(slug, **FOLLOW)
    assert after in accounts(world, f"%@{slug}.example")
    # the vouch was for the address before; that we moved it for this very person still counts
    assert world.conditions(slug)["MembersSynced"] == ("True", "MembersLinked")
    assert user in [row[0] for row in world.registry("SELECT clerk_user_id FROM provisioning.moved_account")]


@pytest.mark.slow
def test_what_a_workspace_lets_no_member_change_is_told_in_words_and_leaves_no_trace(world: World) -> None:
    slug = ready(world, "locked-profile", members=2)
    _, before, after = changes_at_clerk(world, slug)
    workspace = world.link(slug)["workspace_id"]
    fields = 'UPDATE core.workspace SET "editableProfileFields" = %s WHERE id = %s RETURNING 1'
    world.twenty(fields, ["firstName"], workspace)

    world.apply(slug, **FOLLOW)

    assert "does not let them change it" in message(world, slug)
    assert world.registry("SELECT 1 FROM provisioning.moved_account WHERE email = %s", after) == []
    assert comes_in(world, slug, before, password_of=before)
    world.twenty(fields, ["email"], workspace)
    world.apply(slug, **FOLLOW)
    assert comes_in(world, slug, after, password_of=before)


@pytest.mark.slow
def test_an_admin_whose_address_changed_still_stands_for_the_workspace(world: World) -> None:
    slug = ready(world, "admins-mail", members=2)
    admin = people(world, slug)[0].lower()
    world.sandbox.clerk.state.user(world.clerk_user(admin)).emails[0].email = "chief@admins-mail.example"

    world.apply(slug, **FOLLOW)

    assert world.link(slug)["admin_email"] == "chief@admins-mail.example"
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert nothing_to_do(world, slug, **FOLLOW)


@pytest.mark.slow
def test_a_member_who_takes_the_address_in_twenty_themselves_is_recorded_by_the_next_run(world: World) -> None:
    slug = ready(world, "by-hand", members=2)
    _, before, after = changes_at_clerk(world, slug)
    world.twenty('UPDATE core."user" SET email = %s WHERE email = %s RETURNING id', after, before)

    applied = world.apply(slug, **FOLLOW)

    assert outcomes(applied, "follow e-mail") == [f"{after}: the account at Twenty has it already"]
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert nothing_to_do(world, slug, **FOLLOW)


# --- killed in between ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def killed_world() -> Iterator[World]:
    """A sandbox of its own: runs in other processes work on it."""
    with Sandbox(SandboxOptions(tenants=0, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        yield World(sandbox, **FOLLOW)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "boundary", ["INSERT INTO provisioning.moved_account (server, tw", "updateUserEmail", "ledger store"]
)
def test_a_run_that_is_killed_at_any_line_of_it_heals_in_the_next(
    killed_world: World, boundary: str, when: When
) -> None:
    world = killed_world
    slug = ready(world, f"cut-{when}-{boundary[:3].strip().lower()}", members=2)
    _, before, after = changes_at_clerk(world, slug)
    environment = world.sandbox.environment() | {"PROVISIONING_EMAIL_CHANGES": "follow"}

    assert run_killed_at(environment, slug, boundary, when).killed
    applied = world.apply(slug)

    # once the ledger has the new address, only the proof is missing: the daily verification brings it
    assert after in outcomes(applied, "prove login") or (boundary, when) == ("ledger store", "after")
    assert comes_in(world, slug, after, password_of=before)
    assert before not in accounts(world, f"%@{slug}.example")
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    assert nothing_to_do(world, slug, **FOLLOW)
