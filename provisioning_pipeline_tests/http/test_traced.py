"""One trace from a tenant manager's request to the ready tenant, as a collector gets it over HTTP."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from provisioning_pipeline.clients import tracing
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.clients.collector import Collector, attributes_of, collecting
from provisioning_pipeline_tests.http.dagster_stand_in import Run, running_dagster
from provisioning_pipeline_tests.http.services import caller, key_of, ready, serving, small_world, tenants_in

EXECUTE = """
import json, sys
import dagster as dg
from provisioning_pipeline.definitions import defs

run_id, tenants, tags = json.loads(sys.argv[1])
config = {"ops": {"detect_tenants": {"config": {"tenants": tenants}}}}
with dg.DagsterInstance.ephemeral() as instance:
    defs.resolve_job_def("reconcile_tenants").execute_in_process(
        instance=instance, run_id=run_id, tags=tags, run_config=config
    )
"""
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
        assert tracing.begin() is None
        provider = tracing._provider
        assert provider is not None
        yield running
        tracing.use(None)
        provider.shutdown()


def executed_elsewhere(environment: dict[str, str]) -> Callable[[Run], None]:
    """What a run does: Dagster executes its job in a process of its own."""

    def work(run: Run) -> None:
        told = json.dumps([run.id, run.tenants, run.tags])
        subprocess.run([sys.executable, "-c", EXECUTE, told], env=environment, check=True, capture_output=True)

    return work


@pytest.mark.slow
def test_a_request_its_run_in_another_process_and_the_ready_tenant_are_one_trace(
    collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with small_world(tenants=1, members=2) as world, running_dagster() as (dagster, server):
        settings = world.settings.model_copy(update={"dagster_graphql_url": f"{server.url}/graphql"})
        tracing.flush()
        (earlier,) = collector.named("run")
        assert {span.trace_id for span in collector.spans} == {earlier.trace_id}
        collector.spans.clear()
        added = world.sandbox.add_tenant("newcomer", members=2)
        own = {"PROVISIONING_REPORT_PATH": str(tmp_path_factory.mktemp("reports")), "OTEL_SERVICE_NAME": "runs"}
        dagster.work = executed_elsewhere({**os.environ, **world.sandbox.environment(), **own})
        with serving(settings) as url, caller(url, key_of(settings), traceparent=f"00-{TRACE}-{CALLER}-01") as http:
            ready(http.put("/v1/tenants/newcomer", params={"wait": 60}))
            dagster.join()
        tracing.flush()
        secrets = {
            str(value)
            for name, value in world.sandbox.environment().items()
            if "PASSWORD" in name or "SECRET" in name or "KEY" in name
        }
        people = {row[0] for row in world.twenty('SELECT email FROM core."user"')} | {added.admin_email}

    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    (request,) = collector.named("PUT /v1/tenants/{slug}")
    assert request.parent_span_id.hex() == CALLER
    assert attributes_of(request)["http.response.status_code"] == 200
    by_id = {span.span_id: span for span in collector.spans}

    def above(name: str) -> list[str]:
        """The names of the spans above the first of this name, up to the caller's."""
        found, names = collector.named(name)[0], []
        while found.parent_span_id in by_id:
            found = by_id[found.parent_span_id]
            names.append(found.name)
        return names

    assert above("observe and decide") == ["detect_tenants", request.name]
    assert above("signUpInNewWorkspace")[1:] == ["provision_workspaces", request.name]
    assert above("verify_logins")[-1] == request.name
    (at_last,) = collector.named("ready")
    assert attributes_of(at_last) == {"provisioning.tenant": "newcomer", "provisioning.reason": "AllTrue"}
    assert at_last.end_time_unix_nano > request.start_time_unix_nano
    assert any("Clerk" in str(attributes_of(span).get("provisioning.system")) for span in collector.spans)
    assert collector.services == {"provisioning_pipeline", "runs"}
    assert people
    for secret in secrets | people | {"http://", "https://", "postgres"}:
        assert secret.encode() not in collector.bytes, secret


def test_each_request_is_a_span_but_what_machines_ask_for_all_the_time(
    collector: Collector, sandbox_postgres: SandboxPostgres
) -> None:
    with (
        tenants_in(sandbox_postgres) as tenants,
        serving(tenants.settings()) as url,
        caller(url, key_of(tenants.settings())) as http,
    ):
        http.post("/canary")
        for path in ("/v1/tenants/canary?page=canary", "/canary.php?canary", "/healthz", "/metrics"):
            http.get(path, headers={"traceparent": "no such thing"})
    tracing.flush()

    assert sorted(span.name for span in collector.spans) == ["GET /v1/tenants/{slug}", "request", "request"]
    assert len({span.trace_id for span in collector.spans}) == 3
    assert b"canary" not in collector.bytes
