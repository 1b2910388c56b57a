"""Half members in the plan: Clerk's own people, and those of ours about whom Clerk says nothing."""

from typing import Any

import pytest

from provisioning_pipeline.model import frames
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.tenant import Admin, AdminUnknown, Finding, MemberPlan
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.members.changes import MEND_MEMBER, RESTORE_DEFAULT_ROLE, SET_NAME
from provisioning_pipeline.steps.members.plan.decisions import decide_members
from provisioning_pipeline.steps.members.plan.tenant_members import (
    HalfMember,
    OurPeople,
    half_members,
    to_mend,
    with_members,
)
from provisioning_pipeline.steps.onboarding.changes import CLEAR_ONBOARDING
from provisioning_pipeline_tests.decide.people import Town, plan_of, policy
from provisioning_pipeline_tests.decide.test_plan_members import entry, known, member

ROOT = Admin("root@x.test", "Root", "User")


@pytest.fixture
def town() -> Town:
    town = Town()
    town.tenant("acme")
    return town


def decided(town: Town, account: str, record: str) -> dict[str, Any]:
    half = [("eu", "ws-acme", account, "ada@x.test", record), ("eu", "ws-other", account, "ada@x.test", "missing")]
    people = town.people(half_members=frames.frame(frames.HALF_MEMBERS, half))
    return dict(decide_members(people, policy()))


@pytest.mark.parametrize(
    ("record", "changes"),
    [
        ("missing", (MEND_MEMBER,)),
        ("deleted", (MEND_MEMBER,)),
        ("nameless", (SET_NAME,)),
    ],
)
def test_somebody_at_rest_whose_record_is_not_as_it_should_be_is_mended(
    town: Town, record: str, changes: tuple[Change, ...]
) -> None:
    account = town.at_rest("ada", "acme")
    assert decided(town, "acc-other", record) == {}
    assert plan_of(decided(town, account, record)["acme"], "ada").changes == changes


def test_a_record_without_a_name_is_left_where_clerk_has_none_either(town: Town) -> None:
    town.person("ada", first="", last="")
    account = town.at_rest("ada", "acme")
    assert decided(town, account, "nameless") == {}


def test_half_members_are_those_of_our_own_workspaces_with_the_role_that_they_have() -> None:
    half = [
        ("eu", "ws", "acc-1", "one@x.test", "missing"),
        ("eu", "ws", "acc-2", "two@x.test", "nameless"),
        ("eu", "ws", "acc-3", "three@x.test", "deleted"),
        ("us", "ws", "acc-4", "four@x.test", "missing"),
    ]
    members = [("eu", "ws", "acc-1", "Member"), ("eu", "elsewhere", "acc-3", "Admin"), ("eu", "ws", "acc-3", None)]
    found = half_members(
        {("eu", "ws"): "acme"},
        frames.frame(frames.HALF_MEMBERS, half),
        frames.frame(frames.TWENTY_MEMBERS, members),
    )
    assert found == {
        "acme": (HalfMember("acc-1", "one@x.test", "Member"), HalfMember("acc-3", "three@x.test", None)),
    }


def ours(**other: Any) -> OurPeople:
    given: dict[str, Any] = {
        "service": ("svc",),
        "admin_user_id": "root",
        "admin": ROOT,
        "taken_over": ("old",),
        "default_role": "Member",
    }
    return OurPeople(**(given | other))


def test_our_account_is_mended_first_and_strangers_are_left_alone() -> None:
    half = [
        HalfMember("old", "a-old@x.test", None),
        HalfMember("stranger", "b@x.test", "Admin"),
        HalfMember("root", "root@x.test", "Member"),
        HalfMember("svc", "svc@x.test", "Admin"),
    ]
    plans = to_mend(half, ours())
    assert [(plan.email, plan.role, plan.first_name) for plan in plans] == [
        ("svc@x.test", "Admin", ""),
        ("a-old@x.test", "Member", ""),
        ("root@x.test", "Admin", "Root"),
    ]
    assert {plan.clerk_user_id for plan in plans} == {None}
    assert {plan.changes for plan in plans} == {(MEND_MEMBER,)}
    unknown = ours(admin=AdminUnknown(Reason.ADMIN_UNKNOWN, "nobody"))
    assert [plan.first_name for plan in to_mend(half[2:3], unknown)] == [""]
    assert to_mend(half, ours(service=(), admin_user_id=None, taken_over=())) == ()


# --- in the tenant's plan -----------------------------------------------------------------------------------------

MENDED = MemberPlan(None, "root@x.test", "", "", "Admin", "root", (MEND_MEMBER,))


def test_whoever_is_mended_is_proved_and_has_no_wizard() -> None:
    planned = [
        known(member("ada", MEND_MEMBER)),
        known(decisions={}, mending={"acme": (MENDED,)}),
    ]
    for facts in planned:
        found = with_members(entry(), facts, None)
        assert found.changes == (MEND_MEMBER, CLEAR_ONBOARDING, PROVE_LOGIN)
        assert len(found.members) == 1


def test_whom_clerk_speaks_of_is_not_mended_a_second_time() -> None:
    as_member = MemberPlan("ada", "root@x.test", "", "", "Admin", "root", (MEND_MEMBER,))
    found = with_members(entry(), known(as_member, mending={"acme": (MENDED,)}), None)
    assert found.members == (as_member,)
    doubt = Finding(Reason.ACCOUNT_AMBIGUOUS, "root@x.test", "two accounts")
    assert with_members(entry(), known(findings=(doubt,), mending={"acme": (MENDED,)}), None).members == ()


def test_a_lent_default_role_is_given_back_while_nothing_else_is_due() -> None:
    found = with_members(entry(), known(decisions={}, roles_lent=frozenset({"acme"})), None)
    assert found.changes == (RESTORE_DEFAULT_ROLE,)
