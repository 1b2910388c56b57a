"""What holds for members whatever the world is like: a few tenants and people, every state of accounts and links."""

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning_pipeline.model import frames
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.people import Departure
from provisioning_pipeline.steps.members.changes import ADD_MEMBER, DEMOTE_MEMBER, DROP_LINK, LINK_MEMBER, REMOVE_MEMBER
from provisioning_pipeline.steps.members.plan.decisions import MemberDecision, decide_members
from provisioning_pipeline.steps.members.plan.people import People, missing_at_clerk
from provisioning_pipeline_tests.decide.people import (
    SERVICE_ACCOUNT,
    Town,
    applied,
    at_peace,
    changes_of,
    harmed,
    policy,
    witnessed,
)

PEOPLE = [f"p{number}" for number in range(1, 7)]
TENANTS = {"one": "eu", "two": "eu", "three": "us"}
ACCOUNTS = [f"a{number}" for number in range(1, 6)]
EMAILS = [f"{name}@x.test" for name in "abcde"]
GONE = st.sampled_from(["report", "demote", "remove"])
POLICIES = st.builds(lambda gone, store: policy(gone=gone, store_external_id=store), GONE, st.booleans())
FATES = st.fixed_dictionaries({user: st.sampled_from(["deleted", "left", None]) for user in PEOPLE})


def often(value: Any, *others: Any) -> st.SearchStrategy[Any]:
    """Mostly the first."""
    return st.sampled_from([value] * (2 + len(others)) + list(others))


@st.composite
def towns(draw: st.DrawFn) -> Town:
    """Anything that Clerk, Twenty and the ledger can say together; the ledger's unique keys hold."""
    tenants = {name: server for name, server in TENANTS.items() if name != "three" or draw(st.booleans())}
    town = Town(*sorted(set(tenants.values())))
    for name, server in tenants.items():
        town.tenant(name, server, made=draw(often(True, False)))
    for server in town.servers:
        for account in draw(st.lists(st.sampled_from(ACCOUNTS), unique=True)):
            town.account(account, draw(st.sampled_from([*EMAILS, EMAILS[0]])), server)
    email_of = {(server, account): email for server, account, email in town.twenty_users}
    for user in draw(st.lists(st.sampled_from(PEOPLE), unique=True, min_size=1)):
        own = EMAILS[int(user[1]) % len(EMAILS)]
        town.person(
            user,
            draw(often(own, None, EMAILS[0], "service@ours.test")),
            first=draw(often("Ada", "", "Bea")),
            last=draw(often("", "L")),
            banned=draw(often(False, True)),
            external_id=draw(often(None, "a1", "theirs")),
        )
    for name, server in tenants.items():
        for user in draw(st.lists(st.sampled_from(PEOPLE), unique=True)):
            town.belongs(user, name, draw(st.sampled_from(["org:admin", "org:member", "org:sales"])))
        accounts = sorted(account for on, account in email_of if on == server and account != SERVICE_ACCOUNT)
        if accounts and town.workplaces[name][3]:
            for account in draw(st.lists(st.sampled_from(accounts), unique=True)):
                town.inside(account, name, draw(st.sampled_from(["Admin", "Admin", "Member", "Guest", None])))
    # several rows may point at an account that has gone, but no two at the same one
    targets = [*ACCOUNTS, SERVICE_ACCOUNT, "vanished"]
    for server in town.servers:
        linked = draw(st.lists(st.tuples(st.sampled_from(PEOPLE), st.sampled_from(targets)), unique_by=UNIQUE))
        for user, account in linked:
            town.is_account(user, account, server)
    for name, server in tenants.items():
        own_links = [(user, account) for on, user, account in town.user_links if on == server]
        odd = draw(st.lists(st.tuples(st.sampled_from(PEOPLE), st.sampled_from(targets)), max_size=2, unique_by=UNIQUE))
        whole = draw(st.lists(st.sampled_from(own_links), unique=True)) if own_links else []
        for user, account in unique([*whole, *odd]):
            email = email_of.get((server, account), "gone@x.test")
            first = draw(often("Ada", "", "Bea"))
            town.linked(user, name, account, first=first, last="", email=email, at=draw(st.integers(0, 3)))
    return town


UNIQUE = (lambda pair: pair[0], lambda pair: pair[1])


def unique(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without those whose person or account came before."""
    found: list[tuple[str, str]] = []
    for user, account in pairs:
        if all(user != known and account != other for known, other in found):
            found.append((user, account))
    return found


def fates_of(town: Town, fates: Mapping[str, str | None]) -> dict[str, str | None]:
    """What a direct look finds: whoever is at Clerk was not deleted, whoever is not did not just leave."""
    present = {row[0]: row[4] for row in town.clerk_users}
    found: dict[str, str | None] = {}
    for user, fate in fates.items():
        if user not in present:
            found[user] = "deleted" if fate else None
        else:
            found[user] = ("banned" if present[user] else "left") if fate else None
    return found


def roles(people: People) -> dict[tuple[str, str], str | None]:
    """(tenant, account) → role."""
    places = people.workplaces
    names = dict(zip(zip(places["server"], places["workspace_id"], strict=True), places["database_name"], strict=True))
    return {
        (names[server, workspace], account): role
        for server, workspace, account, role in people.twenty_members.itertuples(index=False)
        if (server, workspace) in names
    }


def admins(held: Mapping[tuple[str, str], str | None]) -> dict[str, set[str]]:
    """Tenant → accounts of the people who are Admin in its workspace."""
    found: dict[str, set[str]] = {}
    for (name, account), role in held.items():
        if role == "Admin" and account != SERVICE_ACCOUNT:
            found.setdefault(name, set()).add(account)
    return found


def active(people: People) -> set[tuple[str, str, str]]:
    """(tenant, Clerk user, Clerk role) of everybody who is an active member."""
    names = dict(zip(people.workplaces["organization_id"], people.workplaces["database_name"], strict=True))
    banned = dict(zip(people.clerk_users["user_id"], people.clerk_users["banned"], strict=True))
    return {
        (names[organization], user, role)
        for organization, user, role, _ in people.memberships.itertuples(index=False)
        if organization in names and not banned.get(user, True)
    }


def possible_accounts(people: People, *only: str) -> set[tuple[str, str]]:
    """(tenant, account) of what may be an active member's, by our link or by e-mail; of these Clerk roles or all."""
    servers = dict(zip(people.workplaces["database_name"], people.workplaces["server"], strict=True))
    emails = dict(zip(people.clerk_users["user_id"], people.clerk_users["email"], strict=True))
    users = list(people.twenty_users.itertuples(index=False, name=None))
    links = list(people.user_links.itertuples(index=False, name=None))
    found: set[tuple[str, str]] = set()
    for name, user, role in active(people):
        if role in only or not only:
            found |= {(name, account) for on, account, email in users if (on, email) == (servers[name], emails[user])}
            found |= {(name, account) for on, linked, account in links if (on, linked) == (servers[name], user)}
    return found


def linked_accounts(people: People) -> set[tuple[str, str]]:
    """(tenant, account) of everybody whom we linked."""
    return set(zip(people.member_links["database_name"], people.member_links["twenty_user_id"], strict=True))


def findings(decisions: Mapping[str, MemberDecision]) -> set[Reason]:
    return {finding.reason for decision in decisions.values() for finding in decision.findings}


@pytest.mark.slow
@settings(max_examples=40)
@given(towns(), FATES, POLICIES)
def test_applying_a_plan_leaves_nothing_to_do_and_locks_nobody_out(town: Town, fates: Any, given_policy: Any) -> None:
    told = fates_of(town, fates)
    before = witnessed(town.people(), told)
    decisions = decide_members(before, given_policy)
    after = witnessed(applied(before, decisions), told)

    _is_sound(before, decisions)
    _locks_nobody_out(before, after, decisions)
    again = decide_members(after, given_policy)
    if Reason.LAST_ADMIN_KEPT in findings(decisions):
        # whoever was promoted or added meanwhile counts only now
        after = witnessed(applied(after, again), told)
        again = decide_members(after, given_policy)
    assert at_peace(again), changes_of(again)


def _is_sound(people: People, decisions: Mapping[str, MemberDecision]) -> None:
    """Nobody twice, and no account for two people."""
    servers = dict(zip(people.workplaces["database_name"], people.workplaces["server"], strict=True))
    owners = {(row["server"], row["twenty_user_id"]): row["clerk_user_id"] for row in frames.records(people.user_links)}
    gone = {user for (_, user), departure in (people.departures or {}).items() if departure.kind == "deleted"}
    claims: dict[tuple[str, str], str] = {}
    for name, decision in decisions.items():
        users = [member.clerk_user_id for member in decision.members]
        assert len(users) == len(set(users)), "one person, one plan"
        for member in decision.members:
            assert member.changes
            assert len(member.changes) == len(set(member.changes))
            assert member.twenty_user_id != SERVICE_ACCOUNT
            if not {ADD_MEMBER, LINK_MEMBER} & set(member.changes):
                continue
            account = member.twenty_user_id or member.email
            owner = owners.get((servers[name], account), member.clerk_user_id)
            assert owner == member.clerk_user_id or owner in gone, "somebody else's account"
            assert claims.setdefault((servers[name], account), member.clerk_user_id) == member.clerk_user_id


def _locks_nobody_out(before: People, after: People, decisions: Mapping[str, MemberDecision]) -> None:
    linked, able, in_charge = linked_accounts(before), possible_accounts(before), possible_accounts(before, "org:admin")
    was, now = roles(before), roles(after)
    left = admins(now)
    for name, held in admins(was).items():
        if any((name, account) in in_charge | linked for account in held):
            assert left.get(name), f"nobody is admin of {name} any more"
    for (name, account), role in was.items():
        if account == SERVICE_ACCOUNT:
            assert now.get((name, account)) == role
        elif (name, account) not in now:
            assert (name, account) in linked, "removed although never linked"
        elif role == "Admin" and now[name, account] != "Admin":
            assert (name, account) in linked | able, "lowered although neither linked nor an active member"
            lowered = {member.twenty_user_id for member in decisions[name].members
                       if DEMOTE_MEMBER in member.changes}  # fmt: skip
            assert account in lowered, "lowered outside of the budget"
        elif role != now[name, account]:
            assert (name, account) in linked | able


@settings(max_examples=12)
@given(towns(), FATES, POLICIES, st.randoms(use_true_random=False))
def test_neither_order_nor_repeats_of_the_rows_matter(
    town: Town, fates: Any, given_policy: Any, random: Random
) -> None:
    people = witnessed(town.people(), fates_of(town, fates))

    def stirred(snapshot: pd.DataFrame) -> pd.DataFrame:
        rows = list(range(len(snapshot)))
        rows = random.sample(rows, len(rows)) + random.choices(rows, k=len(rows)) if rows else rows
        return snapshot.iloc[rows].reset_index(drop=True)

    frames_of = ["workplaces", "memberships", "clerk_users", "twenty_users", "twenty_members", "user_links",
                 "member_links"]  # fmt: skip
    changed: dict[str, Any] = {name: stirred(getattr(people, name)) for name in frames_of}
    other = replace(people, **changed)
    assert missing_at_clerk(other) == missing_at_clerk(people)
    assert decide_members(other, given_policy) == decide_members(people, given_policy)


@settings(max_examples=20)
@given(towns(), POLICIES, st.data())
def test_a_smaller_answer_of_clerk_takes_nothing_more_from_anybody(
    town: Town, given_policy: Any, data: st.DataObject
) -> None:
    whole = town.people()
    kept = data.draw(st.lists(st.sampled_from(town.memberships), unique=True)) if town.memberships else []
    less = replace(whole, memberships=frames.frame(frames.MEMBERSHIPS, sorted(kept)))
    full = decide_members(whole, given_policy)
    smaller = decide_members(less, given_policy)
    removed = [member for decision in smaller.values() for member in decision.members
               if {REMOVE_MEMBER, DROP_LINK} & set(member.changes)]  # fmt: skip
    assert removed == []
    more = harmed(smaller) - harmed(full)
    assert not more or more <= _contested(whole)


def _contested(people: People) -> set[tuple[str, str]]:
    """Active people whose account somebody else claims, too: where that one is cut off, there is no doubt left."""
    doubtful = {
        (name, finding.person)
        for name, decision in decide_members(people, policy()).items()
        for finding in decision.findings
        if finding.reason is Reason.ACCOUNT_CLAIMED_TWICE
    }
    emails = dict(zip(people.clerk_users["user_id"], people.clerk_users["email"], strict=True))
    return {(name, user) for name, user, _ in active(people) if (name, emails[user] or user) in doubtful}


@settings(max_examples=12)
@given(towns(), FATES, GONE)
def test_an_answer_that_is_not_proved_whole_misses_nobody(town: Town, fates: Any, gone: Any) -> None:
    proved = witnessed(town.people(), fates_of(town, fates))
    people = replace(proved, complete=False)
    assert missing_at_clerk(people) == []
    present = {(name, user) for name, user, _ in active(people)}
    for name, decision in decide_members(people, policy(gone=gone)).items():
        assert {(name, member.clerk_user_id) for member in decision.members} <= present
        assert not any(finding.reason is Reason.MEMBERS_GONE for finding in decision.findings)


@pytest.mark.parametrize("gone", ["report", "demote", "remove"])
def test_a_world_without_anybody_asks_for_nothing(gone: Any) -> None:
    nobody = Town().people(departures={("org_acme", "ada"): Departure("deleted", None)})
    assert decide_members(nobody, policy(gone=gone)) == {}
    assert missing_at_clerk(nobody) == []
