"""What a report says, before anything is drawn."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from provisioning_pipeline.model.condition import (
    SET_ASIDE,
    ConditionType,
    Reason,
    StoredCondition,
)
from provisioning_pipeline.model.tenant import HARMFUL_CHANGES, READ_ONLY_CHANGES, Change, OutcomeStatus


@dataclass(frozen=True, slots=True)
class TenantLine:
    """One tenant in a table. `since` is when Ready got its present status; `conditions` may have been left out.

    `database_reason` and `database_message` say what is to be looked at in its own database, if anything is.
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

    @property
    def state(self) -> str:
        """`ready`, `unwell`, or `aside` for a tenant of which nothing is wanted."""
        if self.reason is Reason.ALL_TRUE:
            return "ready"
        return "aside" if self.reason in SET_ASIDE else "unwell"

    @property
    def has_database_trouble(self) -> bool:
        """Something is to be looked at in its own database, and the tenant is not set aside."""
        return self.database_reason is not None and self.state != "aside"


_LINK_FIELDS = (
    "slug",
    "database_name",
    "server",
    "workspace_id",
    "workspace_url",
    "admin_user_id",
    "admin_email",
    "since",
)


@dataclass(frozen=True, slots=True)
class OutcomeLine:
    """One attempted change."""

    tenant: str
    change: str
    done: bool
    detail: str
    seconds: float


@dataclass(frozen=True)
class Summary:
    """Everything that the report of one run says."""

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

    def count(self, state: str) -> int:
        """How many tenants are in this state."""
        return sum(line.state == state for line in self.tenants)

    @property
    def unwell(self) -> list[TenantLine]:
        """The tenants that need somebody."""
        return [line for line in self.tenants if line.state == "unwell"]

    @property
    def databases(self) -> list[TenantLine]:
        """The tenants in whose own database something is to be looked at, ready or not."""
        return [line for line in self.tenants if line.has_database_trouble]

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
        return sum(line.done and Change(line.change) not in READ_ONLY_CHANGES for line in self.outcomes)

    @property
    def done_by_change(self) -> list[tuple[str, int, float]]:
        """Change, how often it was done, and seconds in all, most frequent first."""
        counts = Counter(line.change for line in self.outcomes if line.done)
        seconds = dict.fromkeys(counts, 0.0)
        for line in self.outcomes:
            if line.done:
                seconds[line.change] += line.seconds
        return [(change, count, seconds[change]) for change, count in counts.most_common()]

    @property
    def emails(self) -> int:
        """E-mails that Twenty sent because of this run: its invitations."""
        return sum(line.done and Change(line.change) is Change.INVITE_MEMBER for line in self.outcomes)

    @property
    def taken_away(self) -> list[OutcomeLine]:
        """Who was removed or demoted, with the proof."""
        return [line for line in self.outcomes if line.done and Change(line.change) in HARMFUL_CHANGES]

    @property
    def failures(self) -> list[OutcomeLine]:
        """What was attempted and did not succeed."""
        return [line for line in self.outcomes if not line.done]

    @property
    def verdict(self) -> str:
        """The run in one line."""
        ready, unwell = self.count("ready"), self.count("unwell")
        if not self.tenants:
            return "No tenant was found."
        if ready + unwell == 0:
            return "Nothing is wanted of any tenant: all are set aside."
        if unwell == 0:
            return f"All {ready} tenants are ready." if ready > 1 else "The one tenant is ready."
        return f"{ready} of {ready + unwell} tenants are ready, {unwell} need{'s' if unwell == 1 else ''} a look."


def tenant_lines(
    rows: Iterable[Mapping[str, Any]], conditions: Iterable[StoredCondition] = ()
) -> tuple[TenantLine, ...]:
    """The ledger's tenants, unwell ones first; with their conditions where these are given."""
    by_tenant: dict[str, list[StoredCondition]] = {}
    for stored in conditions:
        by_tenant.setdefault(stored.database_name, []).append(stored)
    order = list(ConditionType)
    lines = [
        TenantLine(
            **{name: row[name] for name in _LINK_FIELDS},
            reason=Reason(row["reason"] or Reason.WAITING),
            message=row["message"] or "Not looked at yet.",
            database_reason=Reason(row["database_reason"]) if row.get("database_reason") else None,
            database_message=row.get("database_message") or "",
            conditions=tuple(
                sorted(by_tenant.get(row["database_name"], ()), key=lambda s: order.index(s.condition.type))
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
        )
        for row in rows
    )
