"""The step repair_databases."""

from typing import Final

from provisioning_pipeline.model.change import Where
from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.steps.databases.act import repair_database
from provisioning_pipeline.steps.databases.changes import CHANGES
from provisioning_pipeline.steps.onboarding.step import ONBOARDING
from provisioning_pipeline.steps.step import Step

DATABASES: Final = Step(
    name="repair_databases",
    description="Remove onboarding rows, and mend activation statuses, in a tenant's own database.",
    condition=ConditionType.TENANT_DATABASE,
    act=repair_database,
    changes=CHANGES,
    where=Where.OWN_DATABASE,
    beside=ONBOARDING,
)
