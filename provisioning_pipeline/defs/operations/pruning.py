"""Pruning: the job that takes away what is old, and Dagster's own finished runs, which only Dagster can delete.

What Dagster 1.13 does when a run is deleted: the run, its tags and its events go, and with them its place in the
history of assets. The catalogue keeps the latest materialization of each asset, and checks keep all their results, but
both would point at a run that is gone. Captured output and values between steps stay where they are.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import dagster as dg
from pydantic import Field

from provisioning_pipeline.defs.provisioning.ops import TRIGGER_TAG
from provisioning_pipeline.defs.resources import Systems
from provisioning_pipeline.defs.runs import place_of_run
from provisioning_pipeline.model.fault import Fault, RunFault
from provisioning_pipeline.settings import Settings

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_PAGE = 200
_JOBS = frozenset({"reconcile_tenants", "repair_onboarding", "verify", "prune_history", "check_freshness"})
"""Jobs whose runs are pruned also where no code location is known: started by hand from a program."""
_LOGGED_EVERY = 100


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
    from provisioning_pipeline.tasks.prune import prune_files, prune_rows

    settings = systems.settings()
    now = datetime.now(UTC)
    parts: dict[tuple[str, str], Callable[[], dict[str, int]]] = {
        ("the ledger", "ledger"): lambda: asyncio.run(prune_rows(settings, dry_run=config.dry_run)),
        ("the files", "files"): lambda: asdict(prune_files(settings, now=now, dry_run=config.dry_run)),
        ("Dagster's runs", "dagster"): lambda: _prune_runs(context, settings, now, dry_run=config.dry_run),
    }
    found: dict[str, int] = {}
    refusals: list[str] = []
    for (name, prefix), part in parts.items():
        try:
            found |= {f"{prefix}_{kind}": count for kind, count in part().items()}
        except (Fault, RunFault) as fault:
            refusals.append(f"{name}: {fault}")
        except OSError as error:
            refusals.append(f"{name}: {type(error).__name__}, {error.strerror or 'no further words'}")
    counts = ", ".join(f"{count} {label}" for label, count in found.items() if count) or "nothing"
    context.log.info(f"Dry run, would remove: {counts}." if config.dry_run else f"Removed: {counts}.")
    metadata: dict[str, Any] = dict(found)
    context.add_output_metadata(metadata | {"dry_run": config.dry_run})
    if refusals:
        raise dg.Failure(f"Not all could be pruned. {' '.join(refusals)}", metadata=metadata, allow_retries=False)


def _prune_runs(context: dg.OpExecutionContext, settings: Settings, now: datetime, *, dry_run: bool) -> dict[str, int]:
    before = now - timedelta(days=settings.keep_dagster_days)
    old = old_runs(context.instance, context.run, _JOBS, before)
    if not dry_run:
        for number, _ in enumerate(delete_runs(context.instance, old), 1):
            if number % _LOGGED_EVERY == 0:
                context.log.info(f"{number} of {len(old)} runs removed from Dagster.")
    return {"runs": len(old)}


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


def old_runs(instance: dg.DagsterInstance, mine: dg.DagsterRun, jobs: Collection[str], before: datetime) -> list[str]:
    """Ids of finished runs of this code location that were last touched before then, oldest first.

    We retain the newest finished and the newest successful run of each job, and every run that is the latest to have
    materialized an asset.

    Args:
        mine: the run that asks; it says which code location this is. One that was not launched from a code location
            knows its runs by their jobs alone.
        jobs: names of the jobs of this code location.
    """
    filters = dg.RunsFilter(statuses=_FINISHED, updated_before=before)
    found = [(run.run_id, run.job_name) for run in _runs(instance, filters) if _is_ours(run, mine, jobs)]
    kept = _witnesses(instance) if found else set()
    for job in {job for _, job in found}:
        for statuses in (_FINISHED, [dg.DagsterRunStatus.SUCCESS]):
            newest = _runs(instance, dg.RunsFilter(job_name=job, statuses=statuses))
            kept |= {run.run_id for run in islice((run for run in newest if _is_ours(run, mine, jobs)), 1)}
    return [run_id for run_id, _ in reversed(found) if run_id not in kept]


def delete_runs(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> Iterator[str]:
    """Delete these one after another, each with its events and its captured output; yields each when it is gone.

    Breaking off does no harm: the output goes first, so what is left of a run is found again by the run.
    """
    for run_id in run_ids:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.delete_run(run_id)
        yield run_id


def _runs(instance: dg.DagsterInstance, filters: dg.RunsFilter) -> Iterator[dg.DagsterRun]:
    """Newest first, page by page."""
    cursor: str | None = None
    while True:
        page = instance.get_run_records(filters, limit=_PAGE, cursor=cursor)
        yield from (record.dagster_run for record in page)
        if len(page) < _PAGE:
            return
        cursor = page[-1].dagster_run.run_id


def _is_ours(run: dg.DagsterRun, mine: dg.DagsterRun, jobs: Collection[str]) -> bool:
    """Other code locations may have jobs of the same name; `__ASSET_JOB` is a job of each."""
    theirs, here = place_of_run(run), place_of_run(mine)
    return theirs == here and (here is not None or run.job_name in jobs)


def _witnesses(instance: dg.DagsterInstance) -> set[str]:
    """The runs that the catalogue names as the latest for an asset."""
    events = (instance.get_latest_materialization_event(key) for key in instance.get_asset_keys())
    return {event.run_id for event in events if event is not None}
