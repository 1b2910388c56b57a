"""The HTTP API before ledgers of its own, as Clerk, a tenant manager and members at Clerk come to it."""

from collections.abc import Iterator

import pytest

from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.http.api import Api, api_to
from provisioning_pipeline_tests.http.dagster_stand_in import running_dagster
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in
from provisioning_pipeline_tests.http.logs import lines_logged
from provisioning_pipeline_tests.http.services import Service, caller, key_of, serving, tenants_in
from provisioning_pipeline_tests.http.sessions import Lobby, Tenant, lobby_in, secret_parts

# --- what Clerk sends -------------------------------------------------------------------------------------------


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
def shared_api(shared_fleet: Fleet) -> Iterator[Api]:
    with api_to(shared_fleet.settings()) as made:
        yield made


@pytest.fixture
def own_fleet(sandbox_postgres: SandboxPostgres, first_fleet: str) -> Iterator[Fleet]:
    with fleet_in(sandbox_postgres, first_fleet) as made:
        yield made


@pytest.fixture
def own_api(own_fleet: Fleet) -> Iterator[Api]:
    with api_to(own_fleet.settings()) as made:
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
def api(request: pytest.FixtureRequest) -> Api:
    """The application in front of the test's fleet."""
    found: Api = request.getfixturevalue(_which(request, "api"))
    return found


def _which(request: pytest.FixtureRequest, name: str) -> str:
    return f"{'own' if request.node.get_closest_marker('own_ledger') else 'shared'}_{name}"


# --- tenants as rows: what is decided without a run -------------------------------------------------------------


@pytest.fixture(scope="session")
def served(sandbox_postgres: SandboxPostgres) -> Iterator[Service]:
    """One HTTP API for every module that asks as a tenant manager: `service` empties what is behind it."""
    with tenants_in(sandbox_postgres) as tenants, running_dagster() as (dagster, server):
        settings = tenants.settings(dagster_graphql_url=f"{server.url}/graphql", key_requests_per_minute=100_000)
        with serving(settings) as url, caller(url, key_of(settings)) as http:
            yield Service(http, tenants, dagster, settings)


@pytest.fixture
def service(served: Service) -> Service:
    """Nobody is registered yet, and Dagster launches runs that stay queued."""
    served.dagster.forget()
    served.tenants.sql("TRUNCATE tenant_registry CASCADE")
    served.tenants.sql("TRUNCATE provisioning.tenant_link CASCADE")
    for table in ("tenant_request", "run", "condition", "condition_change", "login_proof"):
        served.tenants.sql(f"TRUNCATE provisioning.{table} CASCADE")
    return served


# --- sessions of Clerk ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shared_lobby(sandbox_postgres: SandboxPostgres) -> Iterator[Lobby]:
    """One HTTP API for every module that asks with sessions: tests add tenants and people of their own."""
    with lobby_in(sandbox_postgres) as made:
        yield made


@pytest.fixture(scope="module")
def logged() -> Iterator[list[str]]:
    """All that is logged while the tests of a module run."""
    with lines_logged() as lines:
        yield lines


@pytest.fixture
def lobby(shared_lobby: Lobby, logged: list[str]) -> Iterator[Lobby]:
    """The HTTP API and who is before it; no token that a test sends is in any line logged meanwhile."""
    begun = len(logged)
    yield shared_lobby
    told = "\n".join(logged[begun:])
    assert told
    assert not [token for token in shared_lobby.sent for part in secret_parts(token) if part in told]


@pytest.fixture(scope="session")
def acme(shared_lobby: Lobby) -> Tenant:
    return shared_lobby.tenant("acme")


@pytest.fixture(scope="session")
def ann(shared_lobby: Lobby, acme: Tenant) -> str:
    """A member of acme with nothing wrong about her."""
    return shared_lobby.member(acme)
