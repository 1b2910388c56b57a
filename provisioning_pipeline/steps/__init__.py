"""The steps of a run: one folder each, the only place where a step is known."""

from typing import Final

from provisioning_pipeline.steps.databases.step import DATABASES
from provisioning_pipeline.steps.logins.step import LOGINS
from provisioning_pipeline.steps.members.step import MEMBERS
from provisioning_pipeline.steps.onboarding.step import ONBOARDING
from provisioning_pipeline.steps.step import Step
from provisioning_pipeline.steps.workspaces.step import WORKSPACES

STEPS: Final[tuple[Step, ...]] = (DATABASES, WORKSPACES, MEMBERS, ONBOARDING, LOGINS)
"""In the order in which they are taken."""
