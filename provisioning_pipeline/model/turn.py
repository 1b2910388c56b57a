"""The turn of a due tenant: what is known of it between the ticks of sensors."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Turn:
    """What the ledger remembers of a due tenant until a run has had it as far as its end.

    Args:
        due_since: when a sensor first saw that it is due.
        cause: why it was due when it was last launched; None: it never was.
        attempts: launches since then.
        launched_at: of the last of them.
        work: names the run that was asked for, by a tag.
        asked_by: the sensor that asked.
    """

    due_since: datetime
    cause: str | None = None
    attempts: int = 0
    launched_at: datetime | None = None
    work: str | None = None
    asked_by: str | None = None


@dataclass(frozen=True, slots=True)
class LastRun:
    """How the run that a turn names ended; `ended_at` is None when it was given up without an end."""

    ended_at: datetime | None
    succeeded: bool
