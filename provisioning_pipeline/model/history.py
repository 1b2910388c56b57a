"""What happened to tenants over time: who did it, where it was seen, how runs ended, and whose turn is next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from provisioning_pipeline.model.condition import ConditionType


class Actor(StrEnum):
    """Who is behind an event, as far as it can be told."""

    OPERATOR = "operator"
    SCHEDULE = "schedule"
    SENSOR = "sensor"
    TENANT_MANAGER = "tenant manager"
    CLERK = "Clerk"
    MEMBER = "a member signing in"
    TWENTY = "someone in Twenty"
    UNKNOWN = "unknown"


class Source(StrEnum):
    """Where an event was seen."""

    REGISTRY = "registry"
    DATABASE = "database"
    WORKSPACE = "workspace"
    MEMBERS = "members"
    ONBOARDING = "onboarding"
    LOGIN = "login"
    ACTION = "action"
    WEBHOOK = "webhook"
    REQUEST = "request"
    SESSION = "session"


class DriftCause(StrEnum):
    """Why what is differs from what should be."""

    NEW_TENANT = "a new tenant"
    TENANT_MANAGER = "a change by the tenant manager"
    CLERK = "a change at Clerk"
    TWENTY = "a change in Twenty"
    TENANT_DATABASE = "rows in the tenant's own database"
    UNFINISHED = "a run that did not get through"
    UNKNOWN = "nobody knows"


@dataclass(frozen=True, slots=True)
class Before:
    """What the ledger knew of a tenant before the run.

    Args:
        ready: its last login was proved.
        held: the conditions that were true.
    """

    ready: bool
    held: frozenset[ConditionType]


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference that a run found before it did anything about it. `detail` is a sentence for a person."""

    database_name: str
    cause: DriftCause
    source: Source
    who: Actor
    detail: str


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a tenant's timeline. `run_id` is the run that did or saw it; None for a webhook."""

    at: datetime
    who: Actor
    source: Source
    what: str
    run_id: str | None = None
    failed: bool = False


class RunKind(StrEnum):
    """What a run in the ledger was."""

    RECONCILIATION = "reconciliation"
    VERIFICATION = "verification"
    RESTART = "restart"
    SIGN_IN = "sign-in"


@dataclass(frozen=True, slots=True)
class RunPoint:
    """One run in a row of them.

    `whole` says that it looked at all tenants; the counts are of the whole fleet in any case. `aside`, `drift`, calls
    and `emails` are None for runs that an earlier version of this program made, and for one that was cut before it had
    planned. `cut_why` says why a run was cut before its end; None: it finished.
    """

    run_id: str
    trigger: str
    begun_at: datetime
    seconds: float
    ready: int
    unwell: int
    aside: int | None
    actions: int
    whole: bool
    drift: int | None
    clerk_calls: int | None
    twenty_calls: int | None
    emails: int | None
    cut_why: str | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be taken away, or be gone, before an operator has to approve it.

    Args:
        share: of what there is, at least one.
        most: in all.
        approved: what an operator approved by name, or None.
    """

    share: float
    most: int
    approved: str | None = None

    def allowed(self, of: int) -> int:
        """By the share alone, of so many; none where the most is none."""
        return max(1, int(self.share * of)) if self.most else 0


@dataclass(frozen=True, slots=True)
class KnownRows:
    """The rows that the registry had when a run last looked, and what is left of them.

    Args:
        known: how many tenants had one.
        lost: the database names of those that have none now.
        rows: whether the registry has any row at all; None: there is no such table.
    """

    known: int
    lost: Sequence[str]
    rows: bool | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Removals and demotions of so many people that wait for `provisioning apply --approve NAME`."""

    name: str
    people: int


@dataclass(frozen=True, slots=True)
class Versions:
    """What a run was made with.

    Args:
        servers: Twenty server → the version that it says it has, or None.
    """

    program: str
    dagster: str
    python: str
    servers: Mapping[str, str | None]


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
