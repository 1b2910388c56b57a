"""nginx between a verifier that behaves as the contract says and an application that shows what reaches it."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from provisioning_pipeline.sandbox.serving import LoopbackServer
from provisioning_pipeline_tests.gateway.nginx import Application, Gateway, Verifier, running_nginx


@dataclass(frozen=True)
class Api:
    """Who verifies: where, a session that is good there and its tenant. Another HTTP API needs this fixture alone."""

    url: str
    good_token: str
    tenant: str


@pytest.fixture(scope="session")
def nginx_is_here() -> None:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")


@pytest.fixture(scope="module")
def shared_verifier() -> Verifier:
    return Verifier()


@pytest.fixture(scope="module")
def verifier_server(shared_verifier: Verifier) -> Iterator[LoopbackServer]:
    server = LoopbackServer(shared_verifier.app())
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def api(verifier_server: LoopbackServer, shared_verifier: Verifier) -> Api:
    return Api(verifier_server.url, shared_verifier.good, shared_verifier.tenant)


@pytest.fixture(scope="module")
def shared_application() -> Application:
    return Application()


@pytest.fixture(scope="module")
def application_server(shared_application: Application) -> Iterator[LoopbackServer]:
    server = LoopbackServer(shared_application.app())
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gateway(nginx_is_here: None, api: Api, application_server: LoopbackServer) -> Iterator[Gateway]:
    """nginx with the sample of docs/gateway; one for a module, each test with its own requests."""
    with running_nginx(api.url, application_server.url) as running:
        yield running


@pytest.fixture
def verifier(shared_verifier: Verifier) -> Iterator[Verifier]:
    """The verifier, with nothing kept from earlier tests and nothing left for later ones."""
    shared_verifier.requests.clear()
    yield shared_verifier
    shared_verifier.answer = None


@pytest.fixture
def application(shared_application: Application) -> Iterator[Application]:
    """The application, likewise."""
    shared_application.requests.clear()
    yield shared_application
    shared_application.answer = None
