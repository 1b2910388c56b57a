"""Every request has one id, in its answer, its problem document and its log lines; and no line holds a secret."""

import io
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from provisioning_pipeline.http import tenants as routes
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.http.logs import Log, logging_as_json
from provisioning_pipeline_tests.http.services import PROBLEM, caller, key_of, serving, tenants_in

SECRET = "canary-5ecret"


class Api:
    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key

    def get(self, path: str, key: str | None = None, **headers: str) -> httpx2.Response:
        with caller(self.url, self.key if key is None else key) as http:
            return http.get(path, headers=headers)


@pytest.fixture(scope="module")
def api(sandbox_postgres: SandboxPostgres) -> Iterator[Api]:
    with tenants_in(sandbox_postgres) as tenants:
        tenants.add("acme", ready=True)
        settings = tenants.settings(
            clerk_issuers=("https://clerk.acme.test",), clerk_jwks_url="http://127.0.0.1:9/jwks"
        )
        with serving(settings) as url:
            yield Api(url, key_of(settings))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """All that goes to standard error, as `provisioning serve` writes it."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with logging_as_json():
        yield Log(stream)


@pytest.mark.parametrize("given", ["a", "8c0f6a5be1d24f4f", "A-b_c.9", "x" * 64])
def test_a_callers_own_id_is_kept(api: Api, log: Log, given: str) -> None:
    answer = api.get("/v1/tenants/nobody", **{"X-Request-Id": given})

    assert answer.headers.get_list("x-request-id") == [given]
    assert answer.json()["request_id"] == given
    assert log.answered(given)["status"] == 404


@pytest.mark.parametrize(
    "given", ["", "x" * 65, "x" * 100, "a b", "a\tb", 'a"b', "a,b", "{}", "<script>", "%0a", "caf\xe9", "a;b", "a/b"]
)
def test_any_other_id_is_replaced(api: Api, log: Log, given: str) -> None:
    with caller(api.url, api.key) as http:
        answer = http.get("/v1/tenants/nobody", headers={"X-Request-Id": given.encode("latin-1")})

    (found,) = answer.headers.get_list("x-request-id")
    assert found != given
    assert len(found) == 16
    assert int(found, 16) >= 0
    assert answer.json()["request_id"] == found
    assert log.answered(found)["status"] == 404


def test_of_several_ids_one_is_taken(api: Api) -> None:
    with caller(api.url, api.key) as http:
        answer = http.get("/v1/tenants", headers=[("X-Request-Id", "one"), ("X-Request-Id", "two")])

    assert answer.headers.get_list("x-request-id") == ["one"]


def test_every_answer_has_an_id_of_its_own(api: Api) -> None:
    paths = ["/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/session", "/nothing", "/v1/tenants", "/healthz"]
    ids = [api.get(path).headers["x-request-id"] for path in paths]

    assert len(set(ids)) == len(paths)


def test_an_unforeseen_error_has_one_too(api: Api, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError(SECRET)

    monkeypatch.setattr(routes, "tenant_page", broken)
    answer = api.get("/v1/tenants", **{"X-Request-Id": "broken-1"})

    assert answer.status_code == 500
    assert answer.headers["content-type"] == PROBLEM
    assert answer.headers.get_list("x-request-id") == ["broken-1"]
    assert answer.json()["request_id"] == "broken-1"
    assert SECRET not in answer.text
    assert log.answered("broken-1")["level"] == "ERROR"
    assert any("KeyError" in json.dumps(line) for line in log.of("broken-1"))


def test_a_line_says_what_was_answered_to_whom(api: Api, log: Log) -> None:
    answer = api.get("/v1/tenants/acme")

    line = log.answered(answer.headers["x-request-id"])
    assert {name: line[name] for name in ("level", "message", "method", "route", "status", "tenant", "caller")} == {
        "level": "INFO",
        "message": "GET /v1/tenants/{slug} 200",
        "method": "GET",
        "route": "/v1/tenants/{slug}",
        "status": 200,
        "tenant": "acme",
        "caller": f"key {api.key.split('_')[1]}",
    }
    assert 0 < line["seconds"] < 30
    assert line["time"]


def test_a_refused_session_is_logged_with_its_word(api: Api, log: Log) -> None:
    answer = api.get("/v1/session", key="")

    line = log.answered(answer.headers["x-request-id"])
    assert (line["status"], line["refused"]) == (401, "no_session")


@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
def test_what_machines_ask_all_the_time_is_not_logged(api: Api, log: Log, path: str) -> None:
    quiet = api.get(path)
    log.answered(api.get("/nothing").headers["x-request-id"])

    assert (quiet.status_code, log.of(quiet.headers["x-request-id"])) == (200, [])


def test_a_refused_verification_is_logged(api: Api, log: Log) -> None:
    answer = api.get("/v1/auth/verify", key="")

    assert log.answered(answer.headers["x-request-id"])["status"] == 401


def test_no_line_holds_what_a_caller_sent(api: Api, log: Log) -> None:
    asked = {"params": {"clerk_org_id": SECRET, "x": SECRET, "tenant": SECRET}, "headers": {"X-Own": SECRET}}
    with caller(api.url, api.key, Cookie=f"__session={SECRET}; theme={SECRET}", Referer=SECRET) as http:
        http.get("/v1/tenants", **asked)
        http.get(f"/{SECRET}", **asked)
        http.put("/v1/tenants/acme", json={"name": 5, SECRET: SECRET}, **asked)
        http.put("/v1/tenants/acme", content=SECRET, **asked)
        http.post("/v1/tenants/acme/reconcile", headers={"Idempotency-Key": SECRET})
    with caller(api.url, f"eyJ.{SECRET}.x") as http:
        for path in ("/v1/session", "/v1/auth/verify", "/v1/tenants", "/metrics"):
            http.get(path, **asked)
        log.answered(http.post("/v1/session/twenty", **asked).headers["x-request-id"])

    assert len(log.lines) >= 8
    assert SECRET not in log.text
    assert api.key not in log.text
    assert api.key.split("_", 2)[2] not in log.text


def test_a_slug_with_control_characters_breaks_no_line(api: Api, log: Log) -> None:
    answer = api.get("/v1/tenants/acme%0A%7B%22status%22:200%7D%1b[31m")

    line = log.answered(answer.headers["x-request-id"])
    assert line["status"] in (404, 422)
    assert "\x1b" not in log.text
