"""Ready is nothing but the sum of the other conditions."""

from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.condition import (
    SET_ASIDE,
    Condition,
    ConditionType,
    Reason,
    Status,
    derive_ready,
)

QUESTIONS = [
    type_ for type_ in ConditionType.all_declared() if type_ is not ConditionType.READY and not type_.told_only
]
ANSWERS = st.builds(lambda status, reason, message: (status, reason, message), st.sampled_from(Status),
                    st.sampled_from(Reason), st.text())  # fmt: skip
SETS = st.dictionaries(st.sampled_from(ConditionType.all_declared()), ANSWERS).map(
    lambda answers: {type_: Condition(type_, *answer) for type_, answer in answers.items()}
)


@given(SETS)
def test_ready_is_true_exactly_when_every_other_condition_is(conditions: dict[ConditionType, Condition]) -> None:
    whole = all(type_ in conditions and conditions[type_].status is Status.TRUE for type_ in QUESTIONS)
    ready = derive_ready(conditions)
    assert ready.type is ConditionType.READY
    assert ready.status is (Status.TRUE if whole else Status.FALSE)
    assert (ready.reason is Reason.ALL_TRUE) is (whole or _first_trouble(conditions)[0] is Reason.ALL_TRUE)


@given(SETS)
def test_ready_carries_the_first_trouble_in_the_order_of_dependence(
    conditions: dict[ConditionType, Condition],
) -> None:
    ready = derive_ready(conditions)
    if ready.status is not Status.TRUE:
        reason, message = _first_trouble(conditions)
        assert ready.reason is reason
        assert message is None or ready.message == message


def _first_trouble(conditions: dict[ConditionType, Condition]) -> tuple[Reason | None, str | None]:
    for type_ in QUESTIONS:
        found = conditions.get(type_)
        if found and found.reason in SET_ASIDE and found.status is not Status.TRUE:
            return found.reason, found.message
    for type_ in QUESTIONS:
        if type_ not in conditions:
            return Reason.WAITING, None
        if conditions[type_].status is not Status.TRUE:
            return conditions[type_].reason, conditions[type_].message
    return None, None


def test_an_earlier_ready_does_not_count() -> None:
    stale = Condition(ConditionType.READY, Status.TRUE, Reason.ALL_TRUE, "")
    assert derive_ready({ConditionType.READY: stale}).status is Status.FALSE


def test_a_question_that_was_never_asked_is_named() -> None:
    known = {type_: Condition(type_, Status.TRUE, Reason.ALL_TRUE, "") for type_ in QUESTIONS[:-1]}
    assert derive_ready(known).reason is Reason.WAITING
    assert "LoginProved" in derive_ready(known).message
