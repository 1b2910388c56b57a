"""The step provision_workspaces."""

from typing import Final

from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.steps.step import Step
from provisioning_pipeline.steps.workspaces.act import provision_workspace
from provisioning_pipeline.steps.workspaces.changes import CHANGES

WORKSPACES: Final = Step(
    name="provision_workspaces",
    description="Make the workspace through Twenty's own services, activate it, add its admin. Safe to run again.",
    condition=ConditionType.WORKSPACE_READY,
    act=provision_workspace,
    changes=CHANGES,
    # the workspace was renamed in Twenty, and only Twenty can say where it is now
    also_wanted=lambda plan: plan.address is not None and plan.address.url is None,
)
