"""Bodies and slugs that make no request for a tenant are refused, and nothing of them is repeated."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from provisioning_pipeline.http.middleware import MOST_BYTES
from provisioning_pipeline_tests.http.services import Service, problem


class TestBodies:
    """What is no request is told, and nothing of it repeated."""

    SECRET = "hunter2-canary"
    JSON = {"Content-Type": "application/json"}  # noqa: RUF012  # never changed

    @pytest.mark.parametrize(
        "body",
        [
            {"name": 5},
            {"name": ""},
            {"name": "   "},
            {"name": "x" * 201},
            {"name": f"{SECRET}\x00"},
            {"name": f"{SECRET}\n2"},
            {"name": [SECRET]},
            {"name": {"x": SECRET}},
            {"database_name": f"{SECRET}; DROP TABLE"},
            {"database_name": "x" * 64},
            {"database_name": "1abc"},
            {"clerk_org_id": SECRET},
            {"clerk_org_id": f"org_{SECRET} "},
            {"admin_email": SECRET},
            {"admin_email": f"{SECRET}@x@y"},
            {"admin_email": f"{SECRET}\x00@acme.test"},
            {"admin_email": f"{SECRET}\N{KELVIN SIGN}@acme.test"},
            {"admin_email": "a" * 250 + "@acme.test"},
            {"password": SECRET},
            {"name": "Acme", "slug": SECRET},
            [SECRET],
            SECRET,
            5,
            True,
        ],
        ids=lambda body: json.dumps(body)[:40],
    )
    def test_a_body_of_another_form_is_refused(self, service: Service, body: Any) -> None:
        answer = service.http.put("/v1/tenants/acme", json=body)

        self.is_refused(service, answer, 422)
        assert answer.json()["errors"]
        assert all(fault["field"] and fault["message"] for fault in answer.json()["errors"])

    def test_our_own_account_is_no_tenants_admin(self, service: Service) -> None:
        """A plan would offer it, and then advise to delete an account that nobody proved."""
        ours = service.settings.servers[0].service_email.upper()
        answer = service.http.put("/v1/tenants/acme", json={"admin_email": ours})
        assert answer.status_code == 422
        assert "own account at Twenty" in answer.json()["detail"]

    @pytest.mark.parametrize(
        "raw",
        [
            b"{",
            b"{'name': 'hunter2-canary'}",
            b'{"name": "hunter2-canary"',
            b"\xff\xfe\x00",
            b'{"name": "\xff"}',
            b'{"name": "\\ud800"}',
            b"\x00",
            b"[" * 20_000,
            b'{"name": NaN}',
            b'{"name": ' + b"9" * 5000 + b"}",
        ],
        ids=lambda raw: repr(raw[:12]),
    )
    def test_a_body_that_is_no_json_is_refused(self, service: Service, raw: bytes) -> None:
        answer = service.http.put("/v1/tenants/acme", content=raw, headers=self.JSON)

        assert answer.status_code in (400, 422)
        self.is_refused(service, answer, answer.status_code)

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/xml", ""]
    )
    def test_a_body_of_another_kind_is_refused(self, service: Service, kind: str) -> None:
        raw = json.dumps({"database_name": "twenty_tenant_acme", "name": self.SECRET}).encode()

        answer = service.http.put("/v1/tenants/acme", content=raw, headers={"Content-Type": kind})

        assert answer.status_code in (415, 422)
        self.is_refused(service, answer, answer.status_code)

    def test_a_body_that_is_too_large_is_refused(self, service: Service) -> None:
        raw = json.dumps({"name": self.SECRET, "more": "x" * MOST_BYTES}).encode()

        self.is_refused(service, service.http.put("/v1/tenants/acme", content=raw, headers=self.JSON), 413)

    def test_also_one_without_a_length(self, service: Service) -> None:
        def pieces() -> Iterator[bytes]:
            yield b'{"name": "hunter2-canary'
            for _ in range(20):
                yield b"x" * (MOST_BYTES // 10)

        self.is_refused(service, service.http.put("/v1/tenants/acme", content=pieces(), headers=self.JSON), 413)

    @pytest.mark.parametrize(
        "slug", ["Acme", "-acme", "acme-", "a_b", "a.b", "x" * 64, "a%00b", "a%2Fb", "..", "%F0%9F%98%80", "a b"]
    )
    def test_a_slug_that_is_none_is_refused(self, service: Service, slug: str) -> None:
        answer = service.http.put(f"/v1/tenants/{slug}", json={"database_name": "twenty_tenant_acme"})

        assert answer.status_code in (404, 405, 422)
        self.is_refused(service, answer, answer.status_code)

    def is_refused(self, service: Service, answer: httpx2.Response, status: int) -> None:
        problem(answer, status)
        assert self.SECRET not in answer.text
        assert service.tenants.requests() == 0
        assert service.tenants.row("twenty_tenant_acme") == {}
