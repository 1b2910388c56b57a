"""What is told of a tenant, and when."""

from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.announcement import (
    SIGNS,
    WAITS_SECONDS,
    AnnouncementType,
    DeliveryCounts,
    announcements,
    undelivered_in_words,
    wait_after,
)
from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, Status
from provisioning_pipeline.model.lifecycle import Life, Lifecycle

READY = Condition(ConditionType.READY, Status.TRUE, Reason.ALL_TRUE, "")
LOCKED = Condition(ConditionType.named("AccessLocked"), Status.TRUE, Reason.TENANT_SUSPENDED, "")
OPEN = Condition(ConditionType.named("AccessLocked"), Status.FALSE, Reason.WORKSPACE_ACTIVE, "")
WORKSPACE = Condition(ConditionType.WORKSPACE_READY, Status.FALSE, Reason.SERVER_FULL, "")


def not_ready(reason: Reason) -> Condition:
    return Condition(ConditionType.READY, Status.FALSE, reason, "")


def told(before: Condition | None, *now: Condition) -> list[str]:
    known = {"d": {} if before is None else {before.type: before}}
    return [one.type.value for one in announcements(known, [("d", condition) for condition in now])]


def test_a_tenant_that_becomes_ready_is_announced_and_one_that_stays_so_is_not() -> None:
    assert told(None, READY) == told(not_ready(Reason.SERVER_FULL), READY) == ["tenant.ready"]
    assert told(READY, READY) == []


def test_a_tenant_that_is_not_ready_is_announced_once_whatever_else_is_wrong_with_it_later() -> None:
    assert told(READY, not_ready(Reason.SERVER_FULL)) == ["tenant.not_ready"]
    assert told(not_ready(Reason.SERVER_FULL), not_ready(Reason.LOGIN_REFUSED)) == []


def test_a_new_tenant_is_not_announced_before_a_run_has_looked_at_all_of_it() -> None:
    assert told(None, not_ready(Reason.WAITING)) == []
    assert told(not_ready(Reason.WAITING), not_ready(Reason.SERVER_FULL)) == ["tenant.not_ready"]
    assert told(not_ready(Reason.WAITING), READY) == ["tenant.ready"]


def test_a_tenant_is_gone_once_it_has_left_for_good_and_not_ready_before() -> None:
    assert told(READY, not_ready(Reason.TENANT_SUSPENDED)) == ["tenant.not_ready"]
    assert told(READY, not_ready(Reason.REGISTRY_ROW_GONE)) == ["tenant.not_ready"]
    told_of = {lifecycle: told(None, Life(lifecycle, "by this").condition) for lifecycle in Lifecycle}
    assert {lifecycle: words for lifecycle, words in told_of.items() if words} == {Lifecycle.GONE: ["tenant.gone"]}


def test_a_lock_is_announced_after_what_it_explains() -> None:
    assert told(READY, LOCKED, not_ready(Reason.TENANT_SUSPENDED)) == ["tenant.not_ready", "tenant.locked"]
    assert told(LOCKED, LOCKED) == told(LOCKED, OPEN) == []


def test_no_other_condition_is_announced() -> None:
    assert told(None, WORKSPACE) == []


@given(st.lists(st.sampled_from([READY, LOCKED, OPEN, WORKSPACE, *map(not_ready, Reason)]), max_size=12))
def test_the_last_word_on_a_condition_is_where_the_tenant_stands(conditions: list[Condition]) -> None:
    known: dict[ConditionType, Condition] = {}
    last: dict[str, AnnouncementType] = {}
    for condition in conditions:
        for one in announcements({"d": known}, [("d", condition)]):
            last[one.condition.type] = one.type
            assert one.condition == condition
        known[condition.type] = condition
    now = known.get(ConditionType.READY)
    if now is not None and now.status is Status.TRUE:
        assert last[ConditionType.READY] is AnnouncementType.READY


def test_each_announcement_has_a_sign_and_a_state() -> None:
    assert {sign.told for sign in SIGNS} - {None} == set(AnnouncementType)
    assert [each.state for each in AnnouncementType] == ["ready", "not_ready", "locked", "gone"]


def test_a_delivery_is_tried_ten_times_within_about_three_days() -> None:
    assert [wait_after(attempts) for attempts in range(1, 11)] == [*WAITS_SECONDS, None]
    assert sum(WAITS_SECONDS) / 86_400 < 3.2


def test_what_did_not_arrive_is_told_in_words() -> None:
    assert undelivered_in_words(DeliveryCounts(pending=3)) == ""
    assert undelivered_in_words(DeliveryCounts(3, 2, 1)).startswith("1 webhook was given up, 2 did not arrive yet")
