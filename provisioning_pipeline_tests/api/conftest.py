"""The HTTP door on a loopback port, before a ledger of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from provisioning_pipeline.api.app import create_app
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.serving import LoopbackServer
from provisioning_pipeline.settings import Settings
from provisioning_pipeline_tests.api.fleet import Fleet, fleet_in, signed


class Door:
    """A caller of the running application."""

    def __init__(self, server: LoopbackServer) -> None:
        self.url = server.url
        # plain HTTP: reading the machine's certificates for each test would take longer than the test
        self.http = httpx.Client(base_url=server.url, timeout=20, verify=False)

    def post(self, raw: bytes, headers: dict[str, str]) -> httpx.Response:
        return self.http.post("/webhooks/clerk", content=raw, headers=headers)

    def deliver(self, event: dict[str, Any], event_id: str | None = None) -> int:
        """The status of the answer to a valid delivery."""
        return self.post(*signed(event, event_id)).status_code


@contextmanager
def door_to(settings: Settings) -> Iterator[Door]:
    """A running application with these settings."""
    server = LoopbackServer(create_app(settings))
    server.start()
    try:
        door = Door(server)
        yield door
        door.http.close()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def first_fleet(sandbox_postgres: SandboxPostgres) -> Iterator[str]:
    """The database of which each test gets a copy."""
    with fleet_in(sandbox_postgres) as made:
        made.link("acme", "org_1", users=["user_1", "user_2"])
        made.link("beta", users=["user_1"])
        made.register("beta", "org_2")
        made.link("gamma", "org_3", users=["user_3"])
        made.leave()  # what somebody is connected to cannot be copied
        yield made.name


@pytest.fixture(scope="module")
def shared_fleet(sandbox_postgres: SandboxPostgres, first_fleet: str) -> Iterator[Fleet]:
    """A copy for all tests of a module that leave nothing but marks and events in it."""
    with fleet_in(sandbox_postgres, first_fleet) as made:
        yield made


@pytest.fixture(scope="module")
def shared_door(shared_fleet: Fleet) -> Iterator[Door]:
    with door_to(shared_fleet.settings()) as made:
        yield made


@pytest.fixture
def own_fleet(sandbox_postgres: SandboxPostgres, first_fleet: str) -> Iterator[Fleet]:
    with fleet_in(sandbox_postgres, first_fleet) as made:
        yield made


@pytest.fixture
def own_door(own_fleet: Fleet) -> Iterator[Door]:
    with door_to(own_fleet.settings()) as made:
        yield made


@pytest.fixture
def fleet(request: pytest.FixtureRequest) -> Fleet:
    """Two organizations: `org_1` is acme's, with user_1 and user_2; `org_2` is beta's, with user_1.

    A test marked `own_ledger` has one for itself, because it hurts it.
    """
    found: Fleet = request.getfixturevalue(_which(request, "fleet"))
    found.sql("DELETE FROM provisioning.clerk_event")
    found.unmark()
    return found


@pytest.fixture
def door(request: pytest.FixtureRequest) -> Door:
    """The application in front of the test's fleet."""
    found: Door = request.getfixturevalue(_which(request, "door"))
    return found


def _which(request: pytest.FixtureRequest, name: str) -> str:
    return f"{'own' if request.node.get_closest_marker('own_ledger') else 'shared'}_{name}"
