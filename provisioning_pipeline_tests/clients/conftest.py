"""What the tests of the clients share: waits that are noted instead of waited out, and servers."""

import inspect
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import cast
from uuid import uuid4

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response
from starlette.types import ASGIApp, Receive, Scope, Send
from tenacity import AsyncRetrying

from provisioning_pipeline.clients import transport
from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.serving import LoopbackServer
from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions, core_sql
from provisioning_pipeline_tests.clients.core import Core
from provisioning_pipeline_tests.clients.tenant import NUMBERS, Tenant

Answer = Callable[[Request], Awaitable[Response]]
QUICK = TwentyOptions(activation_seconds=0)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the transport would have waited between tries; only the clock is replaced."""
    noted: list[float] = []

    async def note(seconds: float) -> None:
        noted.append(seconds)

    monkeypatch.setattr(transport, "AsyncRetrying", partial(AsyncRetrying, sleep=note))
    return noted


class AnyServer:
    """A server that answers every request as the test says."""

    def __init__(self) -> None:
        self._app: ASGIApp = Starlette()
        self._server = LoopbackServer(self)
        self._server.start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._app if scope["type"] == "http" else Starlette())(scope, receive, send)

    def answers(self, answer: Answer | Response | ASGIApp) -> str:
        """From now on so: a response, a function of the request, or an application; the base URL."""
        self._app = request_response(answer) if inspect.iscoroutinefunction(answer) else cast(ASGIApp, answer)
        return self._server.url

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture(scope="session")
def any_server() -> Iterator[AnyServer]:
    """One server for all: starting and stopping takes longer than a test."""
    server = AnyServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared_twenty(sandbox_postgres: SandboxPostgres) -> Iterator[StandInTwenty]:
    """One server for the tests that mind only their own workspace; its first account is another admin."""
    with StandInTwenty(_new_database(sandbox_postgres), QUICK) as server:
        yield server


@pytest.fixture
def server(shared_twenty: StandInTwenty) -> StandInTwenty:
    """The shared Twenty, with no fault left from another test."""
    shared_twenty.faults.scripted.clear()
    return shared_twenty


@pytest.fixture
def special(sandbox_postgres: SandboxPostgres) -> Iterator[Callable[[TwentyOptions], StandInTwenty]]:
    """Twentys of one's own, with these options."""
    running: list[StandInTwenty] = []

    def start(options: TwentyOptions = QUICK) -> StandInTwenty:
        running.append(StandInTwenty(_new_database(sandbox_postgres), options))
        running[-1].start()
        return running[-1]

    yield start
    for stand_in in running:
        stand_in.stop()


def _new_database(postgres: SandboxPostgres) -> str:
    return postgres.create_database(f"twenty_{uuid4().hex[:12]}")


@pytest.fixture(scope="session")
def shared_clerk() -> Iterator[StandInClerk]:
    """One Clerk for all."""
    with StandInClerk() as stand_in:
        yield stand_in


@pytest.fixture
def clerk(shared_clerk: StandInClerk) -> StandInClerk:
    """The shared Clerk, with no user and no fault left from another test."""
    shared_clerk.clear()
    return shared_clerk


@pytest.fixture(scope="module")
def tenant_template(sandbox_postgres: SandboxPostgres) -> Iterator[str]:
    """A database with schema core and no rows, of which tests get copies."""
    name = "tenant_with_core"
    sandbox_postgres.create_database(name)
    sandbox_postgres.execute(name, core_sql())
    # it writes whenever it likes, which the evidence tells
    sandbox_postgres.execute("postgres", "ALTER SYSTEM SET autovacuum = off")
    sandbox_postgres.execute("postgres", "SELECT pg_reload_conf()")
    yield name
    sandbox_postgres.execute("postgres", "ALTER SYSTEM RESET autovacuum")
    sandbox_postgres.execute("postgres", "SELECT pg_reload_conf()")
    sandbox_postgres.drop_database(name)


@pytest.fixture
def tenant(sandbox_postgres: SandboxPostgres, tenant_template: str) -> Iterator[Tenant]:
    name = f"tenant_{next(NUMBERS)}"
    sandbox_postgres.create_database(name, template=tenant_template)
    yield Tenant(sandbox_postgres, name)
    sandbox_postgres.drop_database(name)


@pytest.fixture
def bare(sandbox_postgres: SandboxPostgres) -> Iterator[Tenant]:
    """A tenant database without anything in it."""
    name = f"bare_tenant_{next(NUMBERS)}"
    sandbox_postgres.create_database(name)
    yield Tenant(sandbox_postgres, name)
    sandbox_postgres.drop_database(name)


@pytest.fixture(scope="module")
def template(sandbox_postgres: SandboxPostgres) -> Iterator[str]:
    name = f"core_{uuid4().hex[:12]}"
    sandbox_postgres.create_database(name)
    sandbox_postgres.execute(name, core_sql())
    yield name
    sandbox_postgres.drop_database(name)


@pytest.fixture
def core(sandbox_postgres: SandboxPostgres, template: str) -> Iterator[Core]:
    name = f"core_{uuid4().hex[:12]}"
    sandbox_postgres.create_database(name, template)
    yield Core(sandbox_postgres, name)
    sandbox_postgres.drop_database(name)
