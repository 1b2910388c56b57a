"""A run that is canceled in Dagster, or whose process is killed, ends in the ledger as cut with all that it did."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from provisioning_pipeline.defs.operations.sensors import runs_that_died
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.defs.conftest import world_of
from provisioning_pipeline_tests.defs.dagster_runs import skipped, tick
from provisioning_pipeline_tests.world import World

TENANTS = 6
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
RUNNING = """
import sys
import dagster as dg
from provisioning_pipeline.definitions import defs
with dg.DagsterInstance.get() as instance:
    job = defs.resolve_job_def("reconcile_tenants")
    config = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    job.execute_in_process(instance=instance, run_id=sys.argv[1], run_config=config, raise_on_error=False)
"""


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    twenty = (TwentyOptions(activation_seconds=4.0),)
    with Sandbox(SandboxOptions(tenants=TENANTS, members=1, twenty=twenty)) as sandbox:
        yield world_of(sandbox, monkeypatch)


def made(world: World) -> int:
    there = world.twenty("SELECT to_regclass('core.workspace') IS NOT NULL")[0][0]
    return len(world.workspaces()) if there else 0


def creations(world: World) -> list[str]:
    rows = world.registry(
        "SELECT database_name FROM provisioning.outcome WHERE change = 'create workspace' AND status <> 'failed'"
    )
    return [row[0] for row in rows]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_cut_in_dagster_is_recorded_whole_and_the_next_one_finishes(
    world: World, tmp_path: Path, how: signal.Signals
) -> None:
    run_id = "00000000-0000-4000-8000-000000000001"
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        process = subprocess.Popen(
            [sys.executable, "-c", RUNNING, run_id],
            env=os.environ | {"DAGSTER_HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        while made(world) < TENANTS // 2:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        run = instance.get_run_by_id(run_id)
        assert run is not None
        if how is signal.SIGINT:
            # what a cancel in the web server says before it interrupts the process
            instance.report_run_canceling(run)
        process.send_signal(how)
        process.communicate(timeout=60)
        before = made(world)
        ends = world.registry("SELECT ended_as, cut_why FROM provisioning.run WHERE run_id = %s", run_id)
        if how is signal.SIGINT:
            assert ends == [("cut", "It was canceled in Dagster.")]
            assert world.registry("SELECT count(*) FROM provisioning.outcome WHERE status = 'begun'")[0][0] == 0
        else:
            assert ends == [(None, None)]
            assert run_id in skipped(tick(runs_that_died, instance))
            assert world.registry("SELECT ended_as FROM provisioning.run WHERE run_id = %s", run_id) == [("cut",)]
    assert before <= len(creations(world)) <= TENANTS

    # a workspace whose activation was cut is taken again once Twenty has ended it
    until = time.monotonic() + 120
    while world.apply().summary.unwell:
        assert time.monotonic() < until
        time.sleep(1)

    assert made(world) == len(creations(world)) == len(set(creations(world))) == TENANTS
    first, *others = world.registry("SELECT ended_as FROM provisioning.run ORDER BY begun_at")
    assert (first, set(others)) == (("cut",), {("done",)})
