"""In Dagster: the tenant that goes first is worked on inside detect_tenants, and the others in the steps after it."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from provisioning_pipeline.definitions import defs
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import FurtherStep, TwentyOptions
from provisioning_pipeline_tests.world import World, upgraded

pytestmark = pytest.mark.slow
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
STEP = FurtherStep("ONBOARDING_IMPORT_DATA_PENDING", "IMPORT_DATA")
NEWER = TwentyOptions(activation_seconds=0.0, further_steps=(STEP,))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """One ready tenant on a known server, and four that came since."""
    options = SandboxOptions(tenants=1, members=1, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as sandbox:
        for name, value in sandbox.environment().items():
            monkeypatch.setenv(name, value)
        world = World(sandbox)
        world.apply()
        for slug in ("beta", "delta", "gamma", "kappa"):
            sandbox.add_tenant(slug, members=1)
        yield world


def reconcile(instance: dg.DagsterInstance) -> Any:
    job = defs.resolve_job_def("reconcile_tenants")
    return job.execute_in_process(instance=instance, run_config=QUIET, raise_on_error=False)


def steps(result: Any) -> set[str]:
    return {event.step_key for event in result.all_events if event.event_type_value == "STEP_SUCCESS"}


def worked_on(result: Any, step: str) -> set[str]:
    """The tenants of a step, as the run's page shows them."""
    (event,) = [e for e in result.all_events if e.event_type_value == "STEP_OUTPUT" and e.step_key == step]
    return set(event.event_specific_data.metadata["tenants"].value.split(", "))


def figures(instance: dg.DagsterInstance) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(dg.AssetKey("reconciliation_report"))
    assert event is not None
    assert event.asset_materialization is not None
    return {key: value.value for key, value in event.asset_materialization.metadata.items()}


def test_the_others_have_steps_once_the_first_is_proved_and_its_figures_count(world: World) -> None:
    with dg.DagsterInstance.ephemeral() as instance, upgraded(world, NEWER):
        world.sandbox.reset_counters()
        result = reconcile(instance)

        assert result.success
        assert worked_on(result, "verify_logins[chunk_1]") == {"delta", "gamma", "kappa"}
        assert world.sees("beta")["status"] == world.sees("kappa")["status"] == "COMPLETED"
        shown = figures(instance)
        assert (shown["ready_tenants"], shown["unwell_tenants"]) == (5, 0)
        assert shown["mutating_calls"] == world.mutating_calls()


def test_a_run_in_which_no_login_is_proved_fails_with_the_sentence_and_leaves_the_others_alone(world: World) -> None:
    with dg.DagsterInstance.ephemeral() as instance, upgraded(world, NEWER):
        fault = ScriptedFault("updateWorkspaceMemberRole", "error", times=12)
        world.sandbox.twenty[0].faults.scripted.append(fault)
        result = reconcile(instance)

        assert not result.success
        (failure,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
        told = failure.event_specific_data.user_failure_data.description
        assert "has an onboarding step IMPORT_DATA that is not known here" in told
        assert not any("[" in step for step in steps(result))
        assert world.conditions("kappa")["Ready"] == ("False", "ContractUnproved")
        assert len(world.workspaces()) == 4
        world.sandbox.twenty[0].faults.scripted.clear()

        assert reconcile(instance).success
        assert len(world.workspaces()) == 5
