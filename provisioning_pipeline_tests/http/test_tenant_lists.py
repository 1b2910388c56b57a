"""`GET /v1/tenants`: pages, filters, and questions that are none."""

import uuid
from typing import Any

import pytest

from provisioning_pipeline_tests.http.services import Service, database_of, problem


class TestLists:
    """`GET /v1/tenants`."""

    def names(self, service: Service, **wanted: Any) -> list[str]:
        """Every tenant, page after page."""
        found: list[str] = []
        cursor = None
        for _ in range(100):
            page = service.http.get("/v1/tenants", params=wanted | ({"cursor": cursor} if cursor else {})).json()
            assert len(page["items"]) <= wanted.get("limit", 50)
            found += [item["database_name"] for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        return found

    def test_pages_hold_each_tenant_once(self, service: Service) -> None:
        expected = sorted(service.tenants.add(f"t{number}", ready=number % 2 == 0) for number in range(7))

        for limit in (1, 2, 3, 7, 8, 200):
            assert self.names(service, limit=limit) == expected

    def test_a_tenant_that_comes_meanwhile_moves_no_other(self, service: Service) -> None:
        expected = sorted(service.tenants.add(slug) for slug in ("b", "d", "f"))
        first = service.http.get("/v1/tenants", params={"limit": 2}).json()
        service.tenants.add("a")
        service.tenants.add("e")

        second = service.http.get("/v1/tenants", params={"limit": 2, "cursor": first["next"]}).json()

        found = [item["database_name"] for item in (*first["items"], *second["items"])]
        assert found == sorted({*expected, database_of("e")})

    def test_it_can_be_one_state_or_one_organization(self, service: Service) -> None:
        one = service.tenants.add("one", "org_1", ready=True)
        other = service.tenants.add("other", "org_2")
        aside = service.tenants.add("aside", "org_3")
        service.tenants.looked(str(uuid.uuid4()), aside, ready=False, reason="TenantSuspended")

        assert self.names(service, state="ready") == [one]
        assert self.names(service, state="unwell") == [other]
        assert self.names(service, state="aside") == [aside]
        assert self.names(service, clerk_org_id="org_2") == [other]
        assert self.names(service, clerk_org_id="org_2", state="ready") == []
        for item in service.http.get("/v1/tenants").json()["items"]:
            assert item == service.get(item["database_name"]).json()

    @pytest.mark.parametrize("cursor", ["?", "a", "%%%", "////", "AA", "__4", "YQ==", "x" * 201])
    def test_a_cursor_that_is_none_is_told(self, service: Service, cursor: str) -> None:
        problem(service.http.get("/v1/tenants", params={"cursor": cursor}), 422)

    @pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": 201}, {"limit": "x"}, {"state": "broken"}])
    def test_a_wrong_question_is_told(self, service: Service, wrong: dict[str, Any]) -> None:
        problem(service.http.get("/v1/tenants", params=wrong), 422)

    @pytest.mark.parametrize("text", ["\x00", "org_\x00", "\ud800".encode("utf-16", "surrogatepass"), "' OR 1=1 --"])
    def test_an_organization_that_cannot_be_one_is_nobodys(self, service: Service, text: str | bytes) -> None:
        service.tenants.add("acme", "org_1")

        answer = service.http.get("/v1/tenants", params={"clerk_org_id": text})

        assert answer.status_code in (200, 422)
        assert answer.status_code == 422 or answer.json()["items"] == []
