"""The step verify_logins."""

from typing import Final

from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.steps.logins.act import verify_login
from provisioning_pipeline.steps.logins.changes import CHANGES
from provisioning_pipeline.steps.step import Step

LOGINS: Final = Step(
    name="verify_logins",
    description="Sign in as the admin and all members of a tenant that was changed: only COMPLETED in the right "
    "workspace is ready.",
    condition=ConditionType.LOGIN_PROVED,
    act=verify_login,
    changes=CHANGES,
    follows=True,
)
