"""Members in the plan of their tenant."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning_pipeline.decide.organizations import Match
from provisioning_pipeline.model import frames
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import ConditionType, Reason, Status, is_false, is_true, is_unknown
from provisioning_pipeline.model.tenant import Admin, AdminUnknown, Finding, MemberPlan, Tenant, TenantPlan
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.members.changes import (
    ADD_MEMBER,
    CLOSE_INVITE_LINK,
    DROP_LINK,
    LINK_MEMBER,
    REMOVE_MEMBER,
    RENEW_INVITE_LINK,
    SET_NAME,
    STORE_AT_CLERK,
)
from provisioning_pipeline.steps.members.plan.decisions import MemberDecision
from provisioning_pipeline.steps.members.plan.tenant_members import KnownMembers, synced, with_members, workplaces
from provisioning_pipeline.steps.onboarding.changes import CLEAR_ONBOARDING
from provisioning_pipeline.steps.workspaces.changes import ACTIVATE_WORKSPACE, ADD_ADMIN, CREATE_WORKSPACE
from provisioning_pipeline_tests.decide.facts import condition

SYNCED, PROVED, READY = ConditionType.MEMBERS_SYNCED, ConditionType.LOGIN_PROVED, ConditionType.WORKSPACE_READY
ADA = Admin("ada@x.test", "Ada", "L", "ada")
BEA = Admin("bea@x.test", "Bea", "L", "bea")
UNKNOWN_ID = AdminUnknown(Reason.ADMIN_UNKNOWN, "nobody")
ACTIVE = is_true(READY, Reason.WORKSPACE_ACTIVE, "active")


def entry(*changes: Change, **other: Any) -> TenantPlan:
    """A tenant with a whole workspace and an organization."""
    given: dict[str, Any] = {
        "tenant": Tenant("acme", "acme", "Acme", "org_1"),
        "changes": changes,
        "adopt": False,
        "server": "eu",
        "subdomains": (),
        "workspace_id": "ws",
        "admin": Admin("ada@x.test", "", ""),
        "conditions": (ACTIVE,),
    }
    return TenantPlan(**(given | other))


def known(*members: MemberPlan, findings: tuple[Finding, ...] = (), replaces: str = "", **other: Any) -> KnownMembers:
    """What is known; by default the workspace id is at Clerk already and nobody else can be admin."""
    decision = MemberDecision(members, findings, frozenset({replaces} - {""}))
    given: dict[str, Any] = {
        "matches": {"acme": Match("org_1")},
        "unread": {},
        "decisions": {"acme": decision},
        "stored_workspaces": {"org_1": "ws"},
        "store_workspace_id": True,
        "seen": frozenset(),
        "links_open": frozenset(),
        "another_admin": lambda entry, before: UNKNOWN_ID,
    }
    return KnownMembers(**(given | other))


def member(user: str, *changes: Change) -> MemberPlan:
    """A plan for one person."""
    return MemberPlan(user, f"{user}@x.test", "Ada", "L", "Member", None, changes)


# --- where members can be compared --------------------------------------------------------------------------------


def test_members_are_compared_where_there_is_an_organization_a_server_and_a_usable_workspace() -> None:
    broken = is_false(READY, Reason.WORKSPACE_SUSPENDED, "suspended")
    unseen = is_unknown(READY, Reason.SERVER_UNREACHABLE, "down")
    names = {
        "whole": entry(),
        "unfinished": entry(ACTIVATE_WORKSPACE, conditions=(is_false(READY, Reason.WAITING, "unfinished"),)),
        "new": entry(CREATE_WORKSPACE, workspace_id=None, conditions=()),
        "suspended": entry(conditions=(broken,)),
        "unseen": entry(conditions=(unseen,)),
        "homeless": entry(server=None),
        "waiting": entry(workspace_id=None),
        "alone": entry(tenant=Tenant("", "", "", None)),
    }
    entries = [replace(found, tenant=replace(found.tenant, database_name=name)) for name, found in names.items()]
    rows = frames.records(workplaces(entries))
    assert [(row["database_name"], row["workspace_id"]) for row in rows] == [
        ("whole", "ws"),
        ("unfinished", "ws"),
        ("new", None),
    ]


@pytest.mark.parametrize(
    "plan",
    [
        entry(server=None, conditions=(is_false(READY, Reason.SERVER_FULL, "full"),)),
        entry(conditions=(is_false(READY, Reason.WORKSPACE_GONE, "gone"),)),
        entry(conditions=(is_unknown(READY, Reason.SERVER_UNREACHABLE, "down"),)),
    ],
)
def test_a_tenant_without_a_usable_workspace_is_left_as_it_was_planned(plan: TenantPlan) -> None:
    added = known(member("ada", ADD_MEMBER), links_open=frozenset({"acme"}))
    assert with_members(plan, added, "acc") == plan


def test_nothing_is_asked_of_a_tenant_that_may_not_be_worked_on() -> None:
    suspended = entry(conditions=(is_false(ConditionType.REGISTERED, Reason.TENANT_SUSPENDED, "suspended"),))
    told = known(matches={}, decisions={}, links_open=frozenset({"acme"}))
    assert with_members(suspended, told, None) == suspended


# --- changes ------------------------------------------------------------------------------------------------------


def test_changes_of_members_are_announced_once_and_the_proof_comes_last() -> None:
    people = [member(user, ADD_MEMBER, LINK_MEMBER) for user in ("one", "two")]
    planned = with_members(entry(CLEAR_ONBOARDING, PROVE_LOGIN), known(*people), "acc")
    assert planned.changes == (
        CLEAR_ONBOARDING,
        ADD_MEMBER,
        LINK_MEMBER,
        PROVE_LOGIN,
    )
    assert planned.members == tuple(people)


def test_somebody_added_is_proved_and_has_no_wizard() -> None:
    planned = with_members(entry(), known(member("new", ADD_MEMBER)), "acc")
    assert planned.changes == (ADD_MEMBER, CLEAR_ONBOARDING, PROVE_LOGIN)


def test_a_name_alone_needs_no_proof() -> None:
    assert with_members(entry(), known(member("ada", SET_NAME)), "acc").changes == (SET_NAME,)


def test_the_admin_is_added_by_the_first_step_alone() -> None:
    plan = entry(ADD_ADMIN, PROVE_LOGIN, admin=ADA)
    planned = with_members(plan, known(member("ada", ADD_MEMBER, LINK_MEMBER)), None)
    assert planned.members == (member("ada", LINK_MEMBER),)
    assert ADD_MEMBER not in planned.changes
    only = with_members(plan, known(member("ada", ADD_MEMBER)), None)
    assert only.members == (member("ada", LINK_MEMBER),)


def test_an_open_invite_link_is_closed_and_renewed() -> None:
    planned = with_members(entry(), known(links_open=frozenset({"acme"}), renews_invite_link=False), "acc")
    assert planned.changes == (CLOSE_INVITE_LINK, RENEW_INVITE_LINK)


@pytest.mark.parametrize("change", [REMOVE_MEMBER, DROP_LINK])
@pytest.mark.parametrize("renews", [True, False])
def test_the_invite_link_is_renewed_after_somebody_who_could_read_it(change: Change, renews: bool) -> None:
    gone = replace(member("ada", change), why="ada was deleted at Clerk")
    planned = with_members(entry(), known(gone, renews_invite_link=renews), "acc")
    assert (RENEW_INVITE_LINK in planned.changes) is renews
    assert RENEW_INVITE_LINK not in with_members(entry(), known(replace(gone, why="")), "acc").changes


@pytest.mark.parametrize(
    ("stored", "policy", "organization"),
    [("ws", True, None), ("another", True, "org_1"), (None, True, "org_1"), (None, False, None)],
)
def test_the_workspace_id_is_kept_at_clerk_by_policy(stored: str | None, policy: bool, organization: Any) -> None:
    told = known(stored_workspaces={"org_1": stored}, store_workspace_id=policy)
    planned = with_members(entry(), told, "acc")
    assert planned.store_organization == organization
    assert planned.changes == ((STORE_AT_CLERK,) if organization else ())


def test_nothing_is_kept_at_an_organization_that_clerk_did_not_name() -> None:
    assert with_members(entry(), known(stored_workspaces={}), "acc").changes == ()


# --- the tenant's admin -------------------------------------------------------------------------------------------


def test_an_admin_who_cannot_stand_for_the_tenant_any_more_is_replaced() -> None:
    told = known(replaces="acc", another_admin=lambda entry, before: BEA)
    planned = with_members(entry(), told, "acc")
    assert planned.admin == BEA
    assert planned.changes == (ADD_ADMIN, CLEAR_ONBOARDING, PROVE_LOGIN)
    assert with_members(entry(), told, "another").changes == ()


def test_where_nobody_else_is_known_the_admin_stays() -> None:
    assert with_members(entry(), known(replaces="acc"), "acc").changes == ()


DOUBTS = [Reason.ACCOUNT_AMBIGUOUS, Reason.ACCOUNT_CLAIMED_TWICE]


@pytest.mark.parametrize("reason", DOUBTS)
def test_nobody_is_made_admin_while_their_account_is_in_doubt(reason: Reason) -> None:
    told = known(findings=(Finding(reason, ADA.email, "which of them?"),))
    planned = with_members(entry(ADD_ADMIN, CLEAR_ONBOARDING, PROVE_LOGIN, admin=ADA), told, None)
    assert planned.admin == AdminUnknown(reason, "which of them?")
    assert planned.changes == (CLEAR_ONBOARDING,)
    assert condition(planned, PROVED).reason is reason


@pytest.mark.parametrize("reason", DOUBTS)
def test_nobody_whose_account_is_in_doubt_stands_in_for_the_admin(reason: Reason) -> None:
    told = known(replaces="acc", findings=(Finding(reason, BEA.email, "?"),), another_admin=lambda entry, before: BEA)
    planned = with_members(entry(), told, "acc")
    assert (planned.admin, planned.changes) == (entry().admin, ())


# --- what is told -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "status", "reason"),
    [
        (known(), Status.TRUE, Reason.MEMBERS_LINKED),
        (known(matches={"acme": Match()}), Status.TRUE, Reason.NO_ORGANIZATION),
        (known(matches={"acme": Match(None, Reason.ORGANIZATION_PROPOSED, "?")}), Status.FALSE,
         Reason.ORGANIZATION_PROPOSED),
        (known(member("ada", SET_NAME)), Status.FALSE, Reason.WAITING),
        (known(findings=(Finding(Reason.EMAIL_CHANGED, "a", "?"),)), Status.FALSE, Reason.EMAIL_CHANGED),
        (known(unread={"acme": (Reason.ORGANIZATION_MISSING, "?")}), Status.FALSE, Reason.ORGANIZATION_MISSING),
        (known(unread={"acme": (Reason.CLERK_UNREACHABLE, "?")}), Status.UNKNOWN, Reason.CLERK_UNREACHABLE),
    ],
)  # fmt: skip
def test_the_state_of_the_members_is_told(told: KnownMembers, status: Status, reason: Reason) -> None:
    found = condition(with_members(entry(), told, "acc"), SYNCED)
    assert (found.status, found.reason) == (status, reason)


def test_what_was_known_before_stands_while_clerk_cannot_be_read() -> None:
    told = known(unread={"acme": (Reason.CLERK_UNREACHABLE, "?")}, seen=frozenset({"acme"}))
    assert [found.type for found in with_members(entry(), told, "acc").conditions] == [READY]


def test_the_gravest_findings_are_named_and_the_others_counted() -> None:
    findings = [Finding(Reason.EMAIL_CHANGED, f"p{number}", f"message {number}.") for number in range(5)]
    told = synced([*findings, Finding(Reason.EMAIL_UNVERIFIED, "zoe", "verify.")])
    assert told.reason is Reason.EMAIL_UNVERIFIED
    assert told.message == "verify. message 0. message 1. And 3 more."


# --- over any plan ------------------------------------------------------------------------------------------------

MEMBER_CHANGES = st.lists(
    st.sampled_from([ADD_MEMBER, LINK_MEMBER, SET_NAME, REMOVE_MEMBER]),
    min_size=1,
    unique=True,
)
ENTRIES = st.builds(
    lambda changes, admin, workspace, told: entry(
        *changes, admin=admin, workspace_id=workspace, conditions=(ACTIVE, *told)
    ),
    st.lists(
        st.sampled_from([CREATE_WORKSPACE, ADD_ADMIN, CLEAR_ONBOARDING, PROVE_LOGIN]),
        unique=True,
    ),
    st.sampled_from([ADA, BEA, UNKNOWN_ID, Admin("ada@x.test", "", "")]),
    st.sampled_from(["ws", None]),
    st.sampled_from([(), (is_false(PROVED, Reason.ADMIN_UNKNOWN, "nobody"),), (is_true(SYNCED, Reason.WAITING, ""),)]),
)
KNOWN = st.builds(
    lambda plans, findings, replaces, another, opened, unread: known(
        *(member(user, *changes) for user, changes in sorted(plans.items())),
        findings=tuple(findings),
        replaces=replaces,
        another_admin=lambda entry, before: another,
        links_open=opened,
        unread=unread,
    ),
    st.dictionaries(st.sampled_from(["ada", "bea", "cid"]), MEMBER_CHANGES),
    st.lists(
        st.builds(
            Finding,
            st.sampled_from([*DOUBTS, Reason.EMAIL_CHANGED]),
            st.sampled_from(["ada@x.test", "bea@x.test"]),
            st.just("?"),
        ),
        max_size=2,
    ),
    st.sampled_from(["", "acc"]),
    st.sampled_from([ADA, BEA, UNKNOWN_ID]),
    st.sampled_from([frozenset(), frozenset({"acme"})]),
    st.sampled_from([{}, {"acme": (Reason.CLERK_UNREACHABLE, "?")}]),
)


@settings(max_examples=100)
@given(ENTRIES, KNOWN, st.sampled_from([None, "acc", "another"]))
def test_every_tenants_plan_is_sound(plan: TenantPlan, told: KnownMembers, link_admin: str | None) -> None:
    planned = with_members(plan, told, link_admin)
    types = [found.type for found in planned.conditions]
    assert len(types) == len(set(types)), "one answer to each question"
    assert len(planned.changes) == len(set(planned.changes))
    if PROVE_LOGIN in planned.changes:
        assert planned.changes[-1] == PROVE_LOGIN
    if planned == plan:
        return
    assert all(person.changes for person in planned.members)
    assert {change for person in planned.members for change in person.changes} <= set(planned.changes)
    if ADD_ADMIN in planned.changes and isinstance(planned.admin, Admin):
        admin = planned.admin
        assert not any(
            person.clerk_user_id == admin.clerk_user_id and ADD_MEMBER in person.changes for person in planned.members
        ), "added twice"
        doubts = {finding.person for finding in planned.findings if finding.reason in DOUBTS}
        assert admin.email not in doubts
