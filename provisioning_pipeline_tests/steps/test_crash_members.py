"""A run killed at any member step heals on the next: nobody twice, nobody half, no door left open, no e-mail."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.steps.killed import When, run_killed_at
from provisioning_pipeline_tests.world import World

MOST_BOUNDARIES = 80
AT_ONCE = 2
TOGETHER = 12
"""Tenants that one run makes ready: it takes little longer than for one of them."""
NEW = "new.colleague"


@pytest.fixture
def world() -> Iterator[World]:
    options = SandboxOptions(tenants=0, members=1, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as sandbox:
        world = World(sandbox)
        sandbox.add_tenant("first", members=1)
        world.apply()
        yield world


# --- what is going on when the run is killed -----------------------------------------------------------------------


LINKS: dict[str, str] = {}
"""The invite link that each workspace had before."""


def invite_hash(world: World, slug: str) -> str:
    workspace = world.link(slug)["workspace_id"]
    return str(world.twenty('SELECT "inviteHash" FROM core.workspace WHERE id = %s', workspace)[0][0])


def somebody_joins_by_a_closed_link(world: World, slug: str) -> None:
    """One more member at Clerk, and a workspace whose administrator turned the invite link off."""
    LINKS[slug] = invite_hash(world, slug)
    world.twenty(
        'UPDATE core.workspace SET "isPublicInviteLinkEnabled" = false WHERE id = %s RETURNING id',
        world.link(slug)["workspace_id"],
    )
    clerk = world.sandbox.clerk
    user = clerk.add_user(f"{NEW}@{slug}.example", first_name="New", last_name="Colleague")
    clerk.add_membership(world.organization(slug), user.id)


def joined(world: World, slug: str) -> None:
    email = f"{NEW}@{slug}.example"
    assert world.members(slug)[email] == ("Member", "New Colleague"), slug
    assert world.sees_as(slug, email)["status"] == "COMPLETED", slug
    link = world.link(slug)
    enabled = world.twenty(
        'SELECT "isPublicInviteLinkEnabled" FROM core.workspace WHERE id = %s', link["workspace_id"]
    )[0][0]
    assert (enabled, link["invite_link_opened"]) == (False, False), slug
    assert invite_hash(world, slug) != LINKS[slug], slug
    assert world.twenty('SELECT count(*) FROM core."user" WHERE email = %s', email)[0][0] == 1, slug


def somebody_leaves(world: World, slug: str) -> None:
    """One of two members is no longer one at Clerk."""
    LINKS[slug] = invite_hash(world, slug)
    email = f"juergen.mueller@{slug}.example"
    world.sandbox.clerk.remove_membership(world.organization(slug), world.clerk_user(email))


def left(world: World, slug: str) -> None:
    email = f"juergen.mueller@{slug}.example"
    assert list(world.members(slug)) == [f"olivia.bennett@{slug}.example"], slug
    assert invite_hash(world, slug) != LINKS[slug], slug
    with pytest.raises(AssertionError, match="errors"):
        world.sees_as(slug, email)
    rows = world.registry(
        "SELECT count(*) FROM provisioning.member_link WHERE database_name = %s", world.link(slug)["database_name"]
    )
    assert rows[0][0] == 1, slug


@dataclass(frozen=True)
class Scene:
    """What happens to a ready tenant, what must be true in the end, and where a crash matters most."""

    happens: Callable[[World, str], None]
    healed: Callable[[World, str], None]
    settings: dict[str, Any]
    matter_most: tuple[str, ...]


SCENES = {
    "join": Scene(
        somebody_joins_by_a_closed_link,
        joined,
        {},
        (
            "UPDATE provisioning.tenant_link SET invite_link_op",
            "updateWorkspace",
            "signUpInWorkspace",
            "updateWorkspaceMemberSettings",
            "ledger store",
        ),
    ),
    "leave": Scene(
        somebody_leaves,
        left,
        {"members_gone": "remove"},
        ("deleteUserFromWorkspace", "updateWorkspace", "WITH linked AS ( DELETE FROM provisioning.member_l"),
    ),
}


def made_ready(world: World, slugs: list[str]) -> None:
    for slug in slugs:
        world.sandbox.add_tenant(slug, members=2)
    applied = world.apply(*slugs)
    assert {slug: world.conditions(slug)["Ready"] for slug in slugs} == dict.fromkeys(slugs, ("True", "AllTrue")), (
        applied
    )


def killed_in(world: World, scene: Scene, slug: str, boundary: int | str, when: When) -> tuple[bool, str]:
    """What happens to a ready tenant, and a run that is killed while it sees to that."""
    scene.happens(world, slug)
    overrides = {f"PROVISIONING_{name.upper()}": value for name, value in scene.settings.items()}
    ended = run_killed_at(world.sandbox.environment() | overrides, slug, boundary, when)
    return ended.killed, ended.boundary


def assert_next_run_heals(world: World, scene: Scene, killed: dict[str, str]) -> None:
    applied = world.apply(**scene.settings)

    assert applied.summary.unwell == [], killed
    for slug in killed:
        scene.healed(world, slug)
    assert world.pending() == []
    assert world.sandbox.twenty[0].mails == []
    world.sandbox.reset_counters()
    assert world.apply(**scene.settings).summary.actions == 0
    assert world.mutating_calls() == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_killed_after_the_member_steps_that_matter_most_heals(world: World, name: str) -> None:
    scene = SCENES[name]
    killed = {}
    made_ready(world, [f"{name}-{number}" for number in range(len(scene.matter_most))])
    for number, boundary in enumerate(scene.matter_most):
        died, killed[f"{name}-{number}"] = killed_in(world, scene, f"{name}-{number}", boundary, "after")
        assert died, boundary
    assert tuple(killed.values()) == scene.matter_most

    assert_next_run_heals(world, scene, killed)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", SCENES)
def test_killed_at_every_boundary_of_a_member_step_heals(world: World, name: str, when: When) -> None:
    scene = SCENES[name]

    def kill(number: int) -> tuple[str, bool, str]:
        slug = f"{name}-{number}"
        return slug, *killed_in(world, scene, slug, number, when)

    killed: dict[str, str] = {}
    number, all_reached = 0, False
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while not all_reached and number < MOST_BOUNDARIES:
            if number % TOGETHER == 0:
                made_ready(world, [f"{name}-{number + more}" for more in range(TOGETHER)])
            for slug, died, boundary in pool.map(kill, range(number, number + AT_ONCE)):
                killed[slug] = boundary
                all_reached = all_reached or not died
            number += AT_ONCE
    assert all_reached, "a run has more boundaries than this test tries"
    assert set(scene.matter_most) <= set(killed.values())

    assert_next_run_heals(world, scene, killed)
