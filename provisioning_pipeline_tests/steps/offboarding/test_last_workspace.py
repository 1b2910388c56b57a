"""With the last workspace of a server goes our account; the next run that needs it signs it up anew."""

from pathlib import Path

import pytest

from provisioning_pipeline.model.condition import ConditionType, Reason
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline.steps.offboarding.changes import DELETE_WORKSPACE
from provisioning_pipeline_tests.steps.offboarding.conftest import offboard
from provisioning_pipeline_tests.steps.offboarding.gone import assert_gone, before
from provisioning_pipeline_tests.world import World


@pytest.mark.slow
def test_the_last_workspace_takes_our_account_along_and_another_one_brings_it_back(tmp_path: Path) -> None:
    with Sandbox(SandboxOptions(tenants=0, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        world = World(sandbox)
        sandbox.add_tenant("only", members=1)
        world.apply()
        tenant = before(world, "only")

        result = offboard(world, "only", DELETE_WORKSPACE, export_path=str(tmp_path))
        (found,) = (known for known in result.conditions if known.type is ConditionType.OFFBOARDED)
        assert found.reason is Reason.WORKSPACE_DELETED, result.conditions
        assert_gone(world, tenant, tmp_path)
        service = world.settings.servers[0].service_email
        (living,) = world.twenty('SELECT count(*) FROM core."user" WHERE email = %s AND "deletedAt" IS NULL', service)
        assert living == (0,)

        sandbox.add_tenant("next", members=1)
        world.apply("next")
        assert world.conditions("next")["Ready"] == ("True", "AllTrue")
        assert world.sees("next")["status"] == "COMPLETED"
