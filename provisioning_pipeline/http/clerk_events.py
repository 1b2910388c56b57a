"""Reads Clerk's events: which organization or which user one is about, and whether that user is banned, no more."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from provisioning_pipeline.ledger.pending import ClerkEvent

_LONGEST_WORD = 200
_FIRST_IN_MILLISECONDS = 100_000_000_000
"""As seconds this is the year 5138, as milliseconds 1973: Clerk writes either."""


class NotAnEvent(ValueError):
    """A body that is no event of Clerk's."""


def clerk_event(event_id: str, body: object) -> ClerkEvent | None:
    """The event in this body; None for types that concern neither organizations, members nor users.

    An event of those types that does not say which person it is about is about no one: refusing it would have Clerk
    repeat it for a day.

    Args:
        event_id: `svix-id` of the delivery.
        body: the parsed JSON.

    Raises:
        NotAnEvent: when it is no event at all.
    """
    event = _mapping(body)
    type_, data = _word(event.get("type")), _mapping(event.get("data"))
    if type_ is None:
        raise NotAnEvent
    organization_id = user_id = None
    match type_.partition("."):
        case "organization", ".", _:
            organization_id = _word(data.get("id"))
        case "organizationMembership", ".", _:
            organization_id = _word(_mapping(data.get("organization")).get("id"))
            user_id = _word(_mapping(data.get("public_user_data")).get("user_id"))
        case "user", ".", _:
            user_id = _word(data.get("id"))
        case _:
            return None
    gone = type_.startswith("user.") and data.get("banned") is True
    return ClerkEvent(event_id, type_, organization_id, user_id, _time(event.get("timestamp")), gone)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _word(value: object) -> str | None:
    # what a database does not take as text (NUL, half a surrogate pair) is not printable either
    return value if isinstance(value, str) and value.isprintable() and 0 < len(value) <= _LONGEST_WORD else None


def _time(value: object) -> datetime | None:
    """A time in seconds or milliseconds since 1970; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value / 1000 if value >= _FIRST_IN_MILLISECONDS else value, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return None
