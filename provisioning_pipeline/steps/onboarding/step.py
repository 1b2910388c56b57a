"""The step repair_onboarding."""

from typing import Final

from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.steps.onboarding.act import repair_onboarding
from provisioning_pipeline.steps.onboarding.changes import CHANGES
from provisioning_pipeline.steps.step import Step

ONBOARDING: Final = Step(
    name="repair_onboarding",
    description="Clear every pending onboarding step of the service account, the admin and the members.",
    condition=ConditionType.ONBOARDING_COMPLETE,
    act=repair_onboarding,
    changes=CHANGES,
    follows=True,
)
