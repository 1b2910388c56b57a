"""What the tests of the client share: an HTTP API, both clients behind one face, and waits that are noted."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from provisioning_pipeline.client import (
    AsyncProvisioningClient,
    Event,
    ManyAsked,
    ProvisioningClient,
    Tenant,
    asynchronous,
    blocking,
)
from provisioning_pipeline.sandbox.serving import LoopbackServer
from provisioning_pipeline_tests.client.api import API_KEY, Api


class OnALoop:
    """The asynchronous client on an event loop of its own, so that one test fits both."""

    def __init__(self, base_url: str, api_key: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncProvisioningClient(base_url, api_key, **options)

    def __repr__(self) -> str:
        return repr(self._client)

    def put_tenant(self, slug: str, **stated: Any) -> Tenant:
        return self._runner.run(self._client.put_tenant(slug, **stated))

    def tenant(self, slug: str) -> Tenant:
        return self._runner.run(self._client.tenant(slug))

    def reconcile(self, slug: str, **options: Any) -> Tenant:
        return self._runner.run(self._client.reconcile(slug, **options))

    def reconcile_many(self, names: list[str], **options: Any) -> ManyAsked:
        return self._runner.run(self._client.reconcile_many(names, **options))

    def reconcile_all(self, **options: Any) -> ManyAsked:
        return self._runner.run(self._client.reconcile_all(**options))

    def wait_until_ready(self, slug: str, **options: Any) -> Tenant:
        return self._runner.run(self._client.wait_until_ready(slug, **options))

    def tenants(self, **wanted: Any) -> Iterator[Tenant]:
        return iter(self._runner.run(self._all(self._client.tenants(**wanted))))

    def timeline(self, slug: str) -> Iterator[Event]:
        return iter(self._runner.run(self._all(self._client.timeline(slug))))

    def close(self) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()

    @staticmethod
    async def _all(found: Any) -> list[Any]:
        return [item async for item in found]


Client = ProvisioningClient | OnALoop
Connect = Callable[..., Client]


class Waits(list[float]):
    """The seconds that a client would have waited; `meanwhile` happens during the next wait."""

    meanwhile: Callable[[], None] | None = None

    def pass_by(self, seconds: float) -> None:
        self.append(seconds)
        happening, self.meanwhile = self.meanwhile, None
        if happening:
            happening()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    noted = Waits()

    async def note(seconds: float) -> None:
        noted.pass_by(seconds)

    monkeypatch.setattr(blocking, "pause", noted.pass_by)
    monkeypatch.setattr(asynchronous, "pause", note)
    return noted


@pytest.fixture(scope="module")
def serving() -> Iterator[tuple[Api, LoopbackServer]]:
    """One server for all tests of a file: starting and stopping takes longer than a test."""
    api = Api()
    server = LoopbackServer(api)
    server.start()
    api.url = server.url
    yield api, server
    server.stop()


@pytest.fixture
def server(serving: tuple[Api, LoopbackServer]) -> LoopbackServer:
    return serving[1]


@pytest.fixture
def api(serving: tuple[Api, LoopbackServer]) -> Api:
    """The HTTP API, with nothing left from another test."""
    kept, server = serving
    vars(kept).update(vars(Api(server.url)))
    return kept


@pytest.fixture(params=[ProvisioningClient, OnALoop], ids=["blocking", "asynchronous"])
def connect(request: pytest.FixtureRequest, api: Api) -> Iterator[Connect]:
    """Makes clients of one kind, of the HTTP API where no other URL is given."""
    made: list[Client] = []

    def client(base_url: str | None = None, api_key: str = API_KEY, **options: Any) -> Client:
        made.append(request.param(api.url if base_url is None else base_url, api_key, **options))
        return made[-1]

    yield client
    for each in made:
        each.close()


@pytest.fixture
def client(connect: Connect) -> Client:
    return connect()
