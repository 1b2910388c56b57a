"""Websockets that a cookie opens: only for the page of the same host, or of an origin that is authorized."""

import asyncio
from collections.abc import Iterator

import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from provisioning_pipeline.gateway import ClerkWorkspaceMiddleware, workspace_of
from provisioning_pipeline.gateway.origins import must_be_of_own_page
from provisioning_pipeline.model.session import Refusal, Refused
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.http.sessions import (
    SESSION,
    VERIFY,
    Lobby,
    Tenant,
    lobby_in,
    must_pass,
    must_refuse,
    session_settings,
    town_in,
)

PARTY = "http://localhost:3000"
EVIL = ("https://evil.example", "http://localhost", "https://localhost:3000", "null", "", f"{PARTY}/", f"{PARTY}.evil")


@pytest.fixture(scope="module")
def lobby(sandbox_postgres: SandboxPostgres) -> Iterator[Lobby]:
    """An application behind the middleware, on a server of its own."""

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(workspace_of(websocket).tenant)
        await websocket.close()

    with town_in(sandbox_postgres) as (fleet, clerk, other_clerk):
        town = Lobby(fleet, clerk, other_clerk, None)  # `Lobby.at` gives one
        routes = [WebSocketRoute("/talk", talk)]
        with town.at(
            ClerkWorkspaceMiddleware(Starlette(routes=routes), session_settings(fleet, clerk).sessions)
        ) as here:
            yield here


@pytest.fixture(scope="module")
def acme(lobby: Lobby) -> Tenant:
    return lobby.tenant("acme")


@pytest.fixture(scope="module")
def ann(lobby: Lobby, acme: Tenant) -> str:
    return lobby.member(acme)


def heard(lobby: Lobby, headers: list[tuple[str, str]], *, origin: str | None = None) -> str | int:
    """What the application says over a websocket with these headers, or the status with which none is opened."""

    async def open_it() -> str | int:
        url = f"{lobby.api.url.replace('http', 'ws')}/talk"
        try:
            async with websockets.connect(url, additional_headers=headers, origin=origin, proxy=None) as websocket:
                return str(await websocket.recv())
        except websockets.InvalidStatus as refused:
            return refused.response.status_code

    return asyncio.run(open_it())


def test_a_cookie_opens_it_for_our_own_pages_alone(lobby: Lobby, acme: Tenant, ann: str) -> None:
    cookie = [("Cookie", f"__session={lobby.token(acme, ann)}")]

    assert heard(lobby, cookie, origin=PARTY) == acme.slug
    assert heard(lobby, cookie, origin=lobby.api.url) == acme.slug
    # TLS ends before the application
    assert heard(lobby, cookie, origin=lobby.api.url.replace("http", "https")) == acme.slug
    for origin in (*EVIL, None):
        assert heard(lobby, cookie, origin=origin) == 403, origin


def test_a_program_says_who_it_is_in_the_header(lobby: Lobby, acme: Tenant, ann: str) -> None:
    """No page can set it for a websocket, so that it needs no origin."""
    bearer = [("Authorization", f"Bearer {lobby.token(acme, ann)}")]

    for origin in (None, "https://evil.example"):
        assert heard(lobby, bearer, origin=origin) == acme.slug


def test_a_gateway_is_told_of_a_websocket_as_well(sandbox_postgres: SandboxPostgres) -> None:
    handshake = [("Sec-WebSocket-Version", "13")]
    with lobby_in(sandbox_postgres) as lobby:
        acme = lobby.tenant("acme")
        ann = lobby.member(acme)
        token = lobby.token(acme, ann)
        cookies = {"__session": token}
        for route in (VERIFY, SESSION):
            must_pass(lobby.ask(route, headers=[*handshake, ("Origin", PARTY)], cookies=cookies), lobby, acme, ann)
            own = [*handshake, ("Host", "app.example.com"), ("Origin", "https://app.example.com")]
            must_pass(lobby.ask(route, headers=own, cookies=cookies), lobby, acme, ann)
            must_pass(lobby.ask(route, token, headers=handshake), lobby, acme, ann)
            # what is no websocket needs none
            must_pass(lobby.ask(route, headers=[("Origin", "https://evil.example")], cookies=cookies), lobby, acme, ann)
            for origin in EVIL:
                sent = [*handshake, ("Origin", origin)]
                must_refuse(lobby.ask(route, headers=sent, cookies=cookies), 403, "foreign_origin")
            must_refuse(lobby.ask(route, headers=handshake, cookies=cookies), 403, "foreign_origin")


HOSTS = st.sampled_from(["app.example.com", "app.example.com:8443", "[::1]:8000", "127.0.0.1"])
PAGES = st.sampled_from(["https", "http", "file", "chrome-extension"])


@given(PAGES, HOSTS, HOSTS, st.sampled_from(["", "/", "?", "#x", "@evil.example", ".evil.example", ":1", ":x", " "]))
def test_only_the_very_host_is_our_own(scheme: str, page: str, host: str, more: str) -> None:
    headers = [(b"host", host.encode()), (b"origin", f"{scheme}://{page}{more}".encode())]

    assert passes(headers) == (page == host and not more and scheme in ("http", "https"))


@pytest.mark.parametrize(
    ("host", "origin", "own"),
    [
        ("app.example.com:443", "https://app.example.com", True),
        ("app.example.com:80", "https://app.example.com", False),
        ("APP.example.com", "https://app.example.com", True),
        ("app.example.com", "https://app.example.com:443", True),
        ("app.example.com:0", "https://app.example.com", False),
        ("", "https://", False),
        ("app.example.com", "//app.example.com", False),
        ("evil.example/@app.example.com", "https://app.example.com", False),
    ],
)
def test_ports_and_spellings(host: str, origin: str, own: bool) -> None:
    assert passes([(b"host", host.encode()), (b"origin", origin.encode())]) is own
    assert not passes([(b"host", host.encode()), (b"host", host.encode()), (b"origin", origin.encode())])


@given(st.lists(st.tuples(st.sampled_from([b"host", b"origin"]), st.binary(max_size=30)), max_size=3))
def test_whatever_comes_is_let_through_or_refused(headers: list[tuple[bytes, bytes]]) -> None:
    if passes(headers):
        assert [name for name, _ in headers].count(b"origin") == 1


def test_two_origins_are_none() -> None:
    assert passes([(b"host", b"a.example"), (b"origin", b"http://a.example")])
    assert not passes([(b"host", b"a.example"), *[(b"origin", b"http://a.example")] * 2])


def passes(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a websocket with these headers is opened; else it is refused by its word."""
    try:
        must_be_of_own_page(headers, (), websocket=True)
    except Refused as refused:
        return refused.why is not Refusal.FOREIGN_ORIGIN
    return True
