"""What a run will need, and what the ledger stores of it beside its outcomes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from provisioning_pipeline.model.history import Versions, Waiting


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
    """A workspace that was never activated, or never paid for: Twenty deletes it seven days after `created_at`."""

    slug: str
    workspace_id: str
    created_at: datetime
    unpaid: bool = False


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
        seconds: wall-clock time, by the limits and by how long the last runs on each server took for each change.
        first_limit: what is reached first, or None when nothing holds the run back.
        why: the first limit in words, with its figures.
        cut_names: subdomains that will differ from their slugs.
        aging: workspaces that Twenty's clean-up deletes within two days.
    """

    clerk_calls: int
    twenty_calls: int
    seconds: float
    first_limit: Limit | None
    why: str
    cut_names: tuple[CutName, ...]
    aging: tuple[AgingWorkspace, ...]
    harm: Harm


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a forecast needs besides the plan.

    Args:
        now: for the age of workspaces.
        observing_clerk_calls: that making this plan took, member checks included; the run makes them again.
        clerk_calls_per_10_seconds: that a run may make.
        clerk_calls_at_once: how many of them before the limit makes us wait.
        harm_allowed: removals and demotions that a run may make in all.
        reading_seconds: that making this plan took.
        seconds_of_change: server → change → what one adds to a run there, as the last runs showed; defaults where it
            is missing.
        room: server → workspaces that it can still take; None: no limit of ours.
        inhabited: servers on which a workspace of ours is known before the run.
        members: database name → people of ours in its workspace besides the admin, before the run.
    """

    now: datetime
    observing_clerk_calls: int
    clerk_calls_per_10_seconds: int
    clerk_calls_at_once: int
    twenty_concurrency: int
    tenant_concurrency: int
    harm_allowed: int
    reading_seconds: float = 0.0
    seconds_of_change: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    room: Mapping[str, int | None] = field(default_factory=dict)
    inhabited: frozenset[str] = frozenset()
    members: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timed:
    """One kind of change in one past run on one server: how many were made, and how long one took on average."""

    server: str
    change: str
    count: int
    seconds: float


@dataclass(frozen=True)
class RunRecord:
    """Figures and facts of one run. Whatever a run did not get to has its default.

    Args:
        looked_at: tenants that the run looked at; None until it has planned.
        in_dagster: Dagster knows the run by this id.
        aside: tenants that were excluded at its end.
        forecast: what we expected before it began.
        approved: an operator approved removals and demotions beyond the budget.
        calls: how often each operation was called; the sums are per system.
        emails: invitations that Twenty sent because of it.
        phases: in order, with seconds: wall-clock for reading and planning, summed over tenants for steps.
        refusals, defects: sentences for an operator, and unforeseen errors.
        versions, settings: what it was made with; no secrets.
    """

    looked_at: int | None = None
    whole: bool = False
    in_dagster: bool = False
    aside: int = 0
    drift: int = 0
    forecast: Forecast | None = None
    waiting: Waiting | None = None
    approved: bool = False
    calls: Mapping[str, int] = field(default_factory=dict)
    clerk_calls: int = 0
    twenty_calls: int = 0
    clerk_calls_allowed: int = 0
    mutating_calls: int = 0
    emails: int = 0
    phases: tuple[tuple[str, float], ...] = ()
    refusals: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()
    versions: Versions | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
