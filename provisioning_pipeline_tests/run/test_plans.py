"""A plan that somebody looked at is applied as it was, or not at all."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioning_pipeline.run.run import Applied, apply
from provisioning_pipeline.run.saved_plans import (
    PLAN_ID,
    PlanChanged,
    SavedPlan,
    UnknownSavedPlan,
    load,
    save,
    saved_plan,
)
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline.settings import Settings
from provisioning_pipeline_tests.world import World, settings_of


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with Sandbox(SandboxOptions(tenants=0, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        yield sandbox


@pytest.fixture
def world(shared: Sandbox, tmp_path: Path) -> World:
    return World(shared, report_path=str(tmp_path))


def plan(world: World, *tenants: str, **overrides: Any) -> SavedPlan:
    """Plan, keep, and read it back, as another machine would."""
    made = saved_plan(world.plan(*tenants), changed(world, **overrides))
    save(made, world.settings)
    return load(made.id, world.settings)


def changed(world: World, **overrides: Any) -> Settings:
    return settings_of(world.sandbox.environment(), report_path=world.settings.report_path, **overrides)


def apply_plan(world: World, saved: SavedPlan, **overrides: Any) -> Applied:
    return asyncio.run(apply(changed(world, **overrides), saved=saved))


def test_a_plan_is_applied_exactly_and_once(world: World) -> None:
    world.sandbox.add_tenant("exact", members=2)
    world.sandbox.add_tenant("bystander")
    saved = plan(world, "exact")
    assert PLAN_ID.fullmatch(saved.id)

    applied = apply_plan(world, saved)

    assert [(line.slug, line.state) for line in applied.tenants] == [("exact", "ready")]
    assert "bystander" not in {workspace.subdomain for workspace in world.workspaces()}
    with pytest.raises(PlanChanged):
        apply_plan(world, saved)


def test_the_same_world_makes_the_same_plan_and_another_tenant_another(world: World) -> None:
    world.sandbox.add_tenant("stable")
    first = plan(world, "stable")
    assert plan(world, "stable").id == first.id
    world.sandbox.add_tenant("stable-two")
    assert plan(world, "stable", "stable-two").id != first.id


def test_a_member_more_at_clerk_is_told_and_nothing_is_done(world: World) -> None:
    added = world.sandbox.add_tenant("moved", members=1)
    saved = plan(world, "moved")
    clerk = world.sandbox.clerk
    person = clerk.add_user("late@moved.example", first_name="Late", last_name="Comer")
    clerk.add_membership(world.organization("moved"), person.id)
    made = {workspace.id for workspace in world.workspaces()}

    with pytest.raises(PlanChanged) as refused:
        apply_plan(world, saved)

    assert "+ moved: + add late@moved.example as Member" in str(refused.value)
    assert {workspace.id for workspace in world.workspaces()} == made
    assert world.registry("SELECT count(*) FROM provisioning.run WHERE finished_at IS NULL") == [(0,)]
    assert added.database_name


def test_another_policy_is_another_plan(world: World) -> None:
    world.sandbox.add_tenant("policy")
    saved = plan(world, "policy")
    with pytest.raises(PlanChanged, match="PROVISIONING_MEMBERS_FOREIGN_PASSWORD was report, is invite"):
        apply_plan(world, saved, members_foreign_password="invite")


@pytest.mark.parametrize("name", ["plan-000000000000", "plan-../../etc", "plan-"])
def test_an_unknown_plan_is_told_in_words(world: World, name: str) -> None:
    with pytest.raises(UnknownSavedPlan, match="provisioning plan"):
        load(name, world.settings)


def test_a_plan_file_holds_no_secret(world: World) -> None:
    world.sandbox.add_tenant("secretive")
    saved = plan(world, "secretive")
    text = (Path(world.settings.report_path) / "tables" / "plans" / f"{saved.id}.json").read_text()
    for name, value in world.sandbox.environment().items():
        if "PASSWORD" in name or "KEY" in name or ("_URL" in name and "BASE" not in name):
            assert value not in text, name


def test_the_name_that_the_workspace_is_to_get_is_part_of_the_plan(world: World) -> None:
    world.sandbox.add_tenant("renamed", name="Old Name")
    saved = plan(world, "renamed")
    world.registry("UPDATE tenant_registry SET name = 'New Name' WHERE slug = 'renamed' RETURNING id")
    with pytest.raises(PlanChanged, match="~ renamed: the same changes, but other name"):
        apply_plan(world, saved)


@pytest.mark.slow
def test_a_damaged_file_is_told_in_words_and_mended_by_the_next_look(world: World) -> None:
    world.sandbox.add_tenant("damaged")
    saved = plan(world, "damaged")
    path = Path(world.settings.report_path) / "tables" / "plans" / f"{saved.id}.json"
    path.write_text("{")
    with pytest.raises(UnknownSavedPlan, match="damaged"):
        load(saved.id, world.settings)
    assert plan(world, "damaged").id == saved.id
