"""Where a tenant is in its life: new, active, suspended, offboarding, gone, or in doubt."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
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


@dataclass(frozen=True, slots=True)
class AccessLock:
    """What the ledger knows of a workspace whose members we locked out.

    Args:
        locked_at: when that was proved; None: it was begun and has not ended.
        members: Twenty user ids of those who are locked out.
    """

    workspace_id: str
    locked_at: datetime | None
    members: frozenset[str]


@dataclass(frozen=True, slots=True)
class Offboarding:
    """How far the offboarding of a tenant is.

    Args:
        archived_at: since when its members are locked out.
        delete_begun_at: its deletion was approved and has begun, so that each run goes on with it.
        gone_at: its workspace is deleted, and this row is what is left of it: a tombstone.
        undone_at: an operator took it back.
        export_path: where what it held was exported to.
    """

    workspace_id: str | None
    archived_at: datetime | None = None
    delete_begun_at: datetime | None = None
    gone_at: datetime | None = None
    undone_at: datetime | None = None
    export_path: str | None = None

    @property
    def is_over(self) -> bool:
        """The workspace is deleted, and no operator lets the tenant begin anew."""
        return self.gone_at is not None and self.undone_at is None
