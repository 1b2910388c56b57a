"""Runs that were cut and that no later run has made up for yet."""

import provisioning_pipeline.steps  # noqa: F401  # declares which changes only read
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.history import point
from provisioning_pipeline.ledger.runs import CutRuns
from provisioning_pipeline.model.history import RunPoint


async def cut_since_last_finished(ledger: Database) -> list[RunPoint]:
    """The reconciliations that were cut since the last one that finished, oldest first; recorded as cut or not."""
    return [point(run) for run in reversed(await CutRuns(ledger).since_last_finished())]
