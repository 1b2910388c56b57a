"""Dagster or the ledger is away, or answers nonsense, while a tenant manager asks."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from provisioning_pipeline.defs.launching import clerk_changes
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.http.services import (
    Service,
    accepted,
    caller,
    key_of,
    own_api,
    problem,
    serving,
    tenants_in,
)


class TestWithoutDagster:
    """The tenant is marked, and the sensor does what the HTTP API could not."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "answer",
        [
            lambda: PlainTextResponse("<html>Bad gateway</html>", 502),
            lambda: JSONResponse([]),
            lambda: JSONResponse(None),
            lambda: JSONResponse({"errors": [{"message": "no"}]}),
            lambda: JSONResponse({"data": None, "errors": [{"message": "no"}]}, 500),
            lambda: JSONResponse({"data": {}}),
            lambda: JSONResponse({"data": {"repositoriesOrError": {"__typename": "PythonError", "message": "x"}}}),
            lambda: JSONResponse({"data": {"repositoriesOrError": None, "launchRun": None}}),
            lambda: JSONResponse({"data": {"repositoriesOrError": {"nodes": [{"name": "x"}]}}}),
            lambda: JSONResponse({"data": {"repositoriesOrError": []}}),
            lambda: Response(b"\xff\xfe", 200, media_type="application/json"),
        ],
        ids=["gateway", "list", "null", "errors", "error", "empty", "python", "nulls", "half", "odd", "bytes"],
    )
    def test_what_it_answers_may_be_anything(self, service: Service, answer: Callable[[], Response]) -> None:
        with own_api(service) as own:
            own.dagster.answer = answer

            self.is_marked_and_accepted(own)

    @pytest.mark.parametrize(
        "answer",
        [
            {"__typename": "RunConfigValidationInvalid", "errors": [{"message": "x"}]},
            {"__typename": "PythonError", "message": "x"},
            {"__typename": "UnauthorizedError"},
            {"__typename": "LaunchRunSuccess"},
            {"__typename": "LaunchRunSuccess", "run": None},
        ],
        ids=["config", "python", "unauthorized", "no run", "null run"],
    )
    def test_it_may_refuse_the_launch(self, service: Service, answer: dict[str, Any]) -> None:
        with own_api(service) as own:
            accepted(own.put("other", database_name="twenty_tenant_other"))
            own.dagster.runs.clear()
            own.tenants.sql("UPDATE provisioning.tenant_link SET marked_at = NULL")
            own.dagster.answer = lambda: JSONResponse({"data": {"launchRun": answer}})

            self.is_marked_and_accepted(own)

    @pytest.mark.parametrize("locations", [[], ["one", "two"]])
    def test_the_job_may_be_nowhere_or_twice(self, service: Service, locations: list[str]) -> None:
        with own_api(service) as own:
            own.dagster.locations = locations

            self.is_marked_and_accepted(own)

    def test_it_may_be_away(self, service: Service) -> None:
        with own_api(service, dagster_graphql_url="http://127.0.0.1:9/graphql") as own:
            self.is_marked_and_accepted(own)

    def test_nobody_may_have_named_it(self, service: Service) -> None:
        with own_api(service, dagster_graphql_url=None) as own:
            self.is_marked_and_accepted(own)

    def test_a_code_location_may_be_renamed_meanwhile(self, service: Service) -> None:
        with own_api(service) as own:
            accepted(own.put("other", database_name="twenty_tenant_other"))
            own.dagster.locations = ["renamed"]
            accepted(own.put("acme", database_name="twenty_tenant_acme"))
            assert service.tenants.marked() == ["twenty_tenant_acme", "twenty_tenant_other"]

            accepted(own.put("acme"))

            assert [run.tenants for run in own.dagster.runs] == [["twenty_tenant_other"], ["twenty_tenant_acme"]]

    def test_the_sensor_launches_it_before_others(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        clerks = service.tenants.add("clerks")
        service.tenants.sql("UPDATE provisioning.tenant_link SET marked_at = now(), marked_by = 'clerk'")
        with own_api(service, dagster_graphql_url="http://127.0.0.1:9/graphql") as own:
            self.is_marked_and_accepted(own, others=[clerks])
        for name, value in service.tenants.environment().items():
            monkeypatch.setenv(name, value)

        with dg.DagsterInstance.ephemeral() as instance:
            requests = clerk_changes(dg.build_sensor_context(instance=instance))

        assert isinstance(requests, list)
        request, others = requests
        assert others.tags["trigger"] == "clerk"
        assert request.run_config["ops"]["detect_tenants"]["config"]["tenants"] == ["twenty_tenant_acme"]
        assert request.tags["trigger"] == "tenant-manager"

    @staticmethod
    def is_marked_and_accepted(own: Service, *, others: list[str] | None = None) -> None:
        document = accepted(own.put("acme", database_name="twenty_tenant_acme"))

        assert (document["run_id"], document["waiting"]) == (None, True)
        assert own.dagster.runs == []
        assert own.tenants.marked() == sorted(["twenty_tenant_acme", *(others or [])])
        (found,) = own.tenants.sql(
            "SELECT marked_by FROM provisioning.tenant_link WHERE database_name = 'twenty_tenant_acme'"
        )
        assert found == ("tenant-manager",)


def test_while_the_ledger_is_away_callers_are_asked_to_come_again(sandbox_postgres: SandboxPostgres) -> None:
    with tenants_in(sandbox_postgres) as tenants:
        settings = tenants.settings()
        with serving(settings) as url, caller(url, key_of(settings)) as http:
            assert http.get("/v1/tenants").status_code == 200
            tenants.shut()
            for method, path in (
                ("GET", "/v1/tenants"),
                ("GET", "/v1/tenants/acme"),
                ("PUT", "/v1/tenants/acme"),
                ("POST", "/v1/tenants/acme/reconcile"),
            ):
                answer = http.request(method, path)
                problem(answer, 503)
                assert int(answer.headers["retry-after"]) >= 1
            tenants.open()
            answer = http.put("/v1/tenants/acme", json={"database_name": "twenty_tenant_acme"})
            assert answer.status_code == 202
