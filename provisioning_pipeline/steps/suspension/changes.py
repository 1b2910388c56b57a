"""What the step lock_workspaces changes."""

from typing import Final

from provisioning_pipeline.model.change import Cause, Change
from provisioning_pipeline.model.history import Actor, DriftCause, Source

LOCK_WORKSPACE: Final = Change(
    "lock workspace",
    sign="-",
    lines=lambda _plan: ("lock workspace: no member comes in, no API key works, until it is unlocked",),
    seconds=2.8,
    # can it be locked (1), the role that gives nothing (2), three looks at all (9), link and default role (2), how long
    # a token lasts (2), a key (1); and of each of three members: a login before (2), role and record (2), refusals (4)
    calls=41,
    by_our_account=True,
    ends_access=True,
    drift=Cause(DriftCause.TENANT_MANAGER, Source.REGISTRY, Actor.TENANT_MANAGER, "Its workspace is not locked."),
)
UNLOCK_WORKSPACE: Final = Change(
    "unlock workspace",
    sign="+",
    lines=lambda _plan: ("unlock workspace: members, roles, API keys and settings as they were before",),
    seconds=1.0,
    # the roles (1), link and default role (2), a key (1), the role that gave nothing (1); and of each of three members:
    # record and role (2)
    calls=11,
    by_our_account=True,
    proves_everybody=True,
    drift=Cause(DriftCause.TENANT_MANAGER, Source.REGISTRY, Actor.TENANT_MANAGER, "Its workspace is locked still."),
)

CHANGES: Final = (LOCK_WORKSPACE, UNLOCK_WORKSPACE)
