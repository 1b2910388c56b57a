"""A run that was cut is executed again from its failure: terminated in Dagster, by SIGTERM, by SIGKILL."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from provisioning_pipeline.definitions import defs
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.defs.conftest import world_of
from provisioning_pipeline_tests.defs.dagster_runs import status_of
from provisioning_pipeline_tests.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
TENANTS = 12
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_RUN = """
import sys
import dagster as dg
with dg.DagsterInstance.get() as instance:
    run_id, parent = sys.argv[1], sys.argv[2:]
    job = dg.reconstructable(__import__("provisioning_pipeline_tests.defs.test_re_execution", fromlist=["job"]).job)
    again = dg.ReexecutionOptions.from_failure(parent[0], instance) if parent else None
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    result = dg.execute_job(job, instance, run_config=None if parent else quiet, reexecution_options=again)
    print(result.run_id)
    sys.exit(0 if result.success else 1)
"""


def job() -> dg.JobDefinition:
    """The job, for another process to find."""
    return defs.resolve_job_def("reconcile_tenants")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    options = SandboxOptions(tenants=TENANTS, members=1, twenty=(TwentyOptions(activation_seconds=8.0),))
    with Sandbox(options) as sandbox:
        world = world_of(sandbox, monkeypatch)
        monkeypatch.setenv("PROVISIONING_TABLES_PATH", str(tmp_path / "tables"))
        yield world


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as made:
        yield made


def begun(tmp_path: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", _RUN, "run", *arguments], cwd=tmp_path)


def until(happened: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 300
    while not happened():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def in_the_middle(world: World) -> bool:
    """The first tenants have their workspaces, and others are being activated."""
    return len(world.workspaces()) > 5


def terminate(instance: dg.DagsterInstance, run: dg.DagsterRun, process: "subprocess.Popen[bytes]") -> None:
    """What Dagster's page does, and `dagster run terminate`."""
    instance.report_run_canceling(run)
    process.send_signal(signal.SIGINT)


def restart(_: dg.DagsterInstance, __: dg.DagsterRun, process: "subprocess.Popen[bytes]") -> None:
    """A container that is moved elsewhere, or a machine that shuts down."""
    process.send_signal(signal.SIGTERM)


def kill(instance: dg.DagsterInstance, run: dg.DagsterRun, process: "subprocess.Popen[bytes]") -> None:
    """A machine without memory; Dagster hears of it by the sensor runs_that_died."""
    process.kill()
    process.wait()
    instance.report_run_failed(run)


@pytest.mark.parametrize(
    ("cut", "status"),
    [
        (terminate, dg.DagsterRunStatus.CANCELED),
        (restart, dg.DagsterRunStatus.FAILURE),
        (kill, dg.DagsterRunStatus.FAILURE),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_run_that_is_cut_is_finished_by_its_re_execution(
    world: World,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    cut: Callable[[dg.DagsterInstance, dg.DagsterRun, "subprocess.Popen[bytes]"], None],
    status: dg.DagsterRunStatus,
) -> None:
    process = begun(tmp_path)
    until(lambda: in_the_middle(world), process)
    (run,) = instance.get_runs()
    cut(instance, run, process)
    process.wait(timeout=120)
    assert status_of(instance, run.run_id) is status
    assert 5 < len(world.workspaces()) < TENANTS
    if cut is not kill:
        # a killed one is ended by the sensor runs_that_died, or by what comes after it
        assert world.registry("SELECT ended_as FROM provisioning.run WHERE run_id = %s", run.run_id) == [("cut",)]
    assert recorded(world) >= {workspace.subdomain for workspace in world.workspaces()}, "nothing is missing"

    again = begun(tmp_path, run.run_id)

    assert again.wait(timeout=600) == 0
    newest = instance.get_runs()[0]
    assert newest.parent_run_id == run.run_id
    assert world.registry("SELECT ended_as FROM provisioning.run WHERE run_id = %s", run.run_id) == [("cut",)]
    assert "detect_tenants" not in succeeded(instance, newest.run_id), "it goes on where the first one stopped"
    assert {world.conditions(slug)["Ready"] for slug in slugs(world)} == {("True", "AllTrue")}
    assert recorded(world) == {workspace.subdomain for workspace in world.workspaces()} == set(slugs(world))


def slugs(world: World) -> list[str]:
    return [row[0] for row in world.registry("SELECT slug FROM tenant_registry")]


def recorded(world: World) -> set[str]:
    """The tenants for which the creation of a workspace is recorded: as done, or as cut where no answer came."""
    rows = world.registry(
        "SELECT DISTINCT slug FROM provisioning.outcome JOIN provisioning.tenant_link USING (database_name) "
        "WHERE change = 'create workspace' AND status <> 'failed'"
    )
    return {row[0] for row in rows}


def succeeded(instance: dg.DagsterInstance, run_id: str) -> set[str | None]:
    records: Any = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_SUCCESS).records
    return {record.event_log_entry.step_key for record in records}
