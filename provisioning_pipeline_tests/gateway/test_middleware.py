"""`ClerkWorkspaceMiddleware` around applications as developers write them, with settings from the environment."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated

import httpx2
import pytest
from fastapi import Depends, FastAPI
from fastapi import WebSocket as FastAPIWebSocket
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute, request_response
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from provisioning_pipeline.gateway import ClerkWorkspaceMiddleware, WorkspaceContext, resolver, workspace_of
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.settings import SettingsError
from provisioning_pipeline_tests.http.api import Api
from provisioning_pipeline_tests.http.sessions import Lobby, Tenant, session_settings, town_in

HERE = ("GET", "/here")


@pytest.fixture(scope="module")
def town(sandbox_postgres: SandboxPostgres) -> Iterator[Lobby]:
    """Tenants and people; each test puts an application of its own before them."""
    with town_in(sandbox_postgres) as (fleet, clerk, other_clerk):
        nobody: Api = None  # type: ignore[assignment]  # `Lobby.at` gives one
        yield Lobby(fleet, clerk, other_clerk, nobody)


@pytest.fixture(scope="module")
def acme(town: Lobby) -> Tenant:
    return town.tenant("acme")


@pytest.fixture(scope="module")
def ann(town: Lobby, acme: Tenant) -> str:
    return town.member(acme)


@pytest.fixture(autouse=True)
def environment(town: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer sets, and no more."""
    values = {
        "REGISTRY_URL": town.fleet.url,
        "CLERK_SECRET_KEY": town.clerk.secret_key,
        "CLERK_BASE_URL": town.clerk.base_url,
        "CLERK_ISSUERS": json.dumps([town.clerk.frontend_url]),
        "CLERK_AUTHORIZED_PARTIES": json.dumps(["http://localhost:3000"]),
    }
    for name, value in values.items():
        monkeypatch.setenv(f"PROVISIONING_{name}", value)
    # each test is a program of its own; what others took of Clerk's budget counts for none of them
    town.fleet.sql("TRUNCATE provisioning.call_budget")


async def here(request: Request) -> JSONResponse:
    workspace = workspace_of(request)
    return JSONResponse({"tenant": workspace.tenant, "workspace": workspace.workspace_id, "role": workspace.role})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# --- Starlette --------------------------------------------------------------------------------------------------


def test_the_example(town: Lobby, acme: Tenant, ann: str) -> None:
    app = ClerkWorkspaceMiddleware(Starlette(routes=[Route("/here", here)]))

    with town.at(app) as lobby:
        passed = lobby.ask(HERE, lobby.token(acme, ann))
        refused = lobby.ask(HERE, lobby.token(acme, ann, exp=1))

    assert passed.json() == {"tenant": acme.slug, "workspace": acme.workspace_id, "role": "Member"}
    assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
    assert refused.json() | {"detail": ""} == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "",
        "code": "token_expired",
    }
    assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert refused.headers["cache-control"] == "no-store"


def test_a_refused_request_never_reaches_the_application(town: Lobby, acme: Tenant, ann: str) -> None:
    reached: list[str] = []

    async def note(request: Request) -> PlainTextResponse:
        reached.append(workspace_of(request).session.user_id)
        return PlainTextResponse("")

    app = ClerkWorkspaceMiddleware(Starlette(routes=[Route("/here", note, methods=["GET", "POST"])]))
    beta = town.tenant("beta", status="suspended")
    unlinked = town.member(acme, linked=False)
    with town.at(app) as lobby:
        refusals = [
            lobby.ask(HERE),
            lobby.ask(("POST", "/here"), "nonsense"),
            lobby.ask(HERE, lobby.token(beta, town.member(beta))),
            lobby.ask(HERE, lobby.token(acme, unlinked)),
            lobby.ask(HERE, lobby.token(acme, ann, twenty_workspace_id="")),
            lobby.ask(HERE, lobby.token(acme, ann, iss=town.other_clerk.frontend_url)),
            lobby.ask(("GET", "/nowhere")),
        ]
        lobby.ask(HERE, lobby.token(acme, ann))

    assert [(one.status_code, one.json()["code"]) for one in refusals] == [
        (401, "no_session"),
        (401, "invalid_token"),
        (403, "tenant_suspended"),
        (403, "member_not_linked"),
        (403, "workspace_claim_wrong"),
        (401, "invalid_token"),
        (401, "no_session"),
    ]
    assert reached == [ann]


def test_bodies_and_streams_pass_unchanged(town: Lobby, acme: Tenant, ann: str) -> None:
    async def echo(request: Request) -> StreamingResponse:
        body = await request.body()

        async def parts() -> AsyncIterator[bytes]:
            for begin in range(0, len(body), 5000):
                yield body[begin : begin + 5000]

        return StreamingResponse(parts())

    app = ClerkWorkspaceMiddleware(Starlette(routes=[Route("/echo", echo, methods=["POST"])]))
    body = bytes(range(256)) * 4096

    with town.at(app) as lobby:
        answer = lobby.api.http.post("/echo", content=body, headers=bearer(lobby.token(acme, ann)))

    assert answer.content == body


def test_public_paths_are_exactly_these(town: Lobby, acme: Tenant, ann: str) -> None:
    async def anybody(request: Request) -> PlainTextResponse:
        return PlainTextResponse("public")

    routes = [Route(path, anybody) for path in ("/healthz", "/healthz/more", "/HEALTHZ", "/")]
    app = ClerkWorkspaceMiddleware(Starlette(routes=routes), public_paths=("/healthz",))

    with town.at(app) as lobby:
        assert lobby.ask(("GET", "/healthz")).text == "public"
        assert lobby.ask(("GET", "/healthz?x=/other")).text == "public"
        for path in ("/healthz/", "/healthz/more", "/HEALTHZ", "/", "//healthz", "/healthz/../", "/healthz%00", "/x"):
            assert lobby.ask(("GET", path)).status_code == 401
        assert lobby.ask(("GET", "/healthz/more"), lobby.token(acme, ann)).text == "public"


def test_outside_of_the_middleware_there_is_no_workspace(town: Lobby, acme: Tenant, ann: str) -> None:
    async def ask(request: Request) -> PlainTextResponse:
        with pytest.raises(LookupError, match="ClerkWorkspaceMiddleware"):
            workspace_of(request)
        return PlainTextResponse("none")

    app = Starlette(routes=[Route("/here", ask)])

    with town.at(app) as lobby:
        assert lobby.ask(HERE, lobby.token(acme, ann)).text == "none"
    # nor on a public path, whoever asks
    with town.at(ClerkWorkspaceMiddleware(app, public_paths=("/here",))) as lobby:
        assert lobby.ask(HERE, lobby.token(acme, ann)).text == "none"


# --- websockets -------------------------------------------------------------------------------------------------


def socket_app() -> ASGIApp:
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(workspace_of(websocket).tenant)
        await websocket.close()

    return ClerkWorkspaceMiddleware(Starlette(routes=[WebSocketRoute("/talk", talk)]))


def test_a_websocket_opens_with_a_session(town: Lobby, acme: Tenant, ann: str) -> None:
    with (
        TestClient(socket_app()) as client,
        client.websocket_connect("/talk", headers=bearer(town.token(acme, ann))) as websocket,
    ):
        assert websocket.receive_text() == acme.slug


@pytest.mark.parametrize("changes", [None, {"exp": 1}, {"twenty_workspace_id": ""}], ids=["none", "expired", "claim"])
def test_a_websocket_is_closed_before_it_opens(
    town: Lobby, acme: Tenant, ann: str, changes: dict[str, object] | None
) -> None:
    headers = {} if changes is None else bearer(town.token(acme, ann, **changes))

    with (
        TestClient(socket_app()) as client,
        pytest.raises(WebSocketDisconnect) as closed,
        client.websocket_connect("/talk", headers=headers),
    ):
        pass

    assert closed.value.code == 1008


def test_a_websocket_is_told_to_come_again_while_nobody_can_tell(town: Lobby, acme: Tenant, ann: str) -> None:
    settings = session_settings(town.fleet, town.clerk, clerk_jwks_url="http://127.0.0.1:9/jwks")
    app = ClerkWorkspaceMiddleware(Starlette(), settings.sessions)

    with (
        TestClient(app) as client,
        pytest.raises(WebSocketDisconnect) as closed,
        client.websocket_connect("/talk", headers=bearer(town.token(acme, ann))),
    ):
        pass

    assert closed.value.code == 1013


# --- FastAPI ----------------------------------------------------------------------------------------------------


def by_hand(app: FastAPI) -> ASGIApp:
    return ClerkWorkspaceMiddleware(app)


def added(app: FastAPI) -> ASGIApp:
    app.add_middleware(ClerkWorkspaceMiddleware)
    return app


@pytest.mark.parametrize("wrap", [by_hand, added])
def test_fastapi(town: Lobby, acme: Tenant, ann: str, wrap: object) -> None:
    app = FastAPI()

    @app.get("/here")
    async def here(workspace: Annotated[WorkspaceContext, Depends(of_request)]) -> dict[str, str]:
        return {"tenant": workspace.tenant}

    @app.websocket("/talk")
    async def talk(websocket: FastAPIWebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(workspace_of(websocket).tenant)

    with TestClient(wrap(app)) as client:  # type: ignore[operator]  # one of the two above
        token = bearer(town.token(acme, ann))
        assert client.get("/here", headers=token).json() == {"tenant": acme.slug}
        assert client.get("/here").status_code == 401
        with client.websocket_connect("/talk", headers=token) as websocket:
            assert websocket.receive_text() == acme.slug


def of_request(request: Request) -> WorkspaceContext:
    return workspace_of(request)


def test_it_is_a_dependency_by_itself(town: Lobby, acme: Tenant, ann: str) -> None:
    app = FastAPI()

    @app.get("/here")
    async def here(workspace: Annotated[object, Depends(workspace_of)]) -> dict[str, str]:
        assert isinstance(workspace, WorkspaceContext)
        return {"tenant": workspace.tenant}

    with TestClient(ClerkWorkspaceMiddleware(app)) as client:
        assert client.get("/here", headers=bearer(town.token(acme, ann))).json() == {"tenant": acme.slug}


# --- beginning and ending ---------------------------------------------------------------------------------------


def test_the_applications_own_lifespan_runs(town: Lobby, acme: Tenant, ann: str) -> None:
    told: list[str] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, str]]:
        told.append("began")
        yield {"greeting": "hello"}
        told.append("ended")

    async def greet(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.state.greeting)

    app = ClerkWorkspaceMiddleware(Starlette(routes=[Route("/here", greet)], lifespan=lifespan))

    with TestClient(app) as client:
        assert told == ["began"]
        assert client.get("/here", headers=bearer(town.token(acme, ann))).text == "hello"
    assert told == ["began", "ended"]


def test_an_application_may_begin_again(town: Lobby, acme: Tenant, ann: str) -> None:
    """As test clients of an application do, each in an event loop of its own."""
    app = ClerkWorkspaceMiddleware(Starlette(routes=[Route("/here", here)]))
    bob = town.member(acme)

    for user in (ann, bob):
        with TestClient(app) as client:
            assert client.get("/here", headers=bearer(town.token(acme, user))).json()["tenant"] == acme.slug


async def raises(scope: Scope, receive: Receive, send: Send) -> None:
    """As Django does."""
    if scope["type"] == "lifespan":
        message = "only HTTP is served"
        raise ValueError(message)
    await request_response(here)(scope, receive, send)


async def returns(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "lifespan":
        await request_response(here)(scope, receive, send)


@pytest.mark.parametrize("inner", [raises, returns])
def test_an_application_without_lifespan(town: Lobby, acme: Tenant, ann: str, inner: ASGIApp) -> None:
    """A server goes on without, and so does the middleware."""
    app = ClerkWorkspaceMiddleware(inner)

    async def serve() -> httpx2.Response:
        with suppress(ValueError):
            await app({"type": "lifespan", "asgi": {"version": "3.0"}}, never, nowhere)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://app.test") as client:
            return await client.get("/here", headers=bearer(town.token(acme, ann)))

    assert asyncio.run(serve()).json()["tenant"] == acme.slug


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def nowhere(_: Message) -> None:
    """Nobody listens."""


def test_at_the_end_nothing_is_left_open(town: Lobby, acme: Tenant, ann: str) -> None:
    """When the application says that it has ended, so has the middleware: the server ends its loop then."""
    app = ClerkWorkspaceMiddleware(Starlette(routes=[Route("/here", here)]))
    before = connections(town)
    open_when_told: list[set[int]] = []
    messages = iter(["lifespan.startup", "lifespan.shutdown"])

    async def serve() -> None:
        started = asyncio.Event()

        async def receive() -> Message:
            type_ = next(messages)
            if type_ == "lifespan.shutdown":
                await started.wait()
            return {"type": type_}

        async def send(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                async with httpx2.AsyncClient(
                    transport=httpx2.ASGITransport(app), base_url="http://app.test"
                ) as client:
                    assert (await client.get("/here", headers=bearer(town.token(acme, ann)))).status_code == 200
                started.set()
            if message["type"] == "lifespan.shutdown.complete":
                await asyncio.to_thread(count)

        def count() -> None:
            open_when_told.append(since(town, before))

        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    asyncio.run(serve())

    assert open_when_told == [set()]


def connections(town: Lobby) -> set[int]:
    """The connections to the ledger's database."""
    rows = town.fleet.postgres.execute(
        "postgres", "SELECT pid FROM pg_stat_activity WHERE datname = %s", [town.fleet.name]
    )
    return {row[0] for row in rows}


def since(town: Lobby, before: set[int]) -> set[int]:
    """Those that were opened since and are still open; PostgreSQL notices an end a moment later."""
    for _ in range(20):
        if not connections(town) - before:
            break
        time.sleep(0.02)
    return connections(town) - before


@pytest.mark.parametrize("name", ["REGISTRY_URL", "CLERK_SECRET_KEY"])
def test_a_missing_setting_is_told_when_the_program_starts(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(f"PROVISIONING_{name}")

    with pytest.raises(SettingsError, match=f"PROVISIONING_{name}"):
        ClerkWorkspaceMiddleware(Starlette())


def test_without_issuers_nobody_gets_in(monkeypatch: pytest.MonkeyPatch, town: Lobby, acme: Tenant, ann: str) -> None:
    monkeypatch.delenv("PROVISIONING_CLERK_ISSUERS")

    with TestClient(ClerkWorkspaceMiddleware(Starlette(routes=[Route("/here", here)]))) as client:
        answer = client.get("/here", headers=bearer(town.token(acme, ann)))

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert "PROVISIONING_CLERK_ISSUERS" in answer.json()["detail"]


# --- many at once -----------------------------------------------------------------------------------------------


def test_many_at_once_of_one_member_ask_once(
    town: Lobby, acme: Tenant, ann: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = counted_ledger(monkeypatch)
    app = ClerkWorkspaceMiddleware(Starlette(routes=[Route("/here", here)]))
    town.clerk.reset_counters()
    tokens = [town.token(acme, ann) for _ in range(50)]

    answers = asyncio.run(all_at_once(app, tokens))

    assert [answer.json()["tenant"] for answer in answers] == [acme.slug] * 50
    assert asked == [(acme.organization, ann)]
    assert sorted(town.clerk.calls.values()) == [1, 1, 1]


def test_many_at_once_of_several_members_get_each_their_own(
    town: Lobby, acme: Tenant, ann: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = counted_ledger(monkeypatch)
    tenants = [town.tenant(f"crowd{number}") for number in range(5)]
    people = [(tenant, town.member(tenant)) for tenant in tenants for _ in range(2)]
    app = ClerkWorkspaceMiddleware(Starlette(routes=[Route("/here", here)]))

    answers = asyncio.run(all_at_once(app, [town.token(*one) for one in people * 5]))

    assert [answer.json()["workspace"] for answer in answers] == [tenant.workspace_id for tenant, _ in people * 5]
    assert sorted(asked) == sorted((tenant.organization, user) for tenant, user in people)


def test_one_who_hangs_up_takes_the_answer_from_nobody(
    town: Lobby, acme: Tenant, ann: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()
    counted_ledger(monkeypatch, asked)
    app = ClerkWorkspaceMiddleware(Starlette(routes=[Route("/here", here)]))
    tokens = [town.token(acme, ann) for _ in range(3)]

    async def ask() -> list[httpx2.Response]:
        async with running(app) as client:
            tasks = [asyncio.create_task(client.get("/here", headers=bearer(token))) for token in tokens]
            await asyncio.wait_for(asked.wait(), 10)
            tasks[0].cancel()
            return await asyncio.gather(*tasks[1:])

    assert [answer.status_code for answer in asyncio.run(ask())] == [200, 200]


def counted_ledger(monkeypatch: pytest.MonkeyPatch, begun: asyncio.Event | None = None) -> list[tuple[str, str]]:
    """The questions to the ledger from now on: organization and user."""
    asked: list[tuple[str, str]] = []
    original = resolver.tenant_of

    async def tenant_of(database: object, organization: str, user: str) -> object:
        asked.append((organization, user))
        if begun:
            begun.set()
        return await original(database, organization, user)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(resolver, "tenant_of", tenant_of)
    return asked


@asynccontextmanager
async def running(app: ClerkWorkspaceMiddleware) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app)
    async with app._resolver, httpx2.AsyncClient(transport=transport, base_url="http://app.test") as client:
        yield client


async def all_at_once(app: ClerkWorkspaceMiddleware, tokens: list[str]) -> list[httpx2.Response]:
    async with running(app) as client:
        return await asyncio.gather(*[client.get("/here", headers=bearer(token)) for token in tokens])


def test_a_connection_of_any_kind_has_its_workspace() -> None:
    with pytest.raises(LookupError):
        workspace_of(HTTPConnection({"type": "http", "headers": []}))
