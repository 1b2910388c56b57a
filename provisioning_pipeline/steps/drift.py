"""What a plan says of who changed what: one line per tenant and cause, before anything is done about it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from provisioning_pipeline.model.change import Cause
from provisioning_pipeline.model.condition import ConditionType, Reason, Status
from provisioning_pipeline.model.history import Actor, Before, Drift, DriftCause, Source
from provisioning_pipeline.model.names import first_few
from provisioning_pipeline.model.tenant import MemberPlan, Plan, TenantPlan

_CHANGED_IN_TWENTY = frozenset(
    {
        Reason.WORKSPACE_GONE,
        Reason.WORKSPACE_SUSPENDED,
        Reason.WORKSPACE_INCOMPLETE,
        Reason.WORKSPACE_UNPAID,
        Reason.SERVICE_ACCOUNT_REMOVED,
        Reason.SERVICE_ACCOUNT_DEMOTED,
    }
)


def find_drift(plan: Plan, before: Mapping[str, Before]) -> tuple[Drift, ...]:
    """Every difference of this plan.

    Args:
        plan: as decided, nothing of it done yet.
        before: database name → what was known; a tenant that is not in it was never read.
    """
    return tuple(drift for entry in plan.tenants for drift in _of(entry, before.get(entry.tenant.database_name)))


def concerned(plan: Plan) -> list[str]:
    """The database names of tenants about which there is anything to say."""
    return [
        entry.tenant.database_name
        for entry in plan.tenants
        if entry.changes or any(condition.status is not Status.TRUE for condition in entry.conditions)
    ]


def _of(entry: TenantPlan, before: Before | None) -> Iterator[Drift]:
    name = entry.tenant.database_name
    if before is None:
        if entry.changes or any(condition.status is not Status.TRUE for condition in entry.conditions):
            yield Drift(name, DriftCause.NEW_TENANT, *_found_by(entry))
        return
    yield from _conditions(entry, before)
    found: dict[Cause, list[str]] = {}
    for change in entry.changes:
        cause = change.drift(entry, before) if callable(change.drift) else change.drift
        if cause is not None and not change.of_person:
            found.setdefault(cause, []).append(change)
    for member in entry.members:
        causes = {change: change.drift for change in member.changes if isinstance(change.drift, Cause)}
        if causes:
            first = min(causes, key=lambda change: change.order)
            found.setdefault(_of_person(causes[first], member, before), []).append(f"{first} {member.email}")
    for cause, made in found.items():
        yield Drift(name, cause.cause, cause.source, cause.who, cause.detail.replace("{changes}", listed(made)))


def _found_by(entry: TenantPlan) -> tuple[Source, Actor, str]:
    if any(condition.reason is Reason.DATABASE_MISSING for condition in entry.conditions):
        return Source.REGISTRY, Actor.TENANT_MANAGER, "The registry has a row for it, and there is no such database."
    row = ", without a registry row" if entry.adopt else ""
    return (
        Source.DATABASE,
        Actor.TENANT_MANAGER,
        f"Database {entry.tenant.database_name} was seen for the first time{row}.",
    )


def _conditions(entry: TenantPlan, before: Before) -> Iterator[Drift]:
    for condition in entry.conditions:
        if condition.status is Status.TRUE or condition.type not in before.held:
            continue
        name = entry.tenant.database_name
        if condition.type in (ConditionType.DETECTED, ConditionType.REGISTERED):
            source = Source.DATABASE if condition.type is ConditionType.DETECTED else Source.REGISTRY
            yield Drift(name, DriftCause.TENANT_MANAGER, source, Actor.TENANT_MANAGER, condition.message)
        elif condition.reason in _CHANGED_IN_TWENTY:
            yield Drift(name, DriftCause.TWENTY, Source.WORKSPACE, Actor.TWENTY, condition.message)


def _of_person(cause: Cause, member: MemberPlan, before: Before) -> Cause:
    if member.clerk_user_id is None:
        return replace(cause, cause=DriftCause.TENANT_DATABASE, who=Actor.TENANT_MANAGER)
    if ConditionType.MEMBERS_SYNCED not in before.held:
        return replace(cause, cause=DriftCause.UNFINISHED, who=Actor.UNKNOWN)
    return cause


def listed(made: Sequence[str]) -> str:
    """The first few of these, and how many more there are."""
    return first_few(made, by="; ", more="; and ")
