"""A run is killed before it links whom it let in, and that person leaves Clerk: they are missed all the same."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.steps.killed import run_killed_at
from provisioning_pipeline_tests.world import World

MOST_BOUNDARIES = 90
AT_ONCE = 2
REMOVE: dict[str, Any] = {"members_gone": "remove", "harm_share": 1.0}


@pytest.fixture
def world() -> Iterator[World]:
    options = SandboxOptions(tenants=0, members=1, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as sandbox:
        world = World(sandbox)
        sandbox.add_tenant("first", members=1)
        world.apply()
        yield world


def people(world: World, slug: str) -> list[str]:
    """E-mails of the organization's members, its admin first."""
    state = world.sandbox.clerk.state
    ordered = sorted(state.members_of(world.organization(slug)), key=lambda member: member.created_at)
    return [str(state.user(member.user_id).primary_email).lower() for member in ordered]


def deleted(world: World, slug: str, email: str) -> None:
    world.sandbox.clerk.delete_user(world.clerk_user(email))


def left(world: World, slug: str, email: str) -> None:
    world.sandbox.clerk.remove_membership(world.organization(slug), world.clerk_user(email))


def banned(world: World, slug: str, email: str) -> None:
    world.sandbox.clerk.ban_user(world.clerk_user(email))


def killed_then_gone(
    world: World, slug: str, boundary: int | str, goes: Callable[[World, str, str], None]
) -> tuple[bool, str, str, str]:
    """A new tenant's run is killed, its admin goes at Clerk, another one is named there: (died, where, old, new)."""
    world.sandbox.add_tenant(slug, members=3)
    old, new, _ = people(world, slug)
    ended = run_killed_at(world.sandbox.environment(), slug, boundary, "after")
    if not ended.killed:
        return False, ended.boundary, old, new
    goes(world, slug, old)
    world.sandbox.clerk.set_role(world.organization(slug), world.clerk_user(new), "org:admin")
    return True, ended.boundary, old, new


def assert_nobody_departed_is_left(world: World, killed: dict[str, tuple[str, str, str]]) -> None:
    world.apply(**REMOVE)
    # who is still to be promoted does not count as an admin yet, so a succession takes two runs
    applied = world.apply(**REMOVE)
    assert applied.summary.unwell == [], killed
    for slug, (boundary, old, new) in killed.items():
        members = world.members(slug)
        assert old not in members, (slug, boundary)
        assert members[new][0] == "Admin", (slug, boundary)
        assert world.link(slug)["admin_email"] == new, (slug, boundary)
        inside = world.twenty('SELECT count(*) FROM core."user" WHERE email = %s AND "deletedAt" IS NULL', old)
        assert inside[0][0] == 0, (slug, boundary)
    world.sandbox.reset_counters()
    assert world.apply(**REMOVE).summary.actions == 0
    assert world.mutating_calls() == 0


MATTER_MOST = (
    "INSERT INTO provisioning.member_intent AS known (d",
    "signUpInWorkspace",
    "updateWorkspaceMemberRole",
    "UPDATE provisioning.tenant_link SET admin_user_id ",
)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("goes", [left, banned, deleted], ids=lambda goes: goes.__name__)
def test_an_admin_who_was_let_in_and_not_linked_is_missed(
    world: World, goes: Callable[[World, str, str], None]
) -> None:
    killed: dict[str, tuple[str, str, str]] = {}
    for number, boundary in enumerate(MATTER_MOST):
        slug = f"{goes.__name__}-{number}"
        died, *rest = killed_then_gone(world, slug, boundary, goes)
        assert died, boundary
        killed[slug] = (rest[0], rest[1], rest[2])

    assert_nobody_departed_is_left(world, killed)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_every_boundary_and_gone_from_clerk_nobody_is_forgotten(world: World) -> None:
    killed: dict[str, tuple[str, str, str]] = {}

    def kill(number: int) -> tuple[str, bool, str, str, str]:
        slug = f"gone-{number}"
        return slug, *killed_then_gone(world, slug, number, deleted)

    number, all_reached = 0, False
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while not all_reached and number < MOST_BOUNDARIES:
            for slug, died, boundary, old, new in pool.map(kill, range(number, number + AT_ONCE)):
                if died:
                    killed[slug] = (boundary, old, new)
                all_reached = all_reached or not died
            number += AT_ONCE
    assert all_reached, "a run has more boundaries than this test tries"

    assert_nobody_departed_is_left(world, killed)
