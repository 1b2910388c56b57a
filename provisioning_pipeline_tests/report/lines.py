"""Summaries to be drawn."""

from datetime import UTC, datetime
from typing import Any

from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, Status, StoredCondition
from provisioning_pipeline.report.summary import OutcomeLine, Summary, TenantLine, tenant_lines

THEN = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


def tenant(slug: str, **other: Any) -> dict[str, Any]:
    """A tenant as the ledger gives it, with what Ready says of it; by default nobody looked at it."""
    names = ("server", "workspace_id", "workspace_url", "admin_user_id", "admin_email", "reason", "message", "since")
    given = dict.fromkeys(names)
    return {"slug": slug, "database_name": f"db_{slug}", **given, **other}


def looked_at(slug: str, reason: Reason, message: str = "", **other: Any) -> dict[str, Any]:
    """A tenant that somebody looked at."""
    return tenant(slug, **({"reason": reason, "message": message, "since": THEN} | other))


def stored(slug: str, type_: ConditionType, reason: Reason) -> StoredCondition:
    """A condition as the ledger gives it."""
    status = Status.TRUE if reason is Reason.ALL_TRUE else Status.FALSE
    return StoredCondition(f"db_{slug}", Condition(type_, status, reason, ""), THEN, "run-1")


def lines(**reasons: Reason) -> tuple[TenantLine, ...]:
    """Tenants, each with what Ready says of it."""
    return tenant_lines([looked_at(slug, reason) for slug, reason in reasons.items()])


def outcome(tenant: str, change: str, *, done: bool = True, detail: str = "", seconds: float = 1.0) -> OutcomeLine:
    """One attempted change."""
    return OutcomeLine(tenant, change, done, detail, seconds)


def summary(tenants: tuple[TenantLine, ...] = (), outcomes: tuple[OutcomeLine, ...] = (), **other: Any) -> Summary:
    """A run's summary."""
    given: dict[str, Any] = {
        "run_id": "run-1",
        "trigger": "test",
        "begun_at": THEN,
        "seconds": 1.25,
        "refusals": (),
        "defects": (),
        "calls": {"signIn": 2},
        "mutating_calls": 0,
    }
    return Summary(tenants=tenants, outcomes=outcomes, **(given | other))
