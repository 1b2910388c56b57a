"""What an account proves about its address, and that nobody is raised by one that proves nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.decide.organizations import choose_admin
from provisioning_pipeline.decide.ownership import ONCE_PROVED, KnownAccounts, ownership_of, unproven_message
from provisioning_pipeline.model import frames
from provisioning_pipeline.model.condition import Reason, Status
from provisioning_pipeline.model.people import Evidence, Membership, Move, Origin, Ownership, User
from provisioning_pipeline.model.tenant import Admin, AdminUnknown
from provisioning_pipeline.steps.members.changes import (
    ADD_MEMBER,
    DEMOTE_MEMBER,
    DROP_LINK,
    INVITE_MEMBER,
    LINK_MEMBER,
    REMOVE_MEMBER,
    SET_NAME,
    SET_ROLE,
)
from provisioning_pipeline.steps.members.plan.decisions import Join, decide_members, is_our_own_doing
from provisioning_pipeline.steps.members.plan.people import People
from provisioning_pipeline.steps.members.plan.tenant_members import synced
from provisioning_pipeline_tests.decide.people import Town, plan_of, policy, reasons
from provisioning_pipeline_tests.decide.test_member_properties import towns

MADE_AT = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
CEO = "ceo@x.test"
RAISES = frozenset({ADD_MEMBER, SET_ROLE, INVITE_MEMBER})


def evidence(email: str = CEO, **known: Any) -> Evidence:
    """An account that somebody else signed up."""
    given: dict[str, Any] = {"verified": False, "created_at": MADE_AT, "origin": Origin(email, ours=False)}
    return Evidence(email, **(given | known))


ORIGINS = st.one_of(
    st.none(),
    st.builds(
        Origin, st.sampled_from([CEO, "old@x.test"]), st.booleans(), st.sampled_from([None, "user_ceo", "user_other"])
    ),
)
EVIDENCE = st.builds(
    Evidence,
    email=st.just(CEO),
    verified=st.booleans(),
    created_at=st.just(MADE_AT),
    origin=ORIGINS,
    vouched_email=st.sampled_from([None, CEO, "old@x.test"]),
)


@pytest.mark.parametrize(
    ("known", "ownership"),
    [
        ({}, Ownership.UNPROVED),
        ({"origin": None}, Ownership.UNCHECKED),
        # whoever signed an account up can have it verified without the mailbox
        ({"origin": None, "verified": True}, Ownership.UNCHECKED),
        ({"verified": True}, Ownership.UNPROVED),
        ({"vouched_email": CEO}, Ownership.PROVED),
        ({"vouched_email": "another@x.test"}, Ownership.UNPROVED),
        ({"origin": Origin(CEO, ours=True)}, Ownership.PROVED),
        # its holder changed the address since, of which Twenty verifies nothing
        ({"origin": Origin("insider@x.test", ours=True)}, Ownership.UNPROVED),
        ({"origin": Origin("insider@x.test", ours=True), "verified": True}, Ownership.UNPROVED),
        ({"origin": Origin("insider@x.test", ours=True, clerk_user_id="user_insider")}, Ownership.UNPROVED),
        ({"origin": Origin("before@x.test", ours=True, clerk_user_id="user_ceo")}, Ownership.PROVED),
        ({"origin": Origin("before@x.test", ours=False, clerk_user_id="user_ceo")}, Ownership.UNPROVED),
        # we gave it that address, for this very person or for another
        ({"move": Move(CEO, "before@x.test", "user_ceo")}, Ownership.PROVED),
        ({"move": Move(CEO, "before@x.test", "user_insider")}, Ownership.UNPROVED),
    ],
)
def test_an_account_is_proved_by_our_making_or_a_vouch_for_the_address_that_it_has(
    known: dict[str, Any], ownership: Ownership
) -> None:
    assert ownership_of(evidence(**known), "user_ceo") is ownership


@pytest.mark.parametrize(
    ("known", "ownership"),
    [
        ({"verified": True}, Ownership.PROVED),
        ({"origin": None, "verified": True}, Ownership.PROVED),
        ({"origin": Origin("insider@x.test", ours=True), "verified": True}, Ownership.UNPROVED),
        ({}, Ownership.UNPROVED),
    ],
)
def test_where_policy_believes_twenty_about_mailboxes_a_verified_one_proves_its_address(
    known: dict[str, Any], ownership: Ownership
) -> None:
    assert ownership_of(evidence(**known), "user_ceo", trusts_mailboxes=True) is ownership


@given(EVIDENCE, st.sampled_from([None, "user_ceo", "user_other"]), st.booleans())
def test_nothing_that_is_known_makes_an_account_less_proved_but_an_address_that_changed(
    known: Evidence, clerk_user: str | None, trusts_mailboxes: bool
) -> None:
    ownership = ownership_of(known, clerk_user, trusts_mailboxes=trusts_mailboxes)
    if known.origin is None or known.origin.email == known.email:
        assert (ownership is Ownership.PROVED) == (
            (known.verified and trusts_mailboxes)
            or known.vouched_email == known.email
            or bool(known.origin and known.origin.ours)
        )
    assert ownership_of(replace(known, vouched_email=known.email), clerk_user) is Ownership.PROVED


def insider(**known: Any) -> People:
    """Somebody joined by the invite link under the CEO's address, before the CEO was known here."""
    town = Town("eu")
    town.tenant("acme")
    town.person("ceo")
    town.belongs("ceo", "acme", "org:admin")
    town.account("theirs", CEO)
    town.inside("theirs", "acme", "Member")
    return replace(town.people(), accounts=KnownAccounts({("eu", "theirs"): evidence(**known)}))


def test_the_insider_who_took_the_ceos_address_stays_a_member_and_is_named() -> None:
    decision = decide_members(insider(), policy())["acme"]

    assert plan_of(decision, "ceo").changes == (LINK_MEMBER, SET_NAME)
    (finding,) = decision.findings
    assert (finding.reason, finding.person, finding.blocks) == (Reason.ACCOUNT_UNPROVEN, CEO, False)
    for word in (CEO, '"eu"', "2026-03-04 05:06", "the role Member", "Admin", "provisioning vouch"):
        assert word in finding.message
    assert synced(decision.findings).status is Status.TRUE
    assert synced(decision.findings).reason is Reason.ACCOUNT_UNPROVEN


@pytest.mark.parametrize("known", [{"vouched_email": CEO}, {"origin": Origin(CEO, ours=True)}, {"origin": None}])
def test_whoever_proves_the_address_gets_the_role(known: dict[str, Any]) -> None:
    decision = decide_members(insider(**known), policy())["acme"]

    assert SET_ROLE in plan_of(decision, "ceo").changes
    assert reasons(decision) == []
    # what nobody checked yet is said to depend on it
    assert plan_of(decision, "ceo").why == (ONCE_PROVED if known == {"origin": None} else "")


@pytest.mark.parametrize(("believed", "raised"), [(True, True), (False, False)])
def test_a_verified_mailbox_raises_only_where_policy_believes_it(believed: bool, raised: bool) -> None:
    people = insider(verified=True)
    people = replace(people, accounts=replace(people.accounts, trusts_mailboxes=believed))

    assert (SET_ROLE in plan_of(decide_members(people, policy())["acme"], "ceo").changes) is raised


def test_policy_trusts_every_account() -> None:
    people = insider()
    people = replace(people, accounts=replace(people.accounts, trusts=True))

    assert SET_ROLE in plan_of(decide_members(people, policy())["acme"], "ceo").changes


def test_whoever_is_no_member_is_neither_added_nor_invited_and_lacks_what_is_theirs() -> None:
    people = insider()
    members = people.twenty_members
    people = replace(people, twenty_members=members[members["user_id"] != "theirs"])

    decision = decide_members(people, policy())["acme"]

    assert decision.members == ()
    assert [(found.reason, found.blocks) for found in decision.findings] == [(Reason.ACCOUNT_UNPROVEN, True)]
    assert synced(decision.findings).status is Status.FALSE


def test_an_admin_whose_account_proves_nothing_is_lowered_all_the_same() -> None:
    town = Town("eu")
    town.tenant("acme")
    town.at_rest("boss", "acme", "org:admin")
    town.person("ceo")
    town.belongs("ceo", "acme", "org:member")
    town.account("theirs", CEO)
    town.inside("theirs", "acme", "Admin")
    people = replace(town.people(), accounts=KnownAccounts({("eu", "theirs"): evidence()}))

    decision = decide_members(people, policy())["acme"]

    assert DEMOTE_MEMBER in plan_of(decision, "ceo").changes
    assert "the role Member instead of Admin" in decision.findings[0].message


EVIDENCES = st.lists(EVIDENCE, min_size=12, max_size=12)


@given(towns(), EVIDENCES, st.booleans())
def test_nobody_unproven_is_ever_raised_and_nobody_proven_is_held_back(
    town: Town, drawn: list[Evidence], trusts: bool
) -> None:
    people = town.people()
    accounts = {(row["server"], row["user_id"]): row["email"] for row in frames.records(people.twenty_users)}
    known = {key: replace(found, email=accounts[key]) for key, found in zip(accounts, drawn, strict=False)}
    accounts = KnownAccounts(known, trusts=trusts)
    free = decide_members(replace(people, accounts=KnownAccounts(trusts=True)), policy())

    decided = decide_members(replace(people, accounts=accounts), policy())

    servers = {row["database_name"]: row["server"] for row in frames.records(people.workplaces)}
    for tenant, decision in free.items():
        now = decided.get(tenant)
        for member in decision.members:
            account = member.twenty_user_id
            proved = account is None or accounts.of(servers[tenant], account, member.clerk_user_id)
            left = next((m.changes for m in now.members if m.clerk_user_id == member.clerk_user_id), ()) if now else ()
            if proved is Ownership.UNPROVED and member.changes[:1] not in [
                (DROP_LINK,),
                (REMOVE_MEMBER,),
            ]:
                assert not RAISES & set(left), (tenant, member)
                assert set(left) <= set(member.changes)
            else:
                assert set(left) == set(member.changes), (tenant, member)


# --- the admin ------------------------------------------------------------------------------------------------------


def admin_of(unproved: set[str]) -> Admin | AdminUnknown:
    """The first two are admins at Clerk, the elder first."""
    holders = {"org": (Membership("user_ceo", "org:admin", False, 1), Membership("user_cfo", "org:admin", False, 2))}
    users = {
        "user_ceo": User("user_ceo", CEO, "C", "O", False),
        "user_cfo": User("user_cfo", "cfo@x.test", "F", "O", False),
    }
    return choose_admin(
        "org", None, None, holders, users, "org:admin", None,
        lambda email, _: evidence(email) if email in unproved else None, "eu",
    )  # fmt: skip


def test_the_admin_is_the_next_one_whose_account_proves_something_or_nobody() -> None:
    assert admin_of(set()) == Admin(CEO, "C", "O", "user_ceo")
    assert admin_of({CEO}) == Admin("cfo@x.test", "F", "O", "user_cfo")
    nobody = admin_of({CEO, "cfo@x.test"})
    assert isinstance(nobody, AdminUnknown)
    assert nobody.reason is Reason.ACCOUNT_UNPROVEN
    assert nobody.message.startswith(CEO)


def test_the_registrys_admin_is_not_made_by_an_account_that_proves_nothing() -> None:
    found = choose_admin(None, CEO, "C O", {}, {}, "", None, lambda email, _: evidence(email), "eu")

    assert isinstance(found, AdminUnknown)
    assert found.reason is Reason.ACCOUNT_UNPROVEN


def test_the_message_names_who_where_since_when_and_what_to_do() -> None:
    told = unproven_message("eu", evidence(created_at=MADE_AT.astimezone()), "They keep it.")

    assert told.startswith(f'{CEO} has an account on Twenty server "eu"')
    assert "2026-03-04 05:06 UTC" in told
    assert f"provisioning vouch {CEO} --server eu --why" in told


# --- what our own join gave ------------------------------------------------------------------------------------------

JOINED = MADE_AT
JOIN = Join(
    joined_at=JOINED,
    role_given_at=JOINED + timedelta(seconds=1),
    role_changed_at=JOINED + timedelta(seconds=1),
    added_by_us=False,
    linked=False,
    watched_since=JOINED - timedelta(days=1),
    verified=False,
    made_by_others=False,
)


@pytest.mark.parametrize(
    ("other", "ours"),
    [
        ({}, True),  # killed before it could write anything down
        ({"added_by_us": True, "linked": True, "watched_since": None, "verified": True}, True),
        ({"linked": True}, False),
        ({"verified": True}, False),  # the customer invited them
        ({"made_by_others": True}, False),
        ({"watched_since": None}, False),
        ({"watched_since": JOINED + timedelta(days=1)}, False),  # the ledger was lost since
        ({"role_given_at": JOINED + timedelta(hours=1)}, False),  # somebody made them Admin
        ({"role_changed_at": JOINED + timedelta(hours=1), "added_by_us": True}, False),
    ],
)
def test_an_admin_is_our_own_doing_only_where_nobody_else_can_have_made_them_one(
    other: dict[str, Any], ours: bool
) -> None:
    assert is_our_own_doing(replace(JOIN, **other)) is ours


def test_the_later_the_role_came_the_less_it_was_the_join() -> None:
    joins = [replace(JOIN, role_given_at=JOINED + timedelta(seconds=s)) for s in range(0, 200, 7)]
    assert all(is_our_own_doing(one) >= is_our_own_doing(two) for one, two in pairwise(joins))
