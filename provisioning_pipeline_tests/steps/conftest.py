"""A sandbox per test module; each test adds tenants of its own."""

from collections.abc import Iterator

import pytest

from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.world import World, browser, read


@pytest.fixture(scope="session")
def leaving_world() -> Iterator[World]:
    """A sandbox for tests of tenants that are locked or leave, each with tenants of its own.

    One tenant stays, so that our account is never without a workspace.
    """
    with Sandbox(SandboxOptions(tenants=0, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        world = World(sandbox)
        sandbox.add_tenant("stays", members=1)
        world.apply()
        yield world


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    """One sandbox without tenants; what a test leaves in it must not matter to the next."""
    with Sandbox(SandboxOptions(tenants=0, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        world = World(sandbox)
        # whoever signs up first becomes the server's admin, and any test may be the first on its worker
        service = world.settings.servers[0]
        with browser(sandbox.twenty[0]) as http:
            document = "mutation($e:String!,$p:String!){signUp(email:$e,password:$p){tokens{refreshToken{token}}}}"
            read(http, document, {"e": service.service_email, "p": service.service_password.get_secret_value()})
        yield world
