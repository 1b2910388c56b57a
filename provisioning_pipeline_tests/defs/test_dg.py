"""Dagster's own `dg` in the checkout: it finds the project, loads it and launches a job."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline_tests.world import World

ROOT = Path(__file__).parents[2]
DRY_RUN = '{"ops": {"detect_tenants": {"config": {"dry_run": true}}}}'
Dg = Callable[..., str]


@pytest.fixture
def dg(tmp_path: Path) -> Dg:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PROVISIONING_")}

    def run(*arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [Path(sys.executable).with_name("dg"), *arguments],
            cwd=ROOT,
            env=clean | environment | {"DAGSTER_HOME": str(tmp_path), "VIRTUAL_ENV": sys.prefix},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.mark.slow
def test_dg_lists_what_the_project_has(dg: Dg) -> None:
    told = dg("list", "defs", "--json")

    for name in ("reconciliation_report", "reconcile_tenants", "new_tenant_databases", "verify_daily"):
        assert f'"{name}"' in told


@pytest.mark.slow
def test_dg_launches_a_dry_run_that_changes_nothing(dg: Dg) -> None:
    with Sandbox(SandboxOptions(tenants=2, members=1)) as sandbox:
        told = dg("launch", "--job", "reconcile_tenants", "--config-json", DRY_RUN, **sandbox.environment())

        assert "RUN_SUCCESS" in told
        assert World(sandbox).workspaces() == []
