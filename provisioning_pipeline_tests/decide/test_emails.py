"""Who gets another e-mail at Twenty, and what is told of those who do not: one case per rule."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.decide.ownership import KnownAccounts
from provisioning_pipeline.model import frames
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.people import Evidence, Move, Origin
from provisioning_pipeline.steps.members.changes import ADD_MEMBER, DEMOTE_MEMBER, FOLLOW_EMAIL, LINK_MEMBER, SET_NAME
from provisioning_pipeline.steps.members.plan.decisions import MemberDecision, decide_members, with_target
from provisioning_pipeline.steps.members.plan.emails import accounts_to_move
from provisioning_pipeline.steps.members.plan.people import desired_members
from provisioning_pipeline_tests.decide.people import Town, acme, decided, plan_of, policy, reasons

OLD, NEW = "ada@x.test", "new@x.test"
FOLLOW: dict[str, Any] = {"emails": "follow"}
OURS = Evidence(OLD, False, datetime(2026, 1, 1, tzinfo=UTC), Origin(OLD, ours=True))


def changed(town: Town, email: str | None = NEW) -> Town:
    """Ada, who is at rest, has another verified address at Clerk."""
    town.at_rest("ada", "acme")
    town.clerk_users[-1] = ("ada", email, "Ada", "L", False, None)
    return town


def judged(town: Town, evidence: Evidence | None) -> MemberDecision:
    """What is decided with this known of her account."""
    accounts = KnownAccounts({("eu", "acc-ada"): evidence} if evidence else {})
    return decide_members(replace(town.people(), accounts=accounts), policy(**FOLLOW)).get("acme", MemberDecision())


@pytest.mark.parametrize("evidence", [OURS, None, replace(OURS, origin=None), replace(OURS, vouched_email=OLD)])
def test_by_policy_an_account_that_may_be_ours_follows(town: Town, evidence: Evidence | None) -> None:
    plan = plan_of(judged(changed(town), evidence), "ada")
    assert (plan.changes, plan.email, plan.new_email) == ((FOLLOW_EMAIL,), OLD, NEW)


def test_only_accounts_whose_people_have_another_address_are_asked_about(town: Town) -> None:
    town.at_rest("bea", "acme")
    changed(town)
    assert accounts_to_move(with_target(desired_members(town.people()), policy())) == {("eu", "acc-ada")}


@pytest.mark.parametrize(
    ("evidence", "why"),
    [
        (replace(OURS, origin=Origin(OLD, ours=False)), "was not made here"),
        (replace(OURS, origin=Origin("other@x.test", ours=True)), "was not made here"),
        (replace(OURS, move=Move(OLD, "other@x.test", "eve"), origin=Origin(OLD, ours=False)), "was not made here"),
        (replace(OURS, workspaces=2), "several workspaces"),
    ],
)
def test_what_is_known_of_the_account_may_be_in_the_way(town: Town, evidence: Evidence, why: str) -> None:
    decision = judged(changed(town), evidence)
    assert (decision.members, reasons(decision)[0]) == ((), Reason.EMAIL_CHANGED)
    assert why in decision.findings[0].message


def test_another_account_with_that_address_is_in_the_way(town: Town) -> None:
    changed(town).account("a2", NEW)
    assert "another account there has that address" in judged(town, OURS).findings[0].message


def test_two_people_with_that_address_are_in_each_others_way(town: Town) -> None:
    changed(town).person("eve", NEW)
    town.belongs("eve", "acme")
    assert any("two people at Clerk" in found.message for found in judged(town, OURS).findings)


def test_who_is_to_be_in_a_second_workspace_there_keeps_the_address(town: Town) -> None:
    changed(town).tenant("other")
    town.belongs("ada", "other")
    decisions = decided(town, **FOLLOW)
    assert FOLLOW_EMAIL not in {
        change for found in decisions.values() for plan in found.members for change in plan.changes
    }
    assert "several workspaces" in decisions["acme"].findings[0].message


def test_who_is_not_wholly_inside_waits(town: Town) -> None:
    changed(town).twenty_members = [row for row in town.twenty_members if row[2] != "acc-ada"]
    decision = judged(town, OURS)
    assert plan_of(decision, "ada").changes == (ADD_MEMBER,)
    assert "not wholly in the workspace" in decision.findings[0].message


def test_an_address_that_they_have_already_is_only_recorded(town: Town) -> None:
    changed(town, OLD).member_links[-1] = ("acme", "ada", "acc-ada", "before@x.test", "Ada", "L", 0)
    assert plan_of(acme(town, **FOLLOW), "ada").changes == (FOLLOW_EMAIL,)
    assert acme(town) == MemberDecision()


@given(st.sampled_from(["report", "follow"]), st.sampled_from([OLD, NEW, None]), st.booleans(), st.integers(1, 3))
def test_no_one_gets_an_address_that_clerk_has_not_verified_or_policy_does_not_want(
    emails: Any, email: str | None, ours: bool, workspaces: int
) -> None:
    town = Town()
    town.tenant("acme")
    changed(town, email)
    evidence = replace(OURS, origin=Origin(OLD, ours=ours), workspaces=workspaces)
    people = replace(town.people(), accounts=KnownAccounts({("eu", "acc-ada"): evidence}))
    decision = decide_members(people, policy(emails=emails)).get("acme", MemberDecision())
    follows = [plan.new_email for plan in decision.members if FOLLOW_EMAIL in plan.changes]
    assert follows == ([NEW] if (emails, email, ours, workspaces) == ("follow", NEW, True, 1) else [])
    # a changed address is followed or told, and never both
    assert (Reason.EMAIL_CHANGED in reasons(decision)) == (email == NEW and not follows)


# --- made anew, and names ---------------------------------------------------------------------------------------------


def test_what_a_deleted_person_had_is_taken_from_their_account_without_counting_as_harm(town: Town) -> None:
    town.at_rest("boss2", "acme", "org:admin")
    town.at_rest("ada", "acme", "org:admin")
    town.leaves("ada", deleted=True)
    town.person("ada2", OLD)
    town.belongs("ada2", "acme")
    decision = acme(town, {"ada": "deleted"})
    plan = plan_of(decision, "ada2")
    assert plan.changes == (LINK_MEMBER, SET_NAME, DEMOTE_MEMBER)
    assert (plan.succeeds, plan.undoes_our_join, decision.harmed) == ("ada", True, ())


@pytest.mark.parametrize("names", ["respect", "restore"])
def test_a_name_changed_in_twenty_is_put_back_by_policy_alone(town: Town, names: str) -> None:
    town.at_rest("ada", "acme")
    town.at_rest("bea", "acme")
    rows = [("eu", "ws-acme", "acc-ada", "Nick", "L"), ("eu", "ws-acme", "acc-bea", "Ada", "L")]
    people = replace(town.people(), member_names=frames.frame(frames.MEMBER_NAMES, rows))
    decision = decide_members(people, policy(names=names)).get("acme", MemberDecision())
    assert [plan.clerk_user_id for plan in decision.members] == (["ada"] if names == "restore" else [])
