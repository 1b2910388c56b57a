"""Which runs are at work, and the end of those whose process is gone."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from typing import LiteralString

from psycopg import Error, sql
from psycopg.types.json import Jsonb

from provisioning_pipeline.clients.postgres import Database, anew_if_lost, answers
from provisioning_pipeline.ledger.history import RUNS, Run, record_as_json, run_from
from provisioning_pipeline.ledger.locks import ADVISORY, MAY_WRITE, SIGN_OF_LIFE_SECONDS, TENANTS, begin_to_hold
from provisioning_pipeline.ledger.revisions import has_ledger
from provisioning_pipeline.ledger.schema import LedgerTables
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import SET_ASIDE
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.forecast import RunRecord

_RUNS = 730_161
"""First key of the locks of runs."""
_EVERY_SECONDS = 10.0
_AGAIN_SECONDS = 1.0


@asynccontextmanager
async def holding_run_lock(database: Database, run_id: str) -> AsyncIterator[None]:
    """Hold the lock of a run inside, from the beginning on unless the ledger is away."""
    tried = asyncio.Event()
    holder = asyncio.create_task(hold_run_lock(database, run_id, tried))
    try:
        await tried.wait()
        yield
    finally:
        holder.cancel()
        await asyncio.wait([holder])


async def hold_run_lock(database: Database, run_id: str, tried: asyncio.Event | None = None) -> None:
    """Hold the lock of a run until cancelled, and take it again whenever its connection is lost.

    Each process of the run holds it. While the ledger is away no process holds it, and the run goes on. `tried` is set
    once it is held, or could not be taken at once.
    """
    tried = tried or asyncio.Event()
    while True:
        with suppress(Fault, Error):
            connection = await database.connect_alone()
            try:
                await begin_to_hold(connection)
                await connection.execute("SELECT pg_advisory_xact_lock_shared(%s, hashtext(%s))", [_RUNS, run_id])
                tried.set()
                while await answers(connection, SIGN_OF_LIFE_SECONDS):  # noqa: ASYNC110  # no event tells of a dead peer
                    await asyncio.sleep(_EVERY_SECONDS)
            finally:
                await connection.close()
        tried.set()
        await asyncio.sleep(_AGAIN_SECONDS)


async def runs_at_work(database: Database, run_ids: Collection[str]) -> frozenset[str]:
    """Those of these runs of which a process lives."""
    return await _held(database, _RUNS, run_ids)


async def tenants_at_work(database: Database, names: Collection[str]) -> frozenset[str]:
    """Those of these tenants at which a process is, of a run in Dagster or of the command line: database names."""
    return await _held(database, TENANTS, names)


async def _held(database: Database, kind: int, names: Collection[str]) -> frozenset[str]:
    if not names:
        return frozenset()
    query = sql.SQL(
        """
        SELECT name FROM unnest(%s::text[]) name
        -- the second key is shown without its sign
        WHERE (hashtext(name)::bigint + 4294967296) %% 4294967296 IN (
            SELECT l.objid::bigint FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE {is_it} AND {ours})
        """
    ).format(is_it=sql.SQL(ADVISORY), ours=sql.SQL(MAY_WRITE))
    rows = await database.fetch(query, [list(names), kind])
    return frozenset(row["name"] for row in rows)


GONE = "Its process is gone: it was killed, or its machine restarted."


class CutRuns(LedgerTables):
    """Runs without an end of their own."""

    async def gone(self, *, but: Collection[str] = ()) -> list[str]:
        """The runs that have no end and no process, those of `but` left out; oldest first."""
        rows = await self.database.fetch(
            """
            SELECT run_id FROM provisioning.run
            WHERE ended_as IS NULL AND finished_at IS NULL AND run_id <> ALL(%s) ORDER BY begun_at
            """,
            [list(but)],
        )
        found = [str(row["run_id"]) for row in rows]
        at_work = await runs_at_work(self.database, found)
        return [run_id for run_id in found if run_id not in at_work]

    @anew_if_lost
    async def end(
        self, run_ids: Sequence[str], why: str, *, by_themselves: bool = False, record: RunRecord | None = None
    ) -> list[str]:
        """Store that these runs were cut, with what they did; which of them had no end yet.

        Args:
            by_themselves: they end now and say so themselves; else they ended when they last recorded anything.
            record: what is known of their calls and phases; None: nothing.
        """
        if not run_ids:
            return []
        given = {"ids": list(run_ids)}
        async with self.database.transaction() as connection:
            await connection.execute(_CREATED, given)
            await connection.execute(_CUT_OUTCOMES, given)
            cursor = await connection.execute(
                _END,
                _parameters(run_ids)
                | {
                    "why": why,
                    "now": by_themselves,
                    "record": None if record is None else Jsonb(record_as_json(record)),
                },
            )
            return [row[0] for row in await cursor.fetchall()]

    async def since_last_finished(self) -> list[Run]:
        """Up to five reconciliations cut since the last one that finished, newest first; recorded as cut or not."""
        return await self.last(5, only=_AFTER_LAST_FINISHED) if await has_ledger(self.database) else []

    async def last(self, most: int, *, only: LiteralString = "") -> list[Run]:
        """The last reconciliations that were cut, newest first; recorded as cut or not."""
        rows = await self.database.fetch(
            f"{RUNS} WHERE {_RECONCILIATIONS} AND finished_at IS NULL AND ended_as = 'cut' {only} "
            "ORDER BY begun_at DESC LIMIT %s",
            [most],
        )
        recorded = [run_from(row) for row in rows]
        gone = await self.gone()
        if not gone:
            return recorded
        rows = await self.database.fetch(
            f"""
            SELECT r.run_id, r.trigger, r.begun_at, r.finished_at, f.ready, f.unwell, f.actions, f.seconds, r.report,
                   f.record, f.last_at AS ended_at, %(why)s AS cut_why
            FROM ({_FIGURES}) f JOIN provisioning.run r USING (run_id)
            WHERE {_RECONCILIATIONS} {only}
            """,  # noqa: S608  # texts of ours alone
            _parameters(gone) | {"why": GONE},
        )
        return sorted([*recorded, *map(run_from, rows)], key=lambda run: run.begun_at, reverse=True)[:most]


def _parameters(run_ids: Sequence[str]) -> dict[str, object]:
    reads = [str(change) for change in Change.all_declared() if change.read_only]
    return {"ids": list(run_ids), "reads": reads, "aside": sorted(SET_ASIDE)}


# rows of earlier versions say no kind; what has no record then was a verification, a restart or a sign-in
_RECONCILIATIONS: LiteralString = "(r.kind = 'reconciliation' OR r.record IS NOT NULL)"

_AFTER_LAST_FINISHED: LiteralString = (
    "AND begun_at > COALESCE((SELECT max(l.begun_at) FROM provisioning.run l WHERE l.finished_at IS NOT NULL), "
    "'-infinity')"
)

# as far as we know, the fleet is now what it was when they ended
_FIGURES: LiteralString = """
    SELECT r.run_id, fleet.ready, fleet.every - fleet.ready - fleet.aside AS unwell, done.actions,
           greatest(done.last_at, r.begun_at) AS last_at,
           extract(epoch FROM greatest(done.last_at, r.begun_at) - r.begun_at)::float8 AS seconds,
           r.record || jsonb_build_object('aside', fleet.aside) AS record
    FROM provisioning.run r
    CROSS JOIN (
        SELECT count(*) AS every, count(*) FILTER (WHERE l.ready) AS ready,
               count(*) FILTER (WHERE c.reason = ANY(%(aside)s)) AS aside
        FROM provisioning.tenant_link l
        LEFT JOIN provisioning.condition c ON c.database_name = l.database_name AND c.type = 'Ready'
    ) fleet
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE o.status = 'done' AND o.change <> ALL(%(reads)s)) AS actions, max(o.at) AS last_at
        FROM provisioning.outcome o WHERE o.run_id = r.run_id
    ) done
    WHERE r.run_id = ANY(%(ids)s)
"""

# the workspace is linked, only the outcome was not written any more
_CREATED: LiteralString = """
    UPDATE provisioning.outcome o SET status = 'done', detail = i.subdomain || ' on ' || i.server
    FROM provisioning.intent i
    WHERE o.run_id = ANY(%(ids)s) AND o.change = 'create workspace' AND o.status IN ('begun', 'cut')
      AND i.run_id = o.run_id AND i.database_name = o.database_name AND i.settled_as = 'created'
      AND starts_with(o.detail, i.subdomain || ' on ' || i.server)
"""

_CUT_OUTCOMES: LiteralString = """
    UPDATE provisioning.outcome
    SET status = 'cut', detail = detail || ': cut off while it was under way; the next run sees whether it was made'
    WHERE run_id = ANY(%(ids)s) AND status = 'begun'
"""

_END: LiteralString = f"""
    UPDATE provisioning.run r SET ended_as = 'cut', cut_why = %(why)s,
        ended_at = CASE WHEN %(now)s THEN now() ELSE f.last_at END,
        seconds = CASE WHEN %(now)s THEN extract(epoch FROM now() - r.begun_at) ELSE f.seconds END,
        ready = f.ready, unwell = f.unwell, actions = f.actions,
        record = COALESCE(%(record)s::jsonb || jsonb_build_object('aside', f.record->'aside'), f.record)
    FROM ({_FIGURES}) f
    WHERE r.run_id = f.run_id AND r.ended_as IS NULL AND r.finished_at IS NULL
    RETURNING r.run_id
"""  # noqa: S608  # texts of ours alone
