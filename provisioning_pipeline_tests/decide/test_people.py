"""Who is who: one case per rule."""

from dataclasses import replace

import pytest

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.steps.members.changes import ADD_MEMBER, DROP_LINK, LINK_MEMBER, SET_NAME
from provisioning_pipeline.steps.members.plan.decisions import decide_members
from provisioning_pipeline.steps.members.plan.people import missing_at_clerk
from provisioning_pipeline_tests.decide.people import (
    NEW,
    SERVICE_ACCOUNT,
    Town,
    acme,
    decided,
    plan_of,
    policy,
    reasons,
)

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
    assert plan_of(acme(town), "ada").changes == (LINK_MEMBER, SET_NAME)


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
    assert (plan.changes, plan.twenty_user_id) == ((ADD_MEMBER, LINK_MEMBER), None)
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
    assert plan_of(decision, "ada").changes == (SET_NAME,)
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
    assert plan_of(decision, "ada2").changes == (LINK_MEMBER, SET_NAME)
    assert plan_of(decision, "ada").changes == (DROP_LINK,)
    assert (decision.findings, decision.replace_admin) == ((), frozenset())


@pytest.mark.slow
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
    assert (plan.changes, plan.twenty_user_id) == ((ADD_MEMBER, LINK_MEMBER, SET_NAME), "acc-boss")


def test_members_of_an_organization_of_no_tenant_are_nobodys(town: Town) -> None:
    town.person("ada")
    town.memberships.append(("org_elsewhere", "ada", "org:admin", 1))
    assert decided(town) == {}


def test_a_member_whom_the_list_of_people_does_not_know_waits_for_the_next_look(town: Town) -> None:
    town.belongs("ghost", "acme")
    assert decided(town) == {}
    assert missing_at_clerk(town.people()) == []
