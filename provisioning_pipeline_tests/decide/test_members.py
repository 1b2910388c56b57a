"""What is done for whom: one case per rule."""

from dataclasses import replace
from typing import Any, Literal

import pytest

from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.people import Departure
from provisioning_pipeline.steps.members.changes import (
    DEMOTE_MEMBER,
    DROP_LINK,
    REMOVE_MEMBER,
    SET_NAME,
    SET_ROLE,
    STORE_AT_CLERK,
)
from provisioning_pipeline.steps.members.plan.decisions import decide_members
from provisioning_pipeline.steps.members.plan.people import missing_at_clerk
from provisioning_pipeline_tests.decide.people import (
    NEW,
    Town,
    acme,
    applied,
    at_peace,
    decided,
    harmed,
    plan_of,
    policy,
    reasons,
    witnessed,
)

# --- names and roles ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last", "changes"),
    [("", "", ()), ("Bea", "L", (SET_NAME,)), ("Ada", "", (SET_NAME,)), ("", "L", (SET_NAME,))],
)
def test_a_name_follows_clerk_unless_clerk_has_none(town: Town, first: str, last: str, changes: tuple[Change]) -> None:
    town.at_rest("ada", "acme")
    town.clerk_users[-1] = ("ada", "ada@x.test", first, last, False, None)
    decision = acme(town)
    assert tuple(change for member in decision.members for change in member.changes) == changes


@pytest.mark.parametrize(
    ("role", "now", "change"),
    [
        ("org:admin", "Admin", None),
        ("org:admin", "Member", SET_ROLE),
        ("org:admin", None, SET_ROLE),
        ("org:sales", "Member", SET_ROLE),
        ("org:member", "Salesperson", SET_ROLE),
        ("org:whatever", "Member", None),
        ("org:member", "Admin", DEMOTE_MEMBER),
        ("org:sales", "Admin", DEMOTE_MEMBER),
    ],
)
@pytest.mark.parametrize("linked", [True, False])
def test_a_role_follows_the_mapping_and_only_losing_admin_is_a_demotion(
    town: Town, role: str, now: str | None, change: Change | None, linked: bool
) -> None:
    account = town.at_rest("ada", "acme", role)
    town.twenty_members[-1] = (*town.twenty_members[-1][:2], account, now)
    if not linked:
        town.user_links.pop()
        town.member_links.pop()
    decision = acme(town)
    changes = plan_of(decision, "ada").changes if decision.members else ()
    roles = [found for found in changes if found in (SET_ROLE, DEMOTE_MEMBER)]
    assert roles == ([change] if change else [])
    assert decision.replace_admin == ({account} if change == DEMOTE_MEMBER else frozenset())
    if change == DEMOTE_MEMBER:
        assert role in plan_of(decision, "ada").why


def test_external_ids_are_stored_by_policy_and_left_where_there_is_another(town: Town) -> None:
    town.at_rest("ada", "acme")
    town.at_rest("bea", "acme")
    town.at_rest("cid", "acme")
    town.person("new")
    town.belongs("new", "acme")
    for number, external in ((2, "acc-bea"), (3, "theirs")):
        town.clerk_users[number] = (*town.clerk_users[number][:5], external)
    assert [member.clerk_user_id for member in acme(town).members] == ["new"]
    decision = acme(town, store_external_id=True)
    assert {member.clerk_user_id for member in decision.members} == {"ada", "boss", "new"}
    assert plan_of(decision, "ada").changes == (STORE_AT_CLERK,)
    assert plan_of(decision, "new").changes == (*NEW, STORE_AT_CLERK)
    assert [(finding.reason, finding.person) for finding in decision.findings] == [
        (Reason.EXTERNAL_ID_TAKEN, "cid@x.test")
    ]


# --- leaving ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fate", ["left", "deleted", "banned"])
@pytest.mark.parametrize(("gone", "change"), [("remove", REMOVE_MEMBER), ("demote", DEMOTE_MEMBER), ("report", None)])
def test_a_linked_admin_who_is_gone_meets_the_policy(
    town: Town, fate: Literal["left", "deleted", "banned"], gone: str, change: Change | None
) -> None:
    town.at_rest("ada", "acme", "org:admin")
    if fate == "banned":
        town.clerk_users[-1] = ("ada", "ada@x.test", "Ada", "L", True, None)
    else:
        town.leaves("ada", deleted=fate == "deleted")
    assert missing_at_clerk(town.people()) == [("org_acme", "ada")]
    decision = acme(town, {"ada": fate}, gone=gone)
    assert decision.replace_admin == {"acc-ada"}
    if change is None:
        assert (decision.members, reasons(decision)) == ((), [Reason.MEMBERS_GONE])
        return
    plan = plan_of(decision, "ada")
    assert (plan.changes, plan.twenty_user_id, plan.changed_at) == ((change,), "acc-ada", 1_000)
    assert Departure(fate, None).why in plan.why


def test_without_a_second_witness_nobody_is_gone(town: Town) -> None:
    town.at_rest("ada", "acme")
    town.leaves("ada")
    assert decided(town, {}, gone="remove") == {}
    assert decided(town, {"ada": None}, gone="remove") == {}


def test_an_answer_that_is_not_whole_misses_nobody_even_where_somebody_looked(town: Town) -> None:
    town.at_rest("ada", "acme")
    town.leaves("ada")
    people = replace(witnessed(town.people(), {"ada": "left"}), complete=False)
    assert missing_at_clerk(people) == []
    assert decide_members(people, policy(gone="remove")) == {}


def test_an_empty_answer_of_clerk_removes_nobody(town: Town) -> None:
    town.memberships.clear()
    town.clerk_users.clear()
    assert decided(town, gone="remove") == {}


def test_whoever_was_never_linked_is_not_missed(town: Town) -> None:
    town.account("guest", "guest@x.test")
    town.inside("guest", "acme", "Admin")
    town.person("ada", banned=True)
    town.belongs("ada", "acme")
    town.account("a1", "ada@x.test")
    town.inside("a1", "acme", "Admin")
    assert missing_at_clerk(town.people()) == []
    assert decided(town, gone="remove") == {}


def test_a_link_of_somebody_who_is_not_inside_any_more_is_dropped(town: Town) -> None:
    town.at_rest("ada", "acme")
    town.leaves("ada")
    town.twenty_members.pop()
    assert plan_of(acme(town, {"ada": "left"}), "ada").changes == (DROP_LINK,)


@pytest.mark.parametrize(
    ("now", "change"),
    [("Member", None), (None, None), ("Salesperson", DEMOTE_MEMBER), ("Admin", DEMOTE_MEMBER)],
)
def test_lowering_somebody_who_is_gone_ends_at_the_default_role(town: Town, now: str | None, change: Any) -> None:
    account = town.at_rest("ada", "acme")
    town.twenty_members[-1] = (*town.twenty_members[-1][:2], account, now)
    town.leaves("ada")
    decision = acme(town, {"ada": "left"}, gone="demote")
    assert [member.changes for member in decision.members] == ([(change,)] if change else [])
    assert decision.replace_admin == {account}, "cannot stand for the tenant's admin, lowered or not"


def test_gone_from_one_tenant_is_not_gone_from_the_other(town: Town) -> None:
    town.tenant("other")
    town.at_rest("ada", "acme")
    town.at_rest("ada", "other")
    town.memberships = [row for row in town.memberships if row[:2] != ("org_acme", "ada")]
    decisions = decided(town, {"ada": "left"}, gone="remove")
    assert harmed(decisions) == {("acme", "ada")}


def test_lowering_somebody_who_is_gone_leaves_their_account_whose_it_is_now(town: Town) -> None:
    town.tenant("other")
    town.at_rest("boss", "other", "org:admin")
    town.at_rest("ada", "other", "org:admin")
    town.leaves("ada", deleted=True)
    town.person("ada2", None)
    town.belongs("ada2", "acme")
    town.user_links = [row for row in town.user_links if row[1] != "ada"]
    town.is_account("ada2", "acc-ada")
    before = witnessed(town.people(), {"ada": "deleted"})
    decisions = decide_members(before, policy(gone="demote"))
    assert plan_of(decisions["other"], "ada").changes == (DEMOTE_MEMBER,)
    after = witnessed(applied(before, decisions), {"ada": "deleted"})
    again = decide_members(after, policy(gone="demote"))
    assert (at_peace(again), [reasons(decision) for decision in again.values()]) == (True, [[]])


# --- nobody is locked out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", ["demote", "remove"])
def test_the_last_admin_is_kept_and_named(town: Town, gone: str) -> None:
    town.leaves("boss")
    decision = acme(town, {"boss": "left"}, gone=gone)
    assert (decision.members, reasons(decision)) == ((), [Reason.LAST_ADMIN_KEPT])
    assert decision.findings[0].person == "boss@x.test"
    assert decision.replace_admin == frozenset(), "nobody else can stand for the tenant"


def test_the_last_admin_is_kept_who_is_lowered_at_clerk_and_everything_else_is_done_for_them(town: Town) -> None:
    town.clerk_users[0] = ("boss", "boss@x.test", "New", "Name", False, None)
    town.memberships[0] = ("org_acme", "boss", "org:member", 0)
    decision = acme(town)
    plan = plan_of(decision, "boss")
    assert (plan.changes, plan.role) == ((SET_NAME,), "Admin")
    assert reasons(decision) == [Reason.LAST_ADMIN_KEPT]


def test_of_several_admins_who_leave_the_one_of_longest_standing_is_kept(town: Town) -> None:
    town.leaves("boss")
    for at, user in ((7, "ada"), (5, "bea"), (9, "cid")):
        town.at_rest(user, "acme", "org:admin", at=at)
        town.leaves(user)
    town.member_links = [row for row in town.member_links if row[1] != "boss"]
    decision = acme(town, dict.fromkeys(["ada", "bea", "cid"], "left"), gone="remove")
    assert [member.clerk_user_id for member in decision.members] == ["ada", "cid"]
    assert [finding.person for finding in decision.findings] == ["bea@x.test"]


@pytest.mark.parametrize("role", ["Member", None])
def test_whoever_is_only_to_become_admin_does_not_count_yet(town: Town, role: str | None) -> None:
    town.leaves("boss")
    account = town.at_rest("ada", "acme", "org:admin")
    town.twenty_members.pop()
    if role:
        town.inside(account, "acme", role)
    people = witnessed(town.people(), {"boss": "left"})
    first = decide_members(people, policy(gone="remove"))
    assert harmed(first) == set()
    assert Reason.LAST_ADMIN_KEPT in reasons(first["acme"])
    people = witnessed(applied(people, first), {"boss": "left"})
    second = decide_members(people, policy(gone="remove"))
    assert harmed(second) == {("acme", "boss")}
    people = witnessed(applied(people, second), {"boss": "left"})
    assert at_peace(decide_members(people, policy(gone="remove")))


def test_the_service_account_and_admins_whom_clerk_does_not_know_do_not_count(town: Town) -> None:
    town.account("guest", "guest@x.test")
    town.inside("guest", "acme", "Admin")
    town.leaves("boss")
    assert harmed(decided(town, {"boss": "left"}, gone="remove")) == set()
