"""What we tell a tenant manager of a tenant, when, and how often we try."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, Status


class AnnouncementType(StrEnum):
    """What became of a tenant."""

    READY = "tenant.ready"
    NOT_READY = "tenant.not_ready"
    LOCKED = "tenant.locked"
    GONE = "tenant.gone"

    @property
    def state(self) -> str:
        """The same as the state that the tenant is in now."""
        return self.value.partition(".")[2]


@dataclass(frozen=True, slots=True)
class Sign:
    """A condition that stands for a state of its tenant.

    Args:
        reasons: any of these; None: any at all.
        told: what is announced when it comes about; None: nothing, and nothing is known of the tenant by it.
    """

    condition: str
    status: Status
    reasons: frozenset[str] | None
    told: AnnouncementType | None


SIGNS: Final[tuple[Sign, ...]] = (
    Sign("AccessLocked", Status.TRUE, None, AnnouncementType.LOCKED),
    Sign(ConditionType.LIFECYCLE, Status.FALSE, frozenset({Reason.LIFE_GONE}), AnnouncementType.GONE),
    # no run has looked at all of it yet
    Sign(ConditionType.READY, Status.FALSE, frozenset({Reason.WAITING}), None),
    Sign(ConditionType.READY, Status.FALSE, None, AnnouncementType.NOT_READY),
    Sign(ConditionType.READY, Status.TRUE, None, AnnouncementType.READY),
)
"""The first that a condition is decides."""
WAITS_SECONDS: Final = (5, 5 * 60, 30 * 60, *(hours * 3600 for hours in (2, 5, 10, 14, 20, 24)))
"""Before each further try of a delivery, as Standard Webhooks has it; after the last one we give it up."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is told of one tenant, and the condition that says so."""

    database_name: str
    type: AnnouncementType
    condition: Condition


@dataclass(frozen=True, slots=True)
class Delivery:
    """An announcement on its way to one endpoint.

    Args:
        message_id: the same for each endpoint and each try, so that a receiver takes it once.
        endpoint: the name of its URL, which may be one that is no longer in the settings.
        attempts: tries that were begun.
        next_try_at: of one that is neither delivered nor given up.
    """

    id: int
    message_id: str
    endpoint: str
    database_name: str
    type: str
    payload: Mapping[str, object]
    created_at: datetime
    next_try_at: datetime
    attempts: int
    delivered_at: datetime | None = None
    failed_at: datetime | None = None
    last_error: str | None = None

    @property
    def state(self) -> str:
        """`delivered`, `failed` (given up) or `pending`."""
        if self.delivered_at is not None:
            return "delivered"
        return "pending" if self.failed_at is None else "failed"


@dataclass(frozen=True, slots=True)
class DeliveryCounts:
    """Deliveries that have not arrived. `retried` are those of `pending` that failed at least once."""

    pending: int = 0
    retried: int = 0
    failed: int = 0


def announcements(
    known: Mapping[str, Mapping[ConditionType, Condition]], changed: Sequence[tuple[str, Condition]]
) -> list[Announcement]:
    """What to tell of conditions that have changed, in the order in which a reader understands it.

    Args:
        known: database name → its conditions before.
        changed: database name and condition now.
    """
    found = [
        Announcement(name, told, condition)
        for name, condition in changed
        if (told := _told(condition)) is not None and told is not _told(known[name].get(condition.type))
    ]
    # that it is not ready explains nothing once it is locked
    return sorted(found, key=lambda one: one.condition.type is not ConditionType.READY)


def _told(condition: Condition | None) -> AnnouncementType | None:
    if condition is None:
        return None
    for sign in SIGNS:
        fits = (sign.condition, sign.status) == (condition.type, condition.status)
        if fits and (sign.reasons is None or condition.reason in sign.reasons):
            return sign.told
    return None


def wait_after(attempts: int) -> int | None:
    """Seconds until the next try of what failed so many times; None: it is given up."""
    return WAITS_SECONDS[attempts - 1] if attempts <= len(WAITS_SECONDS) else None


def undelivered_in_words(counts: DeliveryCounts) -> str:
    """What a person should know of webhooks that did not arrive; empty where there is nothing."""
    parts = []
    if counts.failed:
        parts.append(f"{counts.failed} {'webhook was' if counts.failed == 1 else 'webhooks were'} given up")
    if counts.retried:
        parts.append(f"{counts.retried} did not arrive yet and will be tried again")
    return f"{', '.join(parts)}: `provisioning webhooks list` says why." if parts else ""
