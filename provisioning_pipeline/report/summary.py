"""What a report says, before anything is drawn."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any, TypeVar

from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import SET_ASIDE, Reason, StoredCondition
from provisioning_pipeline.model.contract import Certified
from provisioning_pipeline.model.forecast import Forecast
from provisioning_pipeline.model.history import Drift, RunPoint, Versions, Waiting
from provisioning_pipeline.model.lifecycle import LIFECYCLE_OF, Lifecycle
from provisioning_pipeline.model.reasons import next_step
from provisioning_pipeline.model.tenant import OutcomeStatus

T = TypeVar("T")
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class TenantLine:
    """One tenant in a table. `since` is when Ready got its present status; `conditions` may have been left out.

    `database_reason` and `database_message` say what is to be looked at in its own database, if anything is.
    `reported_message` is about members that a person should know about, although nothing is lacking.
    `look_again_at` is when it is tried again by itself; None when nothing is due, or it is not known.
    """

    slug: str
    database_name: str
    server: str | None
    workspace_id: str | None
    workspace_url: str | None
    admin_user_id: str | None
    admin_email: str | None
    reason: Reason
    message: str
    since: datetime | None
    conditions: tuple[StoredCondition, ...]
    database_reason: Reason | None = None
    database_message: str = ""
    look_again_at: datetime | None = None
    reported_message: str = ""
    lifecycle: Lifecycle | None = None
    """Where it is in its life, and `lifecycle_evidence` why; None: no run has looked since the ledger knows of that."""
    lifecycle_evidence: str = ""
    lifecycle_since: datetime | None = None

    @property
    def state(self) -> str:
        """`ready`, `unwell` (not ready), or `aside` for a tenant that is excluded on purpose."""
        if self.reason is Reason.ALL_TRUE:
            return "ready"
        return "aside" if self.reason in SET_ASIDE else "unwell"

    @property
    def lifecycle_in_words(self) -> str:
        """Where it is in its life; empty when that is not known."""
        return self.lifecycle.in_words if self.lifecycle else ""

    @property
    def has_database_trouble(self) -> bool:
        """Something is to be looked at in its own database, and the tenant is not excluded."""
        return self.database_reason is not None and self.state != "aside"


_LINK_FIELDS = "slug database_name server workspace_id workspace_url admin_user_id admin_email since".split()


@dataclass(frozen=True, slots=True)
class OutcomeLine:
    """One attempted change. `cut`: it was cut off, so that we do not know whether it was made."""

    tenant: str
    change: str
    done: bool
    detail: str
    seconds: float
    cut: bool = False
    database_name: str = ""


@dataclass(frozen=True, slots=True)
class UnwellGroup:
    """Tenants that are not ready for one reason. `next_step` says in one sentence what a person does about them all.

    `message` is what happened, when it reads the same for each of them; else each line has its own.
    """

    reason: Reason
    next_step: str
    lines: tuple[TenantLine, ...]
    message: str | None


@dataclass(frozen=True, slots=True)
class SlowTenant:
    """How long a run worked on one tenant, in seconds, and the change that took longest of it."""

    tenant: str
    seconds: float
    longest: str


@dataclass(frozen=True)
class Summary:
    """Everything that the report of one run says.

    Args:
        calls: how often each operation was called; `clerk_calls` and `twenty_calls` are the sums per system.
        clerk_calls_allowed: what Clerk's limit, with our share of it, lets through in 10 seconds.
        phases: what took how many seconds: wall-clock for reading and planning, summed over tenants for steps.
        drift: what differed before the run did anything, in the order of the tenants' database names.
        history: this run and the last ones before it, oldest first.
        forecast: what was expected before the run began; None for a run that planned nothing, or an older one.
        waiting: what waits for approval; `approved`: an operator approved what went beyond the budget.
        versions, settings: what the run was made with; settings by variable, secrets left out.
        looked_at: how many tenants the run looked at; None for older runs. `whole`: at all of them.
        run_url: the run in Dagster's web server, where one is known.
        certificates: Twenty server → what its last certificate says.
    """

    run_id: str
    trigger: str
    begun_at: datetime
    seconds: float
    tenants: tuple[TenantLine, ...]
    outcomes: tuple[OutcomeLine, ...]
    refusals: tuple[str, ...]
    defects: tuple[str, ...]
    calls: Mapping[str, int]
    mutating_calls: int
    rows_removed: int = 0
    """Onboarding rows that were removed by SQL."""
    clerk_calls: int = 0
    twenty_calls: int = 0
    clerk_calls_allowed: int = 0
    phases: tuple[tuple[str, float], ...] = ()
    drift: tuple[Drift, ...] = ()
    history: tuple[RunPoint, ...] = ()
    forecast: Forecast | None = None
    waiting: Waiting | None = None
    whole: bool = False
    approved: bool = False
    versions: Versions | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    looked_at: int | None = None
    run_url: str | None = None
    certificates: Mapping[str, Certified] = field(default_factory=dict)

    def count(self, state: str) -> int:
        """How many tenants are in this state."""
        return sum(line.state == state for line in self.tenants)

    @property
    def unwell(self) -> list[TenantLine]:
        """The tenants that need a person."""
        return [line for line in self.tenants if line.state == "unwell"]

    @property
    def groups(self) -> list[UnwellGroup]:
        """The tenants that are not ready, by reason, the most frequent reason first."""
        return [
            UnwellGroup(
                reason,
                next_step(reason),
                lines,
                lines[0].message if len({line.message for line in lines}) == 1 else None,
            )
            for reason, lines in by_reason(self.tenants)
        ]

    @property
    def previous(self) -> RunPoint | None:
        """The run before this one."""
        earlier = [point for point in self.history if point.run_id != self.run_id]
        return earlier[-1] if earlier else None

    @property
    def cut_before(self) -> list[str]:
        """The runs that were cut since the last one that finished before this, each in a sentence; oldest first."""
        earlier = [point for point in self.history if point.run_id != self.run_id]
        since = takewhile(lambda point: point.cut_why is not None, reversed(earlier))
        return [cut_in_words(point) for point in since][::-1]

    @property
    def drift_by_cause(self) -> list[tuple[str, str, int]]:
        """Cause, who is behind it, and how often; most frequent first."""
        counts = Counter((found.cause, found.who) for found in self.drift)
        return [(cause, who, count) for (cause, who), count in counts.most_common()]

    @property
    def slowest(self) -> list[SlowTenant]:
        """The ten tenants that were worked on longest."""
        found = [
            SlowTenant(tenant, sum(line.seconds for line in lines), max(lines, key=lambda line: line.seconds).change)
            for tenant, lines in grouped(self.outcomes, lambda line: line.tenant).items()
        ]
        return sorted(found, key=lambda slow: (-slow.seconds, slow.tenant))[:10]

    @property
    def databases(self) -> list[TenantLine]:
        """The tenants in whose own database something is to be looked at, ready or not."""
        return [line for line in self.tenants if line.has_database_trouble]

    @property
    def leaving(self) -> list[TenantLine]:
        """The tenants that are in doubt, offboarding or suspended, in this order."""
        return [
            line
            for lifecycle in (Lifecycle.IN_DOUBT, Lifecycle.OFFBOARDING, Lifecycle.SUSPENDED)
            for line in sorted(self.tenants, key=lambda line: line.slug)
            if line.lifecycle is lifecycle
        ]

    @property
    def reported(self) -> list[TenantLine]:
        """The tenants with members that a person should know about, although nothing is lacking."""
        return [line for line in self.tenants if line.reported_message and line.state != "aside"]

    @property
    def undo(self) -> str | None:
        """How to put back what was removed by SQL, if anything was."""
        if not self.rows_removed:
            return None
        rows = "1 onboarding row was" if self.rows_removed == 1 else f"{self.rows_removed} onboarding rows were"
        return f"{rows} removed by SQL; `provisioning undo {self.run_id}` puts back what a run removed."

    @property
    def actions(self) -> int:
        """Changes that were made."""
        return sum(line.done and not Change.named(line.change).read_only for line in self.outcomes)

    @property
    def done_by_change(self) -> list[tuple[str, int, float]]:
        """Change, how often it was done, and seconds in all, most frequent first."""
        by_change = grouped((line for line in self.outcomes if line.done), lambda line: line.change)
        done = [(change, len(lines), sum(line.seconds for line in lines)) for change, lines in by_change.items()]
        return sorted(done, key=lambda each: -each[1])

    @property
    def changed(self) -> list[TenantLine]:
        """The tenants for which the run did something."""
        names = {line.database_name for line in self.outcomes if line.done and not Change.named(line.change).read_only}
        return [line for line in self.tenants if line.database_name in names]

    @property
    def emails(self) -> int:
        """E-mails that Twenty sent because of this run: its invitations."""
        return sum(line.done and Change.named(line.change).sends_email for line in self.outcomes)

    @property
    def taken_away(self) -> list[OutcomeLine]:
        """Who was removed or demoted, with the proof."""
        return [line for line in self.outcomes if line.done and Change.named(line.change).harmful]

    @property
    def failures(self) -> list[OutcomeLine]:
        """What was attempted and did not succeed."""
        return [line for line in self.outcomes if not line.done]

    @property
    def verdict(self) -> str:
        """The run in one line."""
        return verdict_of(self.tenants)


def by_reason(lines: Iterable[TenantLine]) -> list[tuple[Reason, tuple[TenantLine, ...]]]:
    """The tenants that are not ready, by reason, the most frequent reason first."""
    found = grouped((line for line in lines if line.state == "unwell"), lambda line: line.reason)
    return sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, tuple[T, ...]]:
    """The items by key, in their order."""
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return {name: tuple(of_key) for name, of_key in found.items()}


def cut_in_words(point: RunPoint) -> str:
    """What a run did that was cut, and why it was."""
    changes = "1 change" if point.actions == 1 else f"{point.actions:,} changes"
    return (
        f"The run {point.run_id} ({point.trigger}), begun {point.begun_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC, was cut "
        f"after {point.seconds:,.0f} s and {changes}. {point.cut_why}"
    )


def verdict_of(lines: Sequence[TenantLine]) -> str:
    """These tenants in one line."""
    states = [line.state for line in lines]
    ready, unwell = states.count("ready"), states.count("unwell")
    if not lines:
        return "No tenant was found."
    if ready + unwell == 0:
        return "All tenants are excluded on purpose."
    if unwell == 0:
        return f"All {ready:,} tenants are ready." if ready > 1 else "The one tenant is ready."
    needs = "needs" if unwell == 1 else "need"
    return f"{ready:,} of {ready + unwell:,} tenants are ready, {unwell:,} {needs} a look."


def tenant_lines(
    rows: Iterable[Mapping[str, Any]], conditions: Iterable[StoredCondition] = ()
) -> tuple[TenantLine, ...]:
    """The ledger's tenants, those that are not ready first; with their conditions where these are given."""
    by_tenant = grouped(conditions, lambda stored: stored.database_name)
    lines = [
        TenantLine(
            **{name: row[name] for name in _LINK_FIELDS},
            reason=Reason(row["reason"] or Reason.WAITING),
            message=row["message"] or "Not looked at yet.",
            database_reason=Reason(row["database_reason"]) if row.get("database_reason") else None,
            database_message=row.get("database_message") or "",
            look_again_at=row.get("look_again_at"),
            reported_message=row.get("reported_message") or "",
            lifecycle=LIFECYCLE_OF[Reason(row["lifecycle"])] if row.get("lifecycle") else None,
            lifecycle_evidence=row.get("lifecycle_evidence") or "",
            lifecycle_since=row.get("lifecycle_since"),
            conditions=tuple(
                sorted(by_tenant.get(row["database_name"], ()), key=lambda stored: stored.condition.type.rank)
            ),
        )
        for row in rows
    ]
    rank = {"unwell": 0, "ready": 1, "aside": 2}
    return tuple(sorted(lines, key=lambda line: (rank[line.state], line.slug)))


def outcome_lines(rows: Iterable[Mapping[str, Any]], slugs: Mapping[str, str]) -> tuple[OutcomeLine, ...]:
    """The ledger's outcomes for people."""
    return tuple(
        OutcomeLine(
            tenant=slugs.get(row["database_name"], row["database_name"]),
            change=row["change"],
            done=row["status"] == OutcomeStatus.DONE,
            detail=row["detail"],
            seconds=row["seconds"],
            cut=row["status"] in (OutcomeStatus.BEGUN, OutcomeStatus.CUT),
            database_name=row["database_name"],
        )
        for row in rows
    )
