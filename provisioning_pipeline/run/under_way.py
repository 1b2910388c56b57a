"""A run from its beginning to its end in the ledger: it holds its lock, and never stays without an end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import Final

from psycopg import Error

from provisioning_pipeline.clients.concurrency import to_the_end
from provisioning_pipeline.ledger.cut_runs import GONE, CutRuns
from provisioning_pipeline.ledger.run_locks import holding_run_lock
from provisioning_pipeline.model.fault import Fault, RunFault
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.measured import measured
from provisioning_pipeline.run.totals import Totals
from provisioning_pipeline.steps.record import defect_of

TOLD_TO_STOP: Final = "It was told to stop."


@asynccontextmanager
async def run_under_way(
    connections: Connections, run_id: str, *, totals: Callable[[], Totals] | None = None
) -> AsyncIterator[None]:
    """Hold the run's lock inside; at the end write down how it ended, where it has begun and nothing else has.

    It ends as done; or as cut, with what it did, when an error or a cancellation goes through here. A run that is
    killed, or has lost its ledger, leaves its row to the next one (`end_gone_runs`).

    Args:
        totals: what a reconciliation has counted so far.
    """
    async with holding_run_lock(connections.ledger.database, run_id):
        try:
            yield
        except BaseException as error:
            with suppress(Fault, Error):
                await to_the_end(end_as_cut(connections, run_id, why_of(error), totals() if totals else None))
            raise
        await connections.history.end_run(run_id)


async def end_as_cut(connections: Connections, run_id: str, why: str, totals: Totals | None = None) -> None:
    """Write down that this run of ours was cut, if it has begun and has no end yet.

    Raises:
        Fault, Error: when the ledger does not take it.
    """
    await connections.journal.settle()
    record = None
    if totals is not None:
        known = await connections.history.record_of(run_id)
        # of one that has not planned nothing but its beginning is known
        record = measured(known, connections, totals) if known.looked_at is not None else None
    await CutRuns(connections.ledger.database).end([run_id], why, by_themselves=True, record=record)


async def end_gone_runs(cut: CutRuns, *, but: Collection[str] = ()) -> list[str]:
    """Write down the end of every run without a process, those of `but` left out; which these were.

    Raises:
        Fault, Error: when the ledger does not take it.
    """
    return await cut.end(await cut.gone(but=but), GONE)


def why_of(error: BaseException) -> str:
    """Why a run ended here, in a sentence."""
    if isinstance(error, asyncio.CancelledError):
        return str(error) or TOLD_TO_STOP
    if isinstance(error, Fault | RunFault):
        return str(error)
    return f"An error that nobody foresaw: {defect_of(error)}."
