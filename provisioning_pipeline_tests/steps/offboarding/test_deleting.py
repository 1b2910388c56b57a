"""A workspace is deleted after its export and with proof; what was done by others, or half, is found and finished."""

from pathlib import Path
from uuid import uuid4

import pytest

from provisioning_pipeline.model.condition import ConditionType, Reason, Status
from provisioning_pipeline.run.work import TenantResult
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.steps.offboarding.changes import (
    ARCHIVE_WORKSPACE,
    CLEAR_ORGANIZATION,
    DELETE_WORKSPACE,
)
from provisioning_pipeline.steps.suspension.changes import UNLOCK_WORKSPACE
from provisioning_pipeline.tasks.restart import NotGone
from provisioning_pipeline_tests.steps.offboarding.conftest import Offboarded, say
from provisioning_pipeline_tests.steps.offboarding.gone import Before, assert_gone, before, stages
from provisioning_pipeline_tests.steps.offboarding.records import add
from provisioning_pipeline_tests.world import World


@pytest.fixture
def tenant(world: World) -> Before:
    """A tenant of this test alone, with a member besides its admin."""
    slug = f"leaves-{uuid4().hex[:6]}"
    world.sandbox.add_tenant(slug, members=2)
    world.apply(slug)
    add(world, slug, "company", name="One")
    return before(world, slug)


def outcome(result: TenantResult) -> tuple[Status, Reason]:
    (found,) = (known for known in result.conditions if known.type is ConditionType.OFFBOARDED)
    return found.status, found.reason


@pytest.mark.slow
def test_a_workspace_is_exported_deleted_and_named_nowhere(
    world: World, tenant: Before, offboarded: Offboarded, tmp_path: Path
) -> None:
    result = offboarded(tenant.slug, DELETE_WORKSPACE)
    assert outcome(result) == (Status.TRUE, Reason.WORKSPACE_DELETED), result.conditions
    assert_gone(world, tenant, tmp_path)
    assert "by Twenty's default settings it is destroyed from" in result.conditions[-1].message
    assert world.sees("stays")["status"] == "COMPLETED"


@pytest.mark.slow
def test_a_locked_workspace_is_deleted_with_its_locked_members(
    world: World, tenant: Before, offboarded: Offboarded, tmp_path: Path
) -> None:
    result = offboarded(tenant.slug, ARCHIVE_WORKSPACE)
    assert outcome(result) == (Status.TRUE, Reason.ARCHIVED), result.conditions
    # their memberships and accounts are there, and no one comes in
    assert sorted(world.members(tenant.slug)) == list(tenant.emails)
    with pytest.raises(AssertionError, match="not a member"):
        world.sees(tenant.slug)

    assert outcome(offboarded(tenant.slug, DELETE_WORKSPACE)) == (Status.TRUE, Reason.WORKSPACE_DELETED)
    assert_gone(world, tenant, tmp_path)
    assert stages(world, tenant)["archived_at"]


@pytest.mark.slow
def test_an_archived_workspace_comes_back_as_it_was(world: World, tenant: Before, offboarded: Offboarded) -> None:
    roles = world.members(tenant.slug)
    offboarded(tenant.slug, ARCHIVE_WORKSPACE)
    offboarded(tenant.slug, UNLOCK_WORKSPACE)
    assert world.members(tenant.slug) == roles
    assert world.sees(tenant.slug)["status"] == "COMPLETED"


@pytest.mark.slow
def test_without_a_place_for_its_export_nothing_of_it_is_touched(
    world: World, tenant: Before, offboarded: Offboarded
) -> None:
    result = offboarded(tenant.slug, DELETE_WORKSPACE, export_path=None)
    assert outcome(result) == (Status.FALSE, Reason.OFFBOARDING_WAITS)
    assert sorted(world.members(tenant.slug)) == list(tenant.emails)
    assert world.sees(tenant.slug)["status"] == "COMPLETED"


@pytest.mark.slow
def test_a_workspace_that_an_admin_has_deleted_is_taken_as_deleted(
    world: World, tenant: Before, offboarded: Offboarded
) -> None:
    world.twenty(
        'UPDATE core.workspace SET "deletedAt" = now(), "activationStatus" = \'SUSPENDED\' WHERE id = %s RETURNING 1',
        tenant.workspace_id,
    )
    world.twenty(
        'UPDATE core."userWorkspace" SET "deletedAt" = now() WHERE "workspaceId" = %s RETURNING 1', tenant.workspace_id
    )
    result = offboarded(tenant.slug, DELETE_WORKSPACE)
    assert outcome(result) == (Status.TRUE, Reason.WORKSPACE_DELETED), result.conditions
    assert "before we exported anything" in result.conditions[-1].message
    assert world.link(tenant.database_name)["workspace_id"] is None
    found = stages(world, tenant)
    assert (found["exported_at"], found["gone_at"] is None) == (None, False)


@pytest.mark.slow
def test_the_id_of_a_workspace_that_stands_is_not_taken_out_of_other_places(
    world: World, tenant: Before, offboarded: Offboarded
) -> None:
    result = offboarded(tenant.slug, CLEAR_ORGANIZATION)
    assert outcome(result) == (Status.FALSE, Reason.OFFBOARDING_WAITS)
    assert world.link(tenant.slug)["workspace_id"] == tenant.workspace_id
    metadata = world.sandbox.clerk.state.organization(tenant.organization).public_metadata
    assert metadata["twenty_workspace_id"] == tenant.workspace_id


@pytest.mark.slow
def test_a_customer_who_comes_back_gets_a_new_workspace_once_an_operator_says_so(
    world: World, tenant: Before, offboarded: Offboarded
) -> None:
    offboarded(tenant.slug, ARCHIVE_WORKSPACE)
    offboarded(tenant.slug, DELETE_WORKSPACE)
    world.apply(tenant.slug)
    assert world.link(tenant.slug)["workspace_id"] is None
    assert world.conditions(tenant.slug)["Lifecycle"] == ("False", "Gone")

    say(world, tenant.slug, "active")
    world.apply(tenant.slug)
    assert world.conditions(tenant.slug)["Lifecycle"] == ("Unknown", "InDoubt")
    assert world.link(tenant.database_name)["workspace_id"] is None

    world.restart(tenant.slug)
    world.apply(tenant.slug)
    again = before(world, tenant.slug)
    assert again.workspace_id not in (None, tenant.workspace_id)
    assert again.emails == tenant.emails
    assert world.sees(tenant.slug)["workspace_id"] == again.workspace_id
    conditions = world.conditions(tenant.slug)
    assert (conditions["Lifecycle"], conditions["Ready"]) == (("True", "Active"), ("True", "AllTrue"))
    with pytest.raises(NotGone, match="stands"):
        world.restart(tenant.slug)

    # and leaves again: both are told of
    assert outcome(offboarded(tenant.slug, DELETE_WORKSPACE)) == (Status.TRUE, Reason.WORKSPACE_DELETED)
    assert stages(world, tenant)["gone_at"] < stages(world, again)["gone_at"]


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["deleteCurrentWorkspace", "deleteUserFromWorkspace"])
def test_an_answer_that_got_lost_is_made_good_by_evidence(
    world: World, tenant: Before, offboarded: Offboarded, tmp_path: Path, operation: str
) -> None:
    world.sandbox.twenty[0].faults.scripted.append(ScriptedFault(operation, "drop"))
    result = offboarded(tenant.slug, DELETE_WORKSPACE)
    assert outcome(result) == (Status.TRUE, Reason.WORKSPACE_DELETED), result.conditions
    assert_gone(world, tenant, tmp_path)


@pytest.mark.slow
def test_an_organization_that_names_another_workspace_by_now_keeps_that(
    world: World, tenant: Before, offboarded: Offboarded
) -> None:
    other = str(uuid4())
    metadata = world.sandbox.clerk.state.organization(tenant.organization).public_metadata
    metadata["twenty_workspace_id"] = other
    world.registry(
        "UPDATE tenant_registry SET twenty_workspace_id = %s WHERE slug = %s RETURNING 1", other, tenant.slug
    )
    assert outcome(offboarded(tenant.slug, DELETE_WORKSPACE)) == (Status.TRUE, Reason.WORKSPACE_DELETED)
    assert metadata["twenty_workspace_id"] == other
    (row,) = world.registry("SELECT twenty_workspace_id::text FROM tenant_registry WHERE slug = %s", tenant.slug)
    assert row[0] == other
