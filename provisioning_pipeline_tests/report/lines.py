"""Summaries to be drawn."""

from datetime import UTC, datetime, timedelta
from typing import Any

from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, Status, StoredCondition
from provisioning_pipeline.model.forecast import AgingWorkspace, CutName, Forecast, Harm, Limit
from provisioning_pipeline.model.history import Actor, Drift, DriftCause, RunPoint, Source, Versions, Waiting
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


def point(run_id: str, *, hours_ago: float = 0, **other: Any) -> RunPoint:
    """One of the last runs; by default it found three tenants ready and counted everything."""
    figures: dict[str, Any] = {
        "trigger": "test",
        "begun_at": THEN - timedelta(hours=hours_ago),
        "seconds": 4.0,
        "ready": 3,
        "unwell": 0,
        "aside": 0,
        "actions": 2,
        "whole": True,
        "drift": 5,
        "clerk_calls": 10,
        "twenty_calls": 20,
        "emails": 0,
    }
    return RunPoint(run_id, **(figures | other))


def forecast(text: str = "8 calls at once.", **other: Any) -> Forecast:
    """A forecast in which `text` stands wherever text may stand."""
    figures: dict[str, Any] = {
        "clerk_calls": 100,
        "twenty_calls": 200,
        "seconds": 10.0,
        "first_limit": Limit.TWENTY_CONCURRENCY,
        "why": text,
        "cut_names": (CutName(text, text),),
        "aging": (AgingWorkspace(text, text, THEN),),
        "harm": Harm(planned=1, allowed=2, waiting=3),
    }
    return Forecast(**(figures | other))


def told_in_full(text: str = "harmless", **other: Any) -> Summary:
    """A run of which everything is known; `text` stands wherever text may stand."""
    tenants = [
        looked_at(text, Reason.ALL_TRUE, text, server=text, workspace_id=text, admin_email=text, workspace_url=text),
        looked_at(text, Reason.SERVER_FULL, text, database_name="other", look_again_at=THEN + timedelta(minutes=42)),
        looked_at(text, Reason.TENANT_GONE, text, database_name="gone"),
        looked_at(
            text,
            Reason.ALL_TRUE,
            database_name="rows",
            database_reason=Reason.ROWS_REPORTED,
            database_message=text,
        ),
    ]
    attempts = (
        outcome(text, "set role", done=False, detail=text),
        outcome(text, "set role"),
        outcome(text, "remove member", detail=text),
        outcome(text, "invite member"),
    )
    facts: dict[str, Any] = {
        "trigger": text,
        "refusals": (text,),
        "defects": (text,),
        "calls": {text: 1},
        "clerk_calls": 110,
        "twenty_calls": 180,
        "clerk_calls_allowed": 250,
        "seconds": 10.0,
        "phases": ((text, 1.0),),
        "drift": (Drift(text, DriftCause.CLERK, Source.MEMBERS, Actor.CLERK, text),),
        "history": (point("run-1"),),
        "forecast": forecast(text),
        "waiting": Waiting(text, 12),
        "approved": True,
        "versions": Versions(text, text, text, {text: text, f"{text} ": None}),
        "settings": {text: text},
        "looked_at": 3,
    }
    return summary(tenant_lines(tenants), attempts, **(facts | other))


def large_fleet() -> Summary:
    """300 of 10,000 unwell, for four reasons, with 40 different messages."""
    reasons = (Reason.SERVER_FULL, Reason.ADMIN_UNKNOWN, Reason.FOREIGN_PASSWORD, Reason.ORGANIZATION_MISSING)
    unwell = [
        looked_at(f"unwell-{number:03}", reasons[min(number // 120, 3)], f"Message {number % 40} of this tenant.")
        for number in range(299)
    ]
    unwell += [looked_at("alone", reasons[3], "Message of its own.")]
    ready = [
        looked_at(f"ready-{number:05}", Reason.ALL_TRUE, server="eu", workspace_id=f"20202020-{number:027}")
        for number in range(9_700)
    ]
    return summary(tenant_lines(unwell + ready), looked_at=10_000)
