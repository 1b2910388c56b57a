"""What the ledger keeps of runs and of changes, on a real PostgreSQL."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from provisioning_pipeline.ledger.history import History, Run, point, record_from
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, is_false, is_true
from provisioning_pipeline.model.forecast import (
    AgingWorkspace,
    CutName,
    Forecast,
    Harm,
    Limit,
    RunRecord,
    Timed,
)
from provisioning_pipeline.model.history import Actor, Drift, DriftCause, Source, Versions, Waiting
from provisioning_pipeline.model.tenant import Outcome, OutcomeStatus, Tenant
from provisioning_pipeline.steps.members.changes import SET_NAME
from provisioning_pipeline_tests.ledger.conftest import ask_ledger

T = TypeVar("T")
NAME = "twenty_tenant_acme_1"
NOW = datetime(2026, 8, 1, tzinfo=UTC)
FORECAST = Forecast(
    clerk_calls=3,
    twenty_calls=40,
    seconds=12.5,
    first_limit=Limit.SERVER_ROOM,
    why="eu has room for 1.",
    cut_names=(CutName("a-very-long", "a-very"),),
    aging=(AgingWorkspace("acme", "w", NOW),),
    harm=Harm(1, 50, 0),
)
RECORD = RunRecord(
    looked_at=2,
    whole=True,
    drift=1,
    forecast=FORECAST,
    waiting=Waiting("harm-1", 3),
    calls={"signIn": 2},
    phases=(("observe and decide", 0.5), ("make servers ready", 0.25)),
    refusals=("Full.",),
    versions=Versions("0.1", "1.13", "3.12", {"eu": None}),
    settings={"PROVISIONING_HARM_MOST": "50"},
)


def run(url: str, work: Callable[[History], Coroutine[Any, Any, T]]) -> T:
    return ask_ledger(url, lambda database: work(History(database)))


def finished(run_id: str, **other: Any) -> Run:
    given: dict[str, Any] = {"ready": 1, "unwell": 1, "actions": 4, "seconds": 2.0, "report": None, "record": RECORD}
    return Run(run_id, "operator", NOW, NOW, **(given | other))


async def settle(history: History, *conditions: Condition) -> None:
    ledger = Ledger(history.database)
    await ledger.ensure_links([Tenant(NAME, "acme", "Acme")])
    await ledger.store_conditions({NAME: conditions}, run_id="r1", waits=(1, 1))


async def changes(history: History) -> list[tuple[str, str]]:
    rows = await history.database.fetch("SELECT type, reason FROM provisioning.condition_change ORDER BY id")
    return [(row["type"], row["reason"]) for row in rows]


def test_a_record_comes_back_from_the_ledger_as_it_was(url: str) -> None:
    async def work(history: History) -> Run | None:
        await history.begin_run("r1", "operator")
        await history.store_plan("r1", (), RECORD)
        await history.finish_run(finished("r1"))
        return await history.run("r1")

    kept = run(url, work)
    assert kept is not None
    assert kept.record == RECORD
    assert point(kept).whole


def test_a_run_of_an_earlier_version_has_no_figures_and_is_still_a_point() -> None:
    old = point(finished("r0", record=record_from(None)))
    assert (old.ready, old.drift, old.clerk_calls, old.emails) == (1, None, None, None)
    assert record_from({"looked_at": 3, "of a later version": 1}).looked_at == 3


def test_drift_is_kept_once_per_run_even_if_the_run_plans_again(url: str) -> None:
    drift = Drift(NAME, DriftCause.CLERK, Source.MEMBERS, Actor.CLERK, "add member ada@acme.test.")

    async def work(history: History) -> list[Drift]:
        await history.begin_run("r1", "operator")
        await history.store_plan("r1", (drift,), RECORD)
        await history.store_plan("r1", (drift,), RECORD)
        return await history.drift_of("r1")

    assert run(url, work) == [drift]


def test_the_last_runs_are_the_finished_ones_newest_first(url: str) -> None:
    async def work(history: History) -> list[str]:
        for name in ("r1", "r2"):
            await history.finish_run(finished(name, seconds=60.0 if name == "r1" else 0.0))
        await history.begin_run("broken-off", "operator")
        return [found.run_id for found in await history.last_runs(5)]

    assert run(url, work) == ["r2", "r1"]


def test_what_held_before_a_run_is_known_and_a_stranger_is_not(url: str) -> None:
    async def work(history: History) -> None:
        await settle(history, is_true(ConditionType.DETECTED, Reason.DATABASE_PRESENT, "There."))
        before = await history.before([NAME, "stranger"])
        assert {name: (found.ready, found.held) for name, found in before.items()} == {
            NAME: (False, frozenset({ConditionType.DETECTED}))
        }

    run(url, work)


def test_a_timeline_gets_every_turn_and_no_repetition(url: str) -> None:
    full = is_false(ConditionType.WORKSPACE_READY, Reason.SERVER_FULL, "Full.")
    active = is_true(ConditionType.WORKSPACE_READY, Reason.WORKSPACE_ACTIVE, "Active.")
    there = is_true(ConditionType.DETECTED, Reason.DATABASE_PRESENT, "There.")

    async def work(history: History) -> list[tuple[str, str]]:
        for conditions in ((there, full), (there, full), (there, active)):
            await settle(history, *conditions)
        return await changes(history)

    found = run(url, work)
    assert [change for change in found if change[0] != "Ready"] == [
        ("WorkspaceReady", "ServerFull"),
        ("WorkspaceReady", "WorkspaceActive"),
    ]
    # Ready carries the first question that is open, so it turned once
    assert [reason for type_, reason in found if type_ == "Ready"] == ["Waiting"]


def test_new_words_for_the_same_reason_are_no_turn(url: str) -> None:
    async def work(history: History) -> list[tuple[str, str]]:
        for words in ("3 of 5.", "4 of 5."):
            await settle(history, is_false(ConditionType.DETECTED, Reason.DATABASE_MISSING, words))
        return await changes(history)

    assert run(url, work) == [("Detected", "DatabaseMissing"), ("Ready", "DatabaseMissing")]


def test_what_a_session_showed_is_kept_once_an_hour_and_marks_its_tenant(url: str) -> None:
    drift = Drift(NAME, DriftCause.CLERK, Source.SESSION, Actor.CLERK, "a claim")

    async def work(history: History) -> tuple[int, int, bool]:
        await Ledger(history.database).ensure_links([Tenant(NAME, "acme", "Acme")])
        for _ in range(3):
            await history.add_drift(drift, "session")
        first = await history.database.fetch("SELECT 1 FROM provisioning.drift")
        await history.database.execute("UPDATE provisioning.drift SET at = at - interval '61 minutes'")
        await history.add_drift(drift, "session")
        later = await history.database.fetch("SELECT 1 FROM provisioning.drift")
        marked = await history.database.fetch("SELECT 1 FROM provisioning.tenant_link WHERE marked_at IS NOT NULL")
        return len(first), len(later), bool(marked)

    assert run(url, work) == (1, 2, True)


def test_times_of_changes_are_those_of_runs_that_knew_the_server_under_this_address(url: str) -> None:
    async def work(history: History) -> list[Any]:
        ledger = Ledger(history.database)
        await ledger.ensure_links([Tenant(NAME, "acme", "Acme")])
        await history.database.execute("UPDATE provisioning.tenant_link SET server = 'eu'")
        for run_id, shown in (
            ("here", "http://eu.test, capacity 5"),
            ("bare", "http://eu.test"),
            ("sandbox", "http://127.0.0.1:4000"),
            ("longer", "http://eu.test:8443"),
            ("unknown", None),
        ):
            settings = {"Twenty server eu": shown} if shown else {}
            await history.begin_run(run_id, "operator")
            await history.finish_run(finished(run_id, record=replace(RECORD, settings=settings)))
            outcomes = [
                Outcome(NAME, SET_NAME, status, "", seconds)
                for status, seconds in (
                    (OutcomeStatus.DONE, 1.0),
                    (OutcomeStatus.DONE, 3.0),
                    (OutcomeStatus.FAILED, 9.0),
                )
            ]
            await history.store_outcomes([(run_id, outcome) for outcome in outcomes])
        assert await history.timed_changes({"us": "http://eu.test"}) == []
        return await history.timed_changes({"eu": "http://eu.test"})

    found = run(url, work)

    assert found == [Timed("eu", SET_NAME, 2, 2.0)] * 3
