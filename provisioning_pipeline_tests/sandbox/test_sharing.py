"""A sandbox that other containers reach, as in compose.yaml; here by another loopback address."""

import psycopg
import pytest

from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.sharing import shared
from provisioning_pipeline_tests.world import World, settings_of

ELSEWHERE = "127.0.0.2"


@pytest.mark.slow
def test_what_comes_by_another_address_makes_tenants_ready_and_needs_the_passwords() -> None:
    with Sandbox(SandboxOptions(tenants=1)) as sandbox, shared(sandbox, ELSEWHERE) as environment:
        assert "127.0.0.1" not in "".join(value for name, value in environment.items() if "REPORT" not in name)
        world = World(sandbox)
        world.settings = settings_of(environment, allow_http_hosts=(ELSEWHERE,))
        applied = world.apply()
        without = sandbox.registry_url.replace("127.0.0.1", ELSEWHERE).replace(sandbox.postgres._password, "wrong")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(without)

    assert applied.summary.count("ready") == 1
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(without)
