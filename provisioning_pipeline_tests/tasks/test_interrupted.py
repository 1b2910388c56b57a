"""A certification that is stopped, or killed, leaves nothing once the next one has begun."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning_pipeline.cli.certify_bench import sandbox_bench
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.interrupts import heeding_interrupts
from provisioning_pipeline_tests.tasks.certifying import certified, left, service_accounts
from provisioning_pipeline_tests.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def world() -> Iterator[World]:
    with Sandbox(SandboxOptions(tenants=1, members=2, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        yield World(sandbox)


def stopped_once_it_has_made_something(world: World, folder: Path, how: signal.Signals) -> tuple[int, str]:
    """Start `provisioning certify`, send it that signal when somebody of its own is in a workspace, and see it end."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PROVISIONING_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "provisioning_pipeline.cli", "certify", "--yes", "--skip-crash-points"],
        env=clean | world.sandbox.environment() | {"COLUMNS": "200"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=heeding_interrupts,
    )
    made = False
    while not made:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
        made = any("@" in name for name in left_if_any(world))
    process.send_signal(how)
    said, _ = process.communicate(timeout=100)
    return process.returncode, said


def left_if_any(world: World) -> list[str]:
    """What there is by now; schema core itself is made by the first look."""
    there = world.twenty("SELECT to_regclass('core.workspace') IS NOT NULL")[0][0]
    return left(world) if there else []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_certification_that_is_told_to_stop_removes_what_it_made_and_keeps_no_certificate(
    world: World, tmp_path: Path, how: signal.Signals
) -> None:
    code, said = stopped_once_it_has_made_something(world, tmp_path, how)

    assert code == 1, said
    assert "It was interrupted." in said
    assert "Traceback" not in said
    assert left(world) == []
    assert service_accounts(world) == [True]
    assert world.registry("SELECT count(*) FROM provisioning.certificate")[0][0] == 0


def test_the_database_server_that_a_killed_certification_left_is_stopped_and_removed_and_a_living_one_is_not(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tmp_path.chmod(0o755)
    orphan = tmp_path / "provisioning-certify-orphan"
    script = (
        "import os, signal, sys; from pathlib import Path; from provisioning_pipeline.sandbox.postgres import "
        "SandboxPostgres; SandboxPostgres(Path(sys.argv[1]), keep=False).start(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    orphan.mkdir(mode=0o755)
    subprocess.run([sys.executable, "-c", script, str(orphan / "postgres")], check=False)
    # what postmaster.pid says in its fourth line
    port = int((orphan / "postgres" / "cluster" / "postmaster.pid").read_text().splitlines()[3])
    socket.create_connection(("127.0.0.1", port)).close()

    with (
        sandbox_bench(world.settings, world.settings.servers[0]),
        sandbox_bench(world.settings, world.settings.servers[0]),
    ):
        assert not orphan.exists()
        assert len(list(tmp_path.glob("provisioning-certify-*"))) == 2

    assert list(tmp_path.glob("provisioning-certify-*")) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_certification_leaves_the_folder_of_another_that_starts_or_stops_its_server(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tmp_path.chmod(0o755)
    starting = tmp_path / "provisioning-certify-starting"
    pid = starting / "postgres" / "cluster" / "postmaster.pid"
    pid.parent.mkdir(parents=True)
    pid.touch()

    with (starting / "held").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with sandbox_bench(world.settings, world.settings.servers[0]):
            assert pid.exists()
    assert pid.exists()

    with sandbox_bench(world.settings, world.settings.servers[0]):
        assert not starting.exists()


def test_what_a_killed_certification_left_is_removed_by_the_next(world: World, tmp_path: Path) -> None:
    code, _ = stopped_once_it_has_made_something(world, tmp_path, signal.SIGKILL)
    assert code == -signal.SIGKILL
    remains = left(world)
    assert any("@" in name for name in remains)
    # somebody who was signed up and never came in, as when the server was at it just then
    (stray,) = [name for name in remains if "@" in name][:1]
    world.twenty(
        'UPDATE core."userWorkspace" SET "deletedAt" = now() '
        'WHERE "userId" IN (SELECT id FROM core."user" WHERE email = %s) RETURNING id',
        stray,
    )
    world.apply()
    tenants = {workspace.id for workspace in world.workspaces() if not workspace.subdomain.startswith("certify-")}

    certificate = certified(world)

    assert certificate.holds, certificate.verdict
    assert any("earlier certification" in sentence for sentence in certificate.cleaning)
    assert left(world) == []
    assert {workspace.id for workspace in world.workspaces() if not workspace.deleted} == tenants
