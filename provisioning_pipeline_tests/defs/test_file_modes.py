"""Every file that a run leaves is for those whom the setting names, and for the owner alone without it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from provisioning_pipeline.definitions import defs
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.defs.conftest import world_of
from provisioning_pipeline_tests.world import World

pytestmark = pytest.mark.slow
OPTIONS = SandboxOptions(tenants=2, members=1, twenty=(TwentyOptions(activation_seconds=0.0),))
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with Sandbox(OPTIONS) as sandbox:
        yield world_of(sandbox, monkeypatch)


@pytest.fixture(autouse=True)
def _open_to_all() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def written(folder: Path) -> dict[str, set[str]]:
    """The modes of all files, and of all folders."""
    found: dict[str, set[str]] = {"files": set(), "folders": set()}
    for path in [folder, *folder.rglob("*")]:
        found["folders" if path.is_dir() else "files"].add(oct(stat.S_IMODE(path.stat().st_mode)))
    return found


@pytest.mark.parametrize(
    ("shared", "files", "folders"),
    [(None, "0o600", "0o700"), ("group", "0o640", "0o750"), ("everyone", "0o644", "0o755")],
)
def test_every_file_of_a_run_is_for_its_readers(
    world: World,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shared: str | None,
    files: str,
    folders: str,
) -> None:
    place = tmp_path / "all"
    monkeypatch.setenv("PROVISIONING_REPORT_PATH", str(place / "reports"))
    monkeypatch.setenv("PROVISIONING_TABLES_PATH", str(place / "tables"))
    if shared:
        monkeypatch.setenv("PROVISIONING_FILES_READABLE_BY", shared)
    job = defs.resolve_job_def("reconcile_tenants")
    for dry in (True, False):
        config = QUIET | {"ops": {"detect_tenants": {"config": {"dry_run": dry}}}}
        assert job.execute_in_process(instance=instance, run_config=config).success

    kinds = {path.relative_to(place).parts[1] for path in (place / "tables").rglob("*")}
    assert {"values", "plans", "history", "tenant_inventory.parquet"} <= kinds
    assert list((place / "reports").glob("reconciliation-*.html"))
    assert written(place) == {"files": {files}, "folders": {folders}}
