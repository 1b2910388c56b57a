"""The step backfill_members."""

from typing import Final

from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.steps.members.act.backfill import backfill_members
from provisioning_pipeline.steps.members.changes import CHANGES
from provisioning_pipeline.steps.step import Step

MEMBERS: Final = Step(
    name="backfill_members",
    description="Make every Clerk member the right member of the workspace: join without an e-mail, link, name, role; "
    "and take out who left, where policy and budget say so.",
    condition=ConditionType.MEMBERS_SYNCED,
    act=backfill_members,
    changes=CHANGES,
)
