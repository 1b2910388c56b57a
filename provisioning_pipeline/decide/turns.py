"""Whose turn it is: which due tenants go into the next run. A tenant's wait is its own, whatever else is due."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from provisioning_pipeline.model.history import LastRun, Turn

CLAIMED_SECONDS = 60.0
"""A launch that another sensor asked for counts so long though Dagster has no run of it yet."""
_MOST_DOUBLINGS = 30
_MOST_SECONDS = 10 * 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class Waits:
    """The first and the longest wait between two launches of a tenant, in seconds."""

    first: float
    longest: float

    def after(self, attempts: int) -> timedelta:
        """The wait doubles with each launch that left the tenant due."""
        seconds = self.first * 2.0 ** min(max(attempts, 1) - 1, _MOST_DOUBLINGS)
        return timedelta(seconds=min(seconds, self.longest, _MOST_SECONDS))


@dataclass(frozen=True, slots=True)
class Taken:
    """Those whose turn it is, longest due first, with their turns as they were before this launch; and the wait of the
    next of the others in seconds, None when none waits."""

    turns: Mapping[str, Turn]
    next_in: float | None


def take_turns(
    due: Mapping[str, str],
    turns: Mapping[str, Turn],
    runs: Mapping[str, LastRun],
    *,
    now: datetime,
    asker: str,
    waits: Waits,
    most: int,
) -> Taken:
    """Pick at most so many of the due tenants that no run is at.

    Args:
        turns: of those that were due before; the others are due since now.
        runs: work → the last run of it that Dagster knows.
    """
    begins = {name: _begins(turns.get(name, Turn(now)), cause, runs, asker, waits) for name, cause in due.items()}
    order = sorted(begins, key=lambda name: (begins[name][0], name))
    ready = [name for name in order if begins[name][0] <= now]
    waiting = order[len(ready)] if len(ready) < len(order) else None
    return Taken(
        {name: begins[name][1] for name in ready[:most]},
        None if waiting is None else (begins[waiting][0] - now).total_seconds(),
    )


def _begins(turn: Turn, cause: str, runs: Mapping[str, LastRun], asker: str, waits: Waits) -> tuple[datetime, Turn]:
    """When the tenant may be launched, and its turn without launches that do not count."""
    if turn.launched_at is None:
        return turn.due_since, turn
    run = runs.get(turn.work or "")
    if run is None:
        unlaunched = replace(turn, attempts=max(0, turn.attempts - 1))
        if turn.asked_by == asker:
            # a sensor's ticks follow one another: Dagster would have the run by now
            return turn.due_since, unlaunched
        return turn.launched_at + timedelta(seconds=CLAIMED_SECONDS), unlaunched
    ended = max(run.ended_at or turn.launched_at, turn.launched_at)
    if run.succeeded and cause != turn.cause:
        # that run went well, and something new has happened since
        return ended, replace(turn, attempts=0)
    return ended + waits.after(turn.attempts), turn
