"""The step offboard_tenants."""

from functools import partial
from typing import Final

from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.steps.offboarding.act import offboard
from provisioning_pipeline.steps.offboarding.changes import CHANGES
from provisioning_pipeline.steps.step import Step
from provisioning_pipeline.steps.suspension.locking import lock

OFFBOARDING: Final = Step(
    name="offboard_tenants",
    description="Archive, export and delete the workspace of a tenant that its customer leaves.",
    condition=ConditionType.OFFBOARDED,
    act=partial(offboard, lock=lock),
    changes=CHANGES,
)
