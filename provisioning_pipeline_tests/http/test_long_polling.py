"""A request for a tenant waits until there is something to say, and never longer."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from provisioning_pipeline_tests.http.services import Service, accepted, own_api, problem, ready


class TestWaiting:
    """Each of these waits for longer than its caller would, were it not answered early."""

    LONG = 60

    @pytest.fixture(autouse=True)
    def impatient(self, service: Service) -> Iterator[None]:
        before, service.http.timeout = service.http.timeout, httpx2.Timeout(25)
        yield
        service.http.timeout = before

    def test_it_ends_when_the_tenant_is_ready(self, service: Service) -> None:
        service.dagster.work = service.looked

        document = ready(service.put("acme", database_name="twenty_tenant_acme", wait=self.LONG))

        assert document["waiting"] is False

    def test_it_ends_when_the_run_has_ended_without_a_ready_tenant(self, service: Service) -> None:
        service.dagster.work = lambda run: service.tenants.looked(run.id, run.tenants[0], ready=False)

        document = accepted(service.put("acme", database_name="twenty_tenant_acme", wait=self.LONG))

        assert (document["state"], document["waiting"]) == ("unwell", False)
        assert document["conditions"][0]["reason"] == "ServerFull"

    def test_it_ends_when_the_server_is_about_to(self, service: Service) -> None:
        stopping = threading.Event()
        service.dagster.work = lambda _: stopping.set()
        with own_api(service, stopping.is_set) as own:
            accepted(own.put("acme", database_name="twenty_tenant_acme", wait=self.LONG))

    def test_it_ends_at_its_time(self, service: Service) -> None:
        document = accepted(service.put("acme", database_name="twenty_tenant_acme", wait=0.1))

        assert document["waiting"] is True

    def test_a_repeated_request_waits_for_the_run_of_the_first(self, service: Service) -> None:
        accepted(service.put("acme", word="w-1", database_name="twenty_tenant_acme"))
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(service.put, "acme", word="w-1", wait=self.LONG, database_name="twenty_tenant_acme")
            service.looked(service.dagster.runs[0])
            ready(asking.result())

    def test_a_tenant_that_is_set_aside_is_told_when_its_run_has_ended(self, service: Service) -> None:
        service.tenants.add("acme", status="suspended")
        service.dagster.work = lambda run: service.tenants.looked(
            run.id, run.tenants[0], ready=False, reason="TenantSuspended"
        )

        assert accepted(service.put("acme", wait=self.LONG))["state"] == "aside"

    @pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "soon", ""])
    def test_no_other_time_is_taken(self, service: Service, wait: str) -> None:
        problem(service.http.put("/v1/tenants/acme", params={"wait": wait}), 422)
