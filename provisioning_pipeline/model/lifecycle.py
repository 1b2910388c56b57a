"""Where a tenant is in its life: new, active, suspended, offboarding, gone, or in doubt."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, is_false, is_true, is_unknown


class Lifecycle(StrEnum):
    """Where a tenant is in its life.

    NEW: it has no workspace yet. IN_DOUBT: what is known of it does not fit together, so that nothing is concluded.
    """

    NEW = "new"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    OFFBOARDING = "offboarding"
    GONE = "gone"
    IN_DOUBT = "in_doubt"

    @property
    def in_words(self) -> str:
        return self.replace("_", " ")


REASON_OF: Final[Mapping[Lifecycle, Reason]] = {
    Lifecycle.NEW: Reason.LIFE_NEW,
    Lifecycle.ACTIVE: Reason.LIFE_ACTIVE,
    Lifecycle.SUSPENDED: Reason.LIFE_SUSPENDED,
    Lifecycle.OFFBOARDING: Reason.LIFE_OFFBOARDING,
    Lifecycle.GONE: Reason.LIFE_GONE,
    Lifecycle.IN_DOUBT: Reason.LIFE_IN_DOUBT,
}
"""The reason of the condition `Lifecycle`, whose message is the evidence."""

IS_ACTIVE: Final = is_true(
    ConditionType.LIFECYCLE, Reason.LIFE_ACTIVE, "The registry has it as a customer, and it has a workspace."
)
"""Of an active tenant, so that ten thousand of them say the same."""

LIFECYCLE_OF: Final[Mapping[Reason, Lifecycle]] = {reason: lifecycle for lifecycle, reason in REASON_OF.items()}


@dataclass(frozen=True, slots=True)
class Life:
    """Where one tenant is in its life.

    Args:
        evidence: what says so, in sentences.
        settles: this reading settles that its row, which an earlier one missed, was taken away.
    """

    lifecycle: Lifecycle
    evidence: str
    settles: bool = False

    @property
    def condition(self) -> Condition:
        """The same, as the ledger keeps it."""
        reason = REASON_OF[self.lifecycle]
        if self.lifecycle is Lifecycle.ACTIVE:
            return IS_ACTIVE
        settle = is_unknown if self.lifecycle is Lifecycle.IN_DOUBT else is_false
        return settle(ConditionType.LIFECYCLE, reason, self.evidence)
