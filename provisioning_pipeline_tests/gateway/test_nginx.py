"""docs/gateway/nginx.conf in a real nginx: who gets in, what reaches the application, what a client is told."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pytest
from starlette.responses import JSONResponse, RedirectResponse, Response

from provisioning_pipeline.sandbox.serving import LoopbackServer
from provisioning_pipeline_tests.gateway.conftest import Api
from provisioning_pipeline_tests.gateway.nginx import Application, Gateway, Verifier, problem, running_nginx

IDENTITY = ("X-Tenant", "X-Twenty-Workspace-Id", "X-Twenty-User-Id", "X-Twenty-Role")
FORGED = "forged"


def identity(application: Application) -> dict[str, list[str]]:
    """The identity headers of the one request that reached the application."""
    (request,) = application.requests
    return {name: request.values(name) for name in IDENTITY}


class TestWhateverTheDoor:
    """What holds for any verifier: the fixture `api` says where it is and which session is good there."""

    def test_a_good_session_gets_in_with_its_identity(
        self, gateway: Gateway, api: Api, application: Application
    ) -> None:
        answer = gateway(api.good_token, path="/people/a%2Fb//c?sort=na%20me")

        assert answer.status_code == 200
        (request,) = application.requests
        assert (request.path, request.query) == ("/people/a%2Fb//c", "sort=na%20me")
        found = identity(application)
        assert found["X-Tenant"] == [api.tenant]
        assert all(len(values) == 1 and values[0] for values in found.values())

    def test_the_cookie_is_a_session_too(self, gateway: Gateway, api: Api, application: Application) -> None:
        answer = gateway(headers=[("Cookie", f"theme=dark; __session={api.good_token}")])

        assert answer.status_code == 200
        assert identity(application)["X-Tenant"] == [api.tenant]

    @pytest.mark.parametrize("session", [None, "no-session", "a.b.c"])
    def test_nobody_gets_in_without_a_session(
        self, gateway: Gateway, application: Application, session: str | None
    ) -> None:
        answer = gateway(session, method="POST", content=b"x" * 100_000)

        assert answer.status_code == 401
        assert "location" not in answer.headers
        assert application.requests == []

    @pytest.mark.parametrize("name", IDENTITY)
    @pytest.mark.parametrize("spelled", ["as it is", "lower", "underscores", "one underscore", "dots", "twice"])
    def test_a_forged_identity_never_arrives(
        self, gateway: Gateway, api: Api, application: Application, name: str, spelled: str
    ) -> None:
        names = {
            "as it is": [name],
            "lower": [name.lower()],
            "underscores": [name.replace("-", "_")],
            "one underscore": ["_".join(name.rsplit("-", 1))],
            "dots": [name.replace("-", ".")],
            "twice": [name, name.upper()],
        }[spelled]

        answer = gateway(api.good_token, headers=[(one, FORGED) for one in names])

        assert answer.status_code == 200
        (request,) = application.requests
        assert FORGED not in [value for _, value in request.headers]
        assert len(request.values(name)) == 1

    def test_an_identity_header_cannot_be_taken_away(
        self, gateway: Gateway, api: Api, application: Application
    ) -> None:
        gateway(api.good_token, headers=[("Connection", f"close, {', '.join(IDENTITY)}")])

        assert identity(application)["X-Tenant"] == [api.tenant]

    def test_a_tenants_own_host_name(self, gateway: Gateway, api: Api, application: Application) -> None:
        answer = gateway(api.good_token, host=f"{api.tenant}.app.example.com")

        assert answer.status_code == 200
        assert identity(application)["X-Tenant"] == [api.tenant]

    def test_another_tenants_host_name(self, gateway: Gateway, api: Api, application: Application) -> None:
        answer = gateway(api.good_token, host="another.app.example.com")

        assert answer.status_code == 403
        assert application.requests == []

    def test_bodies_reach_the_application(self, gateway: Gateway, api: Api, application: Application) -> None:
        for body in (b"small", bytes(range(256)) * 2000):
            answer = gateway(api.good_token, method="POST", path="/notes", content=body)

            assert answer.status_code == 200
            assert application.requests.pop().body == body

    def test_a_body_without_a_length_reaches_the_application(
        self, gateway: Gateway, api: Api, application: Application
    ) -> None:
        def pieces() -> Iterator[bytes]:
            yield b"one "
            yield b"two"

        assert gateway(api.good_token, method="PUT", content=pieces()).status_code == 200
        assert application.requests[0].body == b"one two"

    @pytest.mark.parametrize("path", ["/_verify", "/_verify?tenant=acme", "/.//_verify", "/a/../%5Fverify"])
    def test_the_verifier_cannot_be_called_from_outside(
        self, gateway: Gateway, api: Api, application: Application, path: str
    ) -> None:
        assert gateway(api.good_token, path=path).status_code == 404
        assert application.requests == []


def test_refusals_keep_their_status_and_say_why(gateway: Gateway, verifier: Verifier, application: Application) -> None:
    for session, status in ((None, 401), (verifier.without_workspace, 403)):
        answer = gateway(session)

        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["cache-control"] == "no-store"
        body = answer.json()
        assert (body["status"], body["request_id"]) == (status, answer.headers["x-request-id"])
        assert body["detail"]
    assert application.requests == []


def test_a_client_is_told_which_scheme_to_use(gateway: Gateway, verifier: Verifier) -> None:
    assert gateway().headers["www-authenticate"] == "Bearer"


def test_the_verifier_gets_the_session_and_no_more(gateway: Gateway, verifier: Verifier) -> None:
    gateway(
        verifier.good,
        method="POST",
        path="/notes?secret=1",
        content=b"private",
        headers=[("Cookie", "theme=dark"), ("X-Own", "1"), ("X-Tenant", FORGED), ("Content-Type", "text/plain")],
    )

    (request,) = verifier.requests
    assert (request.method, request.path, request.query, request.body) == ("GET", "/v1/auth/verify", "", b"")
    given = dict(request.headers)
    assert given.pop("x-request-id")
    assert given == {
        "authorization": f"Bearer {verifier.good}",
        "cookie": "theme=dark",
        "host": "app.example.com",
        "x-real-ip": "127.0.0.1",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": "app.example.com",
        "x-forwarded-proto": "http",
        "x-forwarded-method": "POST",
    }


@pytest.mark.parametrize(
    ("host", "query"),
    [
        ("app.example.com", ""),
        ("acme.app.example.com", "tenant=acme"),
        ("ACME.App.Example.Com", "tenant=acme"),
        ("acme.app.example.com:8080", "tenant=acme"),
        ("acme-2.app.example.com.", "tenant=acme-2"),
    ],
)
def test_the_tenant_of_a_host_name_is_asked_for(gateway: Gateway, verifier: Verifier, host: str, query: str) -> None:
    gateway(verifier.good, host=host)

    assert [request.query for request in verifier.requests] == [query]


def test_a_connection_does_not_keep_the_tenant_of_an_earlier_request(gateway: Gateway, verifier: Verifier) -> None:
    for host in ("acme.app.example.com", "app.example.com"):
        gateway(verifier.good, host=host)

    assert [request.query for request in verifier.requests] == ["tenant=acme", ""]


@pytest.mark.parametrize(
    "host",
    [
        "elsewhere.example.com",
        "app.example.com.elsewhere.example",
        "a.b.app.example.com",
        "a&tenant=acme.app.example.com",
        "a_b.app.example.com",
        "a%26.app.example.com",
        "-.app.example.co",
        ".app.example.com",
        "127.0.0.1",
    ],
)
def test_a_name_that_is_not_ours_is_refused(
    gateway: Gateway, verifier: Verifier, application: Application, host: str
) -> None:
    assert gateway(verifier.good, host=host).status_code in {400, 421}
    assert (verifier.requests, application.requests) == ([], [])


def test_one_request_id_and_the_clients_address_everywhere(
    gateway: Gateway, verifier: Verifier, application: Application
) -> None:
    forged = [(name, FORGED) for name in ("X-Request-Id", "X-Forwarded-For", "X-Real-IP", "X-Forwarded-Host")]
    application.answer = Response(headers={"X-Request-Id": "the-applications-own"})

    answer = gateway(verifier.good, headers=[*forged, ("Forwarded", f"for={FORGED}")])

    (asked,), (served,) = verifier.requests, application.requests
    (request_id,) = answer.headers.get_list("x-request-id")
    assert asked.values("x-request-id") == served.values("x-request-id") == [request_id]
    assert len(request_id) == 32
    for request in (asked, served):
        assert request.values("x-forwarded-for") == request.values("x-real-ip") == ["127.0.0.1"]
        assert request.values("x-forwarded-host") == ["app.example.com"]
        assert request.values("forwarded") == []


def test_each_request_has_an_id_of_its_own(gateway: Gateway, verifier: Verifier) -> None:
    ids = {gateway(verifier.good).headers["x-request-id"] for _ in range(3)}

    assert len(ids) == 3


@pytest.mark.parametrize(("asked", "told"), [("7", "7"), (None, "5"), ("soon", "5"), ("-1", "5"), ("99999", "5")])
def test_when_nobody_can_tell_a_client_is_asked_to_come_again(
    gateway: Gateway, verifier: Verifier, application: Application, asked: str | None, told: str
) -> None:
    verifier.answer = problem(503, {"Retry-After": asked} if asked else None)

    answer = gateway(verifier.good)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, told)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert application.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        RedirectResponse("https://sign-in.example.com"),
        problem(429, {"Retry-After": "3"}),
        problem(404),
        problem(500),
        Response("<html>welcome</html>", media_type="text/html"),
        Response(status_code=204),
        Response(headers={"X-Tenant": "", "X-Twenty-User-Id": "u-1"}),
    ],
    ids=["redirect", "too many", "no such route", "broken", "not the verifier", "nothing said", "no tenant"],
)
def test_any_other_verdict_lets_nobody_in(
    gateway: Gateway, verifier: Verifier, application: Application, answer: Response
) -> None:
    verifier.answer = answer

    refused = gateway(verifier.good, headers=[("X-Tenant", FORGED)])

    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    assert application.requests == []


def test_what_the_verifier_does_not_say_of_somebody_is_not_there(
    gateway: Gateway, verifier: Verifier, application: Application
) -> None:
    verifier.answer = Response(headers={"X-Tenant": "acme"})

    gateway(verifier.good, headers=[(name, FORGED) for name in IDENTITY])

    assert identity(application) == {
        "X-Tenant": ["acme"],
        "X-Twenty-Workspace-Id": [],
        "X-Twenty-User-Id": [],
        "X-Twenty-Role": [],
    }


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_the_applications_own_errors_are_its_own(
    gateway: Gateway, verifier: Verifier, application: Application, status: int
) -> None:
    application.answer = JSONResponse({"from": "the application"}, status)

    answer = gateway(verifier.good)

    assert (answer.status_code, answer.json()) == (status, {"from": "the application"})


def test_large_headers_are_refused(gateway: Gateway, verifier: Verifier, application: Application) -> None:
    a_line = gateway(verifier.good, headers=[("X-Own", "x" * 9000)])
    many = gateway(verifier.good, headers=[(f"X-Own-{number}", "x" * 7000) for number in range(6)])

    assert (a_line.status_code, many.status_code) == (400, 400)
    assert (verifier.requests, application.requests) == ([], [])


def test_a_usual_session_token_is_not_too_large(gateway: Gateway, verifier: Verifier) -> None:
    answer = gateway(verifier.good, headers=[("Cookie", f"__client={'x' * 3500}; __session={'y' * 3500}")])

    assert answer.status_code == 200


def test_a_body_that_is_too_large_is_refused_unread(
    gateway: Gateway, verifier: Verifier, application: Application
) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as client:
        head = f"POST / HTTP/1.1\r\nHost: app.example.com\r\nAuthorization: Bearer {verifier.good}\r\n"
        client.sendall(f"{head}Content-Length: {11 * 2**20}\r\n\r\n".encode())
        status = client.makefile("rb").readline()

    assert status.split()[1] == b"413"
    assert application.requests == []


@pytest.mark.parametrize("spelled", ["websocket", "WebSocket"])
def test_a_websocket_is_let_through_with_its_identity(
    gateway: Gateway, verifier: Verifier, application: Application, spelled: str
) -> None:
    with upgrading(gateway, verifier.good, spelled) as answer:
        assert answer.readline().split()[1] == b"101"
        while answer.readline().strip():
            pass
        assert answer.read(7) == b"\x81\x05hello"

    assert identity(application)["X-Tenant"] == ["acme"]
    # what the verifier tells the page of another origin by
    (asked,) = verifier.requests
    found = [asked.values(name) for name in ("origin", "sec-websocket-version", "host")]
    assert found == [["https://app.example.com"], ["13"], ["app.example.com"]]


def test_a_websocket_without_a_session_is_none(gateway: Gateway, verifier: Verifier, application: Application) -> None:
    with upgrading(gateway, "no-session", "websocket") as answer:
        assert answer.readline().split()[1] == b"401"

    assert application.requests == []


def test_no_other_upgrade_is_passed_on(gateway: Gateway, verifier: Verifier, application: Application) -> None:
    headers = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")]

    assert gateway(verifier.good, headers=headers).status_code == 200
    (request,) = application.requests
    assert (request.values("upgrade"), request.values("connection")) == ([], [])


@contextmanager
def upgrading(gateway: Gateway, session: str, protocol: str) -> Iterator[BinaryIO]:
    """What comes back for a request to change to a protocol."""
    head = [
        "GET /live HTTP/1.1",
        "Host: app.example.com",
        f"Authorization: Bearer {session}",
        f"X-Tenant: {FORGED}",
        "Connection: Upgrade",
        f"Upgrade: {protocol}",
        "Origin: https://app.example.com",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as client:
        client.sendall("\r\n".join([*head, "", ""]).encode())
        yield client.makefile("rb")


def test_the_log_has_the_request_and_no_secret(gateway: Gateway, verifier: Verifier, application: Application) -> None:
    before = gateway.log.stat().st_size
    answer = gateway(verifier.good, path='/a"b%09c?token=canary')
    # a worker writes the line when it is done with a request, and takes up the next one afterwards
    gateway(verifier.good)

    with gateway.log.open("rb") as log:
        log.seek(before)
        text = log.read().decode()
    (line,) = [found for found in map(json.loads, text.splitlines()) if found["path"] == '/a"b\tc']
    assert (line["request_id"], line["status"]) == (answer.headers["x-request-id"], 200)
    assert (line["tenant"], line["method"], line["client"]) == ("acme", "GET", "127.0.0.1")
    assert "canary" not in text
    assert verifier.good not in text


def test_without_a_verifier_nobody_gets_in_until_it_is_back(
    nginx_is_here: None, application_server: LoopbackServer, application: Application
) -> None:
    verifier = Verifier()
    server = LoopbackServer(verifier.app())
    server.start()
    with running_nginx(server.url, application_server.url) as gateway:
        assert gateway(verifier.good).status_code == 200
        server.stop()
        application.requests.clear()

        for _ in range(3):
            away = gateway(verifier.good)
            assert (away.status_code, away.headers["retry-after"]) == (503, "5")
        assert application.requests == []

        server.start()
        assert gateway(verifier.good).status_code == 200
        server.restart()
        assert gateway(verifier.good).status_code == 200
        assert gateway(None).status_code == 401
        server.stop()


def test_without_the_application_it_is_no_matter_of_the_session(nginx_is_here: None, api: Api) -> None:
    gone = LoopbackServer(Application().app())
    gone.start()
    gone.stop()
    with running_nginx(api.url, gone.url) as gateway:
        assert gateway(api.good_token).status_code == 502
        assert gateway("no-session").status_code == 401


@pytest.mark.slow
def test_a_verifier_that_says_nothing_is_not_waited_for_long(
    nginx_is_here: None, application_server: LoopbackServer, application: Application
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        running_nginx(f"http://127.0.0.1:{mute.getsockname()[1]}", application_server.url) as gateway,
    ):
        answer = gateway("good-session")

    assert (answer.status_code, application.requests) == (503, [])
