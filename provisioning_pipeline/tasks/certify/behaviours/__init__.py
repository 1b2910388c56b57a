"""Everything that is looked at, by topic, in order: later behaviours use what earlier ones made."""

from collections.abc import Mapping
from typing import Final

from provisioning_pipeline.tasks.certify.behaviours import (
    accounts,
    deletion,
    leaving,
    members,
    onboarding,
    protocol,
    suspension,
    workspaces,
)
from provisioning_pipeline.tasks.certify.seeing import Behaviour

BEHAVIOURS: Final[Mapping[str, tuple[Behaviour, ...]]] = {
    "Calls": protocol.ANONYMOUS,
    "Accounts": accounts.ALONE,
    "Workspaces": workspaces.MAKING,
    "Calls inside": (*protocol.INSIDE, *accounts.INSIDE),
    "Joining": members.JOINING,
    "Members": members.BEING,
    "Onboarding": onboarding.FLAGS,
    "Leaving": leaving.REMOVAL,
    "Half members": leaving.HALVES,
    "Suspension": (*suspension.LOCK, *suspension.RESUME),
    "Deletion": deletion.DELETION,
}
