"""Runs that the HTTP API launches for a tenant: one at a time, anew when it has ended, and whenever it is asked for."""

import pytest

from provisioning_pipeline_tests.http.services import Service, accepted, database_of, problem, ready


def test_a_run_that_is_under_way_is_not_launched_again(service: Service) -> None:
    first = accepted(service.put("acme", database_name="twenty_tenant_acme"))
    again = accepted(service.put("acme"))
    other = accepted(service.reconcile("acme"))

    assert first["run_id"] == again["run_id"] == other["run_id"]
    assert len(service.dagster.runs) == 1
    assert service.tenants.marked() == ["twenty_tenant_acme"]


@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE", "CANCELED"])
def test_a_run_that_has_ended_at_dagster_is_launched_anew(service: Service, status: str) -> None:
    """A run that was killed before it could tell the ledger is not waited for."""
    first = accepted(service.put("acme", database_name="twenty_tenant_acme"))
    service.dagster.runs[0].status = status

    again = accepted(service.put("acme"))

    assert again["run_id"] not in (first["run_id"], None)
    assert len(service.dagster.runs) == 2


def test_a_run_that_dagster_has_forgotten_is_launched_anew(service: Service) -> None:
    accepted(service.put("acme", database_name="twenty_tenant_acme"))
    service.dagster.runs.clear()

    assert accepted(service.put("acme"))["run_id"] == service.dagster.runs[0].id


class TestReconcile:
    """`POST /v1/tenants/{slug}/reconcile`: looked at, ready or not."""

    def test_a_ready_tenant_is_looked_at_again(self, service: Service) -> None:
        name = service.tenants.add("acme", ready=True)

        document = accepted(service.reconcile("acme"))

        assert document["run_id"] == service.dagster.runs[0].id
        assert service.dagster.runs[0].tenants == [name]
        assert service.tenants.marked() == [name]

    def test_it_can_be_waited_for(self, service: Service) -> None:
        service.tenants.add("acme", ready=True)
        service.dagster.work = service.looked

        assert ready(service.reconcile("acme", wait=30))["run_id"] == service.dagster.runs[0].id

    def test_the_database_name_does_as_well(self, service: Service) -> None:
        name = service.tenants.add("acme", ready=True)

        assert accepted(service.reconcile(name))["slug"] == "acme"
        assert service.get(name).json()["slug"] == "acme"

    def test_a_tenant_that_only_the_registry_knows_can_be_asked_for(self, service: Service) -> None:
        service.tenants.add("acme")
        service.tenants.sql("TRUNCATE provisioning.tenant_link CASCADE")

        assert accepted(service.reconcile("acme"))["database_name"] == database_of("acme")
        assert [run.tenants for run in service.dagster.runs] == [[database_of("acme")]]

    def test_an_unknown_tenant_is_told(self, service: Service) -> None:
        assert "GET /v1/tenants lists them" in problem(service.reconcile("nobody"), 404)
        problem(service.get("nobody"), 404)
        assert service.dagster.runs == []

    def test_of_several_with_one_slug_the_database_name_tells_which(self, service: Service) -> None:
        names = [service.tenants.add("acme", database_name=f"twenty_tenant_acme_{n}") for n in (1,)]
        service.tenants.sql(
            "INSERT INTO provisioning.tenant_link (database_name, slug) VALUES ('twenty_tenant_acme_2', 'acme')"
        )

        for answer in (service.get("acme"), service.reconcile("acme"), service.put("acme")):
            assert "twenty_tenant_acme_1, twenty_tenant_acme_2" in problem(answer, 409)

        assert accepted(service.reconcile(names[0]))["database_name"] == names[0]
