"""Between a plan and its step Clerk changes: nobody who is back loses anything, nobody who has left gets anything."""

from typing import Any

import pytest

from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.run.work import TenantResult
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline_tests.world import World

REMOVE: dict[str, Any] = {"members_gone": "remove", "members_gone_api_keys": "revoke"}


pytestmark = pytest.mark.slow


@pytest.fixture
def world(shared_world: World) -> World:
    shared_world.sandbox.twenty[0].faults.scripted.clear()
    shared_world.sandbox.clerk.faults.scripted.clear()
    return shared_world


def ready(world: World, slug: str, members: int = 3) -> list[str]:
    """E-mails of the members of a ready tenant, its admin first."""
    world.sandbox.add_tenant(slug, members=members)
    world.apply(slug)
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue")
    state = world.sandbox.clerk.state
    ordered = sorted(state.members_of(world.organization(slug)), key=lambda member: member.created_at)
    return [str(state.user(member.user_id).primary_email).lower() for member in ordered]


def leaves(world: World, slug: str, email: str) -> None:
    world.sandbox.clerk.remove_membership(world.organization(slug), world.clerk_user(email))


def comes(world: World, slug: str, email: str, role: str = "org:member") -> None:
    user = world.sandbox.clerk.state.user_by_email(email)
    user = user or world.sandbox.clerk.add_user(email, first_name="New", last_name="Comer")
    world.sandbox.clerk.add_membership(world.organization(slug), user.id, role)


def becomes(world: World, slug: str, email: str, role: str) -> None:
    world.sandbox.clerk.set_role(world.organization(slug), world.clerk_user(email), role)


def members_synced(result: TenantResult) -> tuple[str, str, str]:
    (found,) = [condition for condition in result.conditions if condition.type is ConditionType.MEMBERS_SYNCED]
    return str(found.status), str(found.reason), found.message


def test_somebody_who_is_back_at_clerk_before_the_step_is_not_removed(world: World) -> None:
    slug = "back"
    third = ready(world, slug)[2]
    leaves(world, slug, third)
    (entry,) = world.plan_with(slug, **REMOVE).tenants
    assert [str(change) for change in entry.members[0].changes] == ["remove member"]
    comes(world, slug, third)

    result = world.run_planned(entry)

    assert third in world.members(slug)
    status, reason, message = members_synced(result)
    assert (status, reason) == ("False", "Waiting")
    assert f"{third} keeps what was to be taken from them" in message
    # they were never unlinked either
    assert world.apply(slug, **REMOVE).summary.actions == 0


def test_without_an_answer_of_clerk_nobody_is_removed(world: World) -> None:
    slug = "silent"
    third = ready(world, slug)[2]
    leaves(world, slug, third)
    (entry,) = world.plan_with(slug, **REMOVE).tenants
    world.sandbox.clerk.faults.scripted.append(ScriptedFault("GET /users/{user_id}", "error", times=8))

    result = world.run_planned(entry)

    assert third in world.members(slug)
    assert members_synced(result)[1] == "ClerkUnreachable"


@pytest.mark.parametrize("how", ["demoted", "lowered"])
def test_an_admin_who_is_one_again_before_the_step_is_not_lowered(world: World, how: str) -> None:
    slug = f"again-{how}"
    _, second, _ = ready(world, slug)
    becomes(world, slug, second, "org:admin")
    world.apply(slug)
    if how == "lowered":
        becomes(world, slug, second, "org:member")
    else:
        leaves(world, slug, second)
    (entry,) = world.plan_with(slug, members_gone="demote").tenants
    assert [str(change) for change in entry.members[0].changes] == ["demote member"]
    if how == "lowered":
        becomes(world, slug, second, "org:admin")
    else:
        comes(world, slug, second, "org:admin")

    result = world.run_planned(entry)

    assert world.members(slug)[second][0] == "Admin"
    assert members_synced(result)[1] == "Waiting"


def test_nobody_who_has_left_before_the_step_is_let_in_and_the_others_are(world: World) -> None:
    slug = "too-late"
    ready(world, slug, members=1)
    for name in ("stays", "left", "banned", "gone"):
        comes(world, slug, f"{name}@{slug}.example")
    (entry,) = world.plan(slug).tenants
    clerk = world.sandbox.clerk
    leaves(world, slug, f"left@{slug}.example")
    clerk.ban_user(world.clerk_user(f"banned@{slug}.example"))
    clerk.delete_user(world.clerk_user(f"gone@{slug}.example"))

    result = world.run_planned(entry)

    assert sorted(world.members(slug))[1:] == [f"stays@{slug}.example"]
    assert members_synced(result)[0] == "True"


def test_nobody_gets_more_than_their_role_of_now(world: World) -> None:
    slug = "lesser"
    _, second, _ = ready(world, slug)
    becomes(world, slug, second, "org:admin")
    comes(world, slug, f"new@{slug}.example", "org:admin")
    (entry,) = world.plan(slug).tenants
    becomes(world, slug, second, "org:member")
    becomes(world, slug, f"new@{slug}.example", "org:member")

    world.run_planned(entry)

    members = world.members(slug)
    assert (members[second][0], members[f"new@{slug}.example"][0]) == ("Member", "Member")


def test_nobody_joins_by_an_address_that_is_no_longer_theirs(world: World) -> None:
    slug = "moved-on"
    ready(world, slug, members=1)
    comes(world, slug, f"old@{slug}.example")
    (entry,) = world.plan(slug).tenants
    world.sandbox.clerk.state.user(world.clerk_user(f"old@{slug}.example")).emails[0].email = f"new@{slug}.example"

    result = world.run_planned(entry)

    assert len(world.members(slug)) == 1
    assert members_synced(result)[1] == "Waiting"
    world.apply(slug)
    assert f"new@{slug}.example" in world.members(slug)
    assert f"old@{slug}.example" not in world.members(slug)


def test_whoever_is_no_admin_any_more_is_not_made_one(world: World) -> None:
    slug = "no-admin"
    first, second, third = ready(world, slug)
    becomes(world, slug, second, "org:admin")
    leaves(world, slug, first)
    (entry,) = world.plan(slug).tenants
    assert entry.admin.email == second
    becomes(world, slug, second, "org:member")
    becomes(world, slug, third, "org:admin")

    result = world.run_planned(entry)

    assert world.members(slug)[second][0] == "Member"
    assert any(str(condition.reason) == "AdminUnknown" for condition in result.conditions)
    world.apply(slug)
    assert world.link(slug)["admin_email"] == third
