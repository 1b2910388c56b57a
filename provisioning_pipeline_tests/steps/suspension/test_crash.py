"""A lock or its end that is cut off anywhere is finished by the next run, and nothing of what was before is lost."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from provisioning_pipeline.model.condition import Reason, Status
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.steps.suspension.changes import LOCK_WORKSPACE, UNLOCK_WORKSPACE
from provisioning_pipeline_tests.steps.killed import When, at_boundaries, boundaries
from provisioning_pipeline_tests.steps.suspension.locked import at_twenty, key_of, planned, say, told
from provisioning_pipeline_tests.steps.suspension.test_locking import SERVICE
from provisioning_pipeline_tests.world import World

MOST_BOUNDARIES = 120
IN_A_LOCK = (
    "ledger begin",
    "createOneRole",
    "INSERT INTO provisioning.access_lock_item AS known",
    "updateWorkspace",
    "updateWorkspaceMemberRole",
    "revokeApiKey",
    "updateWorkspaceMember",
    "UPDATE provisioning.access_lock SET locked_at = CO",
)
IN_ITS_END = (
    "UPDATE provisioning.access_lock SET release_begun_",
    "updateWorkspace",
    "updateWorkspaceMember",
    "updateWorkspaceMemberRole",
    "updateApiKey",
    "deleteOneRole",
    "ledger release",
)


class CutOff(BaseException):
    """The program ends here: no handler of the product's takes it."""


@pytest.fixture
def world(leaving_world: World) -> World:
    return leaving_world


def cut_off(world: World, entry: TenantPlan, boundary: int | str, when: When) -> str | None:
    """Take the steps of this plan up to a boundary; its name, or None when there are fewer boundaries."""
    reached: list[str] = []

    def die(label: str) -> None:
        if not reached:
            reached.append(label)
            raise CutOff

    with pytest.MonkeyPatch.context() as patched:
        at_boundaries(boundary, when, die, patched.setattr)
        with suppress(CutOff):
            world.run_planned(entry)
    return reached[0] if reached else None


@dataclass(frozen=True)
class Locked:
    """A ready tenant with a key, how its workspace is before, and the plans that lock and unlock it."""

    world: World
    slug: str
    before: dict[str, Any]
    locking: TenantPlan
    unlocking: TenantPlan

    def is_locked_by_a_run(self) -> None:
        result = self.world.run_planned(self.locking)
        assert (told(result).status, told(result).reason) == (Status.TRUE, Reason.ACCESS_LOCKED), told(result)
        now = at_twenty(self.world, self.slug)
        assert [email for email, (_, _, marked) in now["members"].items() if not marked] == [SERVICE]
        assert set(now["keys"].values()) == {True}
        assert now["link"] is False

    def is_as_before_by_a_run(self, cut_at: str | None) -> None:
        result = self.world.run_planned(self.unlocking)
        assert told(result).reason is Reason.ACCESS_OPEN, cut_at
        assert at_twenty(self.world, self.slug) == self.before, cut_at


def with_key(world: World, slug: str) -> Locked:
    world.sandbox.add_tenant(slug, members=2)
    world.apply(slug)
    key_of(world, slug, "sync")
    plans = planned(world, slug, LOCK_WORKSPACE), planned(world, slug, UNLOCK_WORKSPACE)
    # a lock looks at the registry once more, an end of it does not
    say(world, slug, "suspended")
    return Locked(world, slug, at_twenty(world, slug), *plans)


@pytest.mark.slow
def test_a_lock_that_is_cut_off_knows_the_roles_of_before(world: World) -> None:
    tenant, boundary = with_key(world, "cut-roles"), "updateWorkspaceMemberRole"

    assert cut_off(world, tenant.locking, boundary, "after") == boundary

    assert at_twenty(world, tenant.slug) != tenant.before
    tenant.is_locked_by_a_run()
    tenant.is_as_before_by_a_run(boundary)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lock_that_is_cut_off_at_any_boundary_is_finished_or_given_back(world: World, when: When) -> None:
    tenant, reached = with_key(world, f"cut-lock-{when}"), set()
    for number, boundary in enumerate(boundaries(IN_A_LOCK, MOST_BOUNDARIES)):
        name = cut_off(world, tenant.locking, boundary, when)
        if number % 2:
            tenant.is_locked_by_a_run()
        tenant.is_as_before_by_a_run(name)
        if name is None:
            break
        reached.add(name)
    assert number < MOST_BOUNDARIES - 1, "a lock has more boundaries than this test tries"
    assert set(IN_A_LOCK) <= reached


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_end_that_is_cut_off_at_any_boundary_is_finished_or_taken_back(world: World, when: When) -> None:
    tenant, reached = with_key(world, f"cut-unlock-{when}"), set()
    for number, boundary in enumerate(boundaries(IN_ITS_END, MOST_BOUNDARIES)):
        tenant.is_locked_by_a_run()
        name = cut_off(world, tenant.unlocking, boundary, when)
        if number % 2:
            tenant.is_locked_by_a_run()
        tenant.is_as_before_by_a_run(name)
        if name is None:
            break
        reached.add(name)
    assert number < MOST_BOUNDARIES - 1, "an end of a lock has more boundaries than this test tries"
    assert set(IN_ITS_END) <= reached
