"""Who changed what, as a plan and the ledger tell it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.change import FOLLOW_ADDRESS, Change
from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, is_false, is_true
from provisioning_pipeline.model.history import Actor, Before, DriftCause, Source
from provisioning_pipeline.model.tenant import Address, AdminUnknown, MemberPlan, Plan, Tenant, TenantPlan
from provisioning_pipeline.steps.drift import concerned, find_drift
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.members.changes import (
    ADD_MEMBER,
    DROP_LINK,
    REMOVE_MEMBER,
    SET_NAME,
    SET_ROLE,
    STORE_AT_CLERK,
)
from provisioning_pipeline.steps.onboarding.changes import CLEAR_ONBOARDING
from provisioning_pipeline.steps.workspaces.changes import CREATE_WORKSPACE, REJOIN_WORKSPACE

NAME = "twenty_tenant_acme_1"
HEALTHY = Before(ready=True, held=frozenset(ConditionType.all_declared()))
HALF_DONE = Before(ready=False, held=frozenset({ConditionType.DETECTED, ConditionType.REGISTERED}))


def entry(*changes: Change, conditions: tuple[Condition, ...] = (), **other: Any) -> TenantPlan:
    given: dict[str, Any] = {"adopt": False, "server": "eu", "subdomains": ("acme",), "workspace_id": "w"}
    return TenantPlan(
        tenant=Tenant(NAME, "acme", "Acme"),
        changes=changes,
        admin=AdminUnknown(Reason.WAITING, ""),
        conditions=conditions,
        **(given | other),
    )


def member(*changes: Change, email: str = "ada@acme.test", clerk_user_id: str | None = "user_1") -> MemberPlan:
    return MemberPlan(clerk_user_id, email, "Ada", "L", "Member", None, changes)


def causes(planned: TenantPlan, before: Before | None) -> list[tuple[DriftCause, Source, Actor]]:
    found = find_drift(Plan((planned,)), {NAME: before} if before else {})
    return [(drift.cause, drift.source, drift.who) for drift in found]


def test_a_tenant_nobody_ever_looked_at_is_new_and_nothing_more_is_made_of_it() -> None:
    new = entry(CREATE_WORKSPACE, ADD_MEMBER, members=(member(ADD_MEMBER),))
    assert causes(new, None) == [(DriftCause.NEW_TENANT, Source.DATABASE, Actor.TENANT_MANAGER)]


def test_a_row_without_a_database_is_new_too_and_was_seen_in_the_registry() -> None:
    missing = is_false(ConditionType.DETECTED, Reason.DATABASE_MISSING, "No database.")
    assert causes(entry(conditions=(missing,)), None) == [
        (DriftCause.NEW_TENANT, Source.REGISTRY, Actor.TENANT_MANAGER)
    ]


@pytest.mark.parametrize("before", [None, HEALTHY, HALF_DONE])
def test_a_tenant_at_rest_has_no_drift(before: Before | None) -> None:
    assert causes(entry(conditions=(is_true(ConditionType.DETECTED, Reason.DATABASE_PRESENT, ""),)), before) == []


def test_what_an_earlier_run_left_is_unfinished_and_nobodys() -> None:
    assert causes(entry(CREATE_WORKSPACE), HALF_DONE) == [(DriftCause.UNFINISHED, Source.WORKSPACE, Actor.UNKNOWN)]
    assert causes(entry(PROVE_LOGIN), HALF_DONE) == [(DriftCause.UNFINISHED, Source.LOGIN, Actor.UNKNOWN)]
    assert causes(entry(ADD_MEMBER, members=(member(ADD_MEMBER),)), HALF_DONE) == [
        (DriftCause.UNFINISHED, Source.MEMBERS, Actor.UNKNOWN)
    ]


@pytest.mark.parametrize(
    ("change", "cause", "who"),
    [
        (ADD_MEMBER, DriftCause.CLERK, Actor.CLERK),
        (REMOVE_MEMBER, DriftCause.CLERK, Actor.CLERK),
        (SET_NAME, DriftCause.CLERK, Actor.CLERK),
        (DROP_LINK, DriftCause.TWENTY, Actor.TWENTY),
        (SET_ROLE, DriftCause.UNKNOWN, Actor.UNKNOWN),
    ],
)
def test_a_difference_of_members_names_the_side_that_changed(change: Change, cause: DriftCause, who: Actor) -> None:
    assert causes(entry(change, members=(member(change),)), HEALTHY) == [(cause, Source.MEMBERS, who)]


def test_somebody_whom_clerk_does_not_know_comes_from_the_tenants_own_database() -> None:
    stranger = member(ADD_MEMBER, clerk_user_id=None)
    assert causes(entry(ADD_MEMBER, members=(stranger,)), HEALTHY) == [
        (DriftCause.TENANT_DATABASE, Source.MEMBERS, Actor.TENANT_MANAGER)
    ]


def test_what_is_only_stored_at_clerk_is_no_drift() -> None:
    assert causes(entry(STORE_AT_CLERK, members=(member(STORE_AT_CLERK),)), HEALTHY) == []


def test_steps_that_are_pending_again_were_set_in_twenty() -> None:
    assert causes(entry(CLEAR_ONBOARDING), HEALTHY)[0][:1] == (DriftCause.TWENTY,)
    assert causes(entry(CLEAR_ONBOARDING), HALF_DONE)[0][:1] == (DriftCause.UNFINISHED,)


def test_a_workspace_that_went_away_in_twenty_is_told_once_while_it_stays_away() -> None:
    gone = entry(conditions=(is_false(ConditionType.WORKSPACE_READY, Reason.WORKSPACE_GONE, "Deleted."),))
    assert causes(gone, HEALTHY) == [(DriftCause.TWENTY, Source.WORKSPACE, Actor.TWENTY)]
    assert causes(gone, HALF_DONE) == []


def test_a_renamed_workspace_and_an_account_that_comes_back_were_changed_in_twenty() -> None:
    renamed = entry(FOLLOW_ADDRESS, address=Address("new", "https://new.crm.test/"))
    assert causes(renamed, HEALTHY) == [(DriftCause.TWENTY, Source.WORKSPACE, Actor.TWENTY)]
    # that steps are cleared for whoever comes in says nothing of steps that somebody set
    back = causes(entry(REJOIN_WORKSPACE, CLEAR_ONBOARDING), HEALTHY)
    assert back == [(DriftCause.UNFINISHED, Source.WORKSPACE, Actor.UNKNOWN)]


def test_a_server_that_is_away_is_nobodys_change() -> None:
    away = is_false(ConditionType.WORKSPACE_READY, Reason.SERVER_UNREACHABLE, "Away.")
    assert causes(entry(conditions=(away,)), HEALTHY) == []


def test_many_people_are_one_line_that_names_three() -> None:
    people = tuple(member(ADD_MEMBER, email=f"{number}@acme.test") for number in range(9))
    (drift,) = find_drift(Plan((entry(ADD_MEMBER, members=people),)), {NAME: HEALTHY})
    assert drift.detail.count("@acme.test") == 3
    assert "and 6 more" in drift.detail


@given(
    changes=st.sets(st.sampled_from(Change.all_declared())),
    held=st.sets(st.sampled_from(ConditionType.all_declared())),
    known=st.booleans(),
)
def test_whoever_is_not_concerned_has_no_drift_and_each_cause_is_told_with_a_sentence(
    changes: set[Change], held: set[ConditionType], known: bool
) -> None:
    planned = entry(*changes, members=tuple(member(change) for change in sorted(changes)))
    plan = Plan((planned,))
    found = find_drift(plan, {NAME: Before(ready=True, held=frozenset(held))} if known else {})
    assert not found or concerned(plan) == [NAME]
    assert all(drift.detail.endswith(".") for drift in found)
