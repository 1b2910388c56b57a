"""What a key may do, and with which tenants: by its scopes and its reach."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from provisioning_pipeline.model.api_key import Reach, Scope, key_id_of
from provisioning_pipeline_tests.http.services import (
    Service,
    accepted,
    caller,
    database_of,
    key_of,
    own_api,
    problem,
    ready,
)

READ, WRITE = frozenset({Scope.READ}), frozenset({Scope.WRITE})
EUROPE = Reach(tenant_prefix="eu-")
ROUTES = {
    ("GET", "/v1/tenants"): READ,
    ("GET", "/v1/tenants/eu-one"): READ,
    ("GET", "/v1/tenants/eu-one/timeline"): READ,
    ("GET", "/metrics"): READ,
    ("PUT", "/v1/tenants/eu-one"): WRITE,
    ("POST", "/v1/tenants/eu-one/reconcile"): WRITE,
}


@pytest.fixture
def fleet(service: Service) -> Service:
    """Two tenants in Europe and two elsewhere, all ready."""
    for slug in ("eu-one", "eu-two", "us-one", "eu"):
        service.tenants.add(slug, f"org_{slug}", ready=True)
    return service


def holding(service: Service, **limits: Any) -> httpx2.Client:
    return caller(str(service.http.base_url), key_of(service.settings, **limits))


@pytest.mark.parametrize("scope", Scope)
def test_each_route_wants_its_scope(fleet: Service, scope: Scope) -> None:
    with holding(fleet, scopes={scope}) as http:
        for (method, path), wanted in ROUTES.items():
            answer = http.request(method, path)
            if scope in wanted:
                assert answer.status_code in (200, 202), (method, path, answer.text)
                continue
            (missing,) = wanted
            assert f"lacks the scope {missing}" in problem(answer, 403)
            assert answer.json()["code"] == "scope_missing"
    assert fleet.tenants.requests() == (1 if scope is Scope.WRITE else 0)


def test_a_key_of_an_earlier_version_may_do_all(fleet: Service) -> None:
    key = key_of(fleet.settings)
    fleet.tenants.sql("DELETE FROM provisioning.api_key_scope WHERE key_id = %s", key_id_of(key))

    with caller(str(fleet.http.base_url), key) as http:
        assert {http.request(method, path).status_code for method, path in ROUTES} <= {200, 202}


def test_a_scope_of_a_later_version_gives_nothing(fleet: Service) -> None:
    key = key_of(fleet.settings, scopes=READ)
    fleet.tenants.sql(
        "UPDATE provisioning.api_key_scope SET scopes = '{tenants:delete,tenants:read}' WHERE key_id = %s",
        key_id_of(key),
    )

    with caller(str(fleet.http.base_url), key) as http:
        assert http.get("/v1/tenants").status_code == 200
        assert http.put("/v1/tenants/eu-one").status_code == 403


class TestReach:
    """A key for some tenants, before tenants that it is not for."""

    @pytest.fixture
    def http(self, fleet: Service) -> Iterator[httpx2.Client]:
        with holding(fleet, reach=EUROPE) as http:
            yield http

    def test_a_list_has_those_alone_page_by_page(self, http: httpx2.Client) -> None:
        first = http.get("/v1/tenants", params={"limit": 1}).json()
        second = http.get("/v1/tenants", params={"limit": 1, "cursor": first["next"]}).json()

        assert [page["items"][0]["slug"] for page in (first, second)] == ["eu-one", "eu-two"]
        assert second["next"] is None
        for organization, found in (("org_us-one", []), ("org_eu-two", ["eu-two"])):
            items = http.get("/v1/tenants", params={"clerk_org_id": organization}).json()["items"]
            assert [item["slug"] for item in items] == found

    def test_one_of_them_is_read_by_either_name(self, http: httpx2.Client) -> None:
        for name in ("eu-one", database_of("eu-one")):
            assert http.get(f"/v1/tenants/{name}").json()["slug"] == "eu-one"
            assert http.get(f"/v1/tenants/{name}/timeline").json()["tenant"]["slug"] == "eu-one"

    @pytest.mark.parametrize("route", ["GET {}", "POST {}/reconcile", "GET {}/timeline", "PUT {}"])
    def test_others_are_as_if_they_were_not_there(self, fleet: Service, http: httpx2.Client, route: str) -> None:
        method, path = route.split()
        told = {
            problem(http.request(method, f"/v1/tenants/{path.format(name)}"), 404)
            for name in ("us-one", database_of("us-one"), "eu", "nobody", "twenty_tenant_nobody")
        }

        assert len(told) == 1
        assert fleet.tenants.requests() == 0
        assert fleet.dagster.runs == []

    def test_a_slug_that_several_have_is_not_told(self, fleet: Service, http: httpx2.Client) -> None:
        fleet.tenants.add("twin", database_name="twenty_tenant_twin_1")
        fleet.tenants.add("other-twin", database_name="twenty_tenant_twin_2")
        fleet.tenants.sql("UPDATE provisioning.tenant_link SET slug = 'twin' WHERE slug = 'other-twin'")

        for path in ("/v1/tenants/twin", "/v1/tenants/twin/timeline"):
            assert "twenty_tenant_twin" not in problem(http.get(path), 404)

    def test_it_registers_within_its_reach_alone(self, fleet: Service, http: httpx2.Client) -> None:
        outside = http.put("/v1/tenants/us-new", json={"database_name": "twenty_tenant_us_new"})
        assert "The API key is for tenants eu-..." in problem(outside, 403)
        assert outside.json()["code"] == "out_of_reach"
        # whether there is one of that slug makes no difference
        there = http.put("/v1/tenants/us-one", json={"database_name": database_of("us-one")})
        assert problem(there, 403) == outside.json()["detail"]

        accepted(http.put("/v1/tenants/eu-new", json={"database_name": "twenty_tenant_eu_new"}))
        ready(http.put("/v1/tenants/eu-one"))

    def test_what_is_another_tenants_is_not_named(self, fleet: Service, http: httpx2.Client) -> None:
        taken = http.put(
            "/v1/tenants/eu-new", json={"database_name": "twenty_tenant_new", "clerk_org_id": "org_us-one"}
        )
        assert "is another tenant's" in problem(taken, 409)
        taken = http.put("/v1/tenants/eu-new", json={"database_name": database_of("us-one")})
        assert "registered as another tenant" in problem(taken, 409)

    def test_figures_of_all_tenants_are_for_keys_for_all(self, http: httpx2.Client) -> None:
        answer = http.get("/metrics")

        assert "about all tenants" in problem(answer, 403)
        assert answer.json()["code"] == "out_of_reach"

    def test_one_tenant_is_one_tenant(self, fleet: Service) -> None:
        with holding(fleet, reach=Reach(tenant="eu")) as http:
            assert [item["slug"] for item in http.get("/v1/tenants").json()["items"]] == ["eu"]
            ready(http.put("/v1/tenants/eu"))
            problem(http.get("/v1/tenants/eu-one"), 404)

    def test_a_repeated_request_is_answered_by_what_the_key_is_for_now(
        self, fleet: Service, http: httpx2.Client
    ) -> None:
        headers = {"Idempotency-Key": "once"}
        accepted(http.post("/v1/tenants/eu-one/reconcile", headers=headers))
        accepted(http.post("/v1/tenants/eu-one/reconcile", headers=headers))
        fleet.tenants.sql("UPDATE provisioning.tenant_link SET slug = 'us-moved' WHERE slug = 'eu-one'")

        problem(http.post("/v1/tenants/eu-one/reconcile", headers=headers), 404)


def test_one_key_registers_so_many_tenants_without_database(fleet: Service) -> None:
    with own_api(fleet, key_tenants_without_database=2) as api:
        for slug in ("a", "b"):
            accepted(api.put(slug, database_name=f"twenty_tenant_{slug}"))
        answer = api.put("c", database_name="twenty_tenant_c")
        assert "have no database yet" in problem(answer, 409)
        assert answer.json()["code"] == "too_many_without_database"
        assert api.tenants.row("twenty_tenant_c") == {}
        # asking again for those is no registration
        accepted(api.put("a", name="A"))

        fleet.tenants.postgres.create_database("twenty_tenant_b")
        try:
            accepted(api.put("c", database_name="twenty_tenant_c"))
            problem(api.put("d", database_name="twenty_tenant_d"), 409)
        finally:
            fleet.tenants.postgres.drop_database("twenty_tenant_b")


def test_while_the_cluster_is_away_it_is_told_that_nobody_knows(fleet: Service) -> None:
    nowhere = SecretStr("postgresql://nobody@127.0.0.1:9/postgres")
    with own_api(fleet, key_tenants_without_database=1, tenant_cluster_url=nowhere) as api:
        accepted(api.put("a", database_name="twenty_tenant_a"))

        told = problem(api.put("b", database_name="twenty_tenant_b"), 503)

        assert "cannot check at present whether they exist" in told
        assert "127.0.0.1" not in told
        # nobody has to be asked about one that is registered
        accepted(api.put("a", name="A"))
