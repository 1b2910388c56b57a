"""What a plan says of who changed what: one line per tenant and cause, before anything is done about it."""

from collections.abc import Iterator, Mapping, Sequence

from provisioning_pipeline.model.condition import ConditionType, Reason, Status
from provisioning_pipeline.model.history import Actor, Before, Drift, DriftCause, Source
from provisioning_pipeline.model.tenant import Change, MemberPlan, Plan, TenantPlan

_PROVISIONING = (
    Change.CREATE_WORKSPACE,
    Change.ADOPT_WORKSPACE,
    Change.ACTIVATE_WORKSPACE,
    Change.REJOIN_WORKSPACE,
    Change.ADD_ADMIN,
)
_IN_DATABASE = (Change.REMOVE_ROWS, Change.MEND_WORKSPACE)
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
_MOST_NAMED = 3

_MEMBER_CAUSES: Mapping[Change, tuple[DriftCause, Actor]] = {
    Change.REMOVE_MEMBER: (DriftCause.CLERK, Actor.CLERK),
    Change.DEMOTE_MEMBER: (DriftCause.CLERK, Actor.CLERK),
    Change.DROP_LINK: (DriftCause.TWENTY, Actor.TWENTY),
    Change.MEND_MEMBER: (DriftCause.TWENTY, Actor.TWENTY),
    Change.ADD_MEMBER: (DriftCause.CLERK, Actor.CLERK),
    Change.LINK_MEMBER: (DriftCause.TWENTY, Actor.TWENTY),
    # a role differs when it was changed on either side, and neither says which
    Change.SET_ROLE: (DriftCause.UNKNOWN, Actor.UNKNOWN),
    Change.SET_NAME: (DriftCause.CLERK, Actor.CLERK),
}
"""The first of these that a person needs tells why; what is only stored at Clerk is no drift."""


def find_drift(plan: Plan, before: Mapping[str, Before]) -> tuple[Drift, ...]:
    """Every difference of this plan.

    Args:
        plan: as decided, nothing of it done yet.
        before: database name → what was known; a tenant that is not in it was never looked at.
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
    changes = set(entry.changes)
    if entry.adopt:
        detail = f"Database {name} has no registry row any more."
        yield Drift(name, DriftCause.TENANT_MANAGER, Source.REGISTRY, Actor.TENANT_MANAGER, detail)
    if left := [change for change in _PROVISIONING if change in changes]:
        detail = f"Still to do: {', '.join(left)}."
        yield Drift(name, DriftCause.UNFINISHED, Source.WORKSPACE, Actor.UNKNOWN, detail)
    yield from _members(entry, before)
    if entry.address:
        detail = f"The workspace was renamed to {entry.address.subdomain}."
        yield Drift(name, DriftCause.TWENTY, Source.WORKSPACE, Actor.TWENTY, detail)
    if Change.CLEAR_ONBOARDING in changes and Change.REJOIN_WORKSPACE not in changes:
        again = ConditionType.ONBOARDING_COMPLETE in before.held
        yield Drift(
            name,
            DriftCause.TWENTY if again else DriftCause.UNFINISHED,
            Source.ONBOARDING,
            Actor.TWENTY if again else Actor.UNKNOWN,
            "Onboarding steps are pending again." if again else "Onboarding steps are still pending.",
        )
    if in_database := [change for change in _IN_DATABASE if change in changes]:
        detail = f"In its own database: {', '.join(in_database)}."
        yield Drift(name, DriftCause.TENANT_DATABASE, Source.DATABASE, Actor.TENANT_MANAGER, detail)
    if Change.STORE_LINK in changes and before.ready:
        detail = "The registry does not say which workspace it has, or not that it is ready."
        yield Drift(name, DriftCause.TENANT_MANAGER, Source.REGISTRY, Actor.TENANT_MANAGER, detail)
    if changes == {Change.PROVE_LOGIN}:
        yield Drift(name, DriftCause.UNFINISHED, Source.LOGIN, Actor.UNKNOWN, "Its login is not proved.")


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


def _members(entry: TenantPlan, before: Before) -> Iterator[Drift]:
    people: dict[tuple[DriftCause, Actor], list[str]] = {}
    for member in entry.members:
        if found := _why(member, before):
            people.setdefault(found[:2], []).append(f"{found[2]} {member.email}")
    if entry.withdrawals:
        # why an invitation is to end is told in the plan; who brought it to that may be anybody
        ended = people.setdefault((DriftCause.UNKNOWN, Actor.UNKNOWN), [])
        ended += [f"{Change.WITHDRAW_INVITATION} {withdrawal.email}" for withdrawal in entry.withdrawals]
    for (cause, who), done in people.items():
        yield Drift(entry.tenant.database_name, cause, Source.MEMBERS, who, _listed(done))


def _why(member: MemberPlan, before: Before) -> tuple[DriftCause, Actor, Change] | None:
    first = next((change for change in _MEMBER_CAUSES if change in member.changes), None)
    if first is None:
        return None
    if member.clerk_user_id is None:
        return DriftCause.TENANT_DATABASE, Actor.TENANT_MANAGER, first
    if ConditionType.MEMBERS_SYNCED not in before.held:
        return DriftCause.UNFINISHED, Actor.UNKNOWN, first
    return (*_MEMBER_CAUSES[first], first)


def _listed(done: Sequence[str]) -> str:
    more = len(done) - _MOST_NAMED
    return "; ".join(done[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "") + "."
