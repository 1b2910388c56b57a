"""What every schedule shares: a run that still waits or works is not asked for again."""

import asyncio
from collections.abc import Callable

import dagster as dg

from provisioning_pipeline.defs.provisioning.ops import TRIGGER_TAG
from provisioning_pipeline.defs.runs import Place, changes_nothing, tenants_of, unfinished_runs
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.settings import Settings, SettingsError, load_settings

Tick = Callable[[dg.ScheduleEvaluationContext], dg.RunRequest | dg.SkipReason]


def scheduled(job: str) -> Tick:
    """What a schedule of this job does: launch it over all tenants, unless such a run is unfinished.

    A queue that stands still for a night would be full of them otherwise. A schedule does not know its code location;
    the ledger does, once a sensor has said it.
    """

    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        waiting = _unfinished(context.instance, job)
        if waiting is not None:
            return dg.SkipReason(f"Run {waiting} of {job} has not ended yet; the next tick looks again.")
        return dg.RunRequest(tags={TRIGGER_TAG: "schedule"})

    return tick


def _unfinished(instance: dg.DagsterInstance, job: str) -> str | None:
    try:
        settings = load_settings()
        here = asyncio.run(_code_location(settings))
        runs = unfinished_runs(instance, here, settings, job=job).at_work if here else ()
    except (SettingsError, Fault):
        # the run says so, and somebody hears of it
        return None
    whole = [run.run_id for run in runs if tenants_of(run) is None and not changes_nothing(run)]
    return whole[0] if whole else None


async def _code_location(settings: Settings) -> Place | None:
    from provisioning_pipeline.ledger.pending import CodeLocations
    from provisioning_pipeline.ledger.schema import ledger_database

    async with ledger_database(settings, read_only=True) as database:
        return await CodeLocations(database).known()
