"""A service has many tenants looked at with one request."""

from typing import Any

import httpx2
import pytest
from starlette.responses import Response

from provisioning_pipeline.model.api_key import Reach, Scope
from provisioning_pipeline_tests.http.services import Service, caller, database_of, key_of, own_api, problem


def ask(http: httpx2.Client, body: Any, word: str | None = None) -> httpx2.Response:
    return http.post("/v1/reconcile", json=body, headers={"Idempotency-Key": word} if word else {})


def asked(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text[:500]
    assert answer.headers["cache-control"] == "no-store"
    document: dict[str, Any] = answer.json()
    assert document["requested"] == len(
        {item["database_name"] for item in document["items"] if item["result"] == "requested"}
    )
    return document


def results(document: dict[str, Any]) -> dict[str, str]:
    return {item["tenant"]: item["result"] for item in document["items"]}


def marked(service: Service) -> list[str]:
    rows = service.tenants.sql(
        "SELECT slug FROM provisioning.tenant_link WHERE marked_at IS NOT NULL AND marked_by = 'tenant-manager'"
        " ORDER BY slug"
    )
    return [row[0] for row in rows]


@pytest.fixture
def fleet(service: Service) -> Service:
    """Two tenants that are ready, one that is suspended, and one that only the registry knows."""
    for slug in ("one", "two"):
        service.tenants.add(slug, f"org_{slug}", ready=True)
    service.tenants.add("aside", "org_aside")
    service.tenants.condition("r1", database_of("aside"), "False", "TenantSuspended")
    service.tenants.sql(
        "INSERT INTO tenant_registry (slug, name, database_name, database_url, status)"
        " VALUES ('new', 'New', 'twenty_tenant_new', '', 'active'),"
        " ('off', 'Off', 'twenty_tenant_off', '', 'suspended')"
    )
    return service


def test_each_is_answered_for_and_one_run_looks_at_them(fleet: Service) -> None:
    document = asked(ask(fleet.http, {"tenants": ["one", database_of("two"), "aside", "new", "off", "nosuch"]}))

    assert results(document) == {
        "one": "requested",
        database_of("two"): "requested",
        "aside": "excluded",
        "new": "requested",
        "off": "excluded",
        "nosuch": "unknown",
    }
    assert marked(fleet) == ["new", "one", "two"]
    (run,) = fleet.dagster.runs
    assert (run.id, run.tags) == (document["run_id"], {"trigger": "tenant-manager"})
    assert run.tenants == [database_of("new"), database_of("one"), database_of("two")]
    assert fleet.get("one").json()["waiting"]


def test_all_are_those_that_the_key_is_for(fleet: Service) -> None:
    document = asked(ask(fleet.http, {"all": True}))

    assert results(document) == {
        database_of("aside"): "excluded",
        database_of("one"): "requested",
        database_of("two"): "requested",
    }
    assert marked(fleet) == ["one", "two"]


def test_a_key_for_some_sees_no_others(fleet: Service) -> None:
    key = key_of(fleet.settings, reach=Reach(tenant_prefix="o"))
    with caller(str(fleet.http.base_url), key) as http:
        every = asked(ask(http, {"all": True}))
        named = asked(ask(http, {"tenants": ["one", "two", "new", "off"]}))

    assert results(every) == {database_of("one"): "requested"}
    assert results(named) == {"one": "requested", "two": "unknown", "new": "unknown", "off": "excluded"}
    assert marked(fleet) == ["one"]


def test_a_key_that_only_reads_may_not(fleet: Service) -> None:
    with caller(str(fleet.http.base_url), key_of(fleet.settings, scopes={Scope.READ})) as http:
        assert "lacks the scope" in problem(ask(http, {"all": True}), 403)
    assert marked(fleet) == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tenants": []},
        {"tenants": ["one"], "all": True},
        {"all": False},
        {"tenants": ["a"] * 501},
        {"names": []},
        {"tenants": ["a\x00b"]},
        {"tenants": [1]},
        ["one"],
    ],
    ids=lambda body: str(body)[:30],
)
def test_what_is_neither_names_nor_all_is_refused(fleet: Service, body: Any) -> None:
    problem(ask(fleet.http, body), 422)
    assert marked(fleet) == []


def test_sent_again_under_its_key_it_has_no_second_effect(fleet: Service) -> None:
    first = asked(ask(fleet.http, {"tenants": ["two", "one"]}, "word"))
    fleet.tenants.sql("UPDATE provisioning.tenant_link SET marked_at = NULL, marked_by = NULL")
    again = asked(ask(fleet.http, {"tenants": ["two", "one"]}, "word"))

    assert again["items"] == first["items"]
    assert marked(fleet) == []
    assert len(fleet.dagster.runs) == 1
    assert "used for another request" in problem(ask(fleet.http, {"all": True}, "word"), 409)


def test_a_tenant_that_a_run_is_at_is_left_to_the_sensor(fleet: Service) -> None:
    first = asked(ask(fleet.http, {"tenants": ["one"]}))
    second = asked(ask(fleet.http, {"tenants": ["one", "two"]}))
    third = asked(ask(fleet.http, {"tenants": ["one", "two"]}))

    assert [run.tenants for run in fleet.dagster.runs] == [[database_of("one")], [database_of("two")]]
    assert first["run_id"] != second["run_id"]
    assert third["run_id"] is None
    assert marked(fleet) == ["one", "two"]


def test_a_run_that_has_ended_holds_up_no_other(fleet: Service) -> None:
    asked(ask(fleet.http, {"tenants": ["one"]}))
    fleet.dagster.runs[0].status = "SUCCESS"
    asked(ask(fleet.http, {"tenants": ["one"]}))

    assert len(fleet.dagster.runs) == 2


def test_without_dagster_the_reviews_wait_for_the_sensor(fleet: Service) -> None:
    fleet.dagster.answer = lambda: Response(status_code=500)
    with own_api(fleet) as own:
        document = asked(ask(own.http, {"tenants": ["one", "two"]}))

    assert document["run_id"] is None
    assert document["requested"] == 2
    assert marked(fleet) == ["one", "two"]


def test_a_slug_of_several_is_asked_for_by_database_name(fleet: Service) -> None:
    fleet.tenants.sql(
        "INSERT INTO provisioning.tenant_link (database_name, slug) VALUES ('twenty_tenant_one_again', 'one')"
    )

    document = asked(ask(fleet.http, {"tenants": ["one", "twenty_tenant_one_again"]}))

    assert results(document) == {"one": "ambiguous", "twenty_tenant_one_again": "requested"}


def test_the_tenants_timelines_have_the_request(fleet: Service) -> None:
    asked(ask(fleet.http, {"tenants": ["one", "two"]}))

    for slug in ("one", "two"):
        events = fleet.http.get(f"/v1/tenants/{slug}/timeline").json()["events"]
        assert [event for event in events if "tenant-manager" in str(event)]


def test_five_hundred_long_names_fit_into_one_request(fleet: Service) -> None:
    names = [f"twenty_tenant_{number:049}" for number in range(500)]

    assert set(results(asked(ask(fleet.http, {"tenants": names}))).values()) == {"unknown"}
