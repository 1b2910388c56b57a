"""A run killed anywhere heals on the next: one workspace, one account, one membership, nothing pending, no e-mail."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.steps.killed import Ended, When, run_beside_another, run_killed_at
from provisioning_pipeline_tests.world import World

MOST_BOUNDARIES = 80
AT_ONCE = 2


@pytest.fixture
def world() -> Iterator[World]:
    options = SandboxOptions(tenants=0, members=1, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as sandbox:
        yield World(sandbox)


def assert_healed(world: World, slug: str) -> None:
    link = world.link(slug)
    seen = world.sees(slug)
    assert seen["status"] == "COMPLETED", slug
    assert seen["workspace_id"] == link["workspace_id"], slug
    assert seen["user_id"] == link["admin_user_id"], slug
    assert world.conditions(slug)["Ready"] == ("True", "AllTrue"), slug


MATTER_MOST = [
    "ledger begin_intent",
    "signUpInNewWorkspace",
    "ledger store_workspace",
    "activateWorkspace",
    "signUpInWorkspace",
    "updateWorkspaceMemberRole",
    "sendInvitations",
    "ledger store_conditions",
]


@pytest.mark.slow
def test_killed_after_the_boundaries_that_matter_most_leaves_one_ready_workspace_per_tenant(world: World) -> None:
    with_first_tenant(world)
    environment = world.sandbox.environment()
    killed = {}
    boundaries = [*MATTER_MOST, "ledger store_outcomes"]
    for number, boundary in enumerate(boundaries):
        world.sandbox.add_tenant(f"kill-{number}", members=1)
        killed[f"kill-{number}"] = run_killed_at(environment, f"kill-{number}", boundary, "after").boundary
    assert list(killed.values()) == boundaries

    assert_next_run_heals(world, killed)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_boundary_leaves_one_ready_workspace_per_tenant(world: World, when: When) -> None:
    with_first_tenant(world)
    environment = world.sandbox.environment()

    def kill(number: int) -> tuple[str, Ended]:
        slug = f"kill-{number}"
        world.sandbox.add_tenant(slug, members=1)
        return slug, run_killed_at(environment, slug, number, when)

    killed: dict[str, str] = {}
    number, all_reached = 0, False
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while not all_reached and number < MOST_BOUNDARIES:
            for slug, ended in pool.map(kill, range(number, number + AT_ONCE)):
                killed[slug] = ended.boundary
                all_reached = all_reached or not ended.killed
            number += AT_ONCE
    assert all_reached, "a run has more boundaries than this test tries"
    assert set(MATTER_MOST) <= set(killed.values())

    assert_next_run_heals(world, killed)


def with_first_tenant(world: World) -> None:
    """The first tenant makes the service account and the ledger, so that every later run has the same boundaries."""
    world.sandbox.add_tenant("first", members=1)
    world.apply()


def assert_next_run_heals(world: World, killed: dict[str, str]) -> None:
    applied = world.apply()

    assert applied.summary.unwell == [], killed
    workspaces = world.workspaces()
    assert len(workspaces) == 1 + len(killed)
    assert {workspace.status for workspace in workspaces} == {"ACTIVE"}
    assert world.pending() == []
    assert world.sandbox.twenty[0].mails == []
    assert world.twenty('SELECT count(*) FROM core."user"')[0][0] == 1 + 1 + len(killed)
    memberships = world.twenty('SELECT count(*) FROM core."userWorkspace" WHERE "deletedAt" IS NULL')
    assert memberships[0][0] == 2 * len(workspaces)
    assert world.registry("SELECT count(*) FROM provisioning.intent WHERE settled_at IS NULL")[0][0] == 0
    for slug in killed:
        assert_healed(world, slug)
    world.sandbox.reset_counters()
    assert world.apply().summary.actions == 0
    assert world.mutating_calls() == 0


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_around_the_sign_up_of_the_service_account_on_an_empty_server(world: World, when: When) -> None:
    world.sandbox.add_tenant("acme", members=1)
    ended = run_killed_at(world.sandbox.environment(), "acme", "signUp", when)
    assert ended.boundary == "signUp"

    applied = world.apply()

    assert applied.summary.unwell == []
    assert_healed(world, "acme")
    assert len(world.workspaces()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_a_lost_ledger_is_rebuilt_makes_no_second_workspace(world: World, when: When) -> None:
    world.sandbox.add_tenant("acme", members=1)
    world.apply()
    (made,) = world.workspaces()
    world.registry("DELETE FROM provisioning.tenant_link RETURNING slug")

    ended = run_killed_at(world.sandbox.environment(), "acme", "ledger adopt_workspace", when)

    assert ended.killed
    assert world.apply().summary.unwell == []
    assert world.workspaces() == [made]
    assert world.registry("SELECT twenty_workspace_id::text FROM tenant_registry")[0][0] == made.id


@pytest.mark.slow
def test_two_runs_at_once_never_claim_more_places_than_there_are(world: World) -> None:
    for number in range(5):
        world.sandbox.add_tenant(f"crowd-{number}", members=1)

    assert run_beside_another(world.sandbox.environment() | {"PROVISIONING_TWENTY_CAPACITY": "3"}, 2) == [0, 0]

    assert len(world.workspaces()) == 3
    reasons = [world.conditions(f"crowd-{number}")["Ready"] for number in range(5)]
    assert sorted(reasons) == [("False", "ServerFull")] * 2 + [("True", "AllTrue")] * 3


@pytest.mark.slow
def test_two_runs_at_once_over_the_same_tenants_make_no_duplicate(world: World) -> None:
    slugs = [f"twin-{number}" for number in range(5)]
    for slug in slugs:
        world.sandbox.add_tenant(slug, members=1)

    assert run_beside_another(world.sandbox.environment(), 3) == [0, 0, 0]

    assert sorted(workspace.subdomain for workspace in world.workspaces()) == slugs
    assert world.pending() == []
    for slug in slugs:
        assert_healed(world, slug)
