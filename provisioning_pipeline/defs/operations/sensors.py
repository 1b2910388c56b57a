"""Sensors beside reconciliations: one ends runs whose process is gone, one sends the webhooks that leave."""

import asyncio
from collections.abc import Collection

import dagster as dg

from provisioning_pipeline.defs.automation import SENSORS
from provisioning_pipeline.defs.runs import place_of_sensor, unfinished_runs
from provisioning_pipeline.ledger import revisions
from provisioning_pipeline.ledger.pending import CodeLocations
from provisioning_pipeline.ledger.runs import CutRuns
from provisioning_pipeline.ledger.schema import ledger_database
from provisioning_pipeline.run.announcing import Delivered, deliver
from provisioning_pipeline.run.record import end_gone_runs
from provisioning_pipeline.settings import Settings, load_settings

_SEND_SECONDS = 30.0
"""Dagster gives a tick 60 s; a try that has begun may take ten more."""


@dg.sensor(
    name="runs_that_died",
    minimum_interval_seconds=60,
    default_status=SENSORS,
    description="Marks runs of this code location as failed whose process is gone: killed together with all that would "
    "have said so, by a restart of the machine, say. They hold up Dagster's queue otherwise. In the ledger they, and "
    "the command line's that were killed, end as cut. A run is dead when no "
    "process holds its lock in the ledger and Dagster has heard nothing of it for five minutes.",
)
def runs_that_died(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """End what no process works on. A run that lives after all goes on, and its own end counts."""
    settings, instance = load_settings(), context.instance
    here = place_of_sensor(context)
    if here is not None:
        asyncio.run(_remember(settings, here[0], here[1]))
    ended: list[str] = []
    unfinished = unfinished_runs(instance, here, settings)
    for run in unfinished.dead:
        # it may have ended since it was looked at
        now = instance.get_run_by_id(run.run_id)
        if now is None or now.status is not run.status:
            continue
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, "No process of this run is left that could still be canceled.")
        else:
            instance.report_run_failed(
                run,
                "The process of this run is gone: its lock in the ledger is free, and Dagster has heard nothing of it. "
                "It was killed, or its machine restarted. The next run goes on where it stopped.",
            )
        ended.append(run.run_id)
    # between two processes of one run its lock is free
    at_work = [run.run_id for run in unfinished.at_work]
    cut = asyncio.run(_end_in_ledger(settings, but=at_work))
    ended += [run_id for run_id in cut if run_id not in ended]
    return dg.SkipReason(f"Ended {', '.join(ended)}: no process is left." if ended else "Every run has a process.")


@dg.sensor(
    name="deliver_webhooks",
    minimum_interval_seconds=10,
    default_status=SENSORS,
    description="Sends the webhooks that tell a tenant manager that a tenant became ready, not ready, locked or gone, "
    "and again until they arrive (ten tries within three days). A tick without one that is due is two queries over the "
    "ledger. Without PROVISIONING_WEBHOOK_URLS it skips and asks nothing.",
)
def deliver_webhooks(_: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Send what is due."""
    settings = load_settings()
    if not settings.webhook_endpoints:
        return dg.SkipReason("No webhook leaves: PROVISIONING_WEBHOOK_URLS is not set.")
    return dg.SkipReason(str(asyncio.run(_deliver(settings))))


async def _deliver(settings: Settings) -> Delivered:
    async with ledger_database(settings, read_only=False) as database:
        # after an upgrade the next run migrates it
        if await revisions.revision(database) != revisions.HEAD:
            return Delivered()
        return await deliver(settings, database, seconds=_SEND_SECONDS)


async def _end_in_ledger(settings: Settings, *, but: Collection[str]) -> list[str]:
    """Record that runs without a process were cut, Dagster's and those of the command line; which these were."""
    async with ledger_database(settings, read_only=False) as database:
        # after an upgrade the next run migrates it
        if await revisions.revision(database) != revisions.HEAD:
            return []
        return await end_gone_runs(CutRuns(database), but=but)


async def _remember(settings: Settings, location: str, repository: str) -> None:
    """Tell the ledger which code location works on it: schedules and `provisioning serve` cannot see that."""
    async with ledger_database(settings, read_only=False) as database:
        locations = CodeLocations(database)
        known = await locations.known()
        if known != (location, repository) and await revisions.revision(database) == revisions.HEAD:
            await locations.store(location, repository)
