"""nginx before the real application: what holds for any verifier holds for ours."""

from collections.abc import Iterator

import pytest

from provisioning_pipeline_tests.gateway.conftest import Api
from provisioning_pipeline_tests.gateway.nginx import Application, Gateway
from provisioning_pipeline_tests.gateway.test_nginx import TestWhateverTheDoor, identity
from provisioning_pipeline_tests.http.services import serving, small_world
from provisioning_pipeline_tests.world import World

__all__ = ["TestWhateverTheDoor"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(nginx_is_here: None) -> Iterator[World]:
    with small_world(tenants=1, members=2) as made:
        yield made


@pytest.fixture(scope="module")
def tenant(world: World) -> str:
    return str(world.registry("SELECT slug FROM tenant_registry")[0][0])


@pytest.fixture(scope="module")
def api(world: World, tenant: str) -> Iterator[Api]:
    """`provisioning serve` itself, and a session of the tenant's admin."""
    user = world.clerk_user(world.link(tenant)["admin_email"])
    token = world.sandbox.clerk.session_token(user, world.organization(tenant), seconds=3600)
    with serving(world.settings) as url:
        yield Api(url, token, tenant)


def test_the_identity_is_the_ledgers(
    gateway: Gateway, api: Api, application: Application, world: World, tenant: str
) -> None:
    assert gateway(api.good_token).status_code == 200

    link = world.link(tenant)
    assert identity(application) == {
        "X-Tenant": [tenant],
        "X-Twenty-Workspace-Id": [link["workspace_id"]],
        "X-Twenty-User-Id": [link["admin_user_id"]],
        "X-Twenty-Role": ["Admin"],
    }


def test_somebody_who_is_not_linked_yet_is_refused(
    gateway: Gateway, application: Application, world: World, tenant: str
) -> None:
    newcomer = world.sandbox.clerk.add_user("new@acme.example", first_name="New", last_name="Comer")
    world.sandbox.clerk.add_membership(world.organization(tenant), newcomer.id)

    answer = gateway(world.sandbox.clerk.session_token(newcomer.id, world.organization(tenant)))

    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert application.requests == []


def test_a_session_without_an_organization_is_refused(
    gateway: Gateway, application: Application, world: World, tenant: str
) -> None:
    user = world.clerk_user(world.link(tenant)["admin_email"])

    answer = gateway(world.sandbox.clerk.session_token(user))

    assert answer.status_code == 403
    assert application.requests == []


def test_an_expired_session_is_told_how_to_sign_in(gateway: Gateway, world: World, tenant: str) -> None:
    user = world.clerk_user(world.link(tenant)["admin_email"])

    answer = gateway(world.sandbox.clerk.session_token(user, world.organization(tenant), seconds=-60))

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
