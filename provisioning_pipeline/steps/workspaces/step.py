"""The step provision_workspaces."""

from typing import Final

from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.steps.step import Step
from provisioning_pipeline.steps.workspaces.act import provision_workspace
from provisioning_pipeline.steps.workspaces.changes import CHANGES


def _moved_out_of_sight(plan: TenantPlan) -> bool:
    """Its workspace was renamed in Twenty, and only Twenty can say where it is now."""
    return plan.address is not None and plan.address.url is None


WORKSPACES: Final = Step(
    name="provision_workspaces",
    description="Make the workspace through Twenty's own services, activate it, add its admin. Safe to run again.",
    condition=ConditionType.WORKSPACE_READY,
    act=provision_workspace,
    changes=CHANGES,
    also_wanted=_moved_out_of_sight,
)
