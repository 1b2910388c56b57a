"""Machines that work on one fleet: each with a Dagster home and a folder of its own, over one storage and one Redis."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from sqlalchemy import make_url

from provisioning_pipeline.sandbox.postgres import free_port
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.world import World

BROKER_PASSWORD = "a-password-of-redis"  # of a Redis on loopback
_HOME = """
telemetry: {enabled: false}
storage: {postgres: {postgres_url: {env: DAGSTER_PG_URL}}}
compute_logs: {module: dagster._core.storage.noop_compute_log_manager, class: NoOpComputeLogManager}
"""
_MOST_SECONDS = 300.0


@dataclass
class Machine:
    """A process, its folder, and what it said."""

    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def said(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    @property
    def is_at_a_step(self) -> bool:
        """A Celery worker has taken a step and not ended it."""
        return self.said.count(" received") > self.said.count(" succeeded in ")

    @property
    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def vanish(self) -> None:
        """The whole machine is gone."""
        os.killpg(self.process.pid, signal.SIGKILL)

    def ends(self) -> int:
        return self.process.wait(timeout=_MOST_SECONDS)


@dataclass
class Machines:
    """A fleet, and what machines have in common that work on it."""

    world: World
    folder: Path
    environment: dict[str, str]
    all: list[Machine] = field(default_factory=list)

    def start(self, name: str, *arguments: str) -> Machine:
        """Start a program on a machine of its own."""
        folder = self.folder / name
        folder.mkdir()
        (folder / "dagster.yaml").write_text(_HOME)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                arguments,
                cwd=folder,
                env=os.environ | self.environment | {"DAGSTER_HOME": str(folder)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.all.append(Machine(folder, process))
        return self.all[-1]

    def worker(self, name: str) -> Machine:
        """Start a Celery worker, and wait until it takes steps."""
        celery = str(Path(sys.executable).with_name("celery"))
        options = ("--concurrency", "1", "--loglevel", "INFO", "--hostname", f"{name}@%h")
        made = self.start(name, celery, "-A", "provisioning_pipeline.worker", "worker", *options)
        until(lambda: " ready." in made.said, made)
        return made

    def run(self, name: str = "run") -> Machine:
        """Begin a reconciliation of all tenants, from the definitions and without any run configuration."""
        job = ("job", "execute", "-m", "provisioning_pipeline.definitions", "-j", "reconcile_tenants")
        return self.start(name, sys.executable, "-m", "dagster", *job)


@contextmanager
def machines(folder: Path, executor: str, *, tenants: int, activation_seconds: float) -> Iterator[Machines]:
    """A new fleet in chunks of three tenants; with Celery, a Redis, too."""
    twenty = (TwentyOptions(activation_seconds=activation_seconds),)
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(SandboxOptions(tenants=tenants, members=2, twenty=twenty)))
        storage = make_url(sandbox.postgres.create_database("dagster")).set(drivername="postgresql+psycopg2")
        environment = sandbox.environment() | {
            "DAGSTER_PG_URL": storage.render_as_string(hide_password=False),
            "PROVISIONING_EXECUTOR": executor,
            "PROVISIONING_TENANTS_PER_CHUNK": "3",
            "PROVISIONING_REPORT_PATH": (folder / "shared").as_uri(),
            # longer than a step takes on a busy machine
            "PROVISIONING_CELERY_REDELIVERY_SECONDS": "40",
        }
        if executor == "celery":
            environment["PROVISIONING_CELERY_BROKER"] = stack.enter_context(running_redis(folder))
        made = Machines(World(sandbox), folder, environment)
        stack.callback(_end, made)
        yield made


@contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """A real Redis that keeps nothing; its URL."""
    port = free_port()
    server = shutil.which("redis-server")
    assert server is not None
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", BROKER_PASSWORD)
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen([server, *options], cwd=folder, stdout=log)
    url = f"redis://:{BROKER_PASSWORD}@127.0.0.1:{port}/0"
    try:
        until(lambda: _answers(url), Machine(folder, process))
        yield url
    finally:
        process.kill()
        process.wait()


def until(happened: Callable[[], bool], machine: Machine) -> None:
    """Wait for something while this machine is at work."""
    deadline = time.monotonic() + _MOST_SECONDS
    while not happened():
        assert machine.process.poll() is None, machine.said
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as asking:
            return bool(asking.ping())
    except redis.ConnectionError:
        return False


def _end(made: Machines) -> None:
    for machine in made.all:
        if machine.process.poll() is None:
            machine.vanish()
        machine.process.wait()
