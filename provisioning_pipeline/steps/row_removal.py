"""Rows that are removed by SQL are written down before they are gone."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from provisioning_pipeline.clients.postgres import Row
from provisioning_pipeline.ledger.inspections import ONBOARDING_TABLE, RemovedRows
from provisioning_pipeline.model.fault import Fault, FaultKind

Keep = Callable[[list[Row]], Awaitable[None]]


@asynccontextmanager
async def kept(
    removed: RemovedRows, run_id: str, database_name: str, server: str | None, table: str = ONBOARDING_TABLE
) -> AsyncIterator[Keep]:
    """Give a function that writes rows down; they count as removed at the end, and are forgotten if it was refused.

    After a crash in between, or a connection that broke, they stay written down as being removed: whether they are
    gone, only a look can tell.
    """
    ids: list[int] = []

    async def keep(rows: list[Row]) -> None:
        ids.extend(await removed.store(run_id, database_name, server, table, rows))

    try:
        yield keep
    except Exception as error:
        if not (isinstance(error, Fault) and error.kind is FaultKind.TRANSIENT):
            await removed.forget(ids)
        raise
    await removed.settle(ids)
