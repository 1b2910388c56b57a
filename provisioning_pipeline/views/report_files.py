"""Reports of runs as pages: as their files, or drawn anew."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from provisioning_pipeline.clients.files import NotWritten, place_at, read_if_there
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.history import History
from provisioning_pipeline.ledger.inspections import RemovedRows
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.revisions import has_ledger
from provisioning_pipeline.report.page import file_name
from provisioning_pipeline.report.summary import Summary
from provisioning_pipeline.run.conclude import last_summary, summary_of
from provisioning_pipeline.settings import Settings

if TYPE_CHECKING:
    from upath import UPath


async def latest(ledger: Database, settings: Settings) -> Summary | None:
    """What the last finished run's report says, with the tenants as they are now; None when none has finished.

    It is not drawn yet: that takes time and no ledger.
    """
    return await last_summary(Ledger(ledger), RemovedRows(ledger), settings)


async def stored(ledger: Database, run_id: str) -> str | None:
    """Where the ledger says that the report of this run is; None for a run that has none, or that never was."""
    if not await has_ledger(ledger):
        return None
    run = await History(ledger).run(run_id)
    return run.report if run else None


async def afterwards(ledger: Database, settings: Settings, run_id: str) -> Summary | None:
    """What the ledger says of a finished run whose file is not here, with the tenants as they are now; not drawn yet.

    None: no run of this id has finished.
    """
    if not await has_ledger(ledger):
        return None
    return await summary_of(Ledger(ledger), RemovedRows(ledger), settings, run_id)


def read(path: str, run_id: str, base: str) -> bytes | None:
    """The report file of this run; None when there is none there.

    Whatever the ledger says, nothing is read but a file of that name in that place, no link out of it.
    """
    expected = place_at(base) / file_name(run_id)
    if not isinstance(expected, Path):
        return _read_there(expected) if path == str(expected) else None
    try:
        return expected.read_bytes() if Path(path).resolve() == expected == expected.resolve() else None
    except OSError:
        return None


def _read_there(path: "UPath") -> bytes | None:
    # the ledger says the same, so a store that is away keeps no report back
    with suppress(NotWritten):
        return read_if_there(path, setting="PROVISIONING_REPORT_PATH")
    return None
