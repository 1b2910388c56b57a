"""Puts back what a run removed or changed by SQL."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum

from psycopg import Error, errors

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.onboarding_rows import restore_rows, restore_status
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.ledger.inspections import (
    ONBOARDING_TABLE,
    WORKSPACE_TABLE,
    Removals,
    RemovedRow,
    RemovedRows,
)
from provisioning_pipeline.ledger.locks import tenant_lock
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import BadInput, Fault, FaultKind, RunFault
from provisioning_pipeline.model.names import first_few
from provisioning_pipeline.report.summary import grouped
from provisioning_pipeline.run.connections import Connections, connect, server_database, tenant_database
from provisioning_pipeline.settings import Settings

MADE_BY_US = "ACTIVE"
"""The activation status that a run sets."""
_MOST_NAMED = 5
_SHORTEST_BEGINNING = 8
_MAY_BE_BACK = "Rows may be back already although the ledger does not say so; undoing it again is safe."
_GRANTS = {"keyValuePair": 'UPDATE and INSERT on core."keyValuePair"'} | {
    name: f'UPDATE on core."{name}"' for name in ("user", "workspace")
}
"""Table, as PostgreSQL calls it when it denies permission → what putting back needs: UPDATE to lock it."""


class UnknownRun(BadInput):
    """There was no run of that name, or several begin so."""


@dataclass(frozen=True, slots=True)
class Undoable:
    """What a run removed and was not put back yet.

    Args:
        rows: in the order in which they were removed.
        slugs: database name → slug, of their tenants that the ledger knows.
        restored: how many more rows it removed that are back already.
        removed_again_by: the newest later run that removed the same rows, where they were not put back since.
    """

    run_id: str
    rows: tuple[RemovedRow, ...]
    slugs: Mapping[str, str]
    restored: int
    removed_again_by: str | None = None

    def tenant(self, row: RemovedRow) -> str:
        """The tenant's slug, or its database name."""
        return self.slugs.get(row.database_name, row.database_name)


class Fate(StrEnum):
    """What became of one row."""

    PUT_BACK = "put back"
    THERE_ALREADY = "there already"
    NOT_PUT_BACK = "not put back"


@dataclass(frozen=True, slots=True)
class RowResult:
    """What became of one row, and in words why it was not put back; empty when it was."""

    row: RemovedRow
    fate: Fate
    why: str = ""


@dataclass(frozen=True, slots=True)
class Undone:
    """What became of all rows of a run, those put back earlier left out."""

    rows: tuple[RowResult, ...]

    def count(self, fate: Fate) -> int:
        """How many rows met this fate."""
        return sum(row.fate is fate for row in self.rows)


Progress = Callable[[RowResult], None]


async def removed_rows(settings: Settings, run_id: str) -> Undoable:
    """What `undo` would put back. Reads the ledger alone.

    Args:
        run_id: of the run, or its beginning of at least 8 characters when no other run begins so.

    Raises:
        UnknownRun: with the latest runs that removed something, or with those that begin so.
        Fault: when the ledger cannot be read.
    """
    async with connect(settings, dry_run=True) as connections:
        removed = connections.removed_rows
        runs = await removed.runs()
        run_id = await _whole_id(removed, run_id, runs)
        restored = next((run.restored for run in runs if run.run_id == run_id), 0)
        rows = await removed.of_run(run_id)
        links = await connections.ledger.links(sorted({row.database_name for row in rows}))
        slugs = dict(zip(links["database_name"], links["slug"], strict=True))
        return Undoable(run_id, tuple(rows), slugs, restored, await removed.removed_again_by(run_id))


async def _whole_id(removed: RemovedRows, given: str, runs: Sequence[Removals]) -> str:
    """The id of the one run that is called or begins so."""
    if any(run.run_id == given for run in runs) or await removed.is_run(given):
        return given
    found = await removed.run_ids(given) if len(given) >= _SHORTEST_BEGINNING else []
    if len(found) > 1:
        several = f"{len(found)} runs begin with {given}: {first_few(found, _MOST_NAMED)}"
        raise UnknownRun(f"{several}. Give more of the id.")
    if found:
        return found[0]
    if not runs:
        raise UnknownRun(f"There was no run {given}, and no run has removed a row by SQL yet.")
    latest = "; ".join(
        f"{run.run_id} ({run.last_at:%Y-%m-%d %H:%M}, {run.removed} rows, {run.restored} of them put back)"
        for run in runs[:_MOST_NAMED]
    )
    raise UnknownRun(f"There was no run {given}. The latest runs that removed rows by SQL, newest first: {latest}.")


async def undo(settings: Settings, run_id: str, progress: Progress | None = None) -> Undone:
    """Put back what a run removed, each tenant's rows in one transaction per table and database, under its lock.

    What is there already counts as back. A database that cannot be reached or written to is reported, and the others
    go on. Undoing twice is undoing once. `run_id` is the whole id.

    Raises:
        Fault: when the ledger cannot be read.
        RunFault: when it cannot be written to; rows may be back by then.
    """
    async with connect(settings, dry_run=False) as connections:
        removed = connections.removed_rows
        gate = asyncio.Semaphore(settings.tenant_database_connections)

        async def one(rows: Sequence[RemovedRow]) -> list[RowResult]:
            async with gate:
                found = await _put_back(connections, rows)
            try:
                # after a crash before this line, the next undo finds them there already
                await removed.restored([result.row.id for result in found if result.fate is not Fate.NOT_PUT_BACK])
            except Fault as fault:
                raise RunFault(f"{fault.message} {_MAY_BE_BACK}") from None
            except Error as error:
                raise RunFault(f"The ledger: PostgreSQL refused: {first_line(error)}. {_MAY_BE_BACK}") from None
            for result in found:
                if progress:
                    progress(result)
            return found

        by_place = grouped(
            await removed.of_run(run_id), lambda row: (row.database_name, row.server or "", row.table_name)
        )
        groups = [rows for _, rows in sorted(by_place.items())]
        return Undone(tuple(result for group in await all_of(one(rows) for rows in groups) for result in group))


def _database_of(settings: Settings, row: RemovedRow) -> AbstractAsyncContextManager[Database]:
    """The database in which this row was, to be written to."""
    if row.server is None:
        return tenant_database(settings, row.database_name, read_only=False)
    server = next((server for server in settings.servers if server.name == row.server), None)
    if server is None:
        raise Fault(
            FaultKind.TENANT,
            Reason.SERVER_NOT_CONFIGURED,
            f'Twenty server "{row.server}" is not in the settings. Put it back there, then undo again.',
        )
    return server_database(server, read_only=False)


async def _put_back(connections: Connections, rows: Sequence[RemovedRow]) -> list[RowResult]:
    """Put back rows of one table of one tenant in one database."""
    first, settings = rows[0], connections.settings
    lock = tenant_lock(connections.ledger.database, first.database_name, wait_seconds=settings.lock_wait_seconds)
    try:
        async with _database_of(settings, first) as database, lock:
            if first.table_name == ONBOARDING_TABLE:
                return await _put_pairs_back(database, rows)
            if first.table_name == WORKSPACE_TABLE:
                return [await _set_back(database, row) for row in rows]
        why = f"We do not know how to put back {first.table_name}."
    except Fault as fault:
        why = fault.message
    except Error as error:
        why = f"PostgreSQL refused: {first_line(error)}.{_grant(error)}"
    return [RowResult(row, Fate.NOT_PUT_BACK, why) for row in rows]


def _grant(error: Error) -> str:
    """The grant that would help, where it is a table that we may not write to or lock."""
    if not isinstance(error, errors.InsufficientPrivilege):
        return ""
    # a schema or another table may be what is denied
    denied = first_line(error).split()
    needed = next((grant for name, grant in _GRANTS.items() if name in denied), None)
    return f" Grant {needed} there and undo again." if needed else ""


async def _put_pairs_back(database: Database, rows: Sequence[RemovedRow]) -> list[RowResult]:
    trusted = rows[0].server is not None
    restored = await restore_rows(database, [row.row for row in rows], owner_is_trusted=trusted)
    found = []
    for row in rows:
        if row.row_id in restored.inserted:
            found.append(RowResult(row, Fate.PUT_BACK))
        elif row.row_id in restored.there:
            found.append(RowResult(row, Fate.THERE_ALREADY, "It was never gone, or it came back."))
        elif row.row_id in restored.dangling:
            found.append(RowResult(row, Fate.NOT_PUT_BACK, _dangling(row, restored.dangling[row.row_id])))
        else:
            found.append(RowResult(row, Fate.THERE_ALREADY, "Another row with this key has taken its place."))
    return found


def _dangling(row: RemovedRow, column: str) -> str:
    named = {"userId": "user", "workspaceId": "workspace"}.get(column)
    if named is None:
        return "What it refers to is no longer there."
    return f"There is no {named} {row.row[column]} any more."


async def _set_back(database: Database, row: RemovedRow) -> RowResult:
    before, trusted = str(row.row["activationStatus"]), row.server is not None
    now = await restore_status(database, row.row_id, before, MADE_BY_US, owner_is_trusted=trusted)
    if now is None:
        return RowResult(row, Fate.NOT_PUT_BACK, f"There is no workspace {row.row_id} any more.")
    if now == before:
        return RowResult(row, Fate.THERE_ALREADY, f"It is {before}.")
    if now != MADE_BY_US:
        return RowResult(row, Fate.NOT_PUT_BACK, f"It was set to {now} since, so it is left alone.")
    return RowResult(row, Fate.PUT_BACK)
