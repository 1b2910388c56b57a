"""Reports and tables never stand before the work: the run provisions, then fails and says what is missing."""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from provisioning_pipeline.definitions import defs
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.defs.conftest import world_of
from provisioning_pipeline_tests.world import World

pytestmark = pytest.mark.slow
OPTIONS = SandboxOptions(tenants=2, members=1, twenty=(TwentyOptions(activation_seconds=0.0),))
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with Sandbox(OPTIONS) as sandbox:
        yield world_of(sandbox, monkeypatch)


@pytest.fixture
def no_folder(tmp_path: Path) -> Path:
    """What no folder can be made in, for root neither."""
    place = tmp_path / "a file"
    place.write_text("")
    return place


def ready(world: World) -> set[str]:
    return {workspace.status for workspace in world.workspaces()}


def why_it_failed(instance: dg.DagsterInstance, job: str) -> list[str]:
    (run,) = instance.get_runs(filters=dg.RunsFilter(job_name=job), limit=1)
    records = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    failures = [record.event_log_entry.get_dagster_event().step_failure_data for record in records]
    return [failure.user_failure_data.description for failure in failures if failure.user_failure_data]


@pytest.mark.parametrize("setting", ["TABLES_PATH", "REPORT_PATH"])
def test_a_run_in_dagster_does_its_work_and_then_fails(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, no_folder: Path, setting: str
) -> None:
    monkeypatch.setenv(f"PROVISIONING_{setting}", str(no_folder))
    if setting == "REPORT_PATH":
        monkeypatch.setenv("PROVISIONING_TABLES_PATH", str(no_folder.parent / "tables"))
    result = defs.resolve_job_def("reconcile_tenants").execute_in_process(
        instance=instance, raise_on_error=False, run_config=QUIET
    )
    assert not result.success
    assert ready(world) == {"ACTIVE"}
    assert {state for state, _ in (world.conditions(slug)["Ready"] for slug in ("acme", "brightwave"))} == {"True"}
    (why,) = why_it_failed(instance, "reconcile_tenants")
    assert why.startswith("All was done, but not all is recorded. ")
    assert f"PROVISIONING_{setting}" in why
    assert str(no_folder) in why
    materialized = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
    assert {"reconciliation_plan", "reconciliation_outcomes", "tenant_inventory"} <= materialized
    assert ("reconciliation_report" in materialized) == (setting == "TABLES_PATH")
    # and the next one, with the place mended, is whole
    no_folder.unlink()
    again = defs.resolve_job_def("reconcile_tenants").execute_in_process(
        instance=instance, raise_on_error=False, run_config=QUIET
    )
    assert again.success
    assert not list(no_folder.rglob(".*")), "nothing unfinished is left"


def test_a_dry_run_shows_its_plan_and_then_fails(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, no_folder: Path
) -> None:
    monkeypatch.setenv("PROVISIONING_TABLES_PATH", str(no_folder))
    config = {"ops": {"detect_tenants": {"config": {"dry_run": True}}}} | QUIET
    result = defs.resolve_job_def("reconcile_tenants").execute_in_process(
        instance=instance, raise_on_error=False, run_config=config
    )
    assert not result.success
    assert {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()} == {
        "reconciliation_plan"
    }
    assert all("PROVISIONING_TABLES_PATH" in why for why in why_it_failed(instance, "reconcile_tenants"))


def test_apply_does_its_work_shows_it_and_ends_with_1(
    world: World, monkeypatch: pytest.MonkeyPatch, no_folder: Path
) -> None:
    from provisioning_pipeline.cli.main import app

    monkeypatch.setenv("PROVISIONING_REPORT_PATH", str(no_folder))
    done = CliRunner().invoke(app, ["apply", "--json"])
    assert (done.exit_code, done.stderr) == (1, "")
    shown = json.loads(done.stdout)
    assert (shown["tenants"]["ready"], shown["report"]) == (2, None)
    assert "PROVISIONING_REPORT_PATH" in shown["report_missing_because"]
    assert ready(world) == {"ACTIVE"}
    again = CliRunner().invoke(app, ["apply"], env={"COLUMNS": "300"})
    assert again.exit_code == 1
    assert "All was done, but the report is missing" in again.stdout
    shown = CliRunner().invoke(app, ["plan"], env={"COLUMNS": "300"})
    assert shown.exit_code == 0
    assert "The plan has no name to apply it by: " in shown.stdout
