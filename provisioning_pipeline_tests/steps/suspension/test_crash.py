"""A lock or its end that is cut off anywhere is finished by the next run, and nothing of what was before is lost."""

from contextlib import suppress
from typing import Any

import pytest

from provisioning_pipeline.model.condition import Reason, Status
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.run.work import TenantResult
from provisioning_pipeline.steps.suspension.changes import LOCK_WORKSPACE, UNLOCK_WORKSPACE
from provisioning_pipeline_tests.steps.killed import When, at_boundaries
from provisioning_pipeline_tests.steps.suspension.locked import at_twenty, key_of, lock, planned, told, unlock
from provisioning_pipeline_tests.steps.suspension.test_locking import ready
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
def world(shared_world: World) -> World:
    return shared_world


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


def is_locked(world: World, slug: str, result: TenantResult, members: int) -> None:
    assert (told(result).status, told(result).reason) == (Status.TRUE, Reason.ACCESS_LOCKED), told(result)
    now: dict[str, Any] = at_twenty(world, slug)
    assert sum(marked for _, _, marked in now["members"].values()) == members
    assert set(now["keys"].values()) == {True}
    assert now["link"] is False


@pytest.mark.parametrize("boundary", ["updateWorkspaceMemberRole", "revokeApiKey"])
def test_a_lock_that_is_cut_off_knows_the_roles_of_before(world: World, boundary: str) -> None:
    slug = f"cut-{boundary.lower()}"
    ready(world, slug)
    key_of(world, slug, "sync")
    before = at_twenty(world, slug)

    assert cut_off(world, planned(world, slug, LOCK_WORKSPACE), boundary, "after") == boundary

    assert at_twenty(world, slug) != before
    is_locked(world, slug, lock(world, slug), 3)
    unlock(world, slug)
    assert at_twenty(world, slug) == before


def test_an_end_that_is_cut_off_is_finished_or_taken_back(world: World) -> None:
    ready(world, "cut-end")
    key_of(world, "cut-end", "sync")
    before = at_twenty(world, "cut-end")
    for again in (lock, unlock):
        lock(world, "cut-end")
        assert cut_off(world, planned(world, "cut-end", UNLOCK_WORKSPACE), "updateWorkspaceMember", "after")
        again(world, "cut-end")
        unlock(world, "cut-end")
        assert at_twenty(world, "cut-end") == before


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lock_that_is_cut_off_at_any_boundary_is_finished_and_gives_all_back(world: World, when: When) -> None:
    slug = f"cut-lock-{when}"
    ready(world, slug)
    key_of(world, slug, "sync")
    before, reached = at_twenty(world, slug), set()
    for boundary in range(MOST_BOUNDARIES):
        name = cut_off(world, planned(world, slug, LOCK_WORKSPACE), boundary, when)
        if boundary % 2:
            is_locked(world, slug, lock(world, slug), 3)
        unlocked = unlock(world, slug)
        assert told(unlocked).reason is Reason.ACCESS_OPEN, name
        assert at_twenty(world, slug) == before, name
        if name is None:
            break
        reached.add(name)
    else:
        pytest.fail("a lock has more boundaries than this test tries")
    assert set(IN_A_LOCK) <= reached


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_end_that_is_cut_off_at_any_boundary_is_finished_or_taken_back(world: World, when: When) -> None:
    slug = f"cut-unlock-{when}"
    ready(world, slug)
    key_of(world, slug, "sync")
    before, reached = at_twenty(world, slug), set()
    for boundary in range(MOST_BOUNDARIES):
        lock(world, slug)
        name = cut_off(world, planned(world, slug, UNLOCK_WORKSPACE), boundary, when)
        if boundary % 2:
            is_locked(world, slug, lock(world, slug), 3)
        unlock(world, slug)
        assert at_twenty(world, slug) == before, name
        if name is None:
            break
        reached.add(name)
    else:
        pytest.fail("an end of a lock has more boundaries than this test tries")
    assert set(IN_ITS_END) <= reached
