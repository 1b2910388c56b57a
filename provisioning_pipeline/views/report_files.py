"""Reports of runs as pages: the last one drawn anew, earlier ones as their files."""

from pathlib import Path

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.history import History
from provisioning_pipeline.ledger.inspections import RemovedRows
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.revisions import has_ledger
from provisioning_pipeline.report.summary import Summary
from provisioning_pipeline.run.conclude import last_summary
from provisioning_pipeline.settings import Settings


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


def read(path: str, run_id: str, folder: Path) -> bytes | None:
    """The report file of this run; None when there is none there.

    Whatever the ledger says, nothing is read but a file of that name in that folder, no link out of it.
    """
    expected = folder.resolve() / f"reconciliation-{run_id}.html"
    try:
        return expected.read_bytes() if Path(path).resolve() == expected == expected.resolve() else None
    except OSError:
        return None
