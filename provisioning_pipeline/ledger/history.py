"""Runs, their outcomes and their plans, as they are stored and read."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextvars import Context
from dataclasses import asdict, astuple, dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic import TypeAdapter

from provisioning_pipeline.clients.postgres import Row, anew_if_lost
from provisioning_pipeline.ledger.schema import REQUEST_REVIEWS, LedgerTables, columns
from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.model.forecast import RunRecord, Timed
from provisioning_pipeline.model.history import Actor, Before, Drift, DriftCause, RunKind, RunPoint, Source
from provisioning_pipeline.model.tenant import Outcome


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `finished_at` is None while it is under way, and when it was cut: then `cut_why` says why."""

    run_id: str
    trigger: str
    begun_at: datetime
    finished_at: datetime | None
    ready: int
    unwell: int
    actions: int
    seconds: float
    report: str | None
    record: RunRecord
    ended_at: datetime | None = None
    cut_why: str | None = None


class History(LedgerTables):
    """Runs, with what they found and did."""

    async def begin_run(self, run_id: str, trigger: str, kind: RunKind = RunKind.RECONCILIATION) -> None:
        """Store that a run began. Beginning twice is beginning once, and one that goes on was not cut."""
        await self.database.execute(
            """
            INSERT INTO provisioning.run AS r (run_id, trigger, kind) VALUES (%s, %s, %s)
            ON CONFLICT (run_id) DO UPDATE SET ended_at = NULL, ended_as = NULL, cut_why = NULL
            WHERE r.ended_as = 'cut'
            """,
            [run_id, trigger, kind],
        )

    async def end_run(self, run_id: str) -> None:
        """Remember that a run that is no reconciliation has ended."""
        await self.database.execute(
            """
            UPDATE provisioning.run
            SET ended_at = now(), ended_as = 'done', seconds = extract(epoch FROM now() - begun_at)
            WHERE run_id = %s AND ended_as IS NULL
            """,
            [run_id],
        )

    async def forget_run(self, run_id: str) -> None:
        """Take back the beginning of a run that was refused before it did anything."""
        await self.database.execute("DELETE FROM provisioning.run WHERE run_id = %s AND finished_at IS NULL", [run_id])

    async def before(self, database_names: Sequence[str]) -> dict[str, Before]:
        """What is known of these tenants; without those that no run ever observed."""
        rows = await self.database.fetch_tuples(
            """
            SELECT l.database_name, l.ready, COALESCE(array_agg(c.type) FILTER (WHERE c.status = 'True'), '{}')
            FROM provisioning.tenant_link l
            -- a tenant that was asked for and never observed has no condition yet, and is new
            JOIN provisioning.condition c ON c.database_name = l.database_name
            WHERE l.database_name = ANY(%s)
            GROUP BY l.database_name
            """,
            [list(database_names)],
        )
        return {name: Before(ready, frozenset(map(ConditionType.named, held))) for name, ready, held in rows}

    @anew_if_lost
    async def store_plan(self, run_id: str, drift: Sequence[Drift], record: RunRecord) -> None:
        """Remember what a run found before it did anything; a second time, of the same run, takes the first's place."""
        async with self.database.transaction() as connection:
            await connection.execute("DELETE FROM provisioning.drift WHERE run_id = %s", [run_id])
            if drift:
                await connection.execute(
                    """
                    INSERT INTO provisioning.drift (run_id, database_name, cause, source, who, detail)
                    SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
                    """,
                    [run_id, *columns([astuple(found) for found in drift])],
                )
            await connection.execute(
                "UPDATE provisioning.run SET record = %s WHERE run_id = %s", [Jsonb(record_as_json(record)), run_id]
            )

    @anew_if_lost
    async def take_over(self, run_id: str, trigger: str, planned_by: str) -> None:
        """Give a run that was executed again from the middle the record and the drift of the run that planned."""
        async with self.database.transaction() as connection:
            await connection.execute(
                """
                INSERT INTO provisioning.run (run_id, trigger, kind, record)
                SELECT %s, %s, kind, record FROM provisioning.run WHERE run_id = %s
                ON CONFLICT (run_id) DO UPDATE SET record = COALESCE(run.record, excluded.record)
                """,
                [run_id, trigger, planned_by],
            )
            await connection.execute(
                """
                INSERT INTO provisioning.drift (run_id, database_name, cause, source, who, detail, at)
                SELECT %s, database_name, cause, source, who, detail, at FROM provisioning.drift
                WHERE run_id = %s AND NOT EXISTS (SELECT 1 FROM provisioning.drift WHERE run_id = %s)
                ORDER BY id
                """,
                [run_id, planned_by, run_id],
            )

    @anew_if_lost
    async def add_drift(self, found: Drift, run_id: str) -> None:
        """Store one difference that was seen outside of a run, and ask for a review of its tenant; once an hour.

        `run_id` says where it was seen.
        """
        async with self.database.transaction() as connection:
            cursor = await connection.execute(
                """
                INSERT INTO provisioning.drift (run_id, database_name, cause, source, who, detail)
                SELECT %(run)s, %(database_name)s, %(cause)s, %(source)s, %(who)s, %(detail)s WHERE NOT EXISTS (
                    SELECT 1 FROM provisioning.drift WHERE database_name = %(database_name)s AND run_id = %(run)s
                    AND at > now() - interval '1 hour')
                """,
                {"run": run_id, **asdict(found)},
            )
            if cursor.rowcount:
                await connection.execute(REQUEST_REVIEWS, [[found.database_name]])

    async def last_drift(self, database_names: Sequence[str]) -> list[Drift]:
        """For each of these tenants what the last run that found anything of it to differ found, by database name."""
        rows = await self.database.fetch_tuples(
            """
            SELECT d.database_name, d.cause, d.source, d.who, d.detail FROM provisioning.drift d
            JOIN (
                SELECT DISTINCT ON (database_name) database_name, run_id FROM provisioning.drift
                WHERE database_name = ANY(%s) ORDER BY database_name, at DESC, id DESC
            ) last USING (database_name, run_id)
            ORDER BY d.database_name, d.id
            """,
            [list(database_names)],
        )
        return [_drift(*row) for row in rows]

    async def drift_of(self, run_id: str) -> list[Drift]:
        """What one run found, by database name."""
        rows = await self.database.fetch_tuples(
            """
            SELECT database_name, cause, source, who, detail FROM provisioning.drift
            WHERE run_id = %s ORDER BY database_name, id
            """,
            [run_id],
        )
        return [_drift(*row) for row in rows]

    async def record_of(self, run_id: str) -> RunRecord:
        """The record of a run; of one that never planned, nothing but defaults."""
        rows = await self.database.fetch("SELECT record FROM provisioning.run WHERE run_id = %s", [run_id])
        return record_from(rows[0]["record"] if rows else None)

    async def timed_changes(self, servers: Mapping[str, str]) -> list[Timed]:
        """How long changes took in the last runs on each of these servers (name → base URL).

        A run that knew the server under another address says nothing of it: the name may have been a sandbox's then.
        """
        rows = await self.database.fetch_tuples(
            """
            SELECT l.server, o.change, count(*)::int, avg(o.seconds)
            FROM (
                SELECT run_id, database_name, change, seconds FROM provisioning.outcome
                WHERE status = 'done' ORDER BY id DESC LIMIT 5000
            ) o
            JOIN provisioning.tenant_link l USING (database_name)
            JOIN provisioning.run r USING (run_id)
            JOIN unnest(%s::text[], %s::text[]) AS known(server, shown) ON known.server = l.server
            WHERE r.record IS NULL OR r.record->'settings'->>('Twenty server ' || l.server) IS NULL
               OR r.record->'settings'->>('Twenty server ' || l.server) = known.shown
               OR starts_with(r.record->'settings'->>('Twenty server ' || l.server), known.shown || ',')
            GROUP BY l.server, o.run_id, o.change
            """,
            [list(servers), list(servers.values())],
        )
        return [Timed(*row) for row in rows]

    async def inhabited_servers(self) -> list[str]:
        """The servers on which a tenant of ours has its workspace."""
        rows = await self.database.fetch_tuples(
            "SELECT DISTINCT server FROM provisioning.tenant_link WHERE workspace_id IS NOT NULL AND server IS NOT NULL"
        )
        return [server for (server,) in rows]

    async def members_besides_admin(self, database_names: Sequence[str]) -> dict[str, int]:
        """Database name → members of ours in its workspace besides the admin; tenants without any are left out."""
        rows = await self.database.fetch_tuples(
            """
            SELECT l.database_name, count(DISTINCT m.twenty_user_id)
            FROM provisioning.tenant_link l
            JOIN (
                SELECT database_name, twenty_user_id FROM provisioning.member_link
                UNION ALL
                SELECT database_name, twenty_user_id FROM provisioning.taken_over_member WHERE left_at IS NULL
            ) m ON m.database_name = l.database_name AND m.twenty_user_id IS DISTINCT FROM l.admin_user_id
            WHERE l.database_name = ANY(%s) GROUP BY l.database_name
            """,
            [list(database_names)],
        )
        return dict(rows)

    async def store_outcomes(self, outcomes: Sequence[tuple[str, Outcome]]) -> None:
        """Store these, each with the run that it is of; the later state of an outcome takes the earlier one's place."""
        if not outcomes:
            return
        await self.database.execute(
            """
            INSERT INTO provisioning.outcome AS o (run_id, database_name, change, status, detail, seconds, key)
            SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::float8[], %s::uuid[])
            ON CONFLICT (key) DO UPDATE
                SET status = excluded.status, detail = excluded.detail, seconds = excluded.seconds, at = now()
            """,
            columns(
                [
                    (run, done.database_name, done.change, done.status, done.detail, done.seconds, done.key)
                    for run, done in outcomes
                ]
            ),
        )

    async def outcomes_of(self, run_id: str) -> list[Row]:
        """The outcomes of one run: database_name, change, status, detail, seconds, at."""
        return await self.database.fetch(
            """
            SELECT database_name, change, status, detail, seconds, at FROM provisioning.outcome
            WHERE run_id = %s ORDER BY database_name, id
            """,
            [run_id],
        )

    async def count_done(self, run_id: str, changes: Collection[str]) -> int:
        """How many of these changes a run made."""
        rows = await self.database.fetch(
            """
            SELECT count(*) AS found FROM provisioning.outcome
            WHERE run_id = %s AND status = 'done' AND change = ANY(%s)
            """,
            [run_id, [str(change) for change in changes]],
        )
        return int(rows[0]["found"])

    async def finish_run(self, run: Run) -> None:
        """Remember how a run ended, also one that was re-executed from the middle and never began here."""
        await self.database.execute(
            """
            INSERT INTO provisioning.run
                (run_id, trigger, begun_at, finished_at, ready, unwell, actions, seconds, report, record, kind,
                 ended_at, ended_as)
            VALUES (%s, %s, now() - make_interval(secs => %s), now(), %s, %s, %s, %s, %s, %s, %s, now(), 'done')
            ON CONFLICT (run_id) DO UPDATE SET
                ended_at = excluded.ended_at, ended_as = 'done', cut_why = NULL,
                finished_at = excluded.finished_at, ready = excluded.ready, unwell = excluded.unwell,
                actions = excluded.actions, seconds = excluded.seconds, report = excluded.report,
                record = excluded.record
            """,
            [
                run.run_id,
                run.trigger,
                run.seconds,
                run.ready,
                run.unwell,
                run.actions,
                run.seconds,
                run.report,
                Jsonb(record_as_json(run.record)),
                RunKind.RECONCILIATION,
            ],
        )

    async def store_report(self, run_id: str, path: str) -> None:
        """Remember where the run's report was written."""
        await self.database.execute("UPDATE provisioning.run SET report = %s WHERE run_id = %s", [path, run_id])

    async def last_whole_run(self) -> Run | None:
        """The last finished run over all tenants; None when there was none, or no ledger yet."""
        rows = await self.fetch_if_made(
            RUNS + "WHERE finished_at IS NOT NULL AND record->>'whole' = 'true' ORDER BY begun_at DESC LIMIT 1"
        )
        return run_from(rows[0]) if rows else None

    async def last_runs(self, most: int) -> list[Run]:
        """The last finished runs, newest first; none when there is no ledger yet."""
        rows = await self.fetch_if_made(RUNS + "WHERE finished_at IS NOT NULL ORDER BY begun_at DESC LIMIT %s", [most])
        return [run_from(row) for row in rows]

    async def run(self, run_id: str) -> Run | None:
        """One run, finished or not."""
        rows = await self.database.fetch(RUNS + "WHERE run_id = %s", [run_id])
        return run_from(rows[0]) if rows else None


RUNS: LiteralString = """
    SELECT run_id, trigger, begun_at, finished_at, ready, unwell, actions, seconds, report, record, ended_at, cut_why
    FROM provisioning.run r
"""


def _drift(name: str, cause: str, source: str, who: str, detail: str) -> Drift:
    return Drift(name, DriftCause(cause), Source(source), Actor(who), detail)


_RECORD: TypeAdapter[RunRecord] = TypeAdapter(RunRecord)


def record_as_json(record: RunRecord) -> dict[str, Any]:
    """For the column `record`."""
    document: dict[str, Any] = _RECORD.dump_python(record, mode="json")
    return document


def record_from(document: Mapping[str, Any] | None) -> RunRecord:
    """The record as `record_as_json` gave it, also by an earlier version of this program."""
    return _RECORD.validate_python(document or {})


def run_from(row: Row) -> Run:
    return Run(**(dict(row) | {"record": record_from(row["record"])}))


def point(run: Run) -> RunPoint:
    """A run as one of a row of them."""
    record = run.record
    known = record.looked_at is not None
    return RunPoint(
        run_id=run.run_id,
        trigger=run.trigger,
        begun_at=run.begun_at,
        seconds=run.seconds,
        ready=run.ready,
        unwell=run.unwell,
        aside=record.aside if known else None,
        actions=run.actions,
        whole=record.whole,
        drift=record.drift if known else None,
        clerk_calls=record.clerk_calls if known else None,
        twenty_calls=record.twenty_calls if known else None,
        emails=record.emails if known else None,
        cut_why=run.cut_why if run.finished_at is None else None,
    )


class Journal:
    """The outcomes of the runs of one process, on their way into the ledger."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._noted: dict[UUID, tuple[str, Outcome]] = {}
        self._next: asyncio.Task[None] | None = None
        """Writes what is noted now, once `_current` has ended."""
        self._current: asyncio.Task[None] | None = None

    def note(self, run_id: str, *outcomes: Outcome) -> None:
        """Have these written as soon as the ledger takes them. We await nothing, so no cancellation comes between."""
        for outcome in outcomes:
            self._noted[outcome.key] = (run_id, outcome)
        if outcomes:
            self._begin_to_write()

    async def store(self, run_id: str, *outcomes: Outcome) -> None:
        """Write these, and return once they are in the ledger.

        Raises:
            Fault, Error: when the ledger does not take them; they stay noted.
        """
        self.note(run_id, *outcomes)
        await self.settle()

    async def settle(self) -> None:
        """Return once everything that was noted so far is in the ledger; raises as `store`."""
        if self._noted:
            # also what the ledger did not take before
            self._begin_to_write()
        writing = self._next or self._current
        if writing is not None:
            await asyncio.shield(writing)

    def _begin_to_write(self) -> None:
        if self._next is None:
            # in a context of its own: a guard of who noted first is no guard of what others did
            self._next = asyncio.get_running_loop().create_task(self._write(), context=Context())
            # a caller that waits gets the error; without one, the outcomes stay noted
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _write(self) -> None:
        if self._current is not None:
            await asyncio.wait([self._current])
        self._current, self._next = self._next, None
        batch, self._noted = self._noted, {}
        try:
            await self._history.store_outcomes(list(batch.values()))
        except BaseException:
            self._noted = batch | self._noted
            raise
