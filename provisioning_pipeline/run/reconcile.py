"""One reconciliation: plan, then run the steps of every tenant that needs work, then store what was learnt."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType

from psycopg import Error

from provisioning_pipeline.clients.concurrency import all_of, both
from provisioning_pipeline.clients.twenty.client import TwentyClient
from provisioning_pipeline.decide.contract import Decision
from provisioning_pipeline.decide.drift import concerned, find_drift
from provisioning_pipeline.decide.organizations import without_organization
from provisioning_pipeline.decide.registry_loss import RegistryLoss
from provisioning_pipeline.ledger import schema
from provisioning_pipeline.ledger.organizations import store_organizations
from provisioning_pipeline.ledger.registrations import known_rows, store_registered
from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, is_false
from provisioning_pipeline.model.fault import Fault, FaultKind, RunFault
from provisioning_pipeline.model.forecast import Forecast
from provisioning_pipeline.model.run_record import RunRecord
from provisioning_pipeline.model.tenant import (
    READ_ONLY_CHANGES,
    Change,
    DatabasePlan,
    Outcome,
    OutcomeStatus,
    Plan,
    Step,
    TenantPlan,
)
from provisioning_pipeline.model.tenant_database import LastLook
from provisioning_pipeline.report import charts
from provisioning_pipeline.run import decide as planning
from provisioning_pipeline.run.canaries import Tried, is_proved, try_canaries
from provisioning_pipeline.run.connections import Connections, tenant_database
from provisioning_pipeline.run.contracts import Judged, look_and_remember
from provisioning_pipeline.run.forecasting import foretell
from provisioning_pipeline.run.observe import registry_loss
from provisioning_pipeline.run.policy import standing_claims
from provisioning_pipeline.run.retire import retire
from provisioning_pipeline.run.saved_plans import SavedPlan, must_be_as_saved, saved_plan
from provisioning_pipeline.run.scopes import scope_of
from provisioning_pipeline.run.totals import Totals
from provisioning_pipeline.steps.chain import ChainResult, run_steps, server_steps, steps_for, stopped, together
from provisioning_pipeline.steps.databases.act import TenantDatabase, repair_tenant_database
from provisioning_pipeline.steps.scope import AtClerk, Scope

_KEPT_EVENTS = timedelta(days=30)
"""Clerk repeats an event for about 27 hours; what is older tells only when somebody changed."""

_TENANTS_PER_PLACE = 3
_OBSERVING, _MAKING_READY = "observe and decide", "make servers ready"
PHASES: tuple[str, ...] = (_OBSERVING, _MAKING_READY, *Step)
"""What a run spends its time on, in order."""
_IN_OWN_DATABASE = frozenset({Change.REMOVE_ROWS, Change.MEND_WORKSPACE})

Progress = Callable[[TenantPlan, ChainResult], None]


@dataclass(frozen=True)
class Accepted:
    """A plan that can be worked on, and what was settled for some tenants before.

    Args:
        plan: what is left to be done.
        results: of tenants that went first on their server, and of those on a server that nobody may work on now; a
            part of the run's totals.
        told: what an operator should know about those who went first.
    """

    plan: Plan
    results: tuple[ChainResult, ...]
    told: tuple[str, ...]


def count_actions(outcomes: Sequence[Outcome]) -> int:
    """How many of these changed something."""
    return sum(outcome.status is OutcomeStatus.DONE and outcome.change not in READ_ONLY_CHANGES for outcome in outcomes)


@dataclass
class Reconciler:
    """A reconciliation under way.

    Args:
        connections: the systems, not in dry-run mode.
        run_id: names the run in the ledger.
        at_clerk: database name → what a tenant's last step was told by Clerk: the next one begins soon after.
    """

    connections: Connections
    run_id: str
    at_clerk: dict[str, AtClerk] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._loading: asyncio.Task[None] | None = None
        self.forecast: Forecast | None = None
        """What was foretold, once a plan was accepted."""
        self._phases: dict[str, float] = {}
        at_once = self.connections.settings.tenant_concurrency
        self._gate = asyncio.Semaphore(at_once)
        self._databases = asyncio.Semaphore(self.connections.settings.tenant_database_connections)
        # more tenants are under way than work at a time, so that the last ones do not leave places empty
        self._under_way = asyncio.Semaphore(_TENANTS_PER_PLACE * at_once)

    async def prepare(self, trigger: str) -> None:
        """Make ledger and registry ready to be written to, and remember that the run began.

        Raises:
            RunFault: when the registry's database cannot be reached or written to.
        """
        ledger, registry = self.connections.ledger, self.connections.registry
        try:
            if await schema.revision(ledger.database) != schema.HEAD:
                url = self.connections.settings.registry_url.get_secret_value()
                await asyncio.to_thread(schema.migrate, url)
            # a table that is being restored comes back by itself; one of ours would stand in its way
            if await registry.columns() or (await known_rows(registry)).known == 0:
                await registry.ensure_table()
            await registry.ensure_our_columns()
            await self.connections.history.begin_run(self.run_id, trigger)
        except Fault as fault:
            raise RunFault(fault.message) from None
        except Error as error:
            raise RunFault(f"The tenant registry refused: {str(error).splitlines()[0]}.") from None

    async def plan(
        self,
        tenants: Collection[str] = (),
        *,
        by_hand: bool = True,
        approved: str | None = None,
        saved: SavedPlan | None = None,
    ) -> Plan:
        """Observe and decide, for these tenants or for all; with `saved`, for its tenants and only if it still fits.

        Raises:
            PlanChanged: when what would be done is not what was saved.
        """
        asked = saved.asked if saved else tenants
        try:
            with self._timed(_OBSERVING):
                plan = await planning.plan(self.connections, asked, by_hand=by_hand, approved=approved)
            if saved:
                must_be_as_saved(saved, saved_plan(plan, self.connections.settings))
            return plan
        except RunFault:
            # nothing was done, and a row of a run that never ended would stand there for ever
            with suppress(Fault, Error):
                await self.connections.history.forget_run(self.run_id)
            raise

    async def accept(self, plan: Plan) -> Accepted:
        """Write down what observing settled, make servers ready, and see who may be worked on. Before any step.

        The registry may not take a tenant, and a server may not be one that can be written to. On a server that is
        not the Twenty that is known here one tenant goes first, whole, and the others only once its login is proved.

        Raises:
            RunFault: when registry or ledger refuse.
        """
        try:
            plan = await retire(self.connections, plan, self.run_id)
            await self._remember(plan)
            if plan.work:
                self._loading = asyncio.create_task(asyncio.to_thread(charts.load))
            with self._timed(_MAKING_READY):
                accepted, judged = await both(self._write_down(plan), self._make_servers_ready(plan))
            return await self._with_canaries_first(accepted, judged)
        except Fault as fault:
            raise RunFault(fault.message) from None
        except Error as error:
            raise RunFault(f"The tenant registry refused: {str(error).splitlines()[0]}.") from None

    async def _remember(self, plan: Plan) -> None:
        """Keep what differs before anything is done about it, for the report and for the tenants' timelines."""
        history, names = self.connections.history, concerned(plan)
        drift = find_drift(plan, await history.before(names)) if names else ()
        reading = self._phases.get(_OBSERVING, 0.0)
        self.forecast = await foretell(self.connections, plan, reading_seconds=reading)
        record = RunRecord(
            looked_at=len(plan.tenants),
            whole=not plan.asked,
            drift=len(drift),
            forecast=self.forecast,
            waiting=plan.waiting,
            approved=plan.approved,
        )
        await history.store_plan(self.run_id, drift, record)

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._phases[phase] = self._phases.get(phase, 0.0) + time.perf_counter() - begun

    async def _with_canaries_first(self, plan: Plan, judged: Sequence[Judged]) -> Accepted:
        doubtful = [server for server in judged if server.verdict.decision is Decision.CANARY]
        tried = await all_of(self._try_canaries(plan, server) for server in doubtful)
        results = [result for of_server in tried for result in of_server.results]
        done = {result.database_name for result in results}
        entries: list[TenantPlan] = []
        for entry in plan.tenants:
            stop = self.connections.servers[entry.server].stop if entry.server else None
            if entry.tenant.database_name in done:
                entries.append(replace(entry, changes=(), members=(), database=None))
            elif stop and server_steps(entry):
                results.append(result := stopped(entry, stop))
                entries.append(_without_server(entry, result))
            else:
                entries.append(entry)
        waiting = {result.database_name: result.conditions for result in results if result.database_name not in done}
        await self._store(waiting, tried=True)
        await self.connections.turns.end(list(waiting))
        told = tuple(of_server.told for of_server in tried)
        return Accepted(replace(plan, tenants=tuple(entries)), tuple(results), told)

    async def _try_canaries(self, plan: Plan, judged: Judged) -> Tried:
        server = self.connections.servers[judged.server]
        work = [entry for entry in plan.work if entry.server == judged.server and server_steps(entry)]

        async def run(entry: TenantPlan) -> ChainResult:
            (result,) = await self.run([entry])
            return result

        tried = await try_canaries(work, judged, server, self.connections.contracts, run)
        server.stop = server.stop or tried.stop
        if tried.results and is_proved(tried.results[-1]) and judged.contract.onboarding is None:
            await self._prove_the_wizard(judged, tried)
        return tried

    async def _prove_the_wizard(self, judged: Judged, tried: Tried) -> None:
        """An empty server said nothing about its wizard; the workspace there now does, and the proof covers it."""
        canary = tried.results[-1].database_name
        try:
            whole = await look_and_remember(self.connections, judged.server, (canary,))
        except Fault as fault:
            tried.told += f" Its wizard could not be read, so a later run proves that: {fault.message}"
            return
        if whole.contract.agrees_with(judged.contract):
            await self.connections.contracts.prove(judged.server, whole.contract.fingerprint, canary)

    async def _write_down(self, plan: Plan) -> Plan:
        ledger = self.connections.ledger
        await ledger.ensure_links((entry.tenant for entry in plan.tenants), run_id=self.run_id)
        await store_registered(ledger.database, seen=plan.registered, gone=plan.row_gone)
        await self._follow_addresses(plan)
        adopted = [entry for entry in plan.tenants if entry.adopt]
        # a run reads for minutes, and adopts by what is so now
        loss = await registry_loss(self.connections) if adopted else RegistryLoss()
        adoptions = {entry.tenant.database_name: await self._adopt(entry, loss) for entry in adopted}
        await self.connections.registry.store_asked_admins(dict(plan.asked_admins))
        entries = []
        for entry in await self._with_organizations(plan):
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
            await self._store(found, tried=idle, again=again)
        outcomes = [outcome for adoption in adoptions.values() for outcome in adoption.outcomes]
        await ledger.add_outcomes(self.run_id, outcomes)
        await self._keep_what_was_read(plan)
        await self._keep_looks(plan)
        return replace(plan, tenants=tuple(entries))

    async def _with_organizations(self, plan: Plan) -> list[TenantPlan]:
        """Write down which organization is whose; a tenant whose organization is another one's by now waits."""
        found = {entry.tenant.database_name: entry.tenant.clerk_org_id for entry in plan.tenants}
        lost = await store_organizations(
            self.connections.registry,
            {name: organization for name, organization in found.items() if organization},
            stands=standing_claims(self.connections.settings, plan.kept_rows),
        )
        return [without_organization(entry) if entry.tenant.database_name in lost else entry for entry in plan.tenants]

    async def _keep_what_was_read(self, plan: Plan) -> None:
        """The marks of tenants that were looked at come off."""
        if plan.looked_at is not None:
            await self.connections.marks.forget_events(plan.looked_at - _KEPT_EVENTS)
            await self.connections.marks.catch_up(plan.looked_at)
            # who was asked for and is no more has been looked at too
            read = {*plan.asked, *(entry.tenant.database_name for entry in plan.tenants)}
            await self.connections.marks.clear(sorted(read - plan.unread), plan.looked_at)
            # after the marks: one that stands keeps its turn. Those with steps keep theirs until they had them
            await self.connections.turns.end(
                sorted(read - {entry.tenant.database_name for entry in plan.tenants if steps_for(entry)})
            )

    async def _keep_looks(self, plan: Plan) -> None:
        """What tells that a tenant database needs no other look, and which workspaces there are hand-made."""
        found = {entry.tenant.database_name: entry.database for entry in plan.tenants if entry.database}
        # rows of somebody who becomes ours now were somebody else's in the last look
        newly_ours = {
            entry.tenant.database_name
            for entry in plan.tenants
            if not entry.database and {Change.ADD_MEMBER, Change.LINK_MEMBER, Change.ADD_ADMIN} & set(entry.changes)
        }
        await self.connections.members.mark_left(plan.left)
        await self.connections.members.give_up(plan.given_up)
        await self.connections.hand_made.store_known_at_clerk(
            [(name, email) for name, seen in found.items() for email in seen.known_at_clerk]
        )
        await self.connections.hand_made.forget(plan.dropped)
        await self.connections.hand_made.store({name: seen.hand_made for name, seen in found.items()})
        # last: a look counts only once everything that it found is written down
        await self.connections.looks.forget(plan.dropped | newly_ours)
        await self.connections.looks.store(
            {name: LastLook(seen.evidence, seen.looked_at, seen.settled) for name, seen in found.items()}
        )

    async def run(
        self, plans: Sequence[TenantPlan], only: Sequence[Step] | None = None, progress: Progress | None = None
    ) -> list[ChainResult]:
        """Run the steps of these tenants, a few tenants at a time; each one's end is stored as it comes.

        Raises:
            RunFault: when the ledger is lost on the way; nobody works on without it, and the next run goes on.
        """

        async def one(entry: TenantPlan) -> ChainResult | None:
            steps = [step for step in server_steps(entry) if only is None or step in only]
            # with the tenant's first step, so that no failure of Twenty's keeps its own database from being repaired
            in_database = only is None or steps_for(entry)[:1] in [(step,) for step in only]
            results: list[ChainResult] = []
            async with self._under_way:
                if in_database and entry.database and entry.database.needs_work:
                    results.append(await self._repair_database(entry.tenant.database_name, entry.database))
                if steps:
                    results.append(await self._chain(scope_of(self.connections, entry, self.run_id), steps))
            if not results:
                return None
            result = together(results)
            # outside the gates, so that the next tenant begins meanwhile
            await self._keep(result, tried=result.failed or not steps or steps[-1] is Step.VERIFY_LOGINS)
            if progress:
                progress(entry, result)
            return result

        try:
            results = await all_of(one(entry) for entry in plans)
        except Fault as fault:
            raise RunFault(fault.message) from None
        except Error as error:
            raise RunFault(f"PostgreSQL refused: {str(error).splitlines()[0]}.") from None
        return [result for result in results if result is not None]

    async def _chain(self, scope: Scope, steps: Sequence[Step]) -> ChainResult:
        """The steps in order, up to the first that fails. Between two of them another tenant may take the place."""
        scope.at_clerk = self.at_clerk.get(scope.database_name)
        for step in steps:
            async with self._gate:
                with self._timed(step):
                    result = await run_steps(scope, [step])
            if result.failed:
                break
        if scope.at_clerk is not None:
            self.at_clerk[scope.database_name] = scope.at_clerk
        return result

    async def _repair_database(self, name: str, plan: DatabasePlan) -> ChainResult:
        settings, connections = self.connections.settings, self.connections
        async with self._databases, tenant_database(settings, name, read_only=False) as database:
            return await repair_tenant_database(
                TenantDatabase(
                    name=name,
                    plan=plan,
                    database=database,
                    ledger=connections.ledger.database,
                    removed_rows=connections.removed_rows,
                    run_id=self.run_id,
                    lock_wait_seconds=settings.lock_wait_seconds,
                )
            )

    def totals(self, results: Sequence[ChainResult], plan: Plan | None = None) -> Totals:
        """The figures of these results, with the calls since the last totals and the notes of the plan, if given."""
        twenty, mutating_twenty = self.connections.twenty_calls.take()
        clerk, mutating_clerk = self.connections.clerk_calls.take()
        phases, self._phases = self._phases, {}
        servers = self.connections.servers.values()
        stops = [stop for server in servers for stop in (server.stop, server.creation_stop) if stop]
        return Totals(
            worked_on=len(results),
            failed=sum(result.failed for result in results),
            actions=sum(count_actions(result.outcomes) for result in results),
            mutating_calls=mutating_twenty + mutating_clerk,
            calls=twenty + clerk,
            clerk_calls=clerk.total(),
            twenty_calls=twenty.total(),
            phases=phases,
            defects=[result.defect for result in results if result.defect],
            refusals=list(dict.fromkeys([*(stop.message for stop in stops), *(plan.notes if plan else ())])),
            no_server_usable=all(
                server.stop is not None and server.stop.kind is FaultKind.SERVER for server in servers
            ),
        )

    # --- inside -------------------------------------------------------------------------------------------------

    async def _keep(self, result: ChainResult, *, tried: bool) -> None:
        # outcomes first: what holds since stands after what was done, and a crash in between loses neither
        await self.connections.ledger.add_outcomes(self.run_id, result.outcomes)
        again = {} if result.again_seconds is None else {result.database_name: result.again_seconds}
        await self._store({result.database_name: result.conditions}, tried=tried, again=again)
        if tried:
            await self.connections.turns.end([result.database_name])

    async def _store(
        self,
        found: dict[str, tuple[Condition, ...]],
        *,
        tried: bool,
        again: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        if not found:
            return
        settings = self.connections.settings
        await self.connections.ledger.store_conditions(
            found,
            run_id=self.run_id,
            first_wait=settings.retry_seconds,
            most_wait=settings.retry_most_seconds,
            tried=tried,
            again=again,
        )

    async def _follow_addresses(self, plan: Plan) -> None:
        """Workspaces that were renamed in Twenty are reached elsewhere now; those of which only Twenty can say where
        are looked up by the tenant's first step."""
        begun = time.perf_counter()
        moved = {
            entry.tenant.database_name: (entry.address.subdomain, entry.address.url)
            for entry in plan.tenants
            if entry.address and entry.address.url
        }
        followed = await self.connections.ledger.follow_addresses(moved)
        seconds = time.perf_counter() - begun
        outcomes = [
            Outcome(name, Change.FOLLOW_ADDRESS, OutcomeStatus.DONE, f"it is reached at {moved[name][1]} now", seconds)
            for name in followed
        ]
        await self.connections.ledger.add_outcomes(self.run_id, outcomes)

    async def _adopt(self, entry: TenantPlan, loss: RegistryLoss) -> ChainResult:
        begun = time.perf_counter()
        name = entry.tenant.database_name
        try:
            if loss.doubt:
                raise Fault(FaultKind.BUSY, Reason.REGISTRY_IN_DOUBT, loss.doubt)
            status, *others = self.connections.settings.new_statuses
            if not await self.connections.registry.adopt(entry.tenant, status, others):
                message = "The tenant manager has just registered it itself; the next run goes by its row."
                raise Fault(FaultKind.BUSY, Reason.WAITING, message)
        except Fault as fault:
            outcome = Outcome(
                name, Change.ADOPT_DATABASE, OutcomeStatus.FAILED, fault.message, time.perf_counter() - begun
            )
            refused = is_false(ConditionType.REGISTERED, fault.reason, fault.message)
            return ChainResult(name, (refused,), (outcome,), failed=True)
        outcome = Outcome(
            name,
            Change.ADOPT_DATABASE,
            OutcomeStatus.DONE,
            f"as {entry.tenant.slug} ({entry.tenant.name})",
            time.perf_counter() - begun,
        )
        return ChainResult(name, (), (outcome,), failed=False)

    async def _make_servers_ready(self, plan: Plan) -> list[Judged]:
        """Judge every server that will be written to, and sign our account up where it has to be.

        That is where there is no user at all, and where ours was deleted with its last workspace. The first user of a
        server becomes its admin, and so does the next one where no admin is left. A server that may not be written to
        comes to its stop, and is not among those that are returned.
        """
        wanted: dict[str, list[str]] = {}
        for entry in plan.work:
            if entry.server and server_steps(entry):
                inside = [entry.tenant.database_name] if entry.workspace_id else []
                wanted.setdefault(entry.server, []).extend(inside)
        judged = await all_of(self._make_server_ready(name, inside) for name, inside in sorted(wanted.items()))
        return [server for server in judged if server is not None]

    async def _make_server_ready(self, name: str, inside: Sequence[str]) -> Judged | None:
        """Judge one server; `inside` names databases of tenants in whose workspace something will be done."""
        server = self.connections.servers[name]
        try:
            email = server.client.service_account.email
            # Twenty deletes our account with its last workspace, like everybody's
            known = await server.database.has_any_user() and not await server.database.was_deleted(email)
            # signing in writes nothing, so it need not wait for the verdict; what it refuses comes after that
            judged, refused = await both(
                look_and_remember(self.connections, name, inside),
                _refusal(server.client.sign_in()) if known else _nothing(),
            )
            judged.must_be_complete()
            await server.client.check_contract()
            if refused:
                server.note(refused)
            if not known:
                await _sign_up(server.client)
        except Fault as fault:
            # nothing is written to a server of which nobody knows what it is
            server.stop = server.stop or fault
            return None
        return None if server.stop else judged


async def _refusal(work: Awaitable[None]) -> Fault | None:
    try:
        await work
    except Fault as fault:
        return fault
    return None


async def _nothing() -> None:
    return None


def _without_server(entry: TenantPlan, result: ChainResult) -> TenantPlan:
    """The plan with what is to be done in the tenant's own database alone, and with why."""
    newer = {condition.type: condition for condition in (*entry.conditions, *result.conditions)}
    changes = tuple(change for change in entry.changes if change in _IN_OWN_DATABASE)
    return replace(
        entry,
        server=None,
        members=(),
        changes=changes if entry.database and entry.database.needs_work else (),
        conditions=tuple(newer.values()),
    )


async def _sign_up(client: TwentyClient) -> None:
    try:
        await client.sign_up_service_account()
    except Fault as fault:
        if fault.kind is not FaultKind.TENANT:
            raise
        # lost the race against another run, or our own lost answer: signing in will tell
        await client.service_token()
