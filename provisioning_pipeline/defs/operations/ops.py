"""The op that takes away what is old."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from provisioning_pipeline.defs.operations.dagster_runs import delete_runs, old_runs
from provisioning_pipeline.defs.resources import Systems
from provisioning_pipeline.model.fault import Fault, RunFault
from provisioning_pipeline.settings import Settings

JOBS = frozenset({"reconcile_tenants", "repair_onboarding", "verify", "prune_history", "check_freshness"})
"""Jobs whose runs are pruned also where no code location is known: started by hand from a program."""
_TOLD_EVERY = 100


class PruneConfig(dg.Config):
    """Whether a run may remove anything."""

    dry_run: bool = Field(
        default=False,
        description="Only count what is older than the settings PROVISIONING_KEEP_* say, and remove nothing.",
    )


@dg.op(
    out=dg.Out(dg.Nothing),
    tags={"kind": "python"},
    description="Remove rows of the ledger, files and finished runs that are older than the settings say. What cannot "
    "be reached is left for the next time, and the others are pruned all the same; then the run fails and says so.",
)
def prune(context: dg.OpExecutionContext, config: PruneConfig, systems: Systems) -> None:
    """Ledger, files, Dagster; how many of each is in the output's metadata."""
    settings = systems.settings()
    now = datetime.now(UTC)
    parts: dict[str, Callable[[], dict[str, int]]] = {
        "the ledger": lambda: _rows(settings, dry_run=config.dry_run),
        "the files": lambda: _files(settings, now, dry_run=config.dry_run),
        "Dagster's runs": lambda: _runs(context, settings, now, dry_run=config.dry_run),
    }
    found: dict[str, int] = {}
    refusals: list[str] = []
    for name, part in parts.items():
        try:
            found |= part()
        except (Fault, RunFault) as fault:
            refusals.append(f"{name}: {fault}")
        except OSError as error:
            refusals.append(f"{name}: {type(error).__name__}, {error.strerror or 'no further words'}")
    told = ", ".join(f"{count} {label}" for label, count in found.items() if count) or "nothing"
    context.log.info(f"Dry run, would remove: {told}." if config.dry_run else f"Removed: {told}.")
    metadata: dict[str, Any] = dict(found)
    context.add_output_metadata(metadata | {"dry_run": config.dry_run})
    if refusals:
        raise dg.Failure(f"Not all could be pruned. {' '.join(refusals)}", metadata=metadata, allow_retries=False)


def _rows(settings: Settings, *, dry_run: bool) -> dict[str, int]:
    from provisioning_pipeline.tasks.prune import prune_rows

    return {f"ledger_{table}": count for table, count in asyncio.run(prune_rows(settings, dry_run=dry_run)).items()}


def _files(settings: Settings, now: datetime, *, dry_run: bool) -> dict[str, int]:
    from provisioning_pipeline.tasks.prune import prune_files

    return {f"files_{kind}": count for kind, count in asdict(prune_files(settings, now=now, dry_run=dry_run)).items()}


def _runs(context: dg.OpExecutionContext, settings: Settings, now: datetime, *, dry_run: bool) -> dict[str, int]:
    before = now - timedelta(days=settings.keep_dagster_days)
    old = old_runs(context.instance, context.run, JOBS, before)
    if not dry_run:
        for number, _ in enumerate(delete_runs(context.instance, old), 1):
            if number % _TOLD_EVERY == 0:
                context.log.info(f"{number} of {len(old)} runs removed from Dagster.")
    return {"dagster_runs": len(old)}
