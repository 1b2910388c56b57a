"""What a report says, before it is drawn."""

import pytest

from provisioning_pipeline.model.condition import ConditionType, Reason
from provisioning_pipeline.report import markdown, page
from provisioning_pipeline.report.summary import outcome_lines, tenant_lines
from provisioning_pipeline_tests.report.lines import THEN, lines, looked_at, outcome, stored, summary, tenant

READY, UNWELL, ASIDE = Reason.ALL_TRUE, Reason.SERVER_FULL, Reason.TENANT_SUSPENDED


def test_the_unwell_come_first_then_the_ready_then_those_set_aside_each_by_name() -> None:
    found = lines(zeta=READY, alpha=READY, beta=ASIDE, gamma=UNWELL, delta=Reason.TENANT_GONE, aa=UNWELL)
    assert [line.slug for line in found] == ["aa", "gamma", "alpha", "zeta", "beta", "delta"]
    assert [line.state for line in found] == ["unwell", "unwell", "ready", "ready", "aside", "aside"]


def test_a_tenant_that_nobody_looked_at_is_unwell_and_says_so() -> None:
    (line,) = tenant_lines([tenant("new")], [])
    assert (line.state, line.reason, line.since) == ("unwell", Reason.WAITING, None)
    assert line.message == "Not looked at yet."


def test_each_tenant_has_its_own_conditions_in_the_order_of_dependence() -> None:
    known = [
        stored("a", ConditionType.READY, READY),
        stored("a", ConditionType.DETECTED, Reason.DATABASE_PRESENT),
        stored("b", ConditionType.READY, UNWELL),
        stored("a", ConditionType.REGISTERED, Reason.REGISTRY_ROW),
        stored("gone", ConditionType.READY, READY),
    ]
    b, a = tenant_lines([looked_at("a", READY, "all"), looked_at("b", UNWELL, "b is full")], known)
    assert [each.condition.type for each in a.conditions] == [
        ConditionType.DETECTED,
        ConditionType.REGISTERED,
        ConditionType.READY,
    ]
    assert [each.condition.reason for each in b.conditions] == [UNWELL]
    assert (a.message, b.message, b.since) == ("all", "b is full", THEN)


@pytest.mark.parametrize(
    ("reasons", "verdict"),
    [
        ({}, "No tenant was found."),
        ({"a": READY, "b": READY}, "All 2 tenants are ready."),
        ({"a": READY, "b": UNWELL}, "1 of 2 tenants are ready, 1 needs a look."),
        ({"a": UNWELL, "b": UNWELL, "c": READY}, "1 of 3 tenants are ready, 2 need a look."),
        ({"a": READY, "b": UNWELL, "c": ASIDE}, "1 of 2 tenants are ready, 1 needs a look."),
        ({"a": UNWELL}, "0 of 1 tenants are ready, 1 needs a look."),
    ],
)
def test_the_verdict_counts_those_of_whom_something_is_wanted(reasons: dict[str, Reason], verdict: str) -> None:
    assert summary(lines(**reasons)).verdict == verdict


@pytest.mark.parametrize(
    ("reasons", "wrong"), [({"a": READY}, "All 1 tenants are ready."), ({"a": ASIDE}, "All 0 ten")]
)
def test_the_verdict_is_english_for_one_and_for_none(reasons: dict[str, Reason], wrong: str) -> None:
    assert wrong not in summary(lines(**reasons)).verdict


def test_a_proof_of_login_is_no_change_of_the_world_and_neither_is_a_failure() -> None:
    done = (
        outcome("a", "create workspace", seconds=2.0),
        outcome("b", "create workspace", seconds=3.0),
        outcome("b", "prove login"),
        outcome("c", "create workspace", done=False, detail="full"),
    )
    found = summary(outcomes=done)
    assert found.actions == 2
    assert found.done_by_change == [("create workspace", 2, 5.0), ("prove login", 1, 1.0)]
    assert [line.detail for line in found.failures] == ["full"]


def test_outcomes_carry_the_name_that_people_know() -> None:
    rows = [
        {"database_name": "db_a", "change": "set role", "status": "done", "detail": "", "seconds": 0.1},
        {"database_name": "db_x", "change": "set role", "status": "failed", "detail": "no", "seconds": 0.2},
    ]
    first, second = outcome_lines(rows, {"db_a": "a"})
    assert (first.tenant, first.done) == ("a", True)
    assert (second.tenant, second.done) == ("db_x", False)


def test_trouble_in_a_tenants_own_database_is_told_of_the_ready_too_and_not_of_those_set_aside() -> None:
    trouble = {"database_reason": Reason.ROWS_REPORTED, "database_message": "3 rows"}
    told = tenant_lines(
        [
            looked_at("well", Reason.ALL_TRUE),
            looked_at("ready", Reason.ALL_TRUE, **trouble),
            looked_at("gone", Reason.TENANT_GONE, **trouble),
        ]
    )
    assert [line.slug for line in summary(told).databases] == ["ready"]
    assert "RowsReported" in markdown.render(summary(told))
    assert "3 rows" in page.render(summary(told))


def test_what_was_removed_by_sql_is_told_with_the_way_back() -> None:
    assert summary().undo is None
    assert "2 onboarding rows were removed by SQL; `provisioning undo run-1`" in markdown.render(
        summary(rows_removed=2)
    )
    drawn = page.render(summary(rows_removed=2))
    assert "2 onboarding rows were removed by SQL; <code>provisioning undo run-1</code>" in drawn
