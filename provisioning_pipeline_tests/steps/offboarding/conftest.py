"""Offboarding what a sandbox has."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioning_pipeline.model.change import Change
from provisioning_pipeline.run.connections import connect
from provisioning_pipeline.run.run import dry_run
from provisioning_pipeline.run.work import Run, TenantResult, work
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.world import World, settings_of


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A sandbox whose tests add their own tenants. One stays, so that our account is never without a workspace."""
    with Sandbox(SandboxOptions(tenants=0, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        world = World(sandbox)
        world.sandbox.add_tenant("stays", members=1)
        world.apply()
        yield world


Offboarded = Callable[..., TenantResult]


@pytest.fixture
def offboarded(world: World, tmp_path: Path) -> Offboarded:
    """Make these changes of a tenant, as a plan that has them would."""

    def run(slug: str, *changes: Change, **overrides: Any) -> TenantResult:
        return offboard(world, slug, *changes, **({"export_path": str(tmp_path)} | overrides))

    return run


def offboard(world: World, slug: str, *changes: Change, **overrides: Any) -> TenantResult:
    """The same with the settings of the world."""
    settings = settings_of(world.sandbox.environment(), **overrides)

    async def run() -> TenantResult:
        (entry,) = (await dry_run(settings, [slug])).tenants
        async with connect(settings, dry_run=False) as connections:
            await connections.history.begin_run("offboarding", "operator")
            run = Run(connections, "offboarding")
            (result,) = await work(run, [replace(entry, changes=changes, members=(), withdrawals=())])
            return result

    return asyncio.run(run())
