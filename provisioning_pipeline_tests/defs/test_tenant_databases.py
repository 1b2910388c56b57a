"""Runs of Dagster over tenants' own databases."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from provisioning_pipeline.definitions import defs
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.defs.conftest import world_of
from provisioning_pipeline_tests.steps.test_tenant_databases import old_tenant, onboarding_rows
from provisioning_pipeline_tests.world import World

pytestmark = pytest.mark.slow


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    options = SandboxOptions(tenants=0, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as sandbox:
        yield world_of(sandbox, monkeypatch)


def launch(instance: dg.DagsterInstance, job: str, tenant: str) -> Any:
    config = {"ops": {"detect_tenants": {"config": {"tenants": [tenant]}}}}
    quiet = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance, run_config=quiet | config, raise_on_error=False
    )


def test_a_failing_step_at_twenty_does_not_keep_the_tenants_own_database_from_being_repaired(
    world: World, instance: dg.DagsterInstance
) -> None:
    database, _ = old_tenant(world, "fails-at-twenty")
    faults = world.sandbox.twenty[0].faults.scripted
    faults.append(ScriptedFault("activateWorkspace", "error", times=500))
    try:
        launch(instance, "reconcile_tenants", "fails-at-twenty")
    finally:
        faults.clear()
    assert world.conditions("fails-at-twenty")["Ready"][0] == "False"
    assert onboarding_rows(world, database) == []


def test_a_tenant_that_has_only_its_own_database_is_repaired_there(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, _ = old_tenant(world, "only-a-database")
    monkeypatch.setenv("PROVISIONING_TWENTY_CAPACITY", "0")
    assert launch(instance, "repair_onboarding", "only-a-database").success
    assert onboarding_rows(world, database) == []
    assert world.conditions("only-a-database")["TenantDatabase"] == ("True", "HandMadeWorkspace")
