"""A run that is killed anywhere while it deletes a workspace is followed by one that finishes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from provisioning_pipeline.model.condition import ConditionType, Reason
from provisioning_pipeline.steps.offboarding.changes import ARCHIVE_WORKSPACE, DELETE_WORKSPACE
from provisioning_pipeline_tests.steps.killed import Ended, When, killed_in
from provisioning_pipeline_tests.steps.offboarding.conftest import offboard, offboard_with
from provisioning_pipeline_tests.steps.offboarding.gone import assert_gone, before, environment
from provisioning_pipeline_tests.world import World, settings_of

BOUNDARIES = 48
AT_ONCE = 2
MATTER_MOST = {
    "updateWorkspaceMember",
    "deleteUserFromWorkspace",
    "deleteCurrentWorkspace",
    "PATCH /organizations/{id}/metadata",
    "ledger bury",
}


def delete(variables: dict[str, str], slug: str) -> None:
    """Delete a workspace, in a process of its own."""
    offboard_with(settings_of(variables), slug, (DELETE_WORKSPACE,))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_boundary_of_a_deletion_is_finished_by_the_next_run(
    world: World, tmp_path: Path, when: When
) -> None:
    slugs = [f"{when}-{number}" for number in range(BOUNDARIES)]
    for slug in slugs:
        world.sandbox.add_tenant(slug, members=1)
    world.apply(*slugs)
    tenants = {slug: before(world, slug) for slug in slugs}
    # every other one is locked, as by an archive
    for slug in slugs[::2]:
        offboard(world, slug, ARCHIVE_WORKSPACE)
    variables = environment(world, tmp_path)

    def kill(number: int) -> Ended:
        return killed_in(delete, (variables, slugs[number]), number, when)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        ended = list(pool.map(kill, range(BOUNDARIES)))
    assert not ended[-1].killed, "a deletion has more boundaries than this test tries"
    assert {end.boundary for end in ended} >= MATTER_MOST

    for slug, tenant in tenants.items():
        if world.link(tenant.database_name)["workspace_id"] is not None:
            result = offboard(world, slug, DELETE_WORKSPACE, export_path=str(tmp_path))
            (found,) = (known for known in result.conditions if known.type is ConditionType.OFFBOARDED)
            assert found.reason is Reason.WORKSPACE_DELETED, (slug, ended[slugs.index(slug)], result.conditions)
        assert_gone(world, tenant, tmp_path)
