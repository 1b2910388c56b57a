"""A deletion that is cut off anywhere is finished by the next run."""

from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from provisioning_pipeline.model.condition import ConditionType, Reason
from provisioning_pipeline.steps.offboarding.changes import ARCHIVE_WORKSPACE, DELETE_WORKSPACE
from provisioning_pipeline_tests.steps.killed import When, at_boundaries, boundaries
from provisioning_pipeline_tests.steps.offboarding.conftest import offboard
from provisioning_pipeline_tests.steps.offboarding.gone import Before, assert_gone, before
from provisioning_pipeline_tests.world import World

MOST_BOUNDARIES = 60
IN_A_DELETION = (
    "INSERT INTO provisioning.offboarding AS o (databas",
    'UPDATE provisioning.offboarding SET "delete_begun_',
    "UPDATE provisioning.offboarding SET exported_at = ",
    "updateWorkspaceMember",
    "deleteUserFromWorkspace",
    'UPDATE provisioning.offboarding SET "members_remov',
    "deleteCurrentWorkspace",
    'UPDATE provisioning.offboarding SET "workspace_del',
    "PATCH /organizations/{id}/metadata",
    'UPDATE provisioning.offboarding SET "organization_',
    "ledger bury",
)


class CutOff(BaseException):
    """The program ends here: no handler of the product's takes it."""


def leaving(world: World, count: int) -> list[Before]:
    """So many ready tenants."""
    slugs = [f"cut-{uuid4().hex[:8]}" for _ in range(count)]
    for slug in slugs:
        world.sandbox.add_tenant(slug, members=1)
    world.apply(*slugs)
    return [before(world, slug) for slug in slugs]


def cut_off(world: World, tenant: Before, place: Path, boundary: int | str, when: When) -> str | None:
    """Delete a workspace up to a boundary; its name, or None when there are fewer boundaries."""
    reached: list[str] = []

    def die(label: str) -> None:
        if not reached:
            reached.append(label)
            raise CutOff

    with pytest.MonkeyPatch.context() as patched:
        at_boundaries(boundary, when, die, patched.setattr)
        with suppress(CutOff):
            offboard(world, tenant.slug, DELETE_WORKSPACE, export_path=str(place))
    return reached[0] if reached else None


def assert_next_run_finishes(world: World, tenant: Before, place: Path, cut_at: str | None) -> None:
    if world.link(tenant.database_name)["workspace_id"] is not None:
        result = offboard(world, tenant.slug, DELETE_WORKSPACE, export_path=str(place))
        (found,) = (known for known in result.conditions if known.type is ConditionType.OFFBOARDED)
        assert found.reason is Reason.WORKSPACE_DELETED, (cut_at, result.conditions)
    else:
        # buried before it was said: by what is left of it
        world.apply(tenant.database_name)
    assert_gone(world, tenant, place)


@pytest.mark.slow
def test_a_deletion_that_is_cut_off_goes_on(world: World, tmp_path: Path) -> None:
    (tenant,) = leaving(world, 1)
    boundary = "deleteCurrentWorkspace"
    assert cut_off(world, tenant, tmp_path, boundary, "after") == boundary
    assert_next_run_finishes(world, tenant, tmp_path, boundary)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_deletion_that_is_cut_off_at_any_boundary_goes_on(world: World, tmp_path: Path, when: When) -> None:
    reached = set()
    for number, boundary in enumerate(boundaries(IN_A_DELETION, MOST_BOUNDARIES)):  # noqa: B007  # the last one
        (tenant,) = leaving(world, 1)
        # of an archived workspace the members are locked
        offboard(world, tenant.slug, ARCHIVE_WORKSPACE)
        name = cut_off(world, tenant, tmp_path, boundary, when)
        assert_next_run_finishes(world, tenant, tmp_path, name)
        if name is None:
            break
        reached.add(name)
    assert number < MOST_BOUNDARIES - 1, "a deletion has more boundaries than this test tries"
    assert set(IN_A_DELETION) <= reached
