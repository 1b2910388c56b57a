"""Whom a killed run let in: linked by evidence, missed when they are gone, and nobody else by that."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning_pipeline.model import frames
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.steps.members.changes import ADD_MEMBER, LINK_MEMBER, REMOVE_MEMBER
from provisioning_pipeline.steps.members.plan.decisions import MemberDecision, decide_members
from provisioning_pipeline.steps.members.plan.people import INVITATIONS_OF_TENANTS, People, given_up, with_intents
from provisioning_pipeline_tests.decide.people import SERVICE_ACCOUNT, Town, plan_of, policy, reasons, witnessed

NOW = datetime(2026, 11, 29, tzinfo=UTC)
LONG_AGO = int((NOW - timedelta(hours=2)).timestamp() * 1000)


class KilledTown(Town):
    """A town in which runs were killed: `intents` are what they wrote down before."""

    def __init__(self, *servers: str) -> None:
        super().__init__(*servers)
        self.intents: list[tuple[str, str, str | None, str, int]] = []

    def begun(self, user: str, tenant: str, account: str | None = None, *, email: str = "", at: int = LONG_AGO) -> None:
        """A run was about to let them in."""
        self.intents.append((tenant, user, account, email or f"{user}@x.test", at))

    def seen(self, **other: object) -> People:
        return with_intents(self.people(**other), self.frame())

    def frame(self):
        return frames.frame(frames.MEMBER_INTENTS, self.intents)

    def acme(self, fates: dict[str, str | None], gone: str = "remove") -> MemberDecision:
        people = witnessed(self.seen(), fates)
        return decide_members(people, policy(gone=gone)).get("acme", MemberDecision())


def town_with_boss() -> KilledTown:
    town = KilledTown()
    town.tenant("acme")
    town.at_rest("boss", "acme", "org:admin")
    return town


def let_in(town: KilledTown, user: str = "ada", *, named: bool = False, role: str = "Member") -> None:
    """They are inside with an account that nobody linked."""
    town.account(f"acc-{user}", f"{user}@x.test")
    town.inside(f"acc-{user}", "acme", role)
    town.begun(user, "acme", f"acc-{user}" if named else None)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("fate", ["deleted", "left", "banned"])
def test_somebody_who_got_in_without_a_link_and_is_gone_is_removed(named: bool, fate: str) -> None:
    town = town_with_boss()
    let_in(town, named=named)
    decision = town.acme({"ada": fate})
    assert plan_of(decision, "ada").changes == (REMOVE_MEMBER,)
    assert plan_of(decision, "ada").twenty_user_id == "acc-ada"
    assert reasons(town.acme({"ada": fate}, gone="report")) == [Reason.MEMBERS_GONE]
    # one witness is none
    assert town.acme({"ada": None}) == MemberDecision()


def test_an_admin_who_got_in_without_a_link_and_is_gone_stands_for_the_tenant_no_more() -> None:
    town = town_with_boss()
    let_in(town, role="Admin")
    decision = town.acme({"ada": "deleted"})
    assert decision.replace_admin == {"acc-ada"}
    assert plan_of(decision, "ada").changes == (REMOVE_MEMBER,)


def test_somebody_who_got_in_and_is_still_a_member_is_linked_and_not_added_again() -> None:
    town = town_with_boss()
    town.person("ada", "another@x.test")
    town.belongs("ada", "acme")
    let_in(town)
    plan = plan_of(town.acme({}), "ada")
    # their address changed since: no second account is made
    assert (plan.twenty_user_id, plan.email) == ("acc-ada", "ada@x.test")
    assert LINK_MEMBER in plan.changes
    assert ADD_MEMBER not in plan.changes


def test_an_account_that_died_since_gives_way_to_the_one_by_which_they_came_back() -> None:
    town = town_with_boss()
    town.is_account("ada", "dead")
    town.linked("ada", "acme", "dead")
    let_in(town)
    assert plan_of(town.acme({"ada": "left"}), "ada").twenty_user_id == "acc-ada"
    town.person("ada")
    town.belongs("ada", "acme")
    assert LINK_MEMBER in plan_of(town.acme({}), "ada").changes


def nobody_joined(town: KilledTown) -> None:
    town.begun("ada", "acme")
    town.account("acc-ada", "ada@x.test")


def two_accounts(town: KilledTown) -> None:
    let_in(town)
    town.account("acc-2", "ada@x.test")
    town.inside("acc-2", "acme")


def our_own_account(town: KilledTown) -> None:
    town.begun("ada", "acme", SERVICE_ACCOUNT, email="service@ours.test")


def somebody_else_s_by_now(town: KilledTown) -> None:
    let_in(town)
    town.at_rest("eve", "acme")
    town.linked("eve", "acme", "acc-ada")
    town.member_links = [row for row in town.member_links if row[2] != "acc-eve"]


@pytest.mark.parametrize("case", [nobody_joined, two_accounts, our_own_account, somebody_else_s_by_now])
def test_nobody_loses_anything_by_an_intent_that_proves_nothing(case) -> None:
    town = town_with_boss()
    case(town)
    people = witnessed(town.seen(), {"ada": "deleted"})
    assert not people.unlinked
    assert "ada" not in [
        m.clerk_user_id for m in decide_members(people, policy(gone="remove")).get("acme", MemberDecision()).members
    ]


def test_an_intent_that_came_to_nothing_is_given_up_once_no_call_can_be_under_way() -> None:
    town = town_with_boss()
    town.begun("late", "acme")
    town.begun("fresh", "acme", at=int(NOW.timestamp() * 1000))
    town.begun("invited", "acme")
    town.begun("elsewhere", "unread")
    let_in(town, "inside")
    invitation = ("acme", "eu", "ws-acme", "invited@x.test", "Member", True)
    people = town.seen(invitations=frames.frame(INVITATIONS_OF_TENANTS, [invitation]))
    assert given_up(town.frame(), people, NOW) == (("acme", "late"),)


STATES = st.sampled_from(["untouched", "begun", "inside", "raised", "linked"])
FATES = st.sampled_from(["member", "left", "deleted", "banned"])


@given(st.lists(st.tuples(STATES, FATES), min_size=1, max_size=5))
@settings(max_examples=25)
def test_wherever_a_run_was_killed_exactly_those_inside_are_missed(people: list[tuple[str, str]]) -> None:
    town, fates = town_with_boss(), dict[str, str | None]()
    for number, (state, fate) in enumerate(people):
        user = f"p{number}"
        if state == "linked":
            town.at_rest(user, "acme")
        elif state in ("inside", "raised"):
            let_in(town, user, role="Admin" if state == "raised" else "Member")
        elif state == "begun":
            town.begun(user, "acme")
        if fate == "member" and state != "linked":
            town.person(user)
            town.belongs(user, "acme", "org:admin" if state == "raised" else "org:member")
        elif fate != "member":
            town.leaves(user, deleted=True)
            fates[user] = fate
    decision = town.acme(fates)
    removed = {member.clerk_user_id for member in decision.members if REMOVE_MEMBER in member.changes}
    assert removed == {
        f"p{number}"
        for number, (state, fate) in enumerate(people)
        if fate != "member" and state in ("inside", "raised", "linked")
    }
    for number, (state, fate) in enumerate(people):
        if fate == "member" and state != "linked":
            changes = plan_of(decision, f"p{number}").changes
            assert LINK_MEMBER in changes
            assert (ADD_MEMBER in changes) == (state in ("untouched", "begun"))
