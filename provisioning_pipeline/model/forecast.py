"""What a plan will cost and where it may stop, foretold from the plan alone."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Limit(StrEnum):
    """What may hold a run back, in the words of a report."""

    CLERK_RATE = "Clerk's rate limit"
    TWENTY_CONCURRENCY = "calls under way at once at Twenty"
    SERVER_ROOM = "room on the Twenty servers"
    HARM_BUDGET = "the budget for removals and demotions"


@dataclass(frozen=True, slots=True)
class CutName:
    """A tenant whose subdomain is not simply its slug, because Twenty's rules or another workspace forbid it."""

    slug: str
    subdomain: str


@dataclass(frozen=True, slots=True)
class AgingWorkspace:
    """A workspace that was never activated: Twenty's own clean-up deletes it seven days after `created_at`."""

    slug: str
    workspace_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Harm:
    """Removals and demotions: how many a plan makes, how many the budget of a run allows, how many wait for a yes."""

    planned: int
    allowed: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run over this plan will need.

    Args:
        clerk_calls, twenty_calls: HTTP calls in all, retries left out; for Clerk those of observing are among them.
        seconds: wall-clock time, by the limits and by how long the last runs took for each change.
        first_limit: what is reached first, or None when nothing holds the run back.
        why: the first limit in words, with its figures.
        cut_names: subdomains that will differ from their slugs.
        aging: workspaces that Twenty's clean-up deletes within two days.
        harm: removals and demotions against the budget.
    """

    clerk_calls: int
    twenty_calls: int
    seconds: float
    first_limit: Limit | None
    why: str
    cut_names: tuple[CutName, ...]
    aging: tuple[AgingWorkspace, ...]
    harm: Harm
