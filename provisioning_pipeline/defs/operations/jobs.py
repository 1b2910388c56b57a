"""The job that takes away what is old."""

import dagster as dg

from provisioning_pipeline.defs.operations.ops import prune
from provisioning_pipeline.defs.provisioning.ops import TRIGGER_TAG


@dg.job(
    name="prune_history",
    description="Remove what is older than the settings PROVISIONING_KEEP_*: rows of the ledger, report files, saved "
    "plans and tables, values between steps, and finished runs of this code location in Dagster. With `dry_run` it "
    "only counts. Breaking off does no harm: the next run goes on.",
    tags={"capability": "operations", TRIGGER_TAG: "operator"},
)
def prune_history() -> None:
    """Prune."""
    prune()
