"""The budget: who waits, what goes on, and the name under which somebody agrees."""

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.history import Budget
from provisioning_pipeline.model.tenant import Finding, MemberPlan
from provisioning_pipeline.steps.members.changes import (
    ADD_MEMBER,
    DEMOTE_MEMBER,
    LINK_MEMBER,
    REMOVE_MEMBER,
    SET_NAME,
    SET_ROLE,
)
from provisioning_pipeline.steps.members.plan.decisions import MemberDecision
from provisioning_pipeline.steps.members.plan.harm import plan_name, weigh
from provisioning_pipeline_tests.decide.people import harmed

BUDGET = Budget(share=0.1, most=50)


def member(user: str, *changes: Change) -> MemberPlan:
    """A plan for one person."""
    return MemberPlan(user, f"{user}@x.test", "Ada", "L", "Member", f"acc-{user}", changes)


def removing(count: int) -> MemberDecision:
    """So many people lose their membership."""
    return MemberDecision(tuple(member(f"u{number}", REMOVE_MEMBER) for number in range(count)))


@pytest.mark.parametrize(
    ("members", "allowed"), [(0, 1), (1, 1), (9, 1), (10, 1), (19, 1), (20, 2), (29, 2), (1000, 100)]
)
def test_a_tenants_share_is_rounded_down_but_one_is_always_allowed(members: int, allowed: int) -> None:
    assert BUDGET.allowed(members) == allowed


def test_a_budget_of_nothing_allows_nobody() -> None:
    weighed = weigh({"acme": removing(1)}, {"acme": 100}, Budget(1.0, 0))
    assert (harmed(weighed.decisions), weighed.people) == (set(), 1)


def test_within_the_budget_everything_is_done() -> None:
    decisions = {"acme": removing(2), "other": removing(1)}
    weighed = weigh(decisions, {"acme": 20, "other": 3}, BUDGET)
    assert weighed.decisions == decisions
    assert (weighed.waiting, weighed.people, weighed.approved) == (None, 0, False)


def test_a_tenant_beyond_its_share_waits_as_a_whole_and_the_other_does_not() -> None:
    weighed = weigh({"acme": removing(3), "other": removing(1)}, {"acme": 20, "other": 3}, BUDGET)
    assert harmed(weighed.decisions) == {("other", "u0")}
    assert weighed.people == 3
    assert [finding.reason for finding in weighed.decisions["acme"].findings] == [Reason.WAITS_FOR_APPROVAL] * 3
    assert all(str(weighed.waiting) in finding.message for finding in weighed.decisions["acme"].findings)


def test_taking_back_what_our_own_join_gave_is_neither_counted_nor_held_back() -> None:
    ours = tuple(replace(member(f"o{number}", DEMOTE_MEMBER), undoes_our_join=True) for number in range(30))
    decision = MemberDecision((*ours, *removing(3).members))

    within = weigh({"acme": decision}, {"acme": 40}, BUDGET)
    beyond = weigh({"acme": decision}, {"acme": 20}, BUDGET)

    assert within.decisions == {"acme": decision}
    assert beyond.people == 3
    assert beyond.decisions["acme"].members == ours


def test_beyond_the_most_of_a_run_everything_waits() -> None:
    weighed = weigh({"acme": removing(2), "other": removing(1)}, {"acme": 100, "other": 100}, Budget(0.5, 2))
    assert (harmed(weighed.decisions), weighed.people) == (set(), 3)


def test_a_tenant_whose_size_nobody_knows_may_lose_one() -> None:
    assert harmed(weigh({"acme": removing(1)}, {}, BUDGET).decisions) == {("acme", "u0")}
    assert harmed(weigh({"acme": removing(2)}, {}, BUDGET).decisions) == set()


def test_what_harms_nobody_goes_on_for_the_very_person_who_waits() -> None:
    person = member("ada", LINK_MEMBER, SET_NAME, DEMOTE_MEMBER)
    weighed = weigh({"acme": MemberDecision((person,))}, {"acme": 5}, Budget(0.1, 0))
    (kept,) = weighed.decisions["acme"].members
    assert kept.changes == (LINK_MEMBER, SET_NAME)
    assert weighed.waiting


def test_the_name_is_of_the_people_and_of_what_befalls_them() -> None:
    ada, bea = member("ada", REMOVE_MEMBER), member("bea", DEMOTE_MEMBER)
    names = [
        plan_name([("acme", ada)]),
        plan_name([("acme", bea)]),
        plan_name([("other", ada)]),
        plan_name([("acme", member("ada", DEMOTE_MEMBER))]),
        plan_name([("acme", ada), ("acme", bea)]),
        plan_name([]),
    ]
    assert len(set(names)) == len(names)
    assert plan_name([("acme", ada), ("acme", bea)]) == plan_name([("acme", bea), ("acme", ada)])
    beside = member("ada", LINK_MEMBER, REMOVE_MEMBER)
    assert plan_name([("acme", beside)]) == plan_name([("acme", ada)])


# --- over any decisions -------------------------------------------------------------------------------------------

CHANGES = st.lists(
    st.sampled_from([LINK_MEMBER, SET_NAME, SET_ROLE, REMOVE_MEMBER, DEMOTE_MEMBER, ADD_MEMBER]),
    min_size=1,
    max_size=3,
    unique=True,
)
DECISIONS = st.dictionaries(
    st.sampled_from(["one", "two", "three"]),
    st.dictionaries(st.sampled_from([f"u{number}" for number in range(8)]), CHANGES).map(
        lambda plans: MemberDecision(
            tuple(member(user, *changes) for user, changes in sorted(plans.items())),
            (Finding(Reason.MEMBERS_GONE, "zoe@x.test", "left"),),
        )
    ),
)
SIZES = st.dictionaries(st.sampled_from(["one", "two", "three"]), st.integers(0, 40))
BUDGETS = st.builds(Budget, st.sampled_from([0.0, 0.1, 0.25, 1.0]), st.integers(0, 12))


def done(decisions: Mapping[str, MemberDecision], *, harmful: bool) -> set[tuple[str, str, Change]]:
    """(tenant, person, change) of one kind."""
    return {
        (name, person.clerk_user_id, change)
        for name, decision in decisions.items()
        for person in decision.members
        for change in person.changes
        if change.harmful is harmful
    }


@given(DECISIONS, SIZES, BUDGETS)
def test_nothing_beyond_the_budget_is_done_and_everything_else_is(
    decisions: dict[str, MemberDecision], sizes: dict[str, int], budget: Budget
) -> None:
    weighed = weigh(decisions, sizes, budget)
    wanted, let_through = harmed(decisions), harmed(weighed.decisions)
    assert let_through <= wanted
    assert len(let_through) <= budget.most
    assert weighed.people == len(wanted) - len(let_through)
    assert bool(weighed.waiting) == bool(weighed.people)
    if len(wanted) > budget.most:
        assert let_through == set()
    for name in decisions:
        asked = {pair for pair in wanted if pair[0] == name}
        passed = {pair for pair in let_through if pair[0] == name}
        assert passed in (set(), asked), "all or nothing"
        assert len(passed) <= budget.allowed(sizes.get(name, 0))
        if len(wanted) <= budget.most and len(asked) <= budget.allowed(sizes.get(name, 0)):
            assert passed == asked, "within the budget nobody waits"
    assert done(weighed.decisions, harmful=False) == done(decisions, harmful=False)
    for name, decision in decisions.items():
        left = weighed.decisions[name]
        assert set(decision.findings) <= set(left.findings)
        assert all(person.changes for person in left.members)
        assert left.replace_admin == decision.replace_admin
        told = [finding for finding in left.findings if finding.reason is Reason.WAITS_FOR_APPROVAL]
        assert len(told) == sum(pair[0] == name for pair in wanted - let_through)


@given(DECISIONS, SIZES, BUDGETS, st.randoms(use_true_random=False))
def test_an_approved_plan_is_done_exactly_as_it_waited(
    decisions: dict[str, MemberDecision], sizes: dict[str, int], budget: Budget, random: Random
) -> None:
    waiting = weigh(decisions, sizes, budget)
    shuffled = dict(random.sample(list(decisions.items()), len(decisions)))
    assert weigh(shuffled, sizes, budget).waiting == waiting.waiting
    other = weigh(decisions, sizes, Budget(budget.share, budget.most, "another"))
    assert (other.decisions, other.approved) == (waiting.decisions, False) or waiting.waiting is None
    approved = weigh(decisions, sizes, Budget(budget.share, budget.most, waiting.waiting))
    assert approved.decisions == decisions
    assert approved.approved == bool(waiting.waiting)
    assert approved.waiting is None


@given(DECISIONS, DECISIONS)
def test_other_people_have_another_name(one: Any, two: Any) -> None:
    none = Budget(0.0, 0)
    first, second = weigh(one, {}, none).waiting, weigh(two, {}, none).waiting
    assert (first == second) == (done(one, harmful=True) == done(two, harmful=True))
