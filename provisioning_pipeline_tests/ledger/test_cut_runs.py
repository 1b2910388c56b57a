"""Runs that were cut are found by their locks and end with what they did; outcomes are stored as they happen."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.history import History, Journal, Run, point
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.runs import GONE, CutRuns, holding_run_lock
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.forecast import RunRecord
from provisioning_pipeline.model.history import RunKind
from provisioning_pipeline.model.tenant import Outcome, OutcomeStatus, Tenant
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.members.changes import SET_NAME
from provisioning_pipeline.steps.workspaces.changes import ACTIVATE_WORKSPACE, CREATE_WORKSPACE
from provisioning_pipeline_tests.ledger.conftest import ask_ledger

T = TypeVar("T")
ACME = "twenty_tenant_acme_1"
NOW = datetime(2026, 8, 1, tzinfo=UTC)
RECORD = RunRecord(looked_at=1, whole=True, drift=1, phases=(("observe and decide", 0.5),))


async def planned(database: Database, run_id: str) -> None:
    history = History(database)
    await Ledger(database).ensure_links([Tenant(ACME, "acme", "Acme")])
    await history.begin_run(run_id, "operator")
    await history.store_plan(run_id, (), RECORD)


def outcome(change: Change, status: OutcomeStatus, detail: str = "acme on eu") -> Outcome:
    return Outcome(ACME, change, status, detail, 1.0)


async def store(database: Database, run_id: str, *outcomes: Outcome) -> None:
    await History(database).store_outcomes([(run_id, each) for each in outcomes])


async def outcomes(database: Database, run_id: str) -> list[tuple[str, str]]:
    return [(row["change"], row["status"]) for row in await History(database).outcomes_of(run_id)]


def test_a_run_without_a_process_is_cut_whether_or_not_that_is_recorded_yet(url: str) -> None:
    async def work(database: Database) -> None:
        cut, history = CutRuns(database), History(database)
        await planned(database, "alive")
        await planned(database, "killed")
        await store(
            database,
            "killed",
            outcome(SET_NAME, OutcomeStatus.DONE),
            outcome(PROVE_LOGIN, OutcomeStatus.DONE),
            outcome(ACTIVATE_WORKSPACE, OutcomeStatus.BEGUN),
        )
        async with holding_run_lock(database, "alive"):
            assert await cut.gone() == ["killed"]
            assert await cut.gone(but=["killed"]) == []
            (shown,) = await cut.since_last_finished()
            assert await cut.end(await cut.gone(), GONE) == ["killed"]
            assert await cut.end(["killed"], "Once more.") == []
            (recorded,) = await cut.since_last_finished()
        # what readers see without leave to write is what is recorded in the end
        assert shown == recorded
        assert (recorded.actions, recorded.unwell, recorded.cut_why) == (1, 1, GONE)
        assert recorded.record == RECORD
        assert recorded.ended_at is not None
        assert timedelta() < recorded.ended_at - recorded.begun_at < timedelta(minutes=1)
        assert await outcomes(database, "killed") == [
            ("set name", "done"),
            ("prove login", "done"),
            ("activate workspace", "cut"),
        ]
        assert await history.last_runs(5) == []

    ask_ledger(url, work)


def test_a_run_that_lives_after_all_counts_by_its_own_end(url: str) -> None:
    async def work(database: Database) -> list[str | None]:
        cut, history = CutRuns(database), History(database)
        await planned(database, "r1")
        change = outcome(SET_NAME, OutcomeStatus.BEGUN)
        await store(database, "r1", change)
        await cut.end(["r1"], GONE)
        await store(database, "r1", Outcome(ACME, change.change, OutcomeStatus.DONE, "", 1.0, change.key))
        await history.finish_run(Run("r1", "operator", NOW, NOW, 1, 0, 1, 1.0, None, RECORD))
        assert await outcomes(database, "r1") == [("set name", "done")]
        assert await cut.last(5) == []
        return [point(each).cut_why for each in await history.last_runs(5)]

    assert ask_ledger(url, work) == [None]


def test_a_run_that_goes_on_in_another_process_is_cut_no_more(url: str) -> None:
    async def work(database: Database) -> list[str]:
        await planned(database, "r1")
        await CutRuns(database).end(["r1"], GONE)
        await History(database).begin_run("r1", "operator")
        return await CutRuns(database).gone()

    assert ask_ledger(url, work) == ["r1"]


def test_only_reconciliations_are_told_of_as_cut(url: str) -> None:
    async def work(database: Database) -> tuple[list[str], list[str]]:
        cut, history = CutRuns(database), History(database)
        for kind in RunKind:
            await history.begin_run(kind, "operator", kind)
        await database.execute("INSERT INTO provisioning.run (run_id, trigger) VALUES ('of an earlier version', 's')")
        ended = await cut.end(await cut.gone(), GONE)
        return sorted(ended), [each.run_id for each in await cut.last(5)]

    ended, told = ask_ledger(url, work)
    assert ended == sorted([*RunKind, "of an earlier version"])
    assert told == [RunKind.RECONCILIATION]


def test_what_ends_by_itself_is_done_with_its_time(url: str) -> None:
    async def work(database: Database) -> list[Any]:
        history = History(database)
        await history.begin_run("v1", "operator", RunKind.VERIFICATION)
        await history.end_run("v1")
        return await database.fetch_tuples("SELECT ended_as, seconds >= 0, finished_at FROM provisioning.run")

    assert ask_ledger(url, work) == [("done", True, None)]


async def creation(database: Database, run_id: str) -> Any:
    """An intent of this run, and its outcome that was never ended."""
    await planned(database, run_id)
    intent = await Ledger(database).begin_intent(ACME, "eu", "acme", run_id, begun_at=NOW)
    await store(database, run_id, outcome(CREATE_WORKSPACE, OutcomeStatus.BEGUN))
    return intent


def test_a_run_killed_once_its_workspace_was_linked_has_made_it(url: str) -> None:
    async def work(database: Database) -> list[tuple[str, str]]:
        intent = await creation(database, "killed")
        await Ledger(database).store_workspace(intent, ACME, str(uuid.uuid4()), "http://x/", run_id="killed")
        await CutRuns(database).end(["killed"], GONE)
        return await outcomes(database, "killed")

    assert ask_ledger(url, work) == [("create workspace", "done")]


@pytest.mark.parametrize("left_behind", [True, False])
def test_a_later_run_settles_the_creation_of_one_that_was_killed(url: str, left_behind: bool) -> None:
    """It finds the workspace, or makes it itself: then the first has made nothing."""

    async def work(database: Database) -> list[tuple[str, str]]:
        intent = await creation(database, "killed")
        await CutRuns(database).end(["killed"], GONE)
        assert await outcomes(database, "killed") == [("create workspace", "cut")]
        await planned(database, "next")
        await store(database, "next", outcome(CREATE_WORKSPACE, OutcomeStatus.BEGUN))
        await Ledger(database).store_workspace(
            intent, ACME, str(uuid.uuid4()), "http://x/", run_id="next", left_behind=left_behind
        )
        assert await outcomes(database, "next") == [("create workspace", "begun")]
        actions = await database.fetch_tuples("SELECT actions FROM provisioning.run WHERE run_id = 'killed'")
        assert actions == [(1 if left_behind else 0,)]
        return await outcomes(database, "killed")

    assert ask_ledger(url, work) == [("create workspace", "done" if left_behind else "failed")]


def test_an_intent_that_made_nothing_says_so_of_the_run_that_was_killed(url: str) -> None:
    async def work(database: Database) -> list[tuple[str, str]]:
        intent = await creation(database, "killed")
        await Ledger(database).drop_intent(intent, ACME, "made nothing: SubdomainTaken", run_id="next")
        return await outcomes(database, "killed")

    assert ask_ledger(url, work) == [("create workspace", "failed")]


# --- outcomes as they happen --------------------------------------------------------------------------------------


def test_what_comes_together_is_one_statement_and_the_later_state_counts(url: str) -> None:
    async def work(database: Database) -> tuple[int, list[tuple[str, str]]]:
        statements = 0
        history = History(database)
        store_outcomes = history.store_outcomes

        async def counted(given: Any) -> None:
            nonlocal statements
            statements += 1
            await store_outcomes(given)

        history.store_outcomes = counted
        journal = Journal(history)
        changes = [outcome(SET_NAME, OutcomeStatus.BEGUN) for _ in range(50)]
        await asyncio.gather(*(journal.store("r1", change) for change in changes))
        for change in changes:
            journal.note("r1", change)
            journal.note("r1", Outcome(ACME, change.change, OutcomeStatus.DONE, "", 1.0, change.key))
        await journal.settle()
        await journal.settle()
        return statements, await outcomes(database, "r1")

    statements, found = ask_ledger(url, work)
    assert statements == 2
    assert found == [("set name", "done")] * 50


def test_who_is_cancelled_while_waiting_loses_nothing(url: str) -> None:
    async def work(database: Database) -> list[tuple[str, str]]:
        journal = Journal(History(database))
        waiting = asyncio.create_task(journal.store("r1", outcome(SET_NAME, OutcomeStatus.DONE)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        await journal.settle()
        return await outcomes(database, "r1")

    assert ask_ledger(url, work) == [("set name", "done")]


def test_what_the_ledger_did_not_take_is_tried_again(url: str) -> None:
    async def work(database: Database) -> list[tuple[str, str]]:
        history = History(database)
        store_outcomes = history.store_outcomes

        async def away(_: Any) -> None:
            raise Fault(FaultKind.TRANSIENT, Reason.REGISTRY_UNREACHABLE, "away")

        history.store_outcomes = away
        journal = Journal(history)
        with pytest.raises(Fault, match="away"):
            await journal.store("r1", outcome(SET_NAME, OutcomeStatus.DONE))
        with pytest.raises(Fault, match="away"):
            await journal.settle()
        history.store_outcomes = store_outcomes
        await journal.settle()
        return await outcomes(database, "r1")

    assert ask_ledger(url, work) == [("set name", "done")]
