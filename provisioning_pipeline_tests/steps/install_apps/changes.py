"""What the step install_apps changes, and the question that it answers."""

from typing import Final

from provisioning_pipeline.model.change import Cause, Change
from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.model.history import Actor, DriftCause, Source

APPS: Final = ("d96f3b15-f014-4a54-87d3-d74bb916e1ac", "ee02637b-2742-4323-9a25-ef5eb9bc4cf5")
"""Universal identifiers; each app is registered on the server."""

APPS_INSTALLED: Final = ConditionType("AppsInstalled", after=ConditionType.ONBOARDING_COMPLETE)
INSTALL_APPS: Final = Change(
    "install apps",
    sign="+",
    lines=lambda _plan: (f"install {len(APPS)} apps",),
    seconds=0.5,
    # findManyApplications, and installApplication for each
    calls=1 + len(APPS),
    by_our_account=True,
    drift=Cause(DriftCause.UNFINISHED, Source.WORKSPACE, Actor.UNKNOWN, "Apps are not installed."),
)
