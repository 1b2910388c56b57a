"""What the step offboard_tenants changes."""

from typing import Final

from provisioning_pipeline.model.change import Cause, Change
from provisioning_pipeline.model.history import Actor, DriftCause, Source

_LEFT: Final = Cause(
    DriftCause.TENANT_MANAGER, Source.REGISTRY, Actor.TENANT_MANAGER, "The tenant is to be offboarded: {changes}."
)

ARCHIVE_WORKSPACE: Final = Change(
    "archive workspace",
    sign="-",
    lines=lambda _: ("archive workspace: access ends, every record stays",),
    seconds=3.2,
    # as a lock of three members
    calls=32,
    by_our_account=True,
    ends_access=True,
    drift=_LEFT,
)
EXPORT_WORKSPACE: Final = Change(
    "export workspace",
    lines=lambda _: ("export workspace: every record and file",),
    seconds=6.0,
    # the objects; of each of 28 how many records it has, before and after; and a page of those nine that Twenty fills
    calls=1 + 28 * 2 + 9,
    by_our_account=True,
    drift=_LEFT,
)
DELETE_WORKSPACE: Final = Change(
    "delete workspace",
    sign="-",
    lines=lambda _: ("delete workspace, after its export; Twenty destroys it some days later",),
    seconds=2.0,
    # deleteCurrentWorkspace, and the proof: an old token and a new login are refused
    calls=3,
    by_our_account=True,
    ends_access=True,
    harmful=True,
    drift=_LEFT,
)
CLEAR_ORGANIZATION: Final = Change(
    "clear organization",
    sign="-",
    lines=lambda _: ("take the workspace id out of the Clerk organization and the registry",),
    drift=_LEFT,
)

CHANGES: Final = (ARCHIVE_WORKSPACE, EXPORT_WORKSPACE, DELETE_WORKSPACE, CLEAR_ORGANIZATION)
