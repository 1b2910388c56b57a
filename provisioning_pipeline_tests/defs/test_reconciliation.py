"""What a reconciliation leaves to look at in Dagster: tables, figures, checks, a plan that can be applied."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from upath import UPath

from provisioning_pipeline.definitions import defs
from provisioning_pipeline.defs.reconciliation import checks
from provisioning_pipeline.defs.tables import read
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.forecast import AgingWorkspace
from provisioning_pipeline.model.history import Actor, Drift, DriftCause, Source
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline.views.health import CleanUp, Freshness, HarmDone, leftover
from provisioning_pipeline_tests.defs.conftest import world_of
from provisioning_pipeline_tests.report import lines
from provisioning_pipeline_tests.world import World

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
NOW = datetime(2026, 8, 1, tzinfo=UTC)
TABLES = ("reconciliation_plan", "reconciliation_outcomes", "tenant_inventory", "tenant_timeline")


OPTIONS = SandboxOptions(tenants=2, members=1, broken=True, twenty=(TwentyOptions(activation_seconds=0.0),))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    with Sandbox(OPTIONS) as sandbox:
        world = world_of(sandbox, monkeypatch)
        monkeypatch.setenv("PROVISIONING_TABLES_PATH", str(tmp_path / "tables"))
        yield world


@dataclass(frozen=True)
class Left:
    """What one run left in Dagster: metadata by asset, and by check whether it passed."""

    run_id: str
    metadata: Mapping[str, Mapping[str, Any]]
    passed: Mapping[str, bool]


@dataclass(frozen=True)
class Twice:
    """A new fleet was reconciled, and then again at rest."""

    first: Left
    second: Left
    tables: Path

    def table(self, name: str, run_id: str | None = None) -> pd.DataFrame:
        """The latest table of this name, or the one of a run."""
        place = self.tables / "history" / name / f"{run_id}.parquet" if run_id else self.tables / f"{name}.parquet"
        return read(UPath(place))


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twice]:
    folder = tmp_path_factory.mktemp("tables")
    with (
        pytest.MonkeyPatch.context() as patched,
        Sandbox(OPTIONS) as sandbox,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        world_of(sandbox, patched)
        patched.setenv("PROVISIONING_TABLES_PATH", str(folder))
        yield Twice(left_by_a_run(instance), left_by_a_run(instance), folder)


def left_by_a_run(instance: dg.DagsterInstance) -> Left:
    result = reconcile(instance)
    assert result.success
    assets = {event.asset_key for event in result.get_asset_materialization_events() if event.asset_key}
    names = [asset.path[-1] for asset in assets]
    return Left(
        result.run_id,
        {name: metadata(instance, name) for name in names},
        {check: passed(instance, asset, check) for asset, check in CHECKS},
    )


CHECKS = (
    ("tenant_inventory", "all_tenants_are_ready"),
    ("reconciliation_plan", "no_drift_is_left"),
    ("reconciliation_outcomes", "harm_budget_is_respected"),
    ("tenant_inventory", "clean_up_is_not_near"),
    ("reconciliation_report", "report_is_fresh"),
)


def reconcile(instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
    run_config = QUIET | {"ops": {"detect_tenants": {"config": config}}}
    job = defs.resolve_job_def("reconcile_tenants")
    return job.execute_in_process(instance=instance, run_config=run_config, raise_on_error=False)


def metadata(instance: dg.DagsterInstance, asset: str) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def passed(instance: dg.DagsterInstance, asset: str, check: str) -> bool:
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.event is not None
    assert record.event.dagster_event is not None
    found: bool = record.event.dagster_event.asset_check_evaluation_data.passed
    return found


def test_a_run_keeps_its_tables_as_parquet_the_latest_and_its_own(twice: Twice) -> None:
    for name in TABLES:
        assert twice.second.metadata[name]["dagster/row_count"] == len(twice.table(name))
        history = {path.stem for path in (twice.tables / "history" / name).iterdir()}
        assert history == {twice.first.run_id, twice.second.run_id}
    inventory = twice.table("tenant_inventory").set_index("slug")
    assert inventory.loc["acme", "state"] == "ready"
    assert inventory.loc["half-made", "next_step"].startswith("Let the tenant manager create the database again")
    outcomes = twice.table("reconciliation_outcomes", twice.first.run_id)
    assert {"create workspace", "add admin"} <= set(outcomes["change"])
    assert twice.table("reconciliation_outcomes").empty
    assert {"sensor", "operator", "tenant manager"} & set(twice.table("tenant_timeline")["who"])


def test_every_table_says_what_its_columns_mean(twice: Twice) -> None:
    for name in TABLES:
        schema = twice.first.metadata[name]["dagster/column_schema"]
        assert schema.columns
        assert all(column.description for column in schema.columns)


def test_figures_are_numbers_that_dagster_plots(twice: Twice) -> None:
    report = twice.first.metadata["reconciliation_report"]
    figures = "ready_tenants unwell_tenants drift actions seconds clerk_calls twenty_calls emails".split()
    assert all(isinstance(report[name], int | float) for name in figures)
    assert (report["ready_tenants"], report["drift"], report["emails"]) == (2, 3, 0)
    assert report["clerk_calls"] > 0
    assert report["twenty_calls"] > report["mutating_calls"] > 0


def test_checks_tell_what_is_left_and_how_old_the_report_is(twice: Twice) -> None:
    # the row without a database was new to the first run, and no run can mend it: it is left after the second, too
    assert twice.first.passed == {
        "all_tenants_are_ready": False,
        "no_drift_is_left": False,
        "harm_budget_is_respected": True,
        "clean_up_is_not_near": True,
        "report_is_fresh": True,
    }
    assert twice.second.passed == twice.first.passed


def test_the_plan_foretells_what_the_run_then_makes(twice: Twice) -> None:
    plan, report = twice.first.metadata["reconciliation_plan"], twice.first.metadata["reconciliation_report"]
    for system in ("clerk", "twenty"):
        plan_and_forecast, made = plan[f"foretold_{system}_calls"], report[f"{system}_calls"]
        assert abs(plan_and_forecast - made) <= max(0.1 * made, 3), system


@pytest.mark.slow
def test_a_plan_from_a_dry_run_is_applied_by_its_name_and_refused_once_it_no_longer_fits(
    world: World, instance: dg.DagsterInstance
) -> None:
    assert reconcile(instance, dry_run=True).success
    plan_id = metadata(instance, "reconciliation_plan")["plan_id"]
    assert world.workspaces() == []

    assert reconcile(instance, plan_id=plan_id).success
    assert {workspace.subdomain for workspace in world.workspaces()} == {"acme", "brightwave"}

    again = reconcile(instance, plan_id=plan_id)
    assert not again.success
    failure = again.failure_data_for_node("detect_tenants")
    assert failure is not None
    assert "no longer fits" in str(failure.error)


@pytest.mark.slow
def test_every_asset_of_a_reconciliation_can_be_made_by_hand_and_changes_nothing(
    world: World, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    reconcile(instance)
    made = world.workspaces()
    before = world.mutating_calls()
    names = [*TABLES, "reconciliation_report"]
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, run_config=QUIET, asset_selection=[dg.AssetKey(name) for name in names]
    )
    assert result.success
    assert {event.asset_key.path[-1] for event in result.get_asset_materialization_events() if event.asset_key} == set(
        names
    )
    assert (world.workspaces(), world.mutating_calls()) == (made, before)
    assert metadata(instance, "reconciliation_plan")["plan_id"].startswith("plan-")
    assert len(read(UPath(tmp_path / "tables" / "tenant_inventory.parquet"))) == 3


# --- the checks by themselves ---------------------------------------------------------------------------------------


def test_drift_is_left_only_while_its_tenant_is_unwell() -> None:
    drift = [
        Drift(f"db_{slug}", DriftCause.CLERK, Source.MEMBERS, Actor.CLERK, "add member ada@acme.test.")
        for slug in ("good", "bad")
    ]
    left = leftover(drift, lines.lines(good=Reason.ALL_TRUE, bad=Reason.SERVER_FULL))
    assert [(one.slug, one.reason) for one in left] == [("bad", Reason.SERVER_FULL)]
    assert not checks.drift_result(left).passed
    assert checks.drift_result([]).passed


@pytest.mark.parametrize(
    ("harm", "passed", "severity"),
    [
        (HarmDone(3, 50, approved=False, waiting=0, waiting_name=None), True, dg.AssetCheckSeverity.WARN),
        (HarmDone(60, 50, approved=False, waiting=0, waiting_name=None), False, dg.AssetCheckSeverity.ERROR),
        (HarmDone(60, 50, approved=True, waiting=0, waiting_name=None), True, dg.AssetCheckSeverity.WARN),
        (HarmDone(0, 50, approved=False, waiting=7, waiting_name="x"), False, dg.AssetCheckSeverity.WARN),
    ],
)
def test_the_budget_is_broken_only_by_what_nobody_approved(
    harm: HarmDone, passed: bool, severity: dg.AssetCheckSeverity
) -> None:
    result = checks.harm_result(harm)
    assert (result.passed, result.severity) == (passed, severity)


def test_a_report_gets_old_and_a_fleet_without_any_is_told_what_to_do() -> None:
    fresh = Freshness(NOW - timedelta(hours=2), NOW, 3.0)
    assert checks.fresh_result(fresh).passed
    assert not checks.fresh_result(Freshness(NOW - timedelta(hours=4), NOW, 3.0)).passed
    never = checks.fresh_result(Freshness(None, NOW, 3.0))
    assert not never.passed
    assert "reconcile_tenants" in str(never.metadata["last_whole_run"].value)


def test_a_workspace_near_the_clean_up_is_named() -> None:
    result = checks.clean_up_result(CleanUp((AgingWorkspace("acme", "w-1", NOW),), ()))
    assert not result.passed
    assert "acme" in str(result.metadata["which"].value)


def test_a_server_that_cannot_be_read_may_hold_such_a_workspace() -> None:
    assert checks.clean_up_result(CleanUp((), ())).passed
    assert not checks.clean_up_result(CleanUp((), ("eu",))).passed


def test_before_any_run_no_check_passes_for_want_of_knowledge() -> None:
    for result in (checks.ready_result(()), checks.drift_result(None), checks.harm_result(None)):
        assert not result.passed
        assert "reconcile_tenants" in str(result.metadata["nothing_is_known"].value)
