"""Offboarding what a sandbox has."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioning_pipeline.model.change import Change
from provisioning_pipeline.run.connections import connect
from provisioning_pipeline.run.run import dry_run
from provisioning_pipeline.run.work import Run, TenantResult, work
from provisioning_pipeline.steps.offboarding.changes import ARCHIVE_WORKSPACE, DELETE_WORKSPACE
from provisioning_pipeline_tests.world import World, settings_of


@pytest.fixture(scope="session")
def world(leaving_world: World) -> World:
    return leaving_world


Offboarded = Callable[..., TenantResult]


@pytest.fixture
def offboarded(world: World, tmp_path: Path) -> Offboarded:
    """Make these changes of a tenant, as a plan that has them would."""

    def run(slug: str, *changes: Change, **overrides: Any) -> TenantResult:
        return offboard(world, slug, *changes, **({"export_path": str(tmp_path)} | overrides))

    return run


def offboard(world: World, slug: str, *changes: Change, **overrides: Any) -> TenantResult:
    """The same with the settings of the world; the registry says of a tenant that leaves that its customer has left."""
    if {ARCHIVE_WORKSPACE, DELETE_WORKSPACE} & set(changes):
        say(world, slug, "cancelled")
    return offboard_as_planned(world, slug, *changes, **overrides)


def say(world: World, slug: str, status: str) -> None:
    """The tenant manager writes this status to the tenant's row."""
    world.registry("UPDATE tenant_registry SET status = %s WHERE slug = %s RETURNING 1", status, slug)


def offboard_as_planned(
    world: World, slug: str, *changes: Change, meanwhile: Callable[[], None] = lambda: None, **overrides: Any
) -> TenantResult:
    """The same with what happens between the plan and its first step."""
    settings = settings_of(world.sandbox.environment(), **overrides)

    async def run() -> TenantResult:
        (entry,) = (await dry_run(settings, [slug])).tenants
        async with connect(settings, dry_run=False) as connections:
            await connections.history.begin_run("offboarding", "operator")
            meanwhile()
            run = Run(connections, "offboarding")
            (result,) = await work(run, [replace(entry, changes=changes, members=(), withdrawals=())])
            return result

    return asyncio.run(run())
