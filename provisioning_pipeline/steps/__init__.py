"""The steps of a run: one folder each, the only place where a step is known; and which of them a plan wants."""

from collections.abc import Iterable, Mapping
from typing import Final

from provisioning_pipeline.model.change import Where
from provisioning_pipeline.model.condition import ALWAYS_ASKED, ConditionType, Status
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.steps.databases.step import DATABASES
from provisioning_pipeline.steps.logins.step import LOGINS
from provisioning_pipeline.steps.members.plan.tenant_members import workspace_usable
from provisioning_pipeline.steps.members.step import MEMBERS
from provisioning_pipeline.steps.offboarding.step import OFFBOARDING
from provisioning_pipeline.steps.onboarding.step import ONBOARDING
from provisioning_pipeline.steps.step import Held, Step
from provisioning_pipeline.steps.suspension.step import SUSPENSION
from provisioning_pipeline.steps.workspaces.step import WORKSPACES

STEPS: Final[tuple[Step, ...]] = (
    DATABASES,
    WORKSPACES,
    SUSPENSION,
    MEMBERS,
    ONBOARDING,
    LOGINS,
    # after the logins: none is proved in a workspace that is gone
    OFFBOARDING,
)
"""In the order in which they are taken."""


def questions() -> tuple[ConditionType, ...]:
    """The conditions that make a tenant ready: those that are always asked for, and what the steps settle besides."""
    settled = {step.condition for step in STEPS if not step.condition.told_only}
    return tuple(sorted({*ALWAYS_ASKED, *settled}, key=lambda type_: type_.rank))


def steps_for(plan: TenantPlan) -> tuple[Step, ...]:
    """The steps that this plan wants; none on its server when no server can take it."""
    wanted: list[Step] = []
    # of a tenant that is no customer now no login is to be proved
    none_comes_in = not _is_customer(plan) or any(change.ends_access for change in plan.changes)
    for step in STEPS:
        if step.where is Where.SERVER and plan.server is None:
            continue
        if (
            any(change in step.changes for change in plan.changes)
            or step.also_wanted(plan)
            or (step.follows and not none_comes_in and any(before.where is Where.SERVER for before in wanted))
        ):
            wanted.append(step)
    return tuple(wanted)


def server_steps(plan: TenantPlan) -> tuple[Step, ...]:
    """The steps that this plan wants on its server."""
    return tuple(step for step in steps_for(plan) if step.where is Where.SERVER)


def ops_for(plan: TenantPlan) -> tuple[Step, ...]:
    """The steps in whose Dagster ops something is to be done for this plan, in order."""
    ops = {step.beside or step for step in steps_for(plan)}
    return tuple(step for step in STEPS if step in ops)


def op_of(step: Step, plan: TenantPlan) -> Step:
    """The step in whose Dagster op this one is taken for a plan that wants it.

    That is its own. One that needs no server is taken along in the tenant's first op, so that no failure on a server
    comes before it.
    """
    return step if step.where is Where.SERVER else ops_for(plan)[0]


def may_be_due(entries: Iterable[TenantPlan]) -> tuple[str, ...]:
    """Database names of the tenants for which a step may find something due; none where no step plans for itself."""
    if all(step.plan is None for step in STEPS):
        return ()
    return tuple(entry.tenant.database_name for entry in entries if _can_be_worked_in(entry))


def with_due(entry: TenantPlan, held: Mapping[str, Held]) -> TenantPlan:
    """A tenant's plan with what is due by the conditions that held before, if a run can work in its workspace."""
    if _can_be_worked_in(entry):
        for step in STEPS:
            if step.plan is not None:
                entry = step.plan(entry, held.get(entry.tenant.database_name, frozenset()))
    return entry


def _is_customer(entry: TenantPlan) -> bool:
    """Whether it may be worked on: it has a database and counts as a customer."""
    return all(
        known.status is Status.TRUE
        for known in entry.conditions
        if known.type in (ConditionType.DETECTED, ConditionType.REGISTERED)
    )


def _can_be_worked_in(entry: TenantPlan) -> bool:
    return _is_customer(entry) and entry.server is not None and workspace_usable(entry)
