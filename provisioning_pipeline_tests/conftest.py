"""What every folder shares: one embedded Postgres for the whole run, and how the tests run."""

import gc
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.cluster import running_cluster

# importing and collecting makes millions of objects, all of which stay: the collector would look through them in vain
gc.disable()

# neither the machine's load nor chance decides about a verdict; `--hypothesis-profile wide` looks further
settings.register_profile(
    "suite", deadline=None, max_examples=15, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("wide", deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# the tests make hundreds of databases to throw away, and a disk takes five times as long for one as memory does
MEMORY = Path("/dev/shm")
if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4_000_000_000:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests wait for servers that are away, for processes, for each other's locks."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """Collect garbage again; what was imported and collected is never looked through."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def copied_clusters() -> Iterator[None]:
    """A new cluster is a copy of the first one: initdb takes longer than most tests."""
    folder = Path(tempfile.mkdtemp(prefix="provisioning-pristine-"))
    folder.chmod(0o755)
    pristine = folder / "cluster"
    initialise = SandboxPostgres._initialise

    def copy(postgres: SandboxPostgres) -> None:
        cluster = postgres._cluster
        if pristine.exists() and not cluster.exists():
            # with owner and modes, which shutil does not keep
            subprocess.run(["cp", "-a", str(pristine), str(cluster)], check=True)
        initialise(postgres)
        if not pristine.exists() and not (cluster / "postmaster.pid").exists():
            subprocess.run(["cp", "-a", str(cluster), str(pristine)], check=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SandboxPostgres, "_initialise", copy)
        yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sandbox_postgres() -> Iterator[SandboxPostgres]:
    """A running cluster; tests make databases of their own in it."""
    with running_cluster() as postgres:
        yield postgres


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of the asynchronous tests."""
    return "asyncio"
