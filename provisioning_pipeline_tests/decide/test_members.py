"""Who is who, and what is done for them: one case per rule."""

from dataclasses import replace
from typing import Any

import pytest

from provisioning_pipeline.decide.members import MemberDecision, decide_members, missing_at_clerk
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.people import Departure
from provisioning_pipeline.model.tenant import Change
from provisioning_pipeline_tests.decide.people import (
    SERVICE_ACCOUNT,
    Town,
    applied,
    at_peace,
    harmed,
    plan_of,
    policy,
    reasons,
    witnessed,
)

NEW = (Change.ADD_MEMBER, Change.LINK_MEMBER, Change.SET_NAME)


@pytest.fixture
def town() -> Town:
    """One tenant, acme, with an admin about whom nothing is to be done."""
    town = Town()
    town.tenant("acme")
    town.at_rest("boss", "acme", "org:admin")
    return town


def decided(town: Town, fates: dict[str, str | None] | None = None, **options: Any) -> dict[str, MemberDecision]:
    """What is decided; `fates` says what a direct look at somebody finds."""
    return decide_members(witnessed(town.people(), fates or {}), policy(**options))


def acme(town: Town, fates: dict[str, str | None] | None = None, **options: Any) -> MemberDecision:
    """What is decided for the one tenant."""
    return decided(town, fates, **options).get("acme", MemberDecision())


# --- whose account ------------------------------------------------------------------------------------------------


def test_a_tenant_at_rest_is_not_even_named(town: Town) -> None:
    assert decided(town) == {}
    assert missing_at_clerk(town.people()) == []


def test_somebody_new_is_added_linked_and_named(town: Town) -> None:
    town.person("ada", "ada@acme.test", first="Ada", last="Lovelace")
    town.belongs("ada", "acme", "org:sales")
    plan = plan_of(acme(town), "ada")
    assert plan.changes == NEW
    assert (plan.email, plan.role, plan.twenty_user_id) == ("ada@acme.test", "Salesperson", None)
    assert (plan.first_name, plan.last_name) == ("Ada", "Lovelace")


def test_an_account_with_the_verified_email_is_theirs(town: Town) -> None:
    town.person("ada")
    town.belongs("ada", "acme")
    town.account("a1", "ada@x.test")
    plan = plan_of(acme(town), "ada")
    assert (plan.changes, plan.twenty_user_id) == (NEW, "a1")


def test_a_member_who_was_there_before_is_linked_and_not_added(town: Town) -> None:
    town.person("ada")
    town.belongs("ada", "acme")
    town.account("a1", "ada@x.test")
    town.inside("a1", "acme", "Member")
    assert plan_of(acme(town), "ada").changes == (Change.LINK_MEMBER, Change.SET_NAME)


def test_our_link_goes_before_the_email(town: Town) -> None:
    town.at_rest("ada", "acme")
    town.clerk_users[-1] = ("ada", "other@x.test", "Ada", "L", False, None)
    town.account("a2", "other@x.test")
    decision = acme(town)
    assert decision.members == ()
    assert reasons(decision) == [Reason.EMAIL_CHANGED]
    assert decision.findings[0].person == "other@x.test"
    assert "ada@x.test" in decision.findings[0].message


def test_a_link_to_an_account_that_vanished_is_no_link(town: Town) -> None:
    town.at_rest("ada", "acme")
    town.twenty_users = [row for row in town.twenty_users if row[1] != "acc-ada"]
    town.twenty_members = [row for row in town.twenty_members if row[2] != "acc-ada"]
    plan = plan_of(acme(town), "ada")
    assert (plan.changes, plan.twenty_user_id) == ((Change.ADD_MEMBER, Change.LINK_MEMBER), None)
    town.account("a2", "ada@x.test")
    assert plan_of(acme(town), "ada").twenty_user_id == "a2"


@pytest.mark.parametrize("first", ["Ada", ""])
def test_without_a_verified_email_nobody_is_added(town: Town, first: str) -> None:
    town.person("ada", None, first=first)
    town.belongs("ada", "acme")
    decision = acme(town)
    assert decision.members == ()
    assert [(finding.reason, finding.person) for finding in decision.findings] == [(Reason.EMAIL_UNVERIFIED, "ada")]


def test_whoever_is_linked_stays_so_without_a_verified_email(town: Town) -> None:
    town.at_rest("ada", "acme")
    town.clerk_users[-1] = ("ada", None, "Bea", "L", False, None)
    decision = acme(town)
    assert plan_of(decision, "ada").changes == (Change.SET_NAME,)
    assert decision.findings == ()


def test_accounts_in_different_spellings_are_nobodys_to_choose(town: Town) -> None:
    town.person("ada")
    town.belongs("ada", "acme", "org:admin")
    for account in ("a1", "a2"):
        town.account(account, "ada@x.test")
        town.inside(account, "acme")
    decision = acme(town)
    assert (decision.members, reasons(decision)) == ((), [Reason.ACCOUNT_AMBIGUOUS])
    assert "2 accounts" in decision.findings[0].message


def test_an_ambiguous_email_does_not_trouble_whoever_is_linked_to_one_of_the_accounts(town: Town) -> None:
    town.at_rest("ada", "acme")
    town.account("a2", "ada@x.test")
    assert decided(town) == {}


def test_two_people_with_one_email_are_both_in_doubt(town: Town) -> None:
    for user in ("ada", "eve"):
        town.person(user, "same@x.test")
        town.belongs(user, "acme")
    decision = acme(town)
    assert (decision.members, set(reasons(decision))) == ((), {Reason.ACCOUNT_CLAIMED_TWICE})
    town.account("a1", "same@x.test")
    assert acme(town) == decision


def test_two_people_with_one_email_in_different_tenants_of_a_server_are_both_in_doubt(town: Town) -> None:
    town.tenant("other")
    for user, tenant in (("ada", "acme"), ("eve", "other")):
        town.person(user, "same@x.test")
        town.belongs(user, tenant)
    assert {name: reasons(decision) for name, decision in decided(town).items()} == {
        "acme": [Reason.ACCOUNT_CLAIMED_TWICE],
        "other": [Reason.ACCOUNT_CLAIMED_TWICE],
    }


def test_an_account_that_is_linked_and_claimed_by_email_is_in_doubt_for_both(town: Town) -> None:
    town.at_rest("ada", "acme")
    town.person("eve", "ada@x.test")
    town.belongs("eve", "acme", "org:admin")
    decision = acme(town)
    assert decision.members == ()
    assert reasons(decision) == [Reason.ACCOUNT_CLAIMED_TWICE] * 2


def test_an_account_linked_to_two_people_is_in_doubt_for_both(town: Town) -> None:
    town.at_rest("ada", "acme")
    town.person("eve")
    town.belongs("eve", "acme")
    town.is_account("eve", "acc-ada")
    assert set(reasons(acme(town))) == {Reason.ACCOUNT_CLAIMED_TWICE}


def test_an_account_of_somebody_who_is_a_member_of_nothing_now_is_not_given_away(town: Town) -> None:
    town.person("eve")
    town.is_account("eve", "a1")
    town.account("a1", "ada@x.test")
    town.person("ada")
    town.belongs("ada", "acme")
    assert reasons(acme(town)) == [Reason.ACCOUNT_CLAIMED_TWICE]


def signed_up_again(town: Town) -> None:
    """Ada was deleted at Clerk and came back as ada2, with the e-mail of her account."""
    town.at_rest("ada", "acme")
    town.leaves("ada", deleted=True)
    town.person("ada2", "ada@x.test")
    town.belongs("ada2", "acme")


@pytest.mark.parametrize("gone", ["report", "demote", "remove"])
def test_whoever_signed_up_again_gets_their_account_once_the_deletion_is_confirmed(town: Town, gone: str) -> None:
    signed_up_again(town)
    decision = acme(town, {"ada": "deleted"}, gone=gone)
    assert plan_of(decision, "ada2").changes == (Change.LINK_MEMBER, Change.SET_NAME)
    assert plan_of(decision, "ada").changes == (Change.DROP_LINK,)
    assert (decision.findings, decision.replace_admin) == ((), frozenset())


@pytest.mark.parametrize("fate", [None, "left", "banned"])
@pytest.mark.parametrize("gone", ["report", "demote", "remove"])
def test_until_then_the_account_is_nobodys_and_nobody_loses_it(town: Town, fate: str | None, gone: str) -> None:
    signed_up_again(town)
    decision = acme(town, {"ada": fate}, gone=gone)
    assert (decision.members, reasons(decision)) == ((), [Reason.ACCOUNT_CLAIMED_TWICE])


def test_whoever_comes_back_long_after_their_removal_gets_their_account_too(town: Town) -> None:
    signed_up_again(town)
    town.member_links = [row for row in town.member_links if row[1] != "ada"]
    town.twenty_members = [row for row in town.twenty_members if row[2] != "acc-ada"]
    assert missing_at_clerk(town.people()) == [("org_acme", "ada")]
    assert plan_of(acme(town, {"ada": "deleted"}), "ada2").changes == NEW
    assert reasons(acme(town, {"ada": None})) == [Reason.ACCOUNT_CLAIMED_TWICE]


def test_the_account_of_somebody_in_doubt_is_not_taken_from_them_by_another_persons_departure(town: Town) -> None:
    signed_up_again(town)
    town.account("a2", "ada@x.test")
    decision = acme(town, {"ada": "deleted"}, gone="remove")
    assert (decision.members, reasons(decision)) == ((), [Reason.ACCOUNT_AMBIGUOUS])


def test_the_service_account_is_nobodys(town: Town) -> None:
    town.person("ada", "service@ours.test")
    town.belongs("ada", "acme")
    decision = acme(town)
    assert (decision.members, reasons(decision)) == ((), [Reason.ACCOUNT_CLAIMED_TWICE])
    assert "service account" in decision.findings[0].message


@pytest.mark.parametrize("gone", ["report", "demote", "remove"])
def test_the_service_account_stays_even_where_a_link_says_otherwise(town: Town, gone: str) -> None:
    town.person("ada")
    town.is_account("ada", SERVICE_ACCOUNT)
    town.linked("ada", "acme", SERVICE_ACCOUNT)
    assert decided(town, {"ada": "left"}, gone=gone) == {}
    town.belongs("ada", "acme")
    decision = acme(town, gone=gone)
    assert (decision.members, reasons(decision)) == ((), [Reason.ACCOUNT_CLAIMED_TWICE])


def test_the_service_account_of_another_server_is_an_account_like_any_here() -> None:
    town = Town("eu", "us")
    town.tenant("acme")
    people = replace(town.people(), service_users={"us": (SERVICE_ACCOUNT,)})
    town.person("ada", "service@ours.test")
    town.belongs("ada", "acme", "org:admin")
    people = replace(town.people(), service_users={"us": (SERVICE_ACCOUNT,)})
    assert plan_of(decide_members(people, policy())["acme"], "ada").twenty_user_id == SERVICE_ACCOUNT


# --- in several places --------------------------------------------------------------------------------------------


def test_one_person_in_two_tenants_of_a_server_claims_one_account_once() -> None:
    town = Town()
    town.person("ada")
    town.account("a1", "ada@x.test")
    for name in ("acme", "other"):
        town.tenant(name)
        town.belongs("ada", name)
    decisions = decided(town)
    assert {name: plan_of(decision, "ada").twenty_user_id for name, decision in decisions.items()} == {
        "acme": "a1",
        "other": "a1",
    }


def test_one_person_on_two_servers_is_an_account_on_each() -> None:
    town = Town("eu", "us")
    town.tenant("acme", "eu")
    town.tenant("other", "us")
    town.person("ada")
    town.account("a1", "ada@x.test", "eu")
    town.is_account("ada", "a1", "eu")
    for name in ("acme", "other"):
        town.belongs("ada", name)
    decisions = decided(town)
    assert plan_of(decisions["acme"], "ada").twenty_user_id == "a1"
    assert plan_of(decisions["other"], "ada").twenty_user_id is None


def test_a_tenant_whose_workspace_is_still_to_be_made_gets_everybody(town: Town) -> None:
    town.tenant("new", made=False)
    town.belongs("boss", "new", "org:admin")
    plan = plan_of(decided(town)["new"], "boss")
    assert (plan.changes, plan.twenty_user_id) == ((Change.ADD_MEMBER, Change.LINK_MEMBER, Change.SET_NAME), "acc-boss")


def test_members_of_an_organization_of_no_tenant_are_nobodys(town: Town) -> None:
    town.person("ada")
    town.memberships.append(("org_elsewhere", "ada", "org:admin", 1))
    assert decided(town) == {}


def test_a_member_whom_the_list_of_people_does_not_know_waits_for_the_next_look(town: Town) -> None:
    town.belongs("ghost", "acme")
    assert decided(town) == {}
    assert missing_at_clerk(town.people()) == []


# --- names and roles ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last", "changes"),
    [("", "", ()), ("Bea", "L", (Change.SET_NAME,)), ("Ada", "", (Change.SET_NAME,)), ("", "L", (Change.SET_NAME,))],
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
        ("org:admin", "Member", Change.SET_ROLE),
        ("org:admin", None, Change.SET_ROLE),
        ("org:sales", "Member", Change.SET_ROLE),
        ("org:member", "Salesperson", Change.SET_ROLE),
        ("org:whatever", "Member", None),
        ("org:member", "Admin", Change.DEMOTE_MEMBER),
        ("org:sales", "Admin", Change.DEMOTE_MEMBER),
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
    roles = [found for found in changes if found in (Change.SET_ROLE, Change.DEMOTE_MEMBER)]
    assert roles == ([change] if change else [])
    assert decision.replace_admin == ({account} if change is Change.DEMOTE_MEMBER else frozenset())
    if change is Change.DEMOTE_MEMBER:
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
    assert plan_of(decision, "ada").changes == (Change.STORE_AT_CLERK,)
    assert plan_of(decision, "new").changes == (*NEW, Change.STORE_AT_CLERK)
    assert [(finding.reason, finding.person) for finding in decision.findings] == [
        (Reason.EXTERNAL_ID_TAKEN, "cid@x.test")
    ]


# --- leaving ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fate", ["left", "deleted", "banned"])
@pytest.mark.parametrize(
    ("gone", "change"), [("remove", Change.REMOVE_MEMBER), ("demote", Change.DEMOTE_MEMBER), ("report", None)]
)
def test_a_linked_admin_who_is_gone_meets_the_policy(town: Town, fate: str, gone: str, change: Change | None) -> None:
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
    assert Departure(fate, None).why in plan.why  # type: ignore[arg-type]


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
    assert plan_of(acme(town, {"ada": "left"}), "ada").changes == (Change.DROP_LINK,)


@pytest.mark.parametrize(
    ("now", "change"),
    [("Member", None), (None, None), ("Salesperson", Change.DEMOTE_MEMBER), ("Admin", Change.DEMOTE_MEMBER)],
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
    assert plan_of(decisions["other"], "ada").changes == (Change.DEMOTE_MEMBER,)
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
    assert (plan.changes, plan.role) == ((Change.SET_NAME,), "Admin")
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
