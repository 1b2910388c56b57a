"""Dagster's own runs: which of them are old and show nothing that is still looked at, and their removal.

What Dagster 1.13 does when a run is deleted: the run, its tags and its events go, and with them its place in the
history of assets. The catalogue keeps the latest materialization of each asset, and checks keep all their results, but
both would point at a run that is gone. Captured output and values between steps stay where they are.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

import dagster as dg

from provisioning_pipeline.defs.runs import place_of_run

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_PAGE = 200


def old_runs(instance: dg.DagsterInstance, mine: dg.DagsterRun, jobs: Collection[str], before: datetime) -> list[str]:
    """Ids of finished runs of this code location that were last touched before then, oldest first.

    Kept are the newest finished and the newest successful run of each job, and every run that is the latest to have
    materialized an asset.

    Args:
        mine: the run that asks; it says which code location this is. One that nobody launched from a code location
            knows its runs by their jobs alone.
        jobs: names of the jobs of this code location.
        before: aware of its time zone.
    """
    filters = dg.RunsFilter(statuses=_FINISHED, updated_before=before)
    found = [(run.run_id, run.job_name) for run in _runs(instance, filters) if _is_ours(run, mine, jobs)]
    kept = _witnesses(instance) if found else set()
    for job in {job for _, job in found}:
        for statuses in (_FINISHED, [dg.DagsterRunStatus.SUCCESS]):
            newest = _runs(instance, dg.RunsFilter(job_name=job, statuses=statuses))
            kept |= {run.run_id for run in _first(run for run in newest if _is_ours(run, mine, jobs))}
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


def _first(runs: Iterator[dg.DagsterRun]) -> list[dg.DagsterRun]:
    return [run for run in (next(runs, None),) if run is not None]


def _is_ours(run: dg.DagsterRun, mine: dg.DagsterRun, jobs: Collection[str]) -> bool:
    """Other code locations may have jobs of the same name; `__ASSET_JOB` is a job of each."""
    theirs, here = place_of_run(run), place_of_run(mine)
    return theirs == here and (here is not None or run.job_name in jobs)


def _witnesses(instance: dg.DagsterInstance) -> set[str]:
    """The runs that the catalogue names as the latest for an asset."""
    events = (instance.get_latest_materialization_event(key) for key in instance.get_asset_keys())
    return {event.run_id for event in events if event is not None}
