"""A tenant manager registers tenants: what is stored, what a change begins, and what conflicts."""

from collections.abc import Iterator

import pytest

from provisioning_pipeline_tests.http.dagster_stand_in import Run
from provisioning_pipeline_tests.http.services import Service, accepted, database_of, problem, ready


def test_a_new_tenant_is_registered_with_everything_that_was_said(service: Service) -> None:
    document = accepted(
        service.put(
            "acme",
            name="  Acme \N{GRINNING FACE} & Sons  ",
            database_name="twenty_tenant_acme",
            clerk_org_id="org_1",
            admin_email="Ada@Acme.Test",
        )
    )

    row = service.tenants.row("twenty_tenant_acme")
    assert {name: row[name] for name in ("slug", "name", "database_name", "clerk_org_id", "status")} == {
        "slug": "acme",
        "name": "Acme \N{GRINNING FACE} & Sons",
        "database_name": "twenty_tenant_acme",
        "clerk_org_id": "org_1",
        "status": "provisioning",
    }
    assert service.tenants.linked("twenty_tenant_acme")["asked_admin_email"] == "ada@acme.test"
    assert (document["slug"], document["state"], document["waiting"]) == ("acme", "unwell", True)
    (run,) = service.dagster.runs
    assert run.tenants == ["twenty_tenant_acme"]
    assert run.tags == {"trigger": "tenant-manager", "tenant": "twenty_tenant_acme"}
    assert document["run_id"] == run.id
    assert document["status_url"].endswith("/v1/tenants/acme")
    assert service.http.get(document["status_url"]).json() | {"look_again_at": None} == document | {
        "look_again_at": None
    }


def test_a_tenant_without_a_name_is_called_by_its_slug(service: Service) -> None:
    accepted(service.put("acme", database_name="twenty_tenant_acme"))

    row = service.tenants.row("twenty_tenant_acme")
    assert (row["name"], row["clerk_org_id"]) == ("acme", None)


def test_a_new_tenant_needs_its_database(service: Service) -> None:
    assert "`database_name`" in problem(service.put("acme"), 404)
    assert "`database_name`" in problem(service.put("acme", name="Acme"), 404)
    assert service.tenants.requests() == 0
    assert service.dagster.runs == []


@pytest.mark.parametrize("name", ["postgres", "template1", "other_tenant_acme", "TWENTY_tenant_acme"])
def test_a_database_that_is_no_tenants_is_refused(service: Service, name: str) -> None:
    assert "PROVISIONING_TENANT_DATABASE_PATTERN" in problem(service.put("acme", database_name=name), 422)
    assert service.tenants.row(name) == {}


def test_a_tenant_that_is_ready_is_answered_at_once_and_nothing_begins(service: Service) -> None:
    name = service.tenants.add("acme", "org_1", ready=True)

    for body in ({}, {"database_name": name}, {"name": "Acme", "clerk_org_id": "org_1", "database_name": name}):
        document = ready(service.put("acme", **body))
        assert (document["waiting"], document["run_id"]) == (False, None)

    assert service.dagster.runs == []
    assert service.tenants.marked() == []
    assert service.tenants.requests() == 0


@pytest.mark.parametrize(
    ("change", "column"), [({"name": "Acme Ltd"}, "name"), ({"clerk_org_id": "org_2"}, "clerk_org_id")]
)
def test_a_change_has_the_tenant_looked_at(service: Service, change: dict[str, str], column: str) -> None:
    name = service.tenants.add("acme", ready=True)
    before = service.tenants.row(name)

    document = accepted(service.put("acme", **change))

    after = service.tenants.row(name)
    assert after[column] == change[column]
    untouched = before.keys() - {column, "updated_at"}
    assert {key: after[key] for key in untouched} == {key: before[key] for key in untouched}
    assert after["updated_at"] > before["updated_at"]
    assert document["waiting"] is True
    assert [run.tenants for run in service.dagster.runs] == [[name]]
    assert service.tenants.marked() == [name]


def test_what_is_null_stays_as_it_is(service: Service) -> None:
    name = service.tenants.add("acme", "org_1", ready=True)
    before = service.tenants.row(name)

    ready(service.put("acme", name=None, clerk_org_id=None, admin_email=None, database_name=None))

    assert service.tenants.row(name) == before


def test_a_change_is_answered_when_its_run_has_ended(service: Service) -> None:
    service.tenants.add("acme", "org_1", ready=True)
    service.dagster.work = service.looked

    document = ready(service.put("acme", name="Acme Ltd", wait=30))

    assert document["run_id"] == service.dagster.runs[0].id
    assert document["waiting"] is False


def test_that_it_was_ready_before_is_no_answer_to_a_change(service: Service) -> None:
    """The run has unmarked the tenant, and is not done with it."""
    name = service.tenants.add("acme", "org_1", ready=True)

    def begin(run: Run) -> None:
        service.tenants.sql("INSERT INTO provisioning.run (run_id, trigger) VALUES (%s, 'tenant-manager')", run.id)
        service.tenants.unmark()

    service.dagster.work = begin

    document = accepted(service.put("acme", name="Acme Ltd", wait=1.2))

    assert (document["state"], document["waiting"]) == ("ready", True)
    assert service.get(name).json()["waiting"] is True


class TestConflicts:
    """What is another tenant's stays with it, and nothing is half done."""

    @pytest.fixture(autouse=True)
    def acme(self, service: Service) -> Iterator[None]:
        service.tenants.add("acme", "org_1", ready=True)
        yield
        assert service.dagster.runs == []
        assert service.tenants.marked() == []
        assert service.tenants.requests() == 0
        assert service.tenants.row(database_of("acme"))["clerk_org_id"] == "org_1"

    def test_the_slug_has_another_database(self, service: Service) -> None:
        answer = service.put("acme", database_name="twenty_tenant_other")

        assert "acme is registered with database twenty_tenant_acme" in problem(answer, 409)
        assert service.tenants.row("twenty_tenant_other") == {}

    def test_the_database_has_another_slug(self, service: Service) -> None:
        answer = service.put("other", database_name="twenty_tenant_acme")

        assert "twenty_tenant_acme is registered as tenant acme" in problem(answer, 409)

    def test_the_organization_is_another_tenants(self, service: Service) -> None:
        answer = service.put("other", database_name="twenty_tenant_other", clerk_org_id="org_1")

        assert "org_1 is tenant acme's" in problem(answer, 409)
        assert service.tenants.row("twenty_tenant_other") == {}

    def test_a_tenants_own_organization_cannot_be_changed(self, service: Service) -> None:
        """Whoever decides whose organization it is decides who gets into the workspace."""
        answer = service.put("acme", clerk_org_id="org_2", name="Acme Ltd")

        assert "Change it in the registry itself" in problem(answer, 409)
        assert service.tenants.row(database_of("acme"))["name"] == "Acme"

    def test_nor_one_that_the_ledger_alone_knows(self, service: Service) -> None:
        service.tenants.sql("UPDATE tenant_registry SET clerk_org_id = NULL")

        problem(service.put("acme", clerk_org_id="org_2"), 409)

        assert service.tenants.row(database_of("acme"))["clerk_org_id"] is None
        service.tenants.sql("UPDATE tenant_registry SET clerk_org_id = 'org_1'")

    def test_an_update_cannot_take_one_either(self, service: Service) -> None:
        other = service.tenants.add("other", "org_2", ready=True)

        problem(service.put("other", clerk_org_id="org_1", name="Other"), 409)

        assert service.tenants.row(other)["clerk_org_id"] == "org_2"
        assert service.tenants.row(other)["name"] == "Other"


def test_the_organization_of_a_suspended_tenant_is_no_keys_to_give(service: Service) -> None:
    service.tenants.add("gone", "org_1", status="Suspended")

    answer = service.put("acme", database_name="twenty_tenant_acme", clerk_org_id="org_1")

    assert "That tenant is excluded, and keeps it" in problem(answer, 409)
    assert answer.json()["code"] == "organization_taken"
    assert service.tenants.row("twenty_tenant_acme") == {}
