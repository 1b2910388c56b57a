"""A tenant's timeline: what each row says, in which order, and that paging loses and repeats nothing."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.decide.timeline import Position, events, page, position_from
from provisioning_pipeline.model.history import Actor, Event, Source

NOON = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


def row(**given: Any) -> dict[str, Any]:
    return {"at": NOON, "run_id": "r1", "trigger": "operator"} | given


def change(type_: str, status: str, reason: str, **other: Any) -> dict[str, Any]:
    return row(type=type_, status=status, reason=reason, message="Words.", **other)


def outcome(status: str = "done", times: int = 1, details: tuple[str, ...] = ("a@acme.test",)) -> dict[str, Any]:
    return row(change="prove login", status=status, times=times, details=list(details))


def only(table: str, found: dict[str, Any]) -> Event:
    (event,) = events({table: [found]})
    return event


# --- what each row says -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trigger", "who"),
    [
        ("operator", Actor.OPERATOR),
        ("schedule", Actor.SCHEDULE),
        ("sensor", Actor.SENSOR),
        ("clerk", Actor.CLERK),
        ("tenant-manager", Actor.TENANT_MANAGER),
        ("demo", Actor.UNKNOWN),
        (None, Actor.UNKNOWN),
    ],
)
def test_an_action_is_of_whoever_is_behind_its_run(trigger: str | None, who: Actor) -> None:
    event = only("outcome", outcome() | {"trigger": trigger})
    assert (event.who, event.source, event.run_id, event.failed) == (who, Source.ACTION, "r1", False)


def test_a_failed_action_says_so_in_words_too() -> None:
    event = only("outcome", row(change="add member", status="failed", times=1, details=["a@acme.test: refused"]))
    assert event.failed
    assert event.what == "add member failed: a@acme.test: refused"


def test_many_logins_of_one_moment_are_one_line() -> None:
    assert only("outcome", outcome(times=5, details=("a", "b", "c"))).what == (
        "prove login of 5 people: a, b, c and 2 more"
    )


@pytest.mark.parametrize(
    ("type_", "status", "reason", "source", "who", "failed"),
    [
        ("Detected", "False", "DatabaseVanished", Source.DATABASE, Actor.TENANT_MANAGER, True),
        ("TenantDatabase", "False", "RowsReported", Source.DATABASE, Actor.UNKNOWN, True),
        ("Registered", "True", "Adopted", Source.REGISTRY, Actor.OPERATOR, False),
        ("Registered", "False", "TenantSuspended", Source.REGISTRY, Actor.TENANT_MANAGER, False),
        ("WorkspaceReady", "False", "WorkspaceGone", Source.WORKSPACE, Actor.TWENTY, True),
        ("MembersSynced", "False", "Waiting", Source.MEMBERS, Actor.OPERATOR, False),
        ("MembersSynced", "Unknown", "ClerkUnreachable", Source.MEMBERS, Actor.UNKNOWN, False),
        ("OnboardingComplete", "True", "StepsCleared", Source.ONBOARDING, Actor.OPERATOR, False),
        ("LoginProved", "False", "WizardShows", Source.LOGIN, Actor.UNKNOWN, True),
        ("Ready", "True", "AllTrue", Source.LOGIN, Actor.OPERATOR, False),
        ("Ready", "False", "ServerFull", Source.WORKSPACE, Actor.UNKNOWN, True),
        ("OfALaterVersion", "False", "OfALaterVersion", Source.WORKSPACE, Actor.UNKNOWN, True),
    ],
)
def test_a_turn_of_a_condition_has_its_place_and_its_cause(
    type_: str, status: str, reason: str, source: Source, who: Actor, failed: bool
) -> None:
    event = only("condition_change", change(type_, status, reason))
    assert (event.source, event.who, event.failed) == (source, who, failed)


def test_ready_does_not_repeat_what_another_condition_says() -> None:
    told = [
        only("condition_change", change("Ready", status, reason)).what
        for status, reason in (("True", "AllTrue"), ("False", "ServerFull"), ("False", "TenantSuspended"))
    ]
    assert told == ["Ready.", "Not ready: ServerFull.", "Excluded: TenantSuspended."]


def test_drift_keeps_its_own_words_also_of_a_later_version() -> None:
    found = row(cause="a change at Clerk", source="members", who="Clerk", detail="add member ada@acme.test.")
    event = only("drift", found)
    assert event.what == "A change at Clerk: add member ada@acme.test."
    assert (event.source, event.who) == (Source.MEMBERS, Actor.CLERK)

    later = only("drift", found | {"cause": "?", "source": "?", "who": "?"})
    assert (later.what, later.who) == ("Nobody knows: add member ada@acme.test.", Actor.UNKNOWN)


def test_a_creation_is_told_as_begun_and_as_settled() -> None:
    intent = {"subdomain": "acme", "server": "eu"}
    begun = only("intent", row(**intent, open=True))
    lost = only("settled_intent", row(**intent, settled_as="made nothing: ServerFull"))
    made = only("settled_intent", row(**intent, settled_as="created"))
    assert begun.what == "Creation of workspace acme on eu begun; how it ended is not known yet."
    assert lost.what == "Creation of workspace acme on eu settled: made nothing: ServerFull."
    assert (begun.failed, lost.failed, made.failed) == (False, True, False)


def test_rows_that_were_put_back_since_are_told_so() -> None:
    found = row(server=None, table_name='core."keyValuePair"', times=2, restored=0, uncertain=0, keys=["A", "B"])
    assert only("removed_row", found).what == (
        'SQL in the tenant\'s own database: 2 rows of core."keyValuePair" removed or changed (A, B).'
    )
    back = only("removed_row", found | {"server": "eu", "times": 1, "restored": 1, "uncertain": 1})
    assert back.what.startswith("SQL in the database of eu: 1 row of ")
    assert back.what.endswith("; of 1 it is not certain; all put back since by `provisioning undo`.")


def test_a_webhook_is_clerks_and_says_when_it_is_late() -> None:
    found = {"at": NOON, "type": "user.updated", "person": "ada@acme.test", "happened_at": NOON}
    event = only("clerk_event", found)
    assert (event.who, event.source, event.run_id) == (Actor.CLERK, Source.WEBHOOK, None)
    assert event.what == "Clerk told of user.updated about ada@acme.test."
    late = only("clerk_event", found | {"person": None, "happened_at": NOON - timedelta(hours=1)})
    assert late.what == "Clerk told of user.updated, which happened at 2026-08-01 11:00:00 UTC."


def test_times_are_told_in_utc() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5)))
    assert only("outcome", outcome() | {"at": elsewhere}).at.isoformat() == "2026-08-01T12:00:00+00:00"


# --- order and pages --------------------------------------------------------------------------------------------


def test_newest_first_and_of_one_moment_the_result_is_newer_than_its_cause() -> None:
    earlier = change("Detected", "True", "DatabasePresent", at=NOON - timedelta(seconds=1))
    found = events(
        {
            "drift": [row(cause="a new tenant", source="database", who="tenant manager", detail="Seen.")],
            "outcome": [outcome()],
            "condition_change": [change("Ready", "True", "AllTrue"), earlier],
        }
    )
    assert [event.source for event in found] == [Source.LOGIN, Source.ACTION, Source.DATABASE, Source.DATABASE]


moments = st.lists(st.integers(0, 6), max_size=30).map(lambda found: sorted(found, reverse=True))


def event_at(second: int, number: int) -> Event:
    return Event(NOON + timedelta(seconds=second), Actor.UNKNOWN, Source.ACTION, str(number))


@given(moments, st.integers(1, 8))
def test_page_by_page_every_event_comes_once_and_in_order(seconds: list[int], most: int) -> None:
    everything = [event_at(second, number) for number, second in enumerate(seconds)]
    walked: list[Event] = []
    begin: Position | None = None
    while True:
        # as a ledger answers: nothing younger than asked for, and no more than asked for
        younger_left_out = [event for event in everything if begin is None or event.at <= begin.until]
        shown, begin = page(younger_left_out[: most + (begin.told if begin else 0) + 1], begin, most)
        walked += shown
        assert len(shown) == most or begin is None
        if begin is None:
            break
        begin = position_from(str(begin))
    assert walked == everything


@given(st.timedeltas(timedelta(days=-9000), timedelta(days=9000)), st.integers(0, 10_000))
def test_a_position_comes_back_from_its_text(since: timedelta, told: int) -> None:
    position = Position(NOON + since, told)
    assert position_from(str(position)) == position


def test_a_plain_time_is_a_position_too() -> None:
    assert position_from("2026-08-01") == Position(datetime(2026, 8, 1, tzinfo=UTC))
    assert position_from("2026-08-01T14:00:00+02:00").at == NOON


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "~3", "2026-08-01~", "2026-08-01~-1", "2026-08-01~99999", "2026-08-01~1~2", "0001-01-01",
     "9999-12-31T23:59:59Z", "2026-08-01~²"],
)  # fmt: skip
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        position_from(text)
