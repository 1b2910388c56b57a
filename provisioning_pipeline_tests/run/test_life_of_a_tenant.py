"""One tenant's whole life, over a registry, Clerk and Twenty that answer over HTTP and SQL."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.lifecycle import LIFECYCLE_OF, Lifecycle
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.world import World

SLUG = "acme"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Sandbox(SandboxOptions(tenants=0, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        for slug, members in (("stays", 1), (SLUG, 3)):
            sandbox.add_tenant(slug, members=members)
        yield World(
            sandbox,
            suspended="lock",
            gone="delete",
            gone_grace_days=0,
            registry_row_gone_seconds=0,
            export_path=str(tmp_path),
        )


def lifecycle(world: World) -> Lifecycle:
    return LIFECYCLE_OF[Reason(world.conditions(SLUG)["Lifecycle"][1])]


def status(world: World, said: str) -> Lifecycle:
    """The registry says this, and a run looks."""
    world.registry("UPDATE tenant_registry SET status = %s WHERE slug = %s RETURNING 1", said, SLUG)
    world.apply()
    return lifecycle(world)


def row_goes(world: World) -> Lifecycle:
    world.registry("CREATE TABLE IF NOT EXISTS backup AS SELECT * FROM tenant_registry WHERE slug = %s", SLUG)
    world.registry("DELETE FROM tenant_registry WHERE slug = %s RETURNING 1", SLUG)
    world.apply()
    return lifecycle(world)


def row_comes_back(world: World) -> Lifecycle:
    """As it was in a backup, with the id of the workspace of then."""
    world.registry("INSERT INTO tenant_registry SELECT * FROM backup RETURNING 1")
    world.apply()
    return lifecycle(world)


def approve(world: World, what: str) -> None:
    """An operator looks at the plan, and approves what it lists."""
    (note,) = (note for note in world.plan().notes if f"{what} twenty_" in note)
    (name,) = re.findall(r"--approve (\w+)", note)
    world.apply_approved(name, **world.overrides)


def assert_locked(world: World, emails: set[str]) -> None:
    assert world.conditions(SLUG)["AccessLocked"] == ("True", "AccessLocked")
    for email in emails:
        with pytest.raises(AssertionError, match="not a member"):
            world.sees_as(SLUG, email)


def assert_open(world: World, members: dict[str, tuple[str, str]]) -> None:
    """Everyone has the role and the name of before, and comes in without a wizard."""
    assert lifecycle(world) is Lifecycle.ACTIVE
    assert world.members(SLUG) == members
    assert {world.sees_as(SLUG, email)["status"] for email in members} == {"COMPLETED"}
    assert world.conditions(SLUG)["Ready"][0] == "True"
    assert not [change for entry in world.plan().tenants for change in entry.changes]


@pytest.mark.slow
def test_a_tenant_lives_and_leaves_and_comes_back(world: World) -> None:
    world.apply()
    members, workspace = world.members(SLUG), world.link(SLUG)["workspace_id"]
    organization = world.organization(SLUG)
    assert len(members) == 3
    assert_open(world, members)

    assert status(world, "suspended") is Lifecycle.SUSPENDED
    assert_locked(world, set(members))
    assert status(world, "active") is Lifecycle.ACTIVE
    assert_open(world, members)

    assert row_goes(world) is Lifecycle.IN_DOUBT
    assert world.members(SLUG) == members
    world.apply()
    assert lifecycle(world) is Lifecycle.OFFBOARDING
    approve(world, "archive")
    assert_locked(world, set(members))
    assert row_comes_back(world) is Lifecycle.ACTIVE
    assert_open(world, members)

    # what ended once is no word about what comes later
    assert row_goes(world) is Lifecycle.IN_DOUBT
    world.apply()
    assert lifecycle(world) is Lifecycle.OFFBOARDING
    approve(world, "archive")
    approve(world, "delete")
    assert lifecycle(world) is Lifecycle.GONE
    assert world.link(SLUG)["workspace_id"] is None
    assert world.sandbox.clerk.state.organization(organization).public_metadata.get("twenty_workspace_id") is None
    ((gone_at, exported),) = world.registry(
        "SELECT gone_at, export_path FROM provisioning.offboarding WHERE workspace_id = %s", workspace
    )
    assert gone_at
    assert (Path(exported) / "manifest.json").is_file()
    assert [found.deleted for found in world.workspaces() if found.id == workspace] == [True]

    assert row_comes_back(world) is Lifecycle.IN_DOUBT
    assert world.link(SLUG)["workspace_id"] is None
    world.restart(SLUG)
    world.apply()
    assert world.link(SLUG)["workspace_id"] not in (None, workspace)
    assert_open(world, members)
