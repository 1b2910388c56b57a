"""The ops of a reconciliation: detect_tenants → provision_workspaces → backfill_members → … → report."""

import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import dagster as dg
from pydantic import Field

from provisioning_pipeline.clients.concurrency import both
from provisioning_pipeline.clients.files import NotWritten
from provisioning_pipeline.defs.members.recording import recorded
from provisioning_pipeline.defs.names import mapping_keys
from provisioning_pipeline.defs.onboarding.recording import onboarding_recorded
from provisioning_pipeline.defs.reconciliation import metadata
from provisioning_pipeline.defs.reconciliation.recording import Files, fleet_recorded, plan_recorded, run_recorded
from provisioning_pipeline.defs.resources import Workbench
from provisioning_pipeline.model.forecast import Forecast
from provisioning_pipeline.model.tenant import ClerkRead, Plan, TenantPlan
from provisioning_pipeline.model.visible import visible
from provisioning_pipeline.run.conclude import Concluded, conclude
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.reconcile import Accepted, Reconciler
from provisioning_pipeline.run.run import plan_and_foretell
from provisioning_pipeline.run.saved_plans import SavedPlan, UnknownSavedPlan, keep, load, must_be_as_saved, saved_plan
from provisioning_pipeline.run.totals import Totals
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps import STEPS
from provisioning_pipeline.steps.chain import steps_for
from provisioning_pipeline.steps.step import Step
from provisioning_pipeline.views.health import Health, health_now
from provisioning_pipeline.views.member_tables import PeopleAfter, people_after
from provisioning_pipeline.views.onboarding_tables import OnboardingAfter, onboarding_after
from provisioning_pipeline.views.recent_events import Events, newest_events

TRIGGER_TAG = "trigger"
APPROVE_TAG = "provisioning/approve"
"""A run with this tag makes the removals and demotions of the plan that its value names."""
_IN_PROCESS = frozenset({"in_process", "execute_in_process"})
"""Executors whose steps share one process, and so one workbench."""
_SENSORS = frozenset({"sensor", "clerk", "tenant-manager"})
"""Triggers whose tenants nobody typed: one may have vanished meanwhile."""
_MOST_LISTED = 100


@dataclass(frozen=True)
class Chunk:
    """The tenants of one mapped step, what its steps came to so far, and who failed in one of them."""

    plans: tuple[TenantPlan, ...]
    totals: Totals
    failed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RunFacts:
    """What the last op needs to know about the first. `begun` is in seconds since 1970; `clerk` is what was read."""

    dry_run: bool
    begun: float
    totals: Totals
    clerk: ClerkRead | None = None
    not_written: tuple[str, ...] = ()


class DetectTenantsConfig(dg.Config):
    """What a run looks at, and whether it may change anything."""

    tenants: list[str] = Field(
        default=[],
        description="Slugs or database names of the tenants to reconcile. Empty: all tenants.",
    )
    dry_run: bool = Field(
        default=False,
        description="Show the plan and change nothing; every connection then refuses to write. The plan is kept as a "
        "file under a name, for `plan_id`.",
    )
    approve: str | None = Field(
        default=None,
        description="Name of a plan whose removals and demotions go beyond the budget of a run, as a report tells it; "
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
DetectedOutputs = Iterator[dg.DynamicOutput[Chunk] | dg.Output[RunFacts] | dg.AssetMaterialization]


@dg.op(
    description="Observe the tenant cluster, the registry, Twenty and Clerk, decide what each tenant needs, and fan "
    "out: one chain of steps per tenant while they are few, per chunk when they are many.",
    out=DETECTED,
    tags={"kind": "python"},
)
def detect_tenants(
    context: dg.OpExecutionContext,
    config: DetectTenantsConfig,
    workbench: Workbench,
) -> DetectedOutputs:
    """Yield the chunks to work on, then the facts for the report."""
    asked = Asked(
        tuple(config.tenants),
        dry_run=config.dry_run,
        approved=config.approve or context.run.tags.get(APPROVE_TAG),
        plan_id=config.plan_id,
    )
    yield from detected(context, workbench, asked)


@dataclass(frozen=True)
class Asked:
    """What a run was launched for: tenants (none: all), or a saved plan; and whether it may change anything."""

    tenants: tuple[str, ...]
    dry_run: bool
    approved: str | None = None
    plan_id: str | None = None


def detected(
    context: dg.OpExecutionContext,
    workbench: Workbench,
    asked: Asked,
    part: Callable[[Plan], Plan] | None = None,
) -> DetectedOutputs:
    """Plan for these tenants, or for all, and fan out. `part` says what of the plan is to be done; None: all of it."""
    begun = time.time()
    settings = workbench.settings()
    files = Files(settings.tables, context.run_id, settings.files_readable_by)
    saved = _saved(asked, settings)
    tenants = saved.asked if saved else asked.tenants
    if asked.dry_run:

        async def look(connections: Connections) -> tuple[Plan, Forecast]:
            plan, forecast = await plan_and_foretell(connections, tenants, part=part)
            if saved:
                must_be_as_saved(saved, saved_plan(plan, settings))
            return plan, forecast

        planned, foretold = workbench.with_dry_connections(look)
        context.log.info(f"Dry run: {len(planned.work)} of {len(planned.tenants)} tenants would be worked on.")
        # what a run of another job does of a plan cannot be applied by name
        name = _kept(planned, settings, files) if part is None else None
        yield plan_recorded(files, planned, foretold, name)
        facts = RunFacts(dry_run=True, begun=begun, totals=Totals(), not_written=tuple(files.not_written))
        yield dg.Output(facts, "facts", metadata=metadata.of_plan(planned, foretold))
        return

    async def begin(reconciler: Reconciler) -> tuple[Plan, Accepted, Totals, Forecast | None]:
        await reconciler.prepare(trigger_of(context))
        by_hand = trigger_of(context) not in _SENSORS
        plan = await reconciler.plan(tenants, by_hand=by_hand, approved=asked.approved, saved=saved)
        plan = part(plan) if part else plan
        accepted = await reconciler.accept(plan)
        return plan, accepted, reconciler.totals(accepted.results, accepted.plan), reconciler.forecast

    whole, accepted, totals, forecast = workbench.with_reconciler(context.run_id, begin)
    planned = accepted.plan
    work = [entry for entry in planned.work if steps_for(entry)]
    if len(work) <= settings.step_per_tenant_limit:
        workbench.expect(context.run_id, work, here=context.job_def.executor_def.name in _IN_PROCESS)
    yield plan_recorded(files, whole, forecast)
    for sentence in accepted.told:
        context.log.info(visible(sentence))
    context.log.info(f"{len(work)} of {len(planned.tenants)} tenants need work.")
    for key, plans in chunks(work, settings.step_per_tenant_limit, settings.tenants_per_chunk):
        yield dg.DynamicOutput(Chunk(plans, Totals()), mapping_key=key, output_name="chunks")
    facts = RunFacts(False, begun, totals, planned.clerk, tuple(files.not_written))
    yield dg.Output(facts, "facts", metadata=metadata.of_plan(planned, forecast))


def _saved(asked: Asked, settings: Settings) -> SavedPlan | None:
    if asked.plan_id is None:
        return None
    if asked.tenants:
        raise dg.Failure("Give either tenants or plan_id: a plan names its tenants itself.", allow_retries=False)
    try:
        return load(asked.plan_id, settings)
    except UnknownSavedPlan as fault:
        raise dg.Failure(str(fault), allow_retries=False) from None


def _kept(plan: Plan, settings: Settings, files: Files) -> str | None:
    """The name under which the plan can be applied; None: it could not be kept."""
    saved = saved_plan(plan, settings)
    try:
        keep(saved, settings)
    except NotWritten as refusal:
        files.not_written.append(str(refusal))
        return None
    return saved.id


def chunks(work: Sequence[TenantPlan], few: int, per_chunk: int) -> list[tuple[str, tuple[TenantPlan, ...]]]:
    """One chunk per tenant, named after it, while they are few; else chunks of `per_chunk`."""
    if len(work) > few:
        starts = range(0, len(work), per_chunk)
        return [(f"chunk_{n}", tuple(work[start : start + per_chunk])) for n, start in enumerate(starts, 1)]
    keys = mapping_keys([plan.tenant for plan in work])
    return [(key, (plan,)) for key, plan in zip(keys, work, strict=True)]


def _step(context: dg.OpExecutionContext, workbench: Workbench, step: Step, chunk: Chunk) -> dg.Output[Chunk]:
    going_on = [plan for plan in chunk.plans if plan.tenant.database_name not in chunk.failed]
    totals, failed = workbench.step(context.run_id, step, going_on)
    if totals.failed:
        context.log.warning(f"{totals.failed} of {len(chunk.plans)} tenants did not get through {step}.")
    return dg.Output(
        replace(chunk, totals=chunk.totals + totals, failed=chunk.failed | failed),
        metadata={
            "tenants": ", ".join(visible(plan.tenant.slug) for plan in chunk.plans[:_MOST_LISTED]),
            "worked_on": totals.worked_on,
            "failed": totals.failed,
            "actions": totals.actions,
        },
    )


def _op_of(step: Step, priority: int) -> dg.OpDefinition:
    def take(context: dg.OpExecutionContext, chunk: Chunk, workbench: Workbench) -> dg.Output[Chunk]:
        return _step(context, workbench, step, chunk)

    # a tenant that is further goes first, so that nobody waits for the whole fleet
    tags = {"dagster/priority": str(priority)}
    return dg.op(name=step.name, out=dg.Out(Chunk), tags=tags, description=step.description)(take)


STEP_OPS: Final[Mapping[str, dg.OpDefinition]] = {
    step.name: _op_of(step, priority) for priority, step in enumerate(step for step in STEPS if step.beside is None)
}
"""The op of each step that has one, in the order in which they are taken."""


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Write the report, record the assets about tenants and, after a whole run, members and onboarding; "
    "fail the run if more tenants failed than the threshold allows, or no Twenty server could be used.",
)
def report_reconciliation(
    context: dg.OpExecutionContext,
    facts: RunFacts,
    done: list[Chunk],
    workbench: Workbench,
) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    """The end of a run; nothing is written after a dry one."""
    settings = workbench.settings()
    files = Files(settings.tables, context.run_id, settings.files_readable_by, list(facts.not_written))
    if facts.dry_run:
        files.fail_if_any_is_missing()
        return
    totals = sum((chunk.totals for chunk in done), facts.totals)
    # a run that was executed again from the middle began later than the one that planned
    begun = max(facts.begun, _started(context))

    async def end(reconciler: Reconciler) -> Concluded:
        return await conclude(
            reconciler.connections,
            run_id=context.run_id,
            trigger=trigger_of(context),
            seconds=time.time() - begun,
            totals=totals,
            in_dagster=True,
            continues=context.run.root_run_id,
        )

    concluded = workbench.with_reconciler(context.run_id, end)
    if concluded.not_written:
        files.not_written.append(concluded.not_written)
    whole = facts.clerk if facts.clerk is not None and facts.clerk.whole else None
    # read while Dagster writes the events before it
    fleet = workbench.begin_with_reconciler(context.run_id, _fleet(context.run_id)) if whole else None
    yield from run_recorded(files, settings, concluded.summary, concluded.report)
    if whole and fleet:
        (people, onboarding), (health, events) = fleet()
        yield from recorded(whole, people)
        yield from onboarding_recorded(onboarding)
        yield from fleet_recorded(files, health, events)
    in_chunks = {plan.tenant.database_name for chunk in done for plan in chunk.plans}
    # those that went first on their server are in no chunk
    _fail_beyond_threshold(totals, facts.totals.worked_on + len(in_chunks), workbench)
    files.fail_if_any_is_missing()


def _started(context: dg.OpExecutionContext) -> float:
    record = context.instance.get_run_record_by_id(context.run_id)
    return record.start_time or 0.0 if record and context.run.parent_run_id else 0.0


Fleet = tuple[tuple[PeopleAfter, OnboardingAfter], tuple[Health, Events]]


def _fleet(run_id: str) -> Callable[[Reconciler], Coroutine[Any, Any, Fleet]]:
    """What only a run over all tenants looks at, at its end."""
    return lambda reconciler: both(
        both(people_after(reconciler.connections, run_id), onboarding_after(reconciler.connections)),
        both(health_now(reconciler.connections), newest_events(reconciler.connections)),
    )


def _fail_beyond_threshold(totals: Totals, worked_on: int, workbench: Workbench) -> None:
    why = list(totals.refusals)
    if totals.defects:
        raise dg.Failure(f"Unforeseen errors: {', '.join(totals.defects)}.", allow_retries=False)
    if totals.no_server_usable:
        raise dg.Failure(" ".join(why), allow_retries=False)
    threshold = workbench.settings().failure_threshold
    if worked_on and totals.failed / worked_on > threshold:
        raise dg.Failure(
            f"{totals.failed} of {worked_on} tenants failed, more than the threshold of {threshold:.0%}. "
            + (" ".join(why) or "The report says why for each. Launch the job again: it does only what is left."),
            allow_retries=False,
        )


def trigger_of(context: dg.OpExecutionContext) -> str:
    """Who launched the run; without a word it was a person."""
    return context.run.tags.get(TRIGGER_TAG, "operator")
