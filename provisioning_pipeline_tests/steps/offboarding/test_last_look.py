"""Between a plan and its step the registry changes: of a customer who is back nothing is taken."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from uuid import uuid4

import pytest

from provisioning_pipeline.clients.transport import Effect, watched
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, Status
from provisioning_pipeline.model.offboarding import Order
from provisioning_pipeline.run.run import apply
from provisioning_pipeline.run.work import TenantResult
from provisioning_pipeline.steps.offboarding.changes import ARCHIVE_WORKSPACE, DELETE_WORKSPACE
from provisioning_pipeline_tests.steps.offboarding.conftest import Offboarded, offboard_as_planned, say
from provisioning_pipeline_tests.steps.offboarding.gone import Before, before
from provisioning_pipeline_tests.world import World, settings_of


@pytest.fixture
def tenant(world: World) -> Before:
    """A tenant of this test alone, of whom the registry says that the customer has left."""
    slug = f"look-{uuid4().hex[:6]}"
    world.sandbox.add_tenant(slug, members=1)
    world.apply(slug)
    say(world, slug, "cancelled")
    return before(world, slug)


def settled(result: TenantResult) -> Condition:
    (found,) = (known for known in result.conditions if known.type is ConditionType.OFFBOARDED)
    return found


def assert_nothing_was_taken(world: World, tenant: Before, result: TenantResult) -> None:
    found = settled(result)
    assert (found.status, found.reason) == (Status.UNKNOWN, Reason.REGISTRY_CHANGED), found
    assert "The next run plans anew" in found.message
    assert result.outcomes == ()
    assert sorted(world.members(tenant.slug)) == list(tenant.emails)
    assert world.sees(tenant.slug)["status"] == "COMPLETED"
    for table in ("offboarding", "access_lock"):
        rows = world.registry(f"SELECT 1 FROM provisioning.{table} WHERE database_name = %s", tenant.database_name)
        assert rows == [], table


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (DELETE_WORKSPACE, "active"),
        pytest.param(ARCHIVE_WORKSPACE, "active", marks=pytest.mark.slow),
        pytest.param(DELETE_WORKSPACE, "suspended", marks=pytest.mark.slow),
    ],
)
def test_of_a_customer_who_is_back_since_the_plan_nothing_is_taken(
    world: World, tenant: Before, tmp_path: Path, change: Change, status: str
) -> None:
    result = offboard_as_planned(
        world, tenant.slug, change, meanwhile=lambda: say(world, tenant.slug, status), export_path=str(tmp_path)
    )
    assert_nothing_was_taken(world, tenant, result)
    assert f'"{status}"' in settled(result).message

    # once it is a customer for the next run, too, nothing is said of its end any more
    say(world, tenant.slug, "active")
    world.apply(tenant.slug)
    conditions = world.conditions(tenant.slug)
    assert (conditions["Lifecycle"], conditions["Ready"]) == (("True", "Active"), ("True", "AllTrue"))
    assert "Offboarded" not in conditions


@pytest.mark.slow
def test_while_the_registry_cannot_be_read_nothing_is_taken(world: World, tenant: Before, tmp_path: Path) -> None:
    def hide() -> None:
        world.registry("ALTER TABLE tenant_registry RENAME TO hidden_registry")

    try:
        result = offboard_as_planned(world, tenant.slug, DELETE_WORKSPACE, meanwhile=hide, export_path=str(tmp_path))
    finally:
        world.registry("ALTER TABLE hidden_registry RENAME TO tenant_registry")
    assert_nothing_was_taken(world, tenant, result)
    assert "cannot be asked again" in settled(result).message


def back_after(
    world: World, tenant: Before, operation: str
) -> Callable[[str, Effect, Literal["before", "after"]], None]:
    def watch(name: str, _: Effect, when: Literal["before", "after"]) -> None:
        if name == operation and when == "after":
            say(world, tenant.slug, "active")

    return watch


@pytest.mark.slow
def test_a_customer_who_is_back_after_the_members_are_removed_keeps_the_workspace_and_gets_them_again(
    world: World, tenant: Before, offboarded: Offboarded
) -> None:
    with watched(back_after(world, tenant, "deleteUserFromWorkspace")):
        result = offboarded(tenant.slug, DELETE_WORKSPACE)
    assert settled(result).reason is Reason.REGISTRY_CHANGED
    assert tenant.workspace_id in {found.id for found in world.workspaces() if not found.deleted}

    world.apply(tenant.slug)
    assert sorted(world.members(tenant.slug)) == list(tenant.emails)
    assert world.sees(tenant.slug)["workspace_id"] == tenant.workspace_id
    assert "Offboarded" not in world.conditions(tenant.slug)


@pytest.mark.slow
def test_a_customer_who_is_back_after_the_export_keeps_the_members(
    world: World, tenant: Before, offboarded: Offboarded
) -> None:
    with watched(back_after(world, tenant, "objects")):
        result = offboarded(tenant.slug, DELETE_WORKSPACE)
    assert settled(result).reason is Reason.REGISTRY_CHANGED
    assert sorted(world.members(tenant.slug)) == list(tenant.emails)
    assert world.sees(tenant.slug)["status"] == "COMPLETED"


@pytest.mark.slow
def test_a_row_that_is_missing_still_is_enough_for_an_order_by_hand(
    world: World, tenant: Before, tmp_path: Path
) -> None:
    world.registry("DELETE FROM tenant_registry WHERE slug = %s RETURNING 1", tenant.slug)
    settings = settings_of(world.sandbox.environment(), export_path=str(tmp_path), gone_grace_days=0)
    for order in (Order.ARCHIVE, Order.DELETE):
        asyncio.run(apply(settings, [tenant.database_name], order=order))
    # what an operator said of the missing row stands
    (deleted,) = world.twenty('SELECT "deletedAt" IS NOT NULL FROM core.workspace WHERE id = %s', tenant.workspace_id)
    assert deleted == (True,)


@pytest.mark.slow
def test_what_an_operator_takes_back_is_not_said_any_more(world: World, tenant: Before) -> None:
    world.registry("DELETE FROM tenant_registry WHERE slug = %s RETURNING 1", tenant.slug)
    for order, said in ((Order.ARCHIVE, ("True", "Archived")), (Order.UNDO, None)):
        asyncio.run(apply(world.settings, [tenant.database_name], order=order))
        assert world.conditions(tenant.database_name).get("Offboarded") == said, order
    assert world.sees(tenant.slug)["status"] == "COMPLETED"
