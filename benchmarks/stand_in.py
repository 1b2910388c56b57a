"""A sandbox in a process of its own, so that its processor time is not the measured process's.

The sandbox lives as long as its standard input is open. However the benchmark ends, even killed, the operating system
closes that pipe, and the sandbox stops its servers and removes its folder.
"""

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

import httpx2

from provisioning_pipeline.sandbox.fleet import AddedTenant, OverHttp, add_tenant
from provisioning_pipeline.settings import PREFIX, Settings, load_settings

ROOT = Path(__file__).parents[1]
_STOP_SECONDS = 60


@dataclass(frozen=True)
class Wanted:
    """What the sandbox is to hold.

    Args:
        tenants: real tenants, with databases.
        members: people in each one's organization, the admin included.
        activation_seconds: how long `activateWorkspace` takes.
        bcrypt_rounds: cost of a password; the real Twenty uses 10.
        ready: run the pipeline once, so that these tenants are ready.
        rows: tenants that are rows and no databases, see `rows.py`; they need `ready`.
        row_members: members of each of those.
        row_people: how many people these members are; 0: each is somebody else.
    """

    tenants: int = 1
    members: int = 4
    activation_seconds: float = 0.05
    bcrypt_rounds: int = 4
    ready: bool = False
    rows: int = 0
    row_members: int = 4
    row_people: int = 0


@dataclass(frozen=True)
class StandIn:
    """A running sandbox, seen from the measuring process.

    Args:
        environment: every PROVISIONING_* setting that the pipeline needs for it.
    """

    environment: dict[str, str]

    @contextmanager
    def settings(self) -> Iterator[Settings]:
        """Its settings, also in the environment, where Dagster's resource reads them; nobody else's, no `.env`."""
        with only_settings(self.environment) as settings:
            yield settings

    def add_tenants(self, slugs: Sequence[str], members: int = 4) -> list[AddedTenant]:
        """Add tenants as their tenant manager would: people, registry row, then CREATE DATABASE."""
        return [
            add_tenant(
                registry_url=self.environment["PROVISIONING_REGISTRY_URL"],
                clerk_base_url=self.environment["PROVISIONING_CLERK_BASE_URL"],
                clerk_secret_key=self.environment["PROVISIONING_CLERK_SECRET_KEY"],
                slug=slug,
                members=members,
            )
            for slug in slugs
        ]

    @contextmanager
    def clerk(self) -> Iterator[OverHttp]:
        """Its Clerk, to add people and memberships."""
        directory = OverHttp(
            self.environment["PROVISIONING_CLERK_BASE_URL"], self.environment["PROVISIONING_CLERK_SECRET_KEY"]
        )
        try:
            yield directory
        finally:
            directory.close()

    def reset_counters(self) -> None:
        """Count calls anew."""
        for base in self._controls():
            httpx2.post(f"{base}/sandbox/reset").raise_for_status()

    def calls(self) -> Counter[str]:
        """What Clerk and Twenty were called since, by name."""
        found: Counter[str] = Counter()
        for base in self._controls():
            found.update(httpx2.get(f"{base}/sandbox/state").raise_for_status().json()["calls"])
        return found

    def mails(self) -> int:
        """How many e-mails Twenty would have sent since."""
        base = self.environment["PROVISIONING_TWENTY_BASE_URL"]
        return len(httpx2.get(f"{base}/sandbox/state").raise_for_status().json()["mails"])

    def _controls(self) -> tuple[str, str]:
        clerk = self.environment["PROVISIONING_CLERK_BASE_URL"].removesuffix("/v1")
        return clerk, self.environment["PROVISIONING_TWENTY_BASE_URL"]


@contextmanager
def only_settings(environment: Mapping[str, str]) -> Iterator[Settings]:
    """These settings and nobody else's, in the environment and as an object."""
    before = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    with TemporaryDirectory() as empty, chdir(empty):
        try:
            _replace_settings(environment)
            yield load_settings()
        finally:
            _replace_settings(before)


def _replace_settings(wanted: Mapping[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    os.environ.update(wanted)


@contextmanager
def stand_in(wanted: Wanted) -> Iterator[StandIn]:
    """Such a sandbox, gone at the end.

    Raises:
        RuntimeError: when it does not start, with the end of what it had to say.
    """
    with TemporaryFile("w+", encoding="utf-8") as complaints:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.stand_in", json.dumps(asdict(wanted))],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
        with _stopped_at_the_end(process):
            assert process.stdout is not None
            line = process.stdout.readline()
            if line:
                yield StandIn(json.loads(line))
                return
        complaints.seek(0)
        raise RuntimeError(f"the sandbox did not start: {complaints.read()[-2000:]}")


@contextmanager
def _stopped_at_the_end(process: "subprocess.Popen[str]") -> Iterator[None]:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield
    finally:
        process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _serve(wanted: Wanted) -> None:
    from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
    from provisioning_pipeline.sandbox.twenty.options import TwentyOptions

    # Ctrl-C reaches this process too; it is the benchmark that says when to stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    twenty = TwentyOptions(activation_seconds=wanted.activation_seconds, bcrypt_rounds=wanted.bcrypt_rounds)
    with Sandbox(SandboxOptions(tenants=wanted.tenants, members=wanted.members, twenty=(twenty,))) as sandbox:
        environment = sandbox.environment()
        if wanted.ready or wanted.rows:
            with only_settings(environment) as settings:
                _make_ready(settings, wanted.tenants)
                if wanted.rows:
                    from benchmarks.rows import add_rows

                    add_rows(settings, sandbox.clerk, wanted.rows, members=wanted.row_members, people=wanted.row_people)
        # what is there stays there: looking for garbage in a large Clerk would interrupt its answers
        gc.collect()
        gc.freeze()
        print(json.dumps(environment), flush=True)
        sys.stdin.read()


def _make_ready(settings: Settings, tenants: int) -> None:
    from provisioning_pipeline.run.run import apply

    applied = asyncio.run(apply(settings))
    if applied.count("ready") != tenants:
        unready = next((line for line in applied.tenants if line.state != "ready"), None)
        raise RuntimeError(f"{applied.count('ready')} of {tenants} tenants are ready; the first that is not: {unready}")


if __name__ == "__main__":
    _serve(Wanted(**json.loads(sys.argv[1])))
