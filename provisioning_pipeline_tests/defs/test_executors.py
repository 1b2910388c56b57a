"""Runs whose steps are in other processes and on other machines come to the same end as one in a single process."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from provisioning_pipeline.definitions import build_defs
from provisioning_pipeline.defs.executors import executor_of
from provisioning_pipeline.defs.resources import Systems
from provisioning_pipeline.ledger.runs import runs_at_work
from provisioning_pipeline.ledger.schema import in_ledger
from provisioning_pipeline.run.work import Run
from provisioning_pipeline.settings import SettingsError
from provisioning_pipeline_tests.defs.dagster_runs import made
from provisioning_pipeline_tests.defs.machines import BROKER_PASSWORD, Machine, Machines, machines, until
from provisioning_pipeline_tests.http.api import api_to
from provisioning_pipeline_tests.world import World, settings_of

TENANTS = 6
PLACE = "provisioning_pipeline.defs"
needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed: apt-get install redis-server"
)


def ended(world: World) -> dict[str, Any]:
    """What a fleet came to, without what differs from one fleet to the next: ids and times."""
    return {
        "conditions": conditions(world),
        "members": {slug: world.members(slug) for slug in conditions(world)},
        "workspaces": [(workspace.subdomain, workspace.status, workspace.deleted) for workspace in world.workspaces()],
        "onboarding": world.pending(),
        "runs": world.registry("SELECT ended_as FROM provisioning.run"),
    }


def conditions(world: World) -> dict[str, dict[str, tuple[str, str]]]:
    """What holds for each tenant."""
    return {row[0]: world.conditions(row[0]) for row in world.registry("SELECT slug FROM tenant_registry")}


def done(world: World) -> Counter[tuple[str, str]]:
    """Change and status → how often."""
    return Counter(tuple(row) for row in world.registry("SELECT change, status FROM provisioning.outcome"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """How a run in a single process ends."""
    folder = tmp_path_factory.mktemp("alone")
    with machines(folder, "in_process", tenants=TENANTS, activation_seconds=0.0) as alone:
        run = alone.run()
        assert run.ends() == 0, run.said
        found = ended(alone.world) | {"done": done(alone.world)}
    assert {states["Ready"] for states in found["conditions"].values()} == {("True", "AllTrue")}
    return found


# --- the choice -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["in_process", "multiprocess", "celery", pytest.param("k8s", marks=pytest.mark.slow)])
def test_each_executor_needs_no_run_configuration(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISIONING_EXECUTOR", name)
    job = build_defs().resolve_job_def("reconcile_tenants")
    assert job.executor_def.name == name
    assert dg.validate_run_config(job, {})


def test_an_unknown_executor_is_refused_with_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISIONING_EXECUTOR", "kubernetes")
    with pytest.raises(SettingsError, match="PROVISIONING_EXECUTOR: must be one of in_process, multiprocess, celery"):
        build_defs()


@pytest.mark.parametrize(("name", "package"), [("celery", "dagster_celery"), ("k8s", "dagster_k8s")])
def test_a_missing_package_is_named_with_what_installs_it(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [module for module in sys.modules if module.startswith((package, f"{PLACE}.celery_executor"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SettingsError, match=rf"{name} needs {package}.*pip install 'provisioning-pipeline\[{name}\]'"):
        executor_of(name)


# --- other processes ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_process_for_each_step_comes_to_the_same_end(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    with machines(tmp_path, "multiprocess", tenants=TENANTS, activation_seconds=0.0) as them:
        run = them.run()
        assert run.ends() == 0, run.said
        assert ended(them.world) | {"done": done(them.world)} == undisturbed
        assert 'Launching subprocess for "backfill_members[chunk_2]"' in run.said


# --- other machines -----------------------------------------------------------------------------------------------


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Machines]:
    """A Redis and two workers; activations take so long that one can be met in the middle of a step."""
    with machines(tmp_path, "celery", tenants=TENANTS, activation_seconds=2.0) as them:
        them.worker("one")
        them.worker("two")
        yield them


def in_the_middle(them: Machines, run: Machine) -> Machine:
    """A worker that is at a step which makes workspaces, and has made one."""
    world, (one, two) = them.world, them.all[:2]

    def both_at_work() -> bool:
        there = world.twenty("SELECT to_regclass('core.workspace') IS NOT NULL")[0][0]
        return there and len(world.workspaces()) > 1 and one.is_at_a_step and two.is_at_a_step

    until(both_at_work, run)
    return one


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs_redis
def test_a_worker_that_vanishes_in_the_middle_of_a_step_changes_nothing_about_the_end(
    workers: Machines, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    world = workers.world
    run = workers.run()
    victim = in_the_middle(workers, run)
    shown = subprocess.run(["ps", "-eo", "args", "-ww"], capture_output=True, text=True, check=True).stdout
    victim.vanish()
    until(lambda: not workers.all[1].is_at_a_step, run)
    (row,) = world.registry("SELECT run_id FROM provisioning.run")
    held = asyncio.run(in_ledger(world.settings, lambda ledger: runs_at_work(ledger, [row[0]])))
    assert held == {row[0]}, "no other run takes it for dead, though no worker is at it"

    assert run.ends() == 0, run.said

    assert ended(world) == {key: undisturbed[key] for key in ended(world)}
    assert done(world)["create workspace", "done"] == TENANTS
    secrets = [value for name, value in workers.environment.items() if name.endswith(("_KEY", "_SECRET", "_PASSWORD"))]
    assert len(secrets) > 2
    for secret in [*secrets, BROKER_PASSWORD]:
        assert secret not in shown
        assert not any(secret in machine.said for machine in workers.all)
    assert shown_elsewhere(workers, tmp_path / "elsewhere") == TENANTS


def shown_elsewhere(workers: Machines, folder: Path) -> int:
    """Rows of a table, read by a machine that has nothing but the settings; the report is shown there, too."""
    folder.mkdir()
    program = (
        "from provisioning_pipeline.defs.tables import place, read; "
        "print(len(read(place() / 'tenant_inventory.parquet')))"
    )
    rows = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=os.environ | workers.environment,
        capture_output=True,
        check=True,
    )
    run_id, report = workers.world.registry("SELECT run_id, report FROM provisioning.run")[0]
    ours = {name: value for name, value in workers.environment.items() if name.startswith("PROVISIONING_")}
    with api_to(settings_of(ours)) as api:
        answer = api.http.get(f"/reports/{run_id}")
    assert (answer.status_code, answer.content) == (200, Path(report).read_bytes())
    return int(rows.stdout)


@pytest.mark.slow
@pytest.mark.timeout(900)
@needs_redis
def test_a_step_that_kills_its_process_fails_the_run_and_the_next_one_finishes(
    workers: Machines, undisturbed: dict[str, Any]
) -> None:
    world = workers.world
    run = workers.run()
    for child in in_the_middle(workers, run).children:
        os.kill(child, signal.SIGKILL)

    assert run.ends() != 0
    assert "WorkerLostError" in run.said
    again = workers.run("again")
    assert again.ends() == 0, again.said
    # a workspace whose activation was cut is taken again once Twenty has ended it
    attempts = iter(range(100))
    while world.apply().summary.unwell:
        next(attempts)

    for key in ("conditions", "members", "workspaces", "onboarding"):
        assert ended(world)[key] == undisturbed[key]


# --- what protects a run meanwhile --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE])
def test_a_step_of_a_run_that_has_ended_changes_nothing_when_a_queue_hands_it_out_later(
    base: str, instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    run_id = made(instance, status, [])
    # as a worker has it that takes the step now
    context: Any = SimpleNamespace(run_id=run_id, instance=instance)
    begun: list[str] = []

    async def work(run: Run) -> None:
        begun.append(run.run_id)

    with pytest.raises(dg.Failure, match=f"The run {run_id} has ended"):
        Systems().take_up(context, work)

    assert not begun
