"""Staging and production as two code locations of one real Dagster: a web server, two code servers, two ledgers."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from provisioning_pipeline.clients.dagster import DagsterAway, DagsterClient, Place
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in

JOB = "reconcile_tenants"
LOCATIONS = ("production", "staging")
_LOCATION = """
import os
os.environ.update({environment!r})
from provisioning_pipeline.definitions import defs
"""
_TICK = """
mutation Tick($selector: SensorSelector!) {
  sensorDryRun(selectorData: $selector, cursor: null) {
    __typename
    ... on DryRunInstigationTick { evaluationResult {
      runRequests { runConfigYaml tags { key value } } skipReason error { message } } }
    ... on PythonError { message }
  }
}
"""


@pytest.fixture
def ledgers(sandbox_postgres: SandboxPostgres) -> Iterator[dict[str, Fleet]]:
    with fleet_in(sandbox_postgres) as production, fleet_in(sandbox_postgres) as staging:
        for fleet in (production, staging):
            fleet.link("acme")
            fleet.sql("UPDATE provisioning.tenant_link SET marked_at = now()")
        yield {"production": production, "staging": staging}


@pytest.fixture
def url(ledgers: dict[str, Fleet], tmp_path: Path) -> Iterator[str]:
    entries = []
    for name, fleet in ledgers.items():
        (tmp_path / f"at_{name}.py").write_text(_LOCATION.format(environment=fleet.environment()))
        entries.append(f"  - python_module: {{module_name: at_{name}, location_name: {name}}}")
    (tmp_path / "workspace.yaml").write_text("\n".join(["load_from:", *entries]))
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PROVISIONING_")}
    command = [sys.executable, "-m", "dagster_webserver", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment
            | {"DAGSTER_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _until_it_answers(f"http://127.0.0.1:{port}", server, tmp_path / "log")
        yield f"http://127.0.0.1:{port}/graphql"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)


def _until_it_answers(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            httpx2.get(f"{url}/server_info", timeout=5).raise_for_status()
        except httpx2.HTTPError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(log.read_text())


def launch(url: str, location: str | None = None, known: str | None = None, **config: Any) -> str:
    """The id of a run, or why there is none."""

    async def work() -> str:
        async with DagsterClient(url, location=location) as dagster:
            try:
                place = Place(known, "__repository__") if known else None
                return await dagster.launch(JOB, config, {"trigger": "operator"}, known=place)
            except DagsterAway as away:
                return str(away)

    return asyncio.run(work())


def tick(url: str, location: str) -> tuple[list[str], str]:
    """The tenants that the sensor asks for there, and why none."""
    selector = {"repositoryLocationName": location, "repositoryName": "__repository__", "sensorName": "clerk_changes"}
    answer = httpx2.post(url, json={"query": _TICK, "variables": {"selector": selector}}, timeout=60).json()
    result = answer["data"]["sensorDryRun"]["evaluationResult"]
    assert result["error"] is None, result
    asked = [name for request in result["runRequests"] or [] for name in re.findall("- (.+)", request["runConfigYaml"])]
    return asked, str(result["skipReason"])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_location_has_its_own_runs_and_sensors(url: str, ledgers: dict[str, Fleet]) -> None:
    assert launch(url).startswith(f"Dagster has 2 jobs called {JOB}; one is needed. Set PROVISIONING_DAGSTER_LOCATION")
    launched = [launch(url, location="staging"), launch(url, known="staging")]
    assert all(re.fullmatch("[0-9a-f-]{36}", run_id) for run_id in launched)

    assert tick(url, "production") == (["acme"], "None")
    asked, why = tick(url, "staging")
    assert (asked, "A reconciliation of all tenants is under way." in why) == ([], True)

    config = {"detect_tenants": {"config": {"tenants": ["acme"]}}}
    assert re.fullmatch("[0-9a-f-]{36}", launch(url, known="production", ops=config))
    asked, why = tick(url, "production")
    assert (asked, "already" in why) == ([], True)
