"""A sandbox in a process of its own, so that its processor time is not the measured process's.

The sandbox lives as long as its standard input is open. However the benchmark ends, even killed, the operating system
closes that pipe, and the sandbox stops its servers and removes its folder.
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

import httpx

from provisioning_pipeline.sandbox.fleet import AddedTenant, add_tenant
from provisioning_pipeline.settings import PREFIX, Settings, load_settings

_ROOT = Path(__file__).parents[2]
_STOP_SECONDS = 60


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
        before = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
        with TemporaryDirectory() as empty, chdir(empty):
            try:
                _replace_settings(self.environment)
                yield load_settings()
            finally:
                _replace_settings(before)

    def add_tenants(self, slugs: Sequence[str]) -> list[AddedTenant]:
        """Add tenants as their tenant manager would: people, registry row, then CREATE DATABASE."""
        return [
            add_tenant(
                registry_url=self.environment["PROVISIONING_REGISTRY_URL"],
                tenant_cluster_url=self.environment["PROVISIONING_TENANT_CLUSTER_URL"],
                clerk_base_url=self.environment["PROVISIONING_CLERK_BASE_URL"],
                clerk_secret_key=self.environment["PROVISIONING_CLERK_SECRET_KEY"],
                slug=slug,
                members=4,
            )
            for slug in slugs
        ]

    def reset_counters(self) -> None:
        """Count calls anew."""
        for base in self._controls():
            httpx.post(f"{base}/sandbox/reset").raise_for_status()

    def calls(self) -> Counter[str]:
        """What Clerk and Twenty were called since, by name."""
        found: Counter[str] = Counter()
        for base in self._controls():
            found.update(httpx.get(f"{base}/sandbox/state").raise_for_status().json()["calls"])
        return found

    def _controls(self) -> tuple[str, str]:
        clerk = self.environment["PROVISIONING_CLERK_BASE_URL"].removesuffix("/v1")
        return clerk, self.environment["PROVISIONING_TWENTY_BASE_URL"]


def _replace_settings(wanted: dict[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    os.environ.update(wanted)


@contextmanager
def stand_in(*, tenants: int, activation_seconds: float) -> Iterator[StandIn]:
    """A sandbox with so many new tenants, gone at the end.

    Raises:
        RuntimeError: when it does not start, with the end of what it had to say.
    """
    with TemporaryFile("w+", encoding="utf-8") as complaints:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.provisioning.stand_in", str(tenants), str(activation_seconds)],
            cwd=_ROOT,
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


def _serve(tenants: int, activation_seconds: float) -> None:
    from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
    from provisioning_pipeline.sandbox.twenty.options import TwentyOptions

    # Ctrl-C reaches this process too; it is the benchmark that says when to stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    options = SandboxOptions(tenants=tenants, twenty=(TwentyOptions(activation_seconds=activation_seconds),))
    with Sandbox(options) as sandbox:
        print(json.dumps(sandbox.environment()), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), float(sys.argv[2]))
