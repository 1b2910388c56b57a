"""The job that prunes: which files, runs and rows are there afterwards."""

import os
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from dagster._core.storage.runs.schema import RunsTable
from upath import UPath

from provisioning_pipeline.defs.operations.pruning import old_runs, prune_history
from provisioning_pipeline.defs.resources import Systems
from provisioning_pipeline.defs.schedules import prune_history_daily
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.tasks.prune import PrunedFiles, prune_files
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
DAY = timedelta(days=1)
RUN = "0b0e7a52-35c3-4b5d-8c8e-0f1d7b0d4f{:02d}"


@pytest.fixture
def fleet(sandbox_postgres: SandboxPostgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Fleet]:
    with fleet_in(sandbox_postgres) as made:
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PROVISIONING_REPORT_PATH", str(tmp_path / "reports"))
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "reports"


def put(path: Path, days: float) -> None:
    """A file that was last written so long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    then = time.time() - days * 86400
    os.utime(path, (then, then))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def prune_there(fleet: Fleet, folder: Path | str, *, dry_run: bool = False, now: datetime | None = None) -> PrunedFiles:
    settings = fleet.settings(report_path=str(folder) if isinstance(folder, Path) else "nowhere")
    if isinstance(folder, str):
        settings = settings.model_copy(update={"tables_path": folder})
    return prune_files(settings, now=now or datetime.now(UTC), dry_run=dry_run)


# --- files ------------------------------------------------------------------------------------------------------


def test_old_files_of_ours_go_and_the_newest_report_and_everything_else_stay(fleet: Fleet, folder: Path) -> None:
    old = [
        "reconciliation-r1.html",
        f"reconciliation-{RUN.format(1)}.html",
        "tables/plans/plan-0123456789ab.json",
        "tables/history/tenant_inventory/r1.parquet",
        "tables/history/some/deep/r1.parquet",
        "tables/history/some/.r1.parquet.0123456789abcdef0123456789abcdef",
        "tables/.tenant_inventory.parquet.0123456789abcdef0123456789abcdef",
        f"tables/values/{RUN.format(1)}/step[a]/result",
        f"tables/values/{RUN.format(1)}/other/result",
    ]
    others = [
        "reconciliation-.html",
        "reconciliation-r1.html.bak",
        "my-reconciliation-r1.html",
        "notes.txt",
        "reconciliation-r9.html/page.html",
        "tables/tenant_inventory.parquet",
        "tables/plans/mine.json",
        "tables/plans/plan-0123456789ab.json.bak",
        "tables/history/tenant_inventory/notes.md",
        "tables/values/tenants/result",
        "tables/other/plan-0123456789ab.json",
    ]
    for name in [*old, *others]:
        put(folder / name, 31)
    put(folder / "reconciliation-newest.html", 30.5)
    put(folder / "tables/plans/plan-ba9876543210.json", 29)
    put(folder / "tables/history/tenant_inventory/r2.parquet", 29)
    put(folder / f"tables/values/{RUN.format(2)}/step/result", 31)
    put(folder / f"tables/values/{RUN.format(2)}/later/result", 29)
    before = files(folder)

    assert prune_there(fleet, folder, dry_run=True) == PrunedFiles(reports=2, plans=1, tables=4, values=1)
    assert files(folder) == before
    assert prune_there(fleet, folder) == PrunedFiles(reports=2, plans=1, tables=4, values=1)

    assert sorted(set(before) - set(files(folder))) == sorted(old)
    assert not (folder / "tables/values" / RUN.format(1)).exists()
    assert prune_there(fleet, folder) == PrunedFiles(0, 0, 0, 0)


def test_what_a_killed_process_left_unfinished_goes_with_the_rest(fleet: Fleet, folder: Path) -> None:
    unfinished = uuid4().hex
    left = [
        f".reconciliation-r1.html.{unfinished}",
        f".certificate-eu-20260801-120000.html.{unfinished}",
        f"tables/plans/.plan-0123456789ab.json.{unfinished}",
        f"tables/.tenant_inventory.parquet.{unfinished}",
    ]
    for name in left:
        put(folder / name, 31)
    put(folder / "reconciliation-newest.html", 31)

    assert prune_there(fleet, folder) == PrunedFiles(reports=2, plans=0, tables=2, values=0)
    assert files(folder) == ["reconciliation-newest.html"]


def test_where_nothing_was_written_yet_nothing_is_pruned(fleet: Fleet, folder: Path) -> None:
    assert prune_there(fleet, folder) == PrunedFiles(0, 0, 0, 0)
    assert not folder.exists()


def test_an_object_store_is_pruned_by_the_same_rules(fleet: Fleet) -> None:
    base = UPath(f"memory://pruned-{uuid.uuid4().hex}")
    reports = base / "reports"
    for run_id in ("r1", "r2"):
        reports.mkdir(parents=True, exist_ok=True)
        (reports / f"reconciliation-{run_id}.html").write_bytes(b"x")
    names = ("plans/plan-0123456789ab.json", "history/cats/r1.parquet", f"values/{RUN.format(1)}/a/b", "cats.parquet")
    for name in names:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(b"x")

    settings = fleet.settings(report_path=str(reports), tables_path=str(base))
    now = datetime.now(UTC)
    assert prune_files(settings, now=now, dry_run=False) == PrunedFiles(0, 0, 0, 0)
    removed = prune_files(settings, now=now + 31 * DAY, dry_run=False)
    assert removed == PrunedFiles(reports=1, plans=1, tables=1, values=1)
    assert [path.name for path in reports.iterdir()] == ["reconciliation-r2.html"], "the newest one stays"

    assert [(base / name).exists() for name in names] == [False, False, False, True]


# --- Dagster ----------------------------------------------------------------------------------------------------


@dg.op(config_schema={"asset": dg.Noneable(str), "fails": bool})
def act(context: dg.OpExecutionContext) -> None:
    if asset := context.op_config["asset"]:
        context.log_event(dg.AssetMaterialization(asset))
        context.log_event(
            dg.AssetCheckEvaluation(asset_key=dg.AssetKey(asset), check_name="is_well", passed=False, metadata={"n": 1})
        )
    if context.op_config["fails"]:
        raise dg.Failure("It failed.")


@dg.job(name="reconcile_tenants")
def reconcile() -> None:
    act()


@dg.job(name="verify")
def verify() -> None:
    act()


@dg.job(name="somebody_elses")
def another() -> None:
    act()


def ran(
    instance: dg.DagsterInstance,
    job: Any = reconcile,
    *,
    days: float = 31,
    asset: str | None = None,
    fails: bool = False,
) -> str:
    """A run that ended so long ago."""
    config = QUIET | {"ops": {"act": {"config": {"asset": asset, "fails": fails}}}}
    run_id = str(job.execute_in_process(instance=instance, run_config=config, raise_on_error=False).run_id)
    then = (datetime.now(UTC) - days * DAY).replace(tzinfo=None)
    with instance.run_storage.connect() as connection:
        connection.execute(
            RunsTable.update()
            .where(RunsTable.c.run_id == run_id)
            .values(create_timestamp=then, update_timestamp=then, end_time=then.timestamp())
        )
    return run_id


def known(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs() if run.job_name != "prune_history"}


def prune(instance: dg.DagsterInstance, *, dry_run: bool = False, raise_on_error: bool = True) -> dict[str, Any]:
    result = prune_history.execute_in_process(
        instance=instance,
        run_config=QUIET | {"ops": {"prune": {"config": {"dry_run": dry_run}}}},
        resources={"systems": Systems()},
        raise_on_error=raise_on_error,
    )
    (event,) = [event for event in result.all_events if event.is_successful_output]
    return {label: value.value for label, value in event.step_output_data.metadata.items()}


def test_old_finished_runs_go_with_their_events(fleet: Fleet, instance: dg.DagsterInstance) -> None:
    old = [ran(instance), ran(instance, fails=True), ran(instance)]
    young = [ran(instance, days=29), ran(instance, days=29)]

    assert prune(instance, dry_run=True)["dagster_runs"] == 3
    assert known(instance) == {*old, *young}
    assert prune(instance)["dagster_runs"] == 3

    assert known(instance) == set(young)
    assert instance.all_logs(old[0]) == []
    assert prune(instance)["dagster_runs"] == 0


@pytest.mark.slow
def test_captured_output_goes_with_its_run(fleet: Fleet) -> None:
    with dg.instance_for_test() as instance:
        old, young = ran(instance), ran(instance, days=1)
        output = Path(instance.storage_directory())
        assert (output / old).is_dir()

        prune(instance)

        assert known(instance) == {young}
        assert not (output / old).exists()
        assert (output / young).is_dir()


def test_the_newest_and_the_newest_successful_run_of_each_job_stay(fleet: Fleet, instance: dg.DagsterInstance) -> None:
    ran(instance)
    successful = ran(instance)
    ran(instance, fails=True)
    newest = ran(instance, fails=True)
    lonely = ran(instance, verify)

    prune(instance)

    assert known(instance) == {successful, newest, lonely}


def test_the_latest_run_of_an_asset_stays_and_the_catalogue_is_whole(
    fleet: Fleet, instance: dg.DagsterInstance
) -> None:
    ran(instance, asset="tenant_inventory")
    latest = ran(instance, asset="tenant_inventory")
    ran(instance)
    newest = ran(instance)

    prune(instance)

    assert known(instance) == {latest, newest}
    event = instance.get_latest_materialization_event(dg.AssetKey("tenant_inventory"))
    assert event is not None
    assert event.run_id == latest
    assert len(instance.fetch_materializations(dg.AssetKey("tenant_inventory"), limit=10).records) == 1
    check = instance.get_latest_asset_check_evaluation_record(
        dg.AssetCheckKey(dg.AssetKey("tenant_inventory"), "is_well")
    )
    assert check is not None
    assert check.run_id == latest


def test_other_peoples_runs_and_unfinished_ones_are_not_touched(fleet: Fleet, instance: dg.DagsterInstance) -> None:
    theirs = [ran(instance, another), ran(instance, another)]
    unfinished = made(instance, reconcile, dg.DagsterRunStatus.STARTED)
    ran(instance)
    newest = ran(instance)

    prune(instance)

    assert known(instance) == {*theirs, unfinished, newest}


def test_runs_of_the_same_name_in_another_code_location_are_not_ours(instance: dg.DagsterInstance) -> None:
    def launched(location: str, job: Any = verify) -> str:
        return made(instance, job, dg.DagsterRunStatus.SUCCESS, remote_job_origin=origin_of(location, job.name))

    ours = [launched("ours"), launched("ours"), launched("ours")]
    theirs = [launched("theirs"), launched("theirs"), launched("theirs", reconcile)]
    by_hand = made(instance, verify, dg.DagsterRunStatus.SUCCESS)
    mine = instance.get_run_by_id(launched("ours", reconcile))
    assert mine is not None

    found = old_runs(instance, mine, {"verify", "reconcile_tenants"}, datetime.now(UTC) + DAY)

    assert found == ours[:2]
    assert not set(found) & {*theirs, by_hand}


def made(instance: dg.DagsterInstance, job: dg.JobDefinition, status: dg.DagsterRunStatus, **other: Any) -> str:
    """A run that was created, and never executed here."""
    config = {"ops": {"act": {"config": {"asset": None, "fails": False}}}}
    return str(instance.create_run_for_job(job, run_config=config, status=status, **other).run_id)


def origin_of(location: str, job: str) -> Any:
    from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

    return RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "__repository__"), job)


# --- all together -----------------------------------------------------------------------------------------------


def test_rows_files_and_runs_are_pruned_in_one_run_that_says_how_many(
    fleet: Fleet, instance: dg.DagsterInstance, folder: Path
) -> None:
    fleet.sql(
        "INSERT INTO provisioning.outcome (run_id, database_name, change, status, detail, seconds, at) "
        "VALUES ('r1', 'd', 'c', 'done', '', 1, now() - interval '91 days')"
    )
    put(folder / "reconciliation-r1.html", 31)
    put(folder / "reconciliation-r2.html", 1)
    ran(instance)
    ran(instance)

    counts = prune(instance)

    assert (counts["ledger_outcome"], counts["files_reports"], counts["dagster_runs"]) == (1, 1, 1)
    assert counts["dry_run"] is False
    assert fleet.sql("SELECT count(*) FROM provisioning.outcome")[0][0] == 0
    assert files(folder) == ["reconciliation-r2.html"]


def test_what_cannot_be_reached_does_not_keep_the_rest_and_the_run_says_so(
    fleet: Fleet, instance: dg.DagsterInstance, folder: Path
) -> None:
    put(folder / "reconciliation-r1.html", 31)
    put(folder / "reconciliation-r2.html", 1)
    fleet.shut()

    result = prune_history.execute_in_process(
        instance=instance, run_config=QUIET, resources={"systems": Systems()}, raise_on_error=False
    )

    assert not result.success
    assert "the ledger: The tenant registry" in result.failure_data_for_node("prune").user_failure_data.description
    assert files(folder) == ["reconciliation-r2.html"]


def test_it_runs_by_itself_every_night_and_does_remove() -> None:
    assert prune_history_daily.cron_schedule == "23 4 * * *"
    assert prune_history_daily.default_status is dg.DefaultScheduleStatus.RUNNING
    assert prune_history_daily.job_name == "prune_history"
