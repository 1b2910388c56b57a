"""What the tests of the clients share: waits that are noted instead of waited out, and a server to script."""

import inspect
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import cast

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response
from starlette.types import ASGIApp, Receive, Scope, Send
from tenacity import AsyncRetrying

from provisioning_pipeline.clients import transport
from provisioning_pipeline.sandbox.serving import LoopbackServer

Answer = Callable[[Request], Awaitable[Response]]


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
