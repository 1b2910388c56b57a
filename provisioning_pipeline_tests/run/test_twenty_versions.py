"""The whole story on each Twenty that the sandbox can be: a new fleet, one with a history, rest, and a sign-in.

The last one sets and enforces cookies, takes each login token once and has no call for the step of the apps.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline.sandbox.twenty.versions import Version
from provisioning_pipeline_tests.http.services import serving
from provisioning_pipeline_tests.http.sign_ins import SignIns, follow, signed_in
from provisioning_pipeline_tests.world import World, upgraded

VERSIONS: tuple[Version, ...] = ("2.21", "2.38", "2.47")
LIVED_IN_REASONS = {
    "DatabaseMissing",
    "AdminUnknown",
    "EmailUnverified",
    "OrganizationProposed",
    "OrganizationMissing",
}


@contextmanager
def world_of(version: Version, options: SandboxOptions) -> Iterator[World]:
    twenty = TwentyOptions(version=version, activation_seconds=0)
    with Sandbox(SandboxOptions(**(vars(options) | {"twenty": (twenty,)}))) as sandbox:
        yield World(sandbox)


def at_rest(world: World) -> bool:
    """Whether one more run finds nothing to do, and calls nothing that changes anything."""
    world.sandbox.reset_counters()
    return world.apply().summary.actions == 0 and world.mutating_calls() == 0


# 2.21 is what every other test works with, and 2.38 is 2.47 with a step more
@pytest.mark.parametrize("version", [*(pytest.param(one, marks=pytest.mark.slow) for one in ("2.21", "2.38")), "2.47"])
def test_a_new_fleet_becomes_ready_rests_and_lets_people_in(version: Version) -> None:
    with world_of(version, SandboxOptions(tenants=1, members=2)) as world:
        assert world.apply().summary.count("ready") == 1
        (slug,) = (row[0] for row in world.registry("SELECT slug FROM tenant_registry"))
        for email in world.members(slug):
            assert world.sees_as(slug, email)["status"] == "COMPLETED"
        assert world.pending() == []
        assert at_rest(world)
        with serving(world.settings) as url:
            people = SignIns(world, url)
            somebody = people.newcomer()
            document = signed_in(people.sign_in(somebody.user_id))
            assert follow(people, document)["onboardingStatus"] == "COMPLETED"
        assert at_rest(world)
        assert world.sandbox.twenty[0].mails == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_fleet_with_a_history_ends_ready_or_explained_and_rests(version: Version) -> None:
    with world_of(version, SandboxOptions(tenants=0, fleet="lived-in")) as world:
        summary = world.apply().summary
        assert summary.count("ready") > 10
        assert {str(line.reason) for line in summary.unwell} <= LIVED_IN_REASONS
        for line in summary.tenants:
            if line.state == "ready":
                assert world.sees(line.database_name)["status"] == "COMPLETED"
        assert at_rest(world)


@pytest.mark.slow
def test_a_server_is_upgraded_under_a_fleet_that_rests() -> None:
    """From 2.21 to the newest: old members and new ones are served by what each version left before them."""
    with world_of("2.21", SandboxOptions(tenants=1, members=2)) as world:
        world.apply()
        with upgraded(world, TwentyOptions(version="2.47", activation_seconds=0)):
            assert at_rest(world)
            world.sandbox.add_tenant("acme-two", members=2)
            assert world.apply().summary.count("ready") == 2
            assert world.pending() == []
            assert at_rest(world)
