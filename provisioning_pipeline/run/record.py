"""What a run writes down before it works: that it began, what differs, and what observing settled."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from psycopg import Error

from provisioning_pipeline.clients.concurrency import to_the_end
from provisioning_pipeline.clients.windows import BURST
from provisioning_pipeline.decide.organizations import without_organization
from provisioning_pipeline.decide.registry_loss import RegistryLoss
from provisioning_pipeline.ledger.locks import tenant_lock
from provisioning_pipeline.ledger.moves import move_tenant, store_database_oids, store_registry_ids
from provisioning_pipeline.ledger.offboardings import Offboardings
from provisioning_pipeline.ledger.organizations import store_organizations, store_registered
from provisioning_pipeline.ledger.registration import adopt
from provisioning_pipeline.ledger.registry_reading import known_rows
from provisioning_pipeline.ledger.revisions import has_ledger
from provisioning_pipeline.ledger.runs import GONE, CutRuns, holding_run_lock
from provisioning_pipeline.ledger.schema import bring_up_to_date
from provisioning_pipeline.model.change import (
    ADOPT_DATABASE,
    FOLLOW_ADDRESS,
    FOLLOW_DATABASE,
    FOLLOW_ORGANIZATION,
)
from provisioning_pipeline.model.condition import ConditionType, Reason, is_false
from provisioning_pipeline.model.fault import Fault, FaultKind, RunFault
from provisioning_pipeline.model.forecast import Circumstances, Forecast, RunRecord
from provisioning_pipeline.model.tenant import Outcome, OutcomeStatus, Plan, TenantPlan
from provisioning_pipeline.model.tenant_database import LastInspection
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.contracts import measured
from provisioning_pipeline.run.observe import registry_loss
from provisioning_pipeline.run.seen import standing_claims
from provisioning_pipeline.run.work import OBSERVING, Run, TenantResult, Totals, ends_the_run
from provisioning_pipeline.steps import steps_for
from provisioning_pipeline.steps.drift import concerned, find_drift
from provisioning_pipeline.steps.forecast import forecast, paces
from provisioning_pipeline.steps.members.changes import ADD_MEMBER, LINK_MEMBER
from provisioning_pipeline.steps.scope import Record, defect_of
from provisioning_pipeline.steps.workspaces.changes import ADD_ADMIN

TOLD_TO_STOP: Final = "It was told to stop."


@asynccontextmanager
async def run_under_way(
    connections: Connections, run_id: str, *, totals: Callable[[], Totals] | None = None
) -> AsyncIterator[None]:
    """Hold the run's lock inside; at the end write down how it ended, where it has begun and nothing else has.

    It ends as done; or as cut, with what it did, when an error or a cancellation goes through here. A run that is
    killed, or has lost its ledger, leaves its row to the next one (`end_gone_runs`).

    Args:
        totals: what a reconciliation has counted so far.
    """
    async with holding_run_lock(connections.ledger.database, run_id):
        try:
            yield
        except BaseException as error:
            with suppress(Fault, Error):
                await to_the_end(end_as_cut(connections, run_id, why_of(error), totals() if totals else None))
            raise
        await connections.history.end_run(run_id)


async def end_as_cut(connections: Connections, run_id: str, why: str, totals: Totals | None = None) -> None:
    """Write down that this run of ours was cut, if it has begun and has no end yet.

    Raises:
        Fault, Error: when the ledger does not take it.
    """
    await connections.journal.settle()
    record = None
    if totals is not None:
        known = await connections.history.record_of(run_id)
        # of one that has not planned nothing but its beginning is known
        record = measured(known, connections, totals) if known.looked_at is not None else None
    await CutRuns(connections.ledger.database).end([run_id], why, by_themselves=True, record=record)


async def end_gone_runs(
    cut: CutRuns, *, but: Collection[str] = (), only: Collection[str | None] | None = None
) -> list[str]:
    """Write down the end of every run without a process, or of `only` these, those of `but` left out; which they were.

    Raises:
        Fault, Error: when the ledger does not take it.
    """
    gone = await cut.gone(but=but)
    return await cut.end([run_id for run_id in gone if only is None or run_id in only], GONE)


def why_of(error: BaseException) -> str:
    """Why a run ended here, in a sentence."""
    if isinstance(error, asyncio.CancelledError):
        return str(error) or TOLD_TO_STOP
    if isinstance(error, Fault | RunFault):
        return str(error)
    return f"An unforeseen error: {defect_of(error)}."


_MOVE_SECONDS: Final = 2.0
_KEPT_EVENTS = timedelta(days=30)
"""Clerk repeats an event for about 27 hours; what is older says only when a person changed."""


async def open_ledger(run: Run, trigger: str) -> None:
    """Make ledger and registry ready to be written to, end runs whose process is gone, and store that this one began.

    Raises:
        RunFault: when the registry's database cannot be reached or written to.
    """
    connections = run.connections
    ledger, registry = connections.ledger, connections.registry
    with ends_the_run("The tenant registry refused"):
        await bring_up_to_date(ledger.database, connections.settings)
        # a table that is being restored comes back by itself; one of ours would stand in its way
        if await registry.columns() or (await known_rows(registry)).known == 0:
            await registry.ensure_table()
        await registry.ensure_our_columns()
        # before anything changes: what the fleet is like now is what it was like when they ended
        await end_gone_runs(CutRuns(ledger.database), but=[run.run_id])
        await connections.history.begin_run(run.run_id, trigger)


async def record_plan(run: Run, plan: Plan) -> Forecast:
    """Store what differs before anything is done about it, for the report and for the tenants' timelines.

    Returns:
        What the run will need.

    Raises:
        RunFault: when the ledger refuses.
    """
    history, names = run.connections.history, concerned(plan)
    with ends_the_run("The tenant registry refused"):
        earlier = {entry.moved_from: entry.tenant.database_name for entry in plan.tenants if entry.moved_from}
        before = await history.before([*names, *earlier]) if names else {}
        # what the ledger knows of a tenant that has moved, it knows by its earlier name
        before |= {name: before[old] for old, name in earlier.items() if old in before}
        drift = [found for found in find_drift(plan, before) if found.database_name not in earlier]
        forecast = await forecast_for(run.connections, plan, reading_seconds=run.phases.get(OBSERVING, 0.0))
        record = RunRecord(
            looked_at=len(plan.tenants),
            whole=not plan.asked,
            drift=len(drift),
            forecast=forecast,
            waiting=plan.waiting,
            approved=plan.approved,
        )
        await history.store_plan(run.run_id, drift, record)
    return forecast


async def forecast_for(connections: Connections, plan: Plan, *, reading_seconds: float = 0.0) -> Forecast:
    """The forecast for this plan, right after it was made: the calls so far are those of observing."""
    settings = connections.settings
    allowed = max(1, int(settings.clerk_requests_per_10_seconds * settings.clerk_share))
    history = connections.history
    names = [entry.tenant.database_name for entry in plan.work]
    known = bool(names) and await has_ledger(history.database)
    timed = await history.timed_changes({server.name: server.base_url for server in settings.servers}) if known else []
    circumstances = Circumstances(
        now=datetime.now(UTC),
        observing_clerk_calls=connections.clerk_calls.by_name.total(),
        clerk_calls_per_10_seconds=allowed,
        clerk_calls_at_once=max(1, int(BURST * allowed)),
        twenty_concurrency=settings.twenty_concurrency,
        tenant_concurrency=settings.tenant_concurrency,
        harm_allowed=settings.harm_most,
        reading_seconds=reading_seconds,
        seconds_of_change=paces(
            timed, tenant_concurrency=settings.tenant_concurrency, twenty_concurrency=settings.twenty_concurrency
        ),
        room=plan.room,
        inhabited=frozenset(await history.inhabited_servers() if known else ()),
        members=await history.members_besides_admin(names) if known else {},
    )
    # a plan of ten thousand tenants takes a moment, and others of this process go on meanwhile
    return await asyncio.to_thread(forecast, plan, circumstances)


async def write_down(run: Run, plan: Plan) -> Plan:
    """Write down what observing settled, before any step.

    Returns:
        The plan without what may not be done: the registry does not take a tenant, or its organization is another's.
    """
    ledger = run.connections.ledger
    plan = await _follow_databases(run, plan)
    await ledger.ensure_links((entry.tenant for entry in plan.tenants), run_id=run.run_id)
    await store_registered(ledger.database, seen=plan.registered, gone=plan.row_gone, settled=plan.row_settled)
    for end in plan.came_back:
        await Offboardings(ledger.database).undo(end)
    await store_registry_ids(ledger.database, dict(plan.registry_ids))
    await store_database_oids(ledger.database, dict(plan.database_oids))
    await _follow_addresses(run, plan)
    adopted = [entry for entry in plan.tenants if entry.adopt]
    # a run reads for minutes, and adopts by what is so now
    loss = await registry_loss(run.connections) if adopted else RegistryLoss()
    adoptions = {entry.tenant.database_name: await _adopt(run, entry, loss) for entry in adopted}
    await run.connections.registry.store_asked_admins(dict(plan.asked_admins))
    entries = []
    for entry in await _with_organizations(run, plan):
        adoption = adoptions.get(entry.tenant.database_name)
        if adoption and adoption.failed:
            conditions = (*entry.conditions, *adoption.conditions)
            entries.append(replace(entry, changes=(), server=None, database=None, conditions=conditions))
        else:
            entries.append(entry)
    for idle in (True, False):
        # a tenant whose steps come next has not had its try yet
        found = {e.tenant.database_name: e.conditions for e in entries if (not steps_for(e)) is idle}
        again = {e.tenant.database_name: e.look_again_seconds for e in entries if e.look_again_seconds is not None}
        await run.store_conditions(found, tried=idle, again=again)
    await _end_reviews(run, plan)
    await _store_inspections(run, plan)
    return replace(plan, tenants=tuple(entries))


async def _adopt(run: Run, entry: TenantPlan, loss: RegistryLoss) -> TenantResult:
    name = entry.tenant.database_name
    record = Record(run.connections.journal, run.run_id, name)
    try:
        async with record.change(ADOPT_DATABASE, f"as {entry.tenant.slug} ({entry.tenant.name})"):
            if loss.doubt:
                raise Fault(FaultKind.BUSY, Reason.REGISTRY_IN_DOUBT, loss.doubt)
            status, *others = run.connections.settings.new_statuses
            if not await adopt(run.connections.registry, entry.tenant, status, others):
                message = "The tenant manager has just registered it itself; the next run goes by its row."
                raise Fault(FaultKind.BUSY, Reason.WAITING, message)
    except Fault as fault:
        refused = is_false(ConditionType.REGISTERED, fault.reason, fault.message)
        return TenantResult(name, (refused,), tuple(record.outcomes), failed=True)
    return TenantResult(name, (), tuple(record.outcomes), failed=False)


async def _follow_databases(run: Run, plan: Plan) -> Plan:
    """Have the ledger call tenants by what their registry rows name now.

    Returns:
        The plan without those with which another run is busy: the ledger goes on to know them by the earlier name.
    """
    missed: set[str] = set()
    for entry in plan.tenants:
        if entry.moved_from is None:
            continue
        name, before = entry.tenant.database_name, entry.moved_from
        record = Record(run.connections.journal, run.run_id, name)
        try:
            async with (
                record.change(FOLLOW_DATABASE, f"from {before} to {name}, by the id of its registry row"),
                tenant_lock(run.connections.ledger.database, before, wait_seconds=_MOVE_SECONDS),
            ):
                await move_tenant(run.connections.ledger.database, before, name)
        except Fault as fault:
            if fault.kind is not FaultKind.BUSY:
                raise
            missed |= {name, before}
    if not missed:
        return plan
    return replace(
        plan,
        tenants=tuple(entry for entry in plan.tenants if entry.tenant.database_name not in missed),
        registered=tuple(name for name in plan.registered if name not in missed),
        registry_ids=tuple((name, id_) for name, id_ in plan.registry_ids if name not in missed),
        asked=tuple(name for name in plan.asked if name not in missed),
    )


async def _follow_addresses(run: Run, plan: Plan) -> None:
    """Workspaces that were renamed in Twenty are reached elsewhere now; those of which only Twenty can say where
    are looked up by the tenant's first step."""
    begun = time.perf_counter()
    moved = {
        entry.tenant.database_name: (entry.address.subdomain, entry.address.url)
        for entry in plan.tenants
        if entry.address and entry.address.url
    }
    followed = await run.connections.ledger.follow_addresses(moved)
    seconds = time.perf_counter() - begun
    outcomes = [
        Outcome(name, FOLLOW_ADDRESS, OutcomeStatus.DONE, f"it is reached at {moved[name][1]} now", seconds)
        for name in followed
    ]
    await run.connections.journal.store(run.run_id, *outcomes)


async def _with_organizations(run: Run, plan: Plan) -> list[TenantPlan]:
    """Write down which organization is whose; a tenant whose organization is another one's by now waits."""
    found = {entry.tenant.database_name: entry.tenant.clerk_org_id for entry in plan.tenants}
    lost = await store_organizations(
        run.connections.registry,
        {name: organization for name, organization in found.items() if organization},
        stands=standing_claims(run.connections.settings, plan.kept_rows),
    )
    outcomes = [
        Outcome(
            entry.tenant.database_name,
            FOLLOW_ORGANIZATION,
            OutcomeStatus.DONE,
            f"from {entry.organization_before} to {entry.tenant.clerk_org_id}",
            0.0,
        )
        for entry in plan.tenants
        if entry.organization_before and entry.tenant.database_name not in lost
    ]
    await run.connections.journal.store(run.run_id, *outcomes)
    return [without_organization(entry) if entry.tenant.database_name in lost else entry for entry in plan.tenants]


async def _end_reviews(run: Run, plan: Plan) -> None:
    """The pending reviews of tenants that were read are done."""
    if plan.looked_at is not None:
        await run.connections.reviews.forget_events(plan.looked_at - _KEPT_EVENTS)
        await run.connections.reviews.catch_up(plan.looked_at)
        # a tenant that was asked for and is no more was read, too
        read = {*plan.asked, *(entry.tenant.database_name for entry in plan.tenants)}
        await run.connections.reviews.clear(sorted(read - plan.unread), plan.looked_at)
        # after the reviews: one that still waits holds its turn. Tenants with steps hold theirs until those are taken
        await run.connections.turns.end(
            sorted(read - {entry.tenant.database_name for entry in plan.tenants if steps_for(entry)})
        )


async def _store_inspections(run: Run, plan: Plan) -> None:
    """What shows that a tenant database needs no other inspection, and which workspaces there were inserted by SQL."""
    found = {entry.tenant.database_name: entry.database for entry in plan.tenants if entry.database}
    # rows of a person who becomes ours now were another's in the last inspection
    newly_ours = {
        entry.tenant.database_name
        for entry in plan.tenants
        if not entry.database and {ADD_MEMBER, LINK_MEMBER, ADD_ADMIN} & set(entry.changes)
    }
    await run.connections.members.mark_left(plan.left)
    await run.connections.members.give_up(plan.given_up)
    await run.connections.inserted.store_known_at_clerk(
        [(name, email) for name, seen in found.items() for email in seen.known_at_clerk]
    )
    await run.connections.inserted.forget(plan.dropped)
    await run.connections.inserted.store({name: seen.hand_made for name, seen in found.items()})
    # last: an inspection counts only once everything that it found is written down
    await run.connections.inspections.forget(plan.dropped | newly_ours)
    await run.connections.inspections.store(
        {name: LastInspection(seen.evidence, seen.looked_at, seen.settled) for name, seen in found.items()}
    )
