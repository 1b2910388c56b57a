"""Clerk's budget as all processes share it: a row of the ledger for each use of it, by the database server's clock.

The row says until when calls are taken. To take one, one statement moves that on by the time that a call stands for,
and answers how long the caller has to wait. So calls go out in the order in which they were taken, no caller asks
twice, and what a killed process had taken is over with the time that it stands for: nothing has to be given back.
"""

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Final, LiteralString, Self

from psycopg import Error, errors

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.clients.windows import BURST, GOOD_FOR_SECONDS, WINDOW_SECONDS
from provisioning_pipeline.ledger.database import ledger_at
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.values.sessions import SessionSettings

CALLS_PER_CHECK: Final = 2
_LOG = logging.getLogger(__name__)
_MOST_SECONDS = 1.0
"""A ledger that takes longer must not keep Clerk from us."""
_REST_SECONDS = 10.0
_STATEMENTS_PER_BURST: Final = 20
_LONGEST_QUEUE_SECONDS: Final = 120.0
"""Beyond this the row is no queue: the server's clock was put back, and we begin anew."""

_TAKE: Final[LiteralString] = """
    INSERT INTO provisioning.call_budget AS b (name, taken_until)
    VALUES (%(name)s, clock_timestamp() + make_interval(secs => %(adds)s))
    ON CONFLICT (name) DO UPDATE SET taken_until = make_interval(secs => %(adds)s) + CASE
        WHEN b.taken_until > clock_timestamp() + make_interval(secs => %(most)s) THEN clock_timestamp()
        ELSE greatest(b.taken_until, clock_timestamp()) END
    WHERE %(within)s::float8 IS NULL OR b.taken_until
        <= clock_timestamp() + make_interval(secs => %(within)s::float8 + %(burst)s - %(adds)s)
        OR b.taken_until > clock_timestamp() + make_interval(secs => %(most)s)
    RETURNING extract(epoch FROM taken_until - clock_timestamp())::float8
"""
_CLOSE: Final[LiteralString] = """
    INSERT INTO provisioning.call_budget AS b (name, taken_until)
    VALUES (%(name)s, clock_timestamp() + make_interval(secs => %(burst)s + %(seconds)s))
    ON CONFLICT (name) DO UPDATE SET taken_until = greatest(b.taken_until, excluded.taken_until)
    RETURNING 0
"""
_USED: Final[LiteralString] = """
    SELECT name, extract(epoch FROM taken_until - clock_timestamp())::float8
    FROM provisioning.call_budget WHERE name = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be sent of one kind in 10 seconds, by all processes with one secret key together.

    Args:
        use: what for.
        name: of its row.
        calls: most in any 10 seconds; at least 1.
    """

    use: str
    name: str
    calls: int

    @property
    def at_once(self) -> int:
        """How many may go out at once after a rest."""
        return max(1, int(BURST * self.calls))

    @property
    def seconds_each(self) -> float:
        """How far apart the others are.

        A call goes out up to `GOOD_FOR_SECONDS` after it was due, so that the calls of one window were due in one that
        is longer by that. The +1: of calls that are as far apart as the window is long, only one is within it.
        """
        return (WINDOW_SECONDS + GOOD_FOR_SECONDS) / (self.calls + 1 - self.at_once)

    @property
    def at_a_time(self) -> int:
        """How many a process takes with one statement. It may need no more than one, so they are few."""
        return max(1, self.at_once // _STATEMENTS_PER_BURST)

    @property
    def burst_seconds(self) -> float:
        """The time that those stand for which may go out at once."""
        return self.at_once * self.seconds_each


def _budget(settings: SessionSettings, use: str, share: float) -> Budget:
    key = hashlib.sha256(settings.clerk_secret_key.encode()).hexdigest()
    return Budget(use, f"{use} {key}", max(1, int(settings.clerk_requests_per_10_seconds * share)))


def budget_of_runs(settings: SessionSettings, share: float) -> Budget:
    """The calls of runs, and of what else an operator asks for: this share of what Clerk allows."""
    return _budget(settings, "runs", share)


def budgets_of_checks(settings: SessionSettings) -> dict[bool, Budget]:
    """The member checks, of two calls each. True: for sign-ins, which have a half that nothing else can use up."""
    half = settings.clerk_look_share / 2 / CALLS_PER_CHECK
    return {True: _budget(settings, "sign-ins", half), False: _budget(settings, "sessions", half)}


def budgets(settings: SessionSettings, share_of_runs: float) -> list[Budget]:
    """All that there are with these settings."""
    return [budget_of_runs(settings, share_of_runs), *budgets_of_checks(settings).values()]


class CallBudget:
    """A budget over a connection of its own, which writes this one row and nothing else, also in a dry run.

    A ledger that cannot be asked keeps no call back: the caller's own limit holds then, and the log says so once.
    """

    def __init__(self, registry_url: str, budget: Budget) -> None:
        self._budget = budget
        self._database = ledger_at(registry_url, read_only=False, patience_seconds=0.0)
        self._under_way: set[asyncio.Task[float | None]] = set()
        self._ask_again_at = 0.0
        self._away = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._database.__aexit__(None, None, None)

    async def take(self, *, within: float | None = None) -> float | None:
        """Take one; how many seconds from now it may be sent. None: not within so many seconds, and none was taken."""
        ahead = await self._ahead(1, within)
        return None if ahead is None else max(0.0, ahead - self._budget.burst_seconds)

    async def take_some(self) -> list[float]:
        """Take as many as a statement is worth; how many seconds from now each may be sent."""
        budget = self._budget
        ahead = await self._ahead(budget.at_a_time, None) or 0.0
        last = ahead - budget.burst_seconds
        return [max(0.0, last - after * budget.seconds_each) for after in reversed(range(budget.at_a_time))]

    async def close_for(self, seconds: float) -> None:
        """Give out none that may be sent within so many seconds, and no burst after them: Clerk refused one."""
        await self._ask(_CLOSE, {"seconds": seconds})

    async def _ahead(self, calls: int, within: float | None) -> float | None:
        budget = self._budget
        return await self._ask(
            _TAKE,
            {
                "adds": calls * budget.seconds_each,
                "within": within,
                "most": budget.burst_seconds + _LONGEST_QUEUE_SECONDS,
            },
        )

    async def _ask(self, statement: LiteralString, more: dict[str, Any]) -> float | None:
        clock = asyncio.get_running_loop().time
        if clock() < self._ask_again_at:
            return 0.0
        # in a context of its own: no lock of a tenant guards this row, and to write it is no write of a run
        task = asyncio.create_task(self._told(statement, more), context=Context())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        # giving up on a statement may take as long as the statement: we do not wait for that
        await asyncio.wait({task}, timeout=_MOST_SECONDS)
        why = f"no answer within {_MOST_SECONDS:g} s"
        if task.done():
            try:
                found = task.result()
            except (Fault, Error) as error:
                why = (error.message if isinstance(error, Fault) else first_line(error)).rstrip(".")
                if isinstance(error, errors.UndefinedTable | errors.InvalidSchemaName):
                    # before the first run there is no ledger, and no other process that shares anything
                    return 0.0
            else:
                self._away = False
                return found
        self._ask_again_at = clock() + _REST_SECONDS
        if not self._away:
            self._away = True
            _LOG.warning(
                "Clerk's budget for %s is not shared with other processes, because the ledger cannot be asked for it: "
                "%s. Until it can, this process keeps to %d in 10 s by itself.",
                self._budget.use,
                why,
                self._budget.calls,
            )
        return 0.0

    async def _told(self, statement: LiteralString, more: dict[str, Any]) -> float | None:
        budget = self._budget
        given = {"name": budget.name, "burst": budget.burst_seconds, **more}
        async with self._database.transaction() as connection:
            row = await (await connection.execute(statement, given)).fetchone()
        return None if row is None else float(row[0])


async def used(database: Database, known: Sequence[Budget]) -> dict[str, float]:
    """Use → which part is used up of what may be sent at once; beyond 1, calls wait for their turn."""
    rows = await database.fetch_tuples(_USED, [[budget.name for budget in known]])
    ahead = {name: max(0.0, seconds) for name, seconds in rows}
    return {budget.use: ahead.get(budget.name, 0.0) / budget.burst_seconds for budget in known}
