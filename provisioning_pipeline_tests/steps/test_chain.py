"""Which steps a plan wants, and in which Dagster op each is taken."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.change import ADOPT_DATABASE, FOLLOW_ADDRESS, Change, Where
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.tenant import Address, AdminUnknown, Tenant, TenantPlan
from provisioning_pipeline.steps import (
    DATABASES,
    LOGINS,
    MEMBERS,
    ONBOARDING,
    STEPS,
    WORKSPACES,
    op_of,
    ops_for,
    server_steps,
    steps_for,
)
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.members.changes import SET_NAME
from provisioning_pipeline.steps.onboarding.changes import CLEAR_ONBOARDING, REMOVE_ROWS, STORE_LINK
from provisioning_pipeline.steps.step import Step
from provisioning_pipeline.steps.workspaces.changes import CREATE_WORKSPACE

ENTRY = TenantPlan(
    tenant=Tenant("twenty_tenant_acme_1", "acme", "Acme"),
    changes=(),
    adopt=False,
    server="eu",
    subdomains=("acme",),
    workspace_id="w",
    admin=AdminUnknown(Reason.ADMIN_UNKNOWN, ""),
    conditions=(),
)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ((), ()),
        ((ADOPT_DATABASE,), ()),
        ((FOLLOW_ADDRESS,), ()),
        ((CREATE_WORKSPACE,), (WORKSPACES, ONBOARDING, LOGINS)),
        ((SET_NAME,), (MEMBERS, ONBOARDING, LOGINS)),
        ((CLEAR_ONBOARDING,), (ONBOARDING, LOGINS)),
        ((STORE_LINK,), (ONBOARDING, LOGINS)),
        ((PROVE_LOGIN,), (LOGINS,)),
        # what is done in the tenant's own database is followed by nothing on its server
        ((REMOVE_ROWS,), (DATABASES,)),
        ((REMOVE_ROWS, PROVE_LOGIN), (DATABASES, LOGINS)),
    ],
)
def test_a_plan_wants_the_steps_of_its_changes_and_those_that_follow(
    changes: tuple[Change, ...], wanted: tuple[Step, ...]
) -> None:
    assert steps_for(replace(ENTRY, changes=changes)) == wanted


def test_a_workspace_that_only_twenty_can_find_wants_the_first_step() -> None:
    lost = replace(ENTRY, changes=(FOLLOW_ADDRESS,), address=Address("new", None))
    assert steps_for(lost) == (WORKSPACES, ONBOARDING, LOGINS)


def test_without_a_server_only_the_own_database_is_repaired_beside_onboarding() -> None:
    homeless = replace(ENTRY, server=None, changes=(REMOVE_ROWS, CREATE_WORKSPACE))
    assert (steps_for(homeless), server_steps(homeless)) == ((DATABASES,), ())
    assert ops_for(homeless) == (ONBOARDING,)


@pytest.mark.parametrize(
    ("changes", "first"),
    [((), ONBOARDING), ((PROVE_LOGIN,), ONBOARDING), ((SET_NAME,), MEMBERS), ((CREATE_WORKSPACE,), WORKSPACES)],
)
def test_the_own_database_is_repaired_in_the_first_op_where_nothing_on_a_server_has_failed_yet(
    changes: tuple[Change, ...], first: Step
) -> None:
    plan = replace(ENTRY, changes=(REMOVE_ROWS, *changes))
    assert ops_for(plan)[0] is first
    assert op_of(DATABASES, plan) is first
    assert all(op_of(step, plan) is step for step in server_steps(plan))


def test_every_change_that_a_server_is_needed_for_has_one_step() -> None:
    owners = {change: [step.name for step in STEPS if change in step.changes] for change in Change.all_declared()}
    assert {change: found for change, found in owners.items() if len(found) > 1} == {}
    assert {change for change, found in owners.items() if not found} >= {ADOPT_DATABASE, FOLLOW_ADDRESS}


@given(st.frozensets(st.sampled_from(Change.all_declared())), st.sampled_from([None, "eu"]))
def test_steps_come_in_their_order_and_each_op_once(changes: frozenset[Change], server: str | None) -> None:
    plan = replace(ENTRY, changes=tuple(sorted(changes)), server=server)
    wanted = steps_for(plan)
    assert list(wanted) == [step for step in STEPS if step in wanted]
    assert server is not None or all(step.where is Where.OWN_DATABASE for step in wanted)
    assert bool(ops_for(plan)) == bool(wanted)
    assert all(op_of(step, plan) in ops_for(plan) for step in wanted)
    assert len(set(ops_for(plan))) == len(ops_for(plan))
