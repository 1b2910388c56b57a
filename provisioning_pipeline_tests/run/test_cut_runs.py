"""A run that is cut, however that comes, ends in the ledger as cut, with everything that it did."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.interrupts import heeding_interrupts
from provisioning_pipeline_tests.world import World

TENANTS = 12
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def world() -> Iterator[World]:
    twenty = (TwentyOptions(activation_seconds=4.0),)
    with Sandbox(SandboxOptions(tenants=TENANTS, members=1, twenty=twenty)) as sandbox:
        yield World(sandbox)


def provisioning(world: World, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PROVISIONING_")}
    return subprocess.Popen(
        [sys.executable, "-m", "provisioning_pipeline.cli", *arguments],
        env=clean | world.sandbox.environment() | {"COLUMNS": "200"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeding_interrupts,
    )


def cut_in_the_middle(world: World, folder: Path, how: signal.Signals) -> tuple[int, str]:
    """Run `provisioning apply`, and send it this signal while workspaces are being made; how it ended."""
    process = provisioning(world, folder, "apply")
    while len(made(world)) < TENANTS // 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def made(world: World) -> list[str]:
    """The workspaces that stand in Twenty: subdomains."""
    there = world.twenty("SELECT to_regclass('core.workspace') IS NOT NULL")[0][0]
    return [workspace.subdomain for workspace in world.workspaces()] if there else []


def creations(world: World) -> dict[str, list[tuple[str, str]]]:
    """Database name → (run, status) of each recorded creation that was made, or may have been."""
    rows = world.registry(
        "SELECT database_name, run_id, status FROM provisioning.outcome WHERE change = 'create workspace' "
        "AND status <> 'failed' ORDER BY id"
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for name, run_id, status in rows:
        found.setdefault(name, []).append((run_id, status))
    return found


def runs(world: World) -> list[tuple[str, str | None, bool, str | None, int | None]]:
    return [
        tuple(row)
        for row in world.registry(
            "SELECT run_id, ended_as, finished_at IS NOT NULL, cut_why, actions FROM provisioning.run ORDER BY begun_at"
        )
    ]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGHUP])
def test_a_run_that_is_cut_in_the_middle_is_recorded_whole_and_the_next_one_finishes(
    world: World, tmp_path: Path, how: signal.Signals
) -> None:
    code, said = cut_in_the_middle(world, tmp_path, how)
    before = made(world)
    (cut,) = runs(world)

    if how is signal.SIGKILL:
        assert code == -signal.SIGKILL
        assert cut[1] is None
    else:
        assert (code, "Traceback" in said, "Stopped." in said) == (1, False, True), said
        assert cut[1:3] == ("cut", False)
        assert (cut[3] or "").startswith("It was told to stop")
        assert world.registry("SELECT count(*) FROM provisioning.outcome WHERE status = 'begun'")[0][0] == 0
    # each workspace has its outcome already
    assert len(before) <= len(creations(world)) <= TENANTS

    status, _ = provisioning(world, tmp_path, "status").communicate(timeout=60)
    assert f"run {cut[0]}" in status, status
    assert "was cut" in status

    # a workspace whose activation was cut is taken again once Twenty has ended it
    until = time.monotonic() + 120
    while (applied := world.apply()).summary.unwell:
        assert time.monotonic() < until
        time.sleep(1)

    assert len(made(world)) == len(set(made(world))) == TENANTS
    found = creations(world)
    assert {len(each) for each in found.values()} == {1}
    assert len(found) == TENANTS
    assert {status for each in found.values() for _, status in each} == {"done"}
    first, *others = runs(world)
    assert first[1:3] == ("cut", False)
    assert first[4] is not None
    assert first[4] >= len([1 for ((run_id, _),) in found.values() if run_id == cut[0]])
    assert {other[1:3] for other in others} == {("done", True)}
    assert [point.cut_why is not None for point in applied.summary.history] == [True, *(False for _ in others)]
    assert world.apply().summary.actions == 0
