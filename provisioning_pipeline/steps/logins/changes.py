"""What the step verify_logins records."""

from typing import Final

from provisioning_pipeline.model.change import Cause, Change
from provisioning_pipeline.model.history import Actor, Before, DriftCause, Source
from provisioning_pipeline.model.tenant import TenantPlan


def _alone(plan: TenantPlan, _: Before) -> Cause | None:
    """Beside other changes it only follows them."""
    if set(plan.changes) != {PROVE_LOGIN}:
        return None
    return Cause(DriftCause.UNFINISHED, Source.LOGIN, Actor.UNKNOWN, "Its login is not proved.")


PROVE_LOGIN: Final = Change("prove login", seconds=0.1, at_once=True, read_only=True, drift=_alone)

CHANGES: Final = (PROVE_LOGIN,)
