"""A reconciliation, its job and ops: detect_tenants → provision_workspaces → backfill_members → … → report."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import dagster as dg
from pydantic import Field

from provisioning_pipeline.clients.files import NotWritten
from provisioning_pipeline.defs.members import members_recorded
from provisioning_pipeline.defs.onboarding.checks import onboarding_recorded
from provisioning_pipeline.defs.provisioning.recording import (
    Failed,
    history_recorded,
    log_progress,
    log_settled,
    who_got_through,
)
from provisioning_pipeline.defs.reconciliation import metadata
from provisioning_pipeline.defs.reconciliation.checks import Files, fleet_recorded, plan_recorded, run_recorded
from provisioning_pipeline.defs.recording import Recorded
from provisioning_pipeline.defs.resources import Systems
from provisioning_pipeline.model.condition import StoredCondition
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.forecast import Forecast
from provisioning_pipeline.model.names import first_few, visible
from provisioning_pipeline.model.tenant import ClerkRead, Plan, TenantPlan
from provisioning_pipeline.run.conclude import Concluded, conclude
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.run import Started, plan_and_forecast_over, start
from provisioning_pipeline.run.saved_plans import SavedPlan, UnknownSavedPlan, load, must_be_as_saved, save, saved_plan
from provisioning_pipeline.run.work import Run, TenantResult, Totals, work
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps import STEPS, ops_for, steps_for
from provisioning_pipeline.steps.step import Step
from provisioning_pipeline.views.fleet import FleetAfter, fleet_after

TRIGGER_TAG = "trigger"
APPROVE_TAG = "provisioning/approve"
"""A run with this tag makes the removals and demotions of the plan that its value names."""
_SENSORS = frozenset({"sensor", "clerk", "tenant-manager"})
"""Triggers whose tenants no person typed: one may have vanished meanwhile."""
_MOST_LISTED = 100


@dataclass(frozen=True)
class Chunk:
    """The tenants of one mapped step, what its steps came to so far, and who failed in one of them."""

    plans: tuple[TenantPlan, ...]
    totals: Totals
    failed: tuple[Failed, ...] = ()


@dataclass(frozen=True)
class RunFacts:
    """What the last op needs to know about the first. `begun` is in seconds since 1970; `clerk` is what was read.

    `failed` are tenants that failed before any step: those that went first on their server.
    """

    dry_run: bool
    begun: float
    totals: Totals
    clerk: ClerkRead | None = None
    not_written: tuple[str, ...] = ()
    failed: tuple[Failed, ...] = ()


class DetectTenantsConfig(dg.Config):
    """What a run looks at, and whether it may change anything."""

    tenants: list[str] = Field(
        default=[],
        description="Slugs or database names of the tenants to reconcile. Empty: all tenants.",
    )
    dry_run: bool = Field(
        default=False,
        description="Show the plan and change nothing; every connection then refuses to write. The plan is saved as a "
        "file under an id, for `plan_id`.",
    )
    approve: str | None = Field(
        default=None,
        description="Name of a plan whose removals and demotions go beyond the budget of a run, as a report says it; "
        "the run then makes exactly those. The run tag provisioning/approve does the same.",
    )
    plan_id: str | None = Field(
        default=None,
        description="Name of a plan that `provisioning plan` or the asset reconciliation_plan showed: exactly that is "
        "done, or, if anything has changed since, nothing, and the run says what. Leave `tenants` empty then.",
    )


DETECTED = {
    "chunks": dg.DynamicOut(Chunk, description="Tenants that need work."),
    "facts": dg.Out(RunFacts, description="What was looked at."),
}
DetectedOutputs = Iterator[
    dg.DynamicOutput[Chunk] | dg.Output[RunFacts] | dg.AssetMaterialization | dg.AssetCheckEvaluation
]
StepOutputs = Iterator[dg.Output[Chunk] | dg.AssetCheckEvaluation]


@dg.op(
    description="Observe the tenant cluster, the registry, Twenty and Clerk, decide what each tenant needs, and fan "
    "out: one chunk of tenants while they are few, more (PROVISIONING_TENANTS_PER_CHUNK) when they are many.",
    out=DETECTED,
    tags={"kind": "python"},
)
def detect_tenants(context: dg.OpExecutionContext, config: DetectTenantsConfig, systems: Systems) -> DetectedOutputs:
    """Yield the chunks to work on, then the facts for the report."""
    asked = Asked(
        tuple(config.tenants),
        dry_run=config.dry_run,
        approved=config.approve or context.run.tags.get(APPROVE_TAG),
        plan_id=config.plan_id,
    )
    yield from detected(context, systems, asked)


@dataclass(frozen=True)
class Asked:
    """What a run was launched for: tenants (none: all), or a saved plan; and whether it may change anything."""

    tenants: tuple[str, ...]
    dry_run: bool
    approved: str | None = None
    plan_id: str | None = None


def detected(
    context: dg.OpExecutionContext,
    systems: Systems,
    asked: Asked,
    part: Callable[[Plan], Plan] | None = None,
) -> DetectedOutputs:
    """Plan for these tenants, or for all, and fan out. `part`: what of the plan is to be done; None: all of it."""
    begun = time.time()
    settings = systems.settings()
    files = Files(settings.tables, context.run_id, settings.files_readable_by)
    saved = _saved(asked, settings)
    tenants = saved.asked if saved else asked.tenants
    if asked.dry_run:

        async def show(connections: Connections) -> tuple[Plan, Forecast]:
            plan, forecast = await plan_and_forecast_over(connections, tenants, part=part)
            if saved:
                must_be_as_saved(saved, saved_plan(plan, settings))
            return plan, forecast

        planned, forecast = systems.read(show)
        context.log.info(f"Dry run: {len(planned.work)} of {len(planned.tenants)} tenants would be worked on.")
        # what a run of another job does of a plan cannot be applied by name
        name = _saved_as(planned, settings, files) if part is None else None
        yield plan_recorded(files, planned, forecast, name)
        facts = RunFacts(dry_run=True, begun=begun, totals=Totals(), not_written=tuple(files.not_written))
        yield dg.Output(facts, "facts", metadata=metadata.of_plan(planned, forecast))
        return

    async def begin(run: Run) -> tuple[Started, Totals]:
        trigger = trigger_of(context)
        by_hand = trigger not in _SENSORS
        started = await start(run, trigger, tenants, by_hand=by_hand, approved=asked.approved, saved=saved, part=part)
        return started, run.totals(started.results, started.plan)

    started, totals = systems.take_up(context, begin)
    planned = started.plan
    to_do = [entry for entry in planned.work if steps_for(entry)]
    yield plan_recorded(files, started.whole, started.forecast)
    for sentence in started.reports:
        context.log.info(visible(sentence))
    failed = log_settled(context.log, started.whole, started.results)
    if failed:
        yield who_got_through(failed)
    context.log.info(f"{len(to_do)} of {len(planned.tenants)} tenants need work.")
    for key, plans in chunks(to_do, settings.tenants_per_chunk):
        yield dg.DynamicOutput(Chunk(plans, Totals()), mapping_key=key, output_name="chunks")
    facts = RunFacts(False, begun, totals, planned.clerk, tuple(files.not_written), failed)
    yield dg.Output(facts, "facts", metadata=metadata.of_plan(planned, started.forecast))


def _saved(asked: Asked, settings: Settings) -> SavedPlan | None:
    if asked.plan_id is None:
        return None
    if asked.tenants:
        raise dg.Failure("Give either tenants or plan_id: a plan names its tenants itself.", allow_retries=False)
    try:
        return load(asked.plan_id, settings)
    except UnknownSavedPlan as fault:
        raise dg.Failure(str(fault), allow_retries=False) from None


def _saved_as(plan: Plan, settings: Settings, files: Files) -> str | None:
    """The id under which the plan can be applied; None: it could not be saved."""
    saved = saved_plan(plan, settings)
    try:
        save(saved, settings)
    except NotWritten as refusal:
        files.not_written.append(str(refusal))
        return None
    return saved.id


def chunks(work: Sequence[TenantPlan], most: int) -> list[tuple[str, tuple[TenantPlan, ...]]]:
    """The tenants in chunks of at most so many, each with its name."""
    starts = range(0, len(work), most)
    return [(f"chunk_{n}", tuple(work[start : start + most])) for n, start in enumerate(starts, 1)]


def _step(context: dg.OpExecutionContext, systems: Systems, step: Step, chunk: Chunk) -> StepOutputs:
    """Take this step for those tenants of the chunk that need it and have failed in none before."""
    gave_up = {failed.database_name for failed in chunk.failed}
    going_on = [plan for plan in chunk.plans if plan.tenant.database_name not in gave_up]
    plans = [plan for plan in going_on if step in ops_for(plan)]
    failed: list[Failed] = []

    def progress(plan: TenantPlan, result: TenantResult) -> None:
        failed.extend(log_progress(context.log, step.name, plan.tenant, result))

    def told(plan: TenantPlan, sentence: str) -> None:
        context.log.info(f"{visible(plan.tenant.slug)}: {step.name}: {visible(sentence)}")

    async def take(run: Run) -> Totals:
        return run.totals(await work(run, plans, only=[step], progress=progress, told=told))

    totals = systems.take_up(context, take) if plans else Totals()
    if failed:
        yield who_got_through(failed)
    yield dg.Output(
        replace(chunk, totals=chunk.totals + totals, failed=(*chunk.failed, *failed)),
        metadata={
            "tenants": ", ".join(visible(plan.tenant.slug) for plan in plans[:_MOST_LISTED]),
            "worked_on": totals.worked_on,
            "failed": totals.failed,
            "actions": totals.actions,
        },
    )


def _op_of(step: Step, priority: int) -> dg.OpDefinition:
    def take(context: dg.OpExecutionContext, chunk: Chunk, systems: Systems) -> StepOutputs:
        yield from _step(context, systems, step, chunk)

    return dg.op(name=step.name, out=dg.Out(Chunk), tags=_urgency(priority), description=step.description)(take)


def _urgency(priority: int) -> dict[str, str]:
    """A chunk that is further goes first, so that no tenant waits for the whole fleet; Redis counts down from 9."""
    return {"dagster/priority": str(priority), "dagster-celery/priority": str(max(0, 9 - priority))}


STEP_OPS: Final[Mapping[str, dg.OpDefinition]] = {
    step.name: _op_of(step, priority) for priority, step in enumerate(step for step in STEPS if step.beside is None)
}
"""The op of each step that has one, in the order in which they are taken."""


@dg.op(
    out=dg.Out(dg.Nothing),
    tags=_urgency(len(STEP_OPS)),
    description="Write the report, record the assets about tenants and, after a whole run, members and onboarding; "
    "fail the run if more tenants failed than the threshold allows, or no Twenty server could be used.",
)
def report_reconciliation(
    context: dg.OpExecutionContext,
    facts: RunFacts,
    done: list[Chunk],
    systems: Systems,
) -> Recorded:
    """The end of a run; nothing is written after a dry one."""
    settings = systems.settings()
    files = Files(settings.tables, context.run_id, settings.files_readable_by, list(facts.not_written))
    if facts.dry_run:
        files.fail_if_any_is_missing()
        return
    totals = sum((chunk.totals for chunk in done), facts.totals)
    whole = facts.clerk if facts.clerk is not None and facts.clerk.whole else None
    # a run that was executed again from the middle began later than the one that planned
    begun = max(facts.begun, _started(context))

    async def end(run: Run) -> Ended:
        connections = run.connections
        concluded = await conclude(
            connections,
            run_id=context.run_id,
            trigger=trigger_of(context),
            seconds=time.time() - begun,
            totals=totals,
            in_dagster=True,
            continues=context.run.root_run_id,
        )
        changed = concluded.summary.changed
        conditions = await connections.ledger.conditions([line.database_name for line in changed]) if changed else []
        try:
            return concluded, conditions, await fleet_after(connections, context.run_id) if whole else None
        except Fault as fault:
            # what was done is recorded all the same
            return concluded, conditions, fault

    concluded, conditions, fleet = systems.take_up(context, end)
    if concluded.not_written:
        files.not_written.append(concluded.not_written)
    yield from run_recorded(files, settings, concluded.summary, concluded.report)
    yield from history_recorded(context.instance, concluded.summary, conditions)
    if isinstance(fleet, Fault):
        raise dg.Failure(str(fleet), allow_retries=False)
    if whole and fleet:
        yield from members_recorded(whole, fleet.members)
        yield from onboarding_recorded(fleet.onboarding, fleet.proofs)
        yield from fleet_recorded(files, fleet.health, fleet.events)
    # those that went first on their server are in no chunk
    worked_on = facts.totals.worked_on + sum(len(chunk.plans) for chunk in done)
    failed = (*facts.failed, *(failed for chunk in done for failed in chunk.failed))
    yield who_got_through(failed)
    if failed:
        named = first_few([f"{visible(one.slug)} at {one.step} ({one.reason})" for one in failed], _MOST_LISTED)
        context.log.error(f"{len(failed)} of {worked_on} tenants failed: {named}.")
    _fail_beyond_threshold(totals, worked_on, settings.failure_threshold)
    files.fail_if_any_is_missing()


Ended = tuple[Concluded, list[StoredCondition], FleetAfter | Fault | None]


def _started(context: dg.OpExecutionContext) -> float:
    record = context.instance.get_run_record_by_id(context.run_id)
    return record.start_time or 0.0 if record and context.run.parent_run_id else 0.0


def _fail_beyond_threshold(totals: Totals, worked_on: int, threshold: float) -> None:
    refusals, why = " ".join(totals.refusals), ""
    if totals.defects:
        why = f"Unforeseen errors: {', '.join(totals.defects)}."
    elif totals.no_server_usable:
        why = refusals
    elif worked_on and totals.failed / worked_on > threshold:
        why = f"{totals.failed} of {worked_on} tenants failed, more than the threshold of {threshold:.0%}. " + (
            refusals or "The report says why for each. Launch the job again: it does only what is left."
        )
    else:
        return
    raise dg.Failure(why, allow_retries=False)


def trigger_of(context: dg.OpExecutionContext) -> str:
    """What launched the run; without a tag it was a person."""
    return context.run.tags.get(TRIGGER_TAG, "operator")


@dg.job(
    name="reconcile_tenants",
    description="Detect tenant databases, give each a ready Twenty workspace, prove it by a real login, and report. "
    "Level-triggered: running it again does only what is still to be done.",
    # a sensor, a schedule and the tenant manager set their own; without one it was a person
    tags={"capability": "provisioning", TRIGGER_TAG: "operator"},
)
def reconcile_tenants() -> None:
    """detect → provision → members → onboard → verify per tenant, then one report."""
    chunks, facts = detect_tenants()
    for take in STEP_OPS.values():
        chunks = chunks.map(take)
    report_reconciliation(facts, chunks.collect())
