"""What the step repair_onboarding changes."""

from typing import Final

from provisioning_pipeline.model.change import Cause, Change, Where
from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.model.history import Actor, Before, DriftCause, Source
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.steps.workspaces.changes import REJOIN_WORKSPACE

_AGAIN = Cause(DriftCause.TWENTY, Source.ONBOARDING, Actor.TWENTY, "Onboarding steps are pending again.")
_STILL = Cause(DriftCause.UNFINISHED, Source.ONBOARDING, Actor.UNKNOWN, "Onboarding steps are still pending.")


def _pending(plan: TenantPlan, before: Before) -> Cause | None:
    if REJOIN_WORKSPACE in plan.changes:
        # our account that comes back has steps of its own
        return None
    return _AGAIN if ConditionType.ONBOARDING_COMPLETE in before.held else _STILL


def _not_stored(_: TenantPlan, before: Before) -> Cause | None:
    if not before.ready:
        return None
    detail = "The registry does not say which workspace it has, or not that it is ready."
    return Cause(DriftCause.TENANT_MANAGER, Source.REGISTRY, Actor.TENANT_MANAGER, detail)


CLEAR_ONBOARDING: Final = Change(
    "clear onboarding step", seconds=0.06, at_once=True, proves_everybody=True, drift=_pending
)
STORE_LINK: Final = Change("store link", drift=_not_stored)
REMOVE_ROWS: Final = Change(
    "remove onboarding rows",
    sign="-",
    lines=lambda plan: (
        f"remove onboarding rows in its own database: {len(plan.database.rows)}"
        if plan.database
        else "remove onboarding rows",
    ),
    # on a server they are found and removed within the step; what a plan names lies in the tenant's own database
    where=Where.OWN_DATABASE,
    drift=Cause(DriftCause.TENANT_DATABASE, Source.DATABASE, Actor.TENANT_MANAGER, "In its own database: {changes}."),
)

CHANGES: Final = (CLEAR_ONBOARDING, STORE_LINK)
