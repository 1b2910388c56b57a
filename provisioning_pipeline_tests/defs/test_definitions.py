"""Dagster's side: what loads, what a run leaves behind, and what the sensor asks for."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from provisioning_pipeline.definitions import defs
from provisioning_pipeline.defs.launching import new_tenant_databases
from provisioning_pipeline.defs.provisioning.ops import chunks
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.tenant import AdminUnknown, Tenant, TenantPlan
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.defs.conftest import world_of
from provisioning_pipeline_tests.world import World

CHAIN = (
    "provision_workspaces",
    "lock_workspaces",
    "backfill_members",
    "repair_onboarding",
    "verify_logins",
    "offboard_tenants",
)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    options = SandboxOptions(tenants=2, members=1, broken=True, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as sandbox:
        yield world_of(sandbox, monkeypatch)


def reconcile(instance: dg.DagsterInstance, tags: dict[str, str] | None = None, **config: Any) -> Any:
    job = defs.resolve_job_def("reconcile_tenants")
    return job.execute_in_process(
        instance=instance,
        run_config=QUIET | {"ops": {"detect_tenants": {"config": config}}},
        tags=tags,
        raise_on_error=False,
    )


def metadata(instance: dg.DagsterInstance, asset: str) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return {key: value.value for key, value in event.asset_materialization.metadata.items()}


def steps(result: Any) -> set[str]:
    return {event.step_key for event in result.all_events if event.event_type_value == "STEP_SUCCESS"}


@pytest.mark.slow
def test_definitions_load_in_a_fresh_interpreter_without_a_single_setting(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PROVISIONING_")}
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-m", "provisioning_pipeline.definitions"],
        env=clean,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_everything_an_operator_sees_is_described() -> None:
    job = defs.resolve_job_def("reconcile_tenants")
    assert job.description
    assert all(node.definition.description for node in job.graph.nodes)
    for asset in defs.resolve_asset_graph().asset_nodes:
        assert asset.description, asset.key
        assert asset.owners
        assert asset.group_name in {"provisioning", "reconciliation", "members", "onboarding"}
    detect = job.node_def_named("detect_tenants")
    assert isinstance(detect, dg.OpDefinition)
    config = detect.config_schema.config_type
    assert isinstance(config, dg.Shape)
    assert {name for name, field in config.fields.items() if field.description} == set(config.fields)
    assert set(config.fields) == {"tenants", "dry_run", "approve", "plan_id"}


def test_a_run_provisions_every_tenant_step_by_step_and_records_the_assets(
    world: World, instance: dg.DagsterInstance
) -> None:
    result = reconcile(instance, tags={"trigger": "operator"})

    assert result.success
    assert steps(result) == {"detect_tenants", *(f"{op}[chunk_1]" for op in CHAIN), "report_reconciliation"}
    assert world.sees("acme")["status"] == "COMPLETED"
    assert metadata(instance, "clerk_memberships")["proved_whole"] is True
    assert (
        metadata(instance, "clerk_user_links")["dagster/row_count"]
        == metadata(instance, "twenty_members")["dagster/row_count"]
    )
    report = metadata(instance, "reconciliation_report")
    assert "half-made" in report["summary"]
    assert "DatabaseMissing" in report["summary"]
    assert report["actions"] > 0
    assert Path(report["report"]).exists()
    inventory = metadata(instance, "tenant_inventory")
    assert (inventory["ready_tenants"], inventory["unwell_tenants"]) == (2, 1)
    check = dg.AssetCheckKey(dg.AssetKey("tenant_inventory"), "all_tenants_are_ready")
    (record,) = instance.event_log_storage.get_asset_check_execution_history(check, limit=5)
    assert record.event is not None
    assert record.event.dagster_event is not None
    assert record.event.dagster_event.asset_check_evaluation_data.passed is False
    world.sandbox.reset_counters()

    again = reconcile(instance)

    assert again.success
    assert world.mutating_calls() == 0
    assert steps(again) == {"detect_tenants", "report_reconciliation"}
    assert metadata(instance, "reconciliation_report")["actions"] == 0


def test_a_dry_run_shows_the_plan_and_writes_nothing(world: World, instance: dg.DagsterInstance) -> None:
    result = reconcile(instance, dry_run=True)

    assert result.success
    outputs = [event for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
    plans = [
        event.event_specific_data.metadata["plan"].value
        for event in outputs
        if "plan" in event.event_specific_data.metadata
    ]
    assert "create workspace" in plans[0]
    assert world.mutating_calls() == 0
    assert world.registry("SELECT to_regclass('provisioning.tenant_link')")[0][0] is None
    assert instance.get_latest_materialization_event(dg.AssetKey("tenant_inventory")) is None


@pytest.mark.slow
def test_a_failed_tenant_does_not_go_on_and_the_run_fails_beyond_the_threshold(
    world: World, instance: dg.DagsterInstance
) -> None:
    world.sandbox.twenty[0].faults.scripted.append(ScriptedFault("activateWorkspace", "error", times=8))

    result = reconcile(instance)

    assert not result.success
    failure = next(event for event in result.all_events if event.event_type_value == "STEP_FAILURE")
    assert failure.step_key == "report_reconciliation"
    assert metadata(instance, "reconciliation_report")["unwell_tenants"] == 3
    assert "OnboardingComplete" not in world.conditions("acme")
    assert reconcile(instance).success


@pytest.mark.slow
def test_settings_that_are_missing_fail_the_run_with_their_names(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PROVISIONING_CLERK_SECRET_KEY")
    monkeypatch.chdir(tmp_path)

    result = reconcile(instance)

    failure = next(event for event in result.all_events if event.event_type_value == "STEP_FAILURE")
    assert "PROVISIONING_CLERK_SECRET_KEY: is missing" in str(failure.event_specific_data)


def test_few_tenants_go_in_one_chunk_and_many_in_more() -> None:
    def plan(slug: str) -> TenantPlan:
        tenant = Tenant(f"db_{slug}", slug, slug)
        return TenantPlan(tenant, (), False, "eu", (), None, AdminUnknown(Reason.WAITING, ""), ())

    few = chunks([plan("a-b"), plan("a_b"), plan("日本")], 100)
    many = chunks([plan(str(number)) for number in range(205)], 100)

    assert [(key, len(plans)) for key, plans in few] == [("chunk_1", 3)]
    assert [(key, len(plans)) for key, plans in many] == [("chunk_1", 100), ("chunk_2", 100), ("chunk_3", 5)]
    assert chunks([], 100) == []


# --- the sensor -------------------------------------------------------------------------------------------------


def tick(instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    result = new_tenant_databases(dg.build_sensor_context(instance=instance))
    assert isinstance(result, list | dg.SkipReason)
    if isinstance(result, dg.SkipReason):
        return result
    (request,) = result
    return request


def names(request: dg.RunRequest | dg.SkipReason) -> list[str]:
    assert isinstance(request, dg.RunRequest), request
    return [name.split("_")[2] for name in request.run_config["ops"]["detect_tenants"]["config"]["tenants"]]


@pytest.mark.slow
def test_the_sensor_asks_for_new_databases_once_and_for_nothing_at_rest(
    world: World, instance: dg.DagsterInstance
) -> None:
    first = tick(instance)
    assert names(first) == ["acme", "brightwave"]
    assert isinstance(first, dg.RunRequest)
    again = tick(instance)
    assert isinstance(again, dg.RunRequest)
    assert first.run_key == again.run_key
    assert world.registry("SELECT count(*) FROM provisioning.turn")[0][0] == 2
    reconcile(instance, tags=dict(first.tags), **first.run_config["ops"]["detect_tenants"]["config"])

    assert world.registry("SELECT count(*) FROM provisioning.turn")[0][0] == 0
    assert isinstance(tick(instance), dg.SkipReason)
    world.sandbox.add_tenant("zeta", members=1)
    later = tick(instance)
    assert names(later) == ["zeta"]
    assert isinstance(later, dg.RunRequest)
    assert later.tags["trigger"] == "sensor"
    assert later.tags["tenant"].startswith("twenty_tenant_zeta_")


@pytest.mark.slow
def test_the_sensor_leaves_tenants_alone_that_an_unfinished_run_is_at(
    world: World, instance: dg.DagsterInstance
) -> None:
    request = tick(instance)
    assert isinstance(request, dg.RunRequest)
    acme = next(name for name in request.run_config["ops"]["detect_tenants"]["config"]["tenants"] if "acme" in name)

    def unfinished(tenants: list[str]) -> dg.DagsterRun:
        return instance.create_run_for_job(
            defs.resolve_job_def("reconcile_tenants"),
            run_config={"ops": {"detect_tenants": {"config": {"tenants": tenants}}}},
            status=dg.DagsterRunStatus.STARTED,
        )

    unfinished([acme])
    assert names(tick(instance)) == ["brightwave"]
    unfinished([])
    assert isinstance(tick(instance), dg.SkipReason)


@pytest.mark.slow
def test_a_run_that_broke_off_is_asked_for_again_with_a_new_key_after_a_wait(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = tick(instance)
    assert isinstance(request, dg.RunRequest)
    instance.create_run_for_job(
        defs.resolve_job_def("reconcile_tenants"),
        run_config=request.run_config,
        tags=dict(request.tags),
        status=dg.DagsterRunStatus.FAILURE,
    )

    waiting = tick(instance)
    assert isinstance(waiting, dg.SkipReason)
    assert "left them due" in str(waiting.skip_message)
    monkeypatch.setenv("PROVISIONING_RETRY_SECONDS", "0.000001")
    again = tick(instance)
    assert isinstance(again, dg.RunRequest)
    assert again.run_key != request.run_key


@pytest.mark.slow
def test_a_database_that_turns_up_late_is_asked_for_at_once(world: World, instance: dg.DagsterInstance) -> None:
    world.apply()
    world.apply()
    missing = world.link("half-made")["database_name"]
    assert isinstance(tick(instance), dg.SkipReason)
    world.sandbox.postgres.create_database(missing)

    request = tick(instance)

    assert isinstance(request, dg.RunRequest)
    assert request.run_config["ops"]["detect_tenants"]["config"]["tenants"] == [missing]


@pytest.mark.slow
def test_a_failed_read_is_an_error_of_the_tick_and_never_an_empty_fleet(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISIONING_TENANT_CLUSTER_URL", "postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(Exception, match="cannot be reached"):
        tick(instance)
