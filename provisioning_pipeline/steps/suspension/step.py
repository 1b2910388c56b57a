"""The step lock_workspaces."""

from typing import Final

from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.steps.step import Step
from provisioning_pipeline.steps.suspension.act import end_or_give_back_access
from provisioning_pipeline.steps.suspension.changes import CHANGES

SUSPENSION: Final = Step(
    name="lock_workspaces",
    description="End access at Twenty for a tenant that is suspended, and prove it; give all of it back to one that is "
    "active again.",
    condition=ConditionType.ACCESS_LOCKED,
    act=end_or_give_back_access,
    changes=CHANGES,
)
