"""One reconciliation: plan, then run the steps of every tenant that needs work, then store what was learnt."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from psycopg import Error

from provisioning_pipeline.act.chain import ChainResult, run_steps, steps_for
from provisioning_pipeline.act.scope import Scope, Server
from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.twenty.client import TwentyClient
from provisioning_pipeline.ledger import schema
from provisioning_pipeline.model.condition import Condition, ConditionType, is_false
from provisioning_pipeline.model.fault import Fault, FaultKind, RunFault
from provisioning_pipeline.model.tenant import (
    READ_ONLY_CHANGES,
    Change,
    Outcome,
    OutcomeStatus,
    Plan,
    Step,
    TenantPlan,
)
from provisioning_pipeline.pipeline import planning
from provisioning_pipeline.pipeline.connections import Connections

_KEPT_EVENTS = timedelta(days=30)
"""Clerk repeats an event for about 27 hours; what is older tells only when somebody changed."""

Progress = Callable[[TenantPlan, ChainResult], None]


@dataclass
class Totals:
    """Small, summable figures of a run or of a part of it."""

    worked_on: int = 0
    failed: int = 0
    actions: int = 0
    mutating_calls: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    defects: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    no_server_usable: bool = False

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            worked_on=self.worked_on + other.worked_on,
            failed=self.failed + other.failed,
            actions=self.actions + other.actions,
            mutating_calls=self.mutating_calls + other.mutating_calls,
            calls=self.calls + other.calls,
            defects=self.defects + other.defects,
            refusals=list(dict.fromkeys(self.refusals + other.refusals)),
            no_server_usable=self.no_server_usable or other.no_server_usable,
        )


def count_actions(outcomes: Sequence[Outcome]) -> int:
    """How many of these changed something."""
    return sum(outcome.status is OutcomeStatus.DONE and outcome.change not in READ_ONLY_CHANGES for outcome in outcomes)


@dataclass
class Reconciler:
    """A reconciliation under way.

    Args:
        connections: the systems, not in dry-run mode.
        run_id: names the run in the ledger.
    """

    connections: Connections
    run_id: str

    def __post_init__(self) -> None:
        self._gate = asyncio.Semaphore(self.connections.settings.tenant_concurrency)

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
            await registry.ensure_table()
            await registry.ensure_our_columns()
            await ledger.begin_run(self.run_id, trigger)
        except Fault as fault:
            raise RunFault(fault.message) from None
        except Error as error:
            raise RunFault(f"The tenant registry refused: {str(error).splitlines()[0]}.") from None

    async def plan(self, tenants: Collection[str] = (), *, by_hand: bool = True, approved: str | None = None) -> Plan:
        """Observe and decide, for these tenants or for all."""
        try:
            return await planning.plan(self.connections, tenants, by_hand=by_hand, approved=approved)
        except planning.UnknownPlan:
            await self.connections.ledger.forget_run(self.run_id)
            raise

    async def accept(self, plan: Plan) -> Plan:
        """Write down what observing settled: adopted databases, links, conditions. Before any step.

        Returns the plan without work for the tenants that the registry would not take.
        """
        try:
            accepted, _ = await all_of([self._write_down(plan), self._make_servers_ready(plan)])
        except Fault as fault:
            raise RunFault(fault.message) from None
        except Error as error:
            raise RunFault(f"The tenant registry refused: {str(error).splitlines()[0]}.") from None
        assert accepted is not None
        return accepted

    async def _write_down(self, plan: Plan) -> Plan:
        ledger = self.connections.ledger
        await ledger.ensure_links(entry.tenant for entry in plan.tenants)
        adoptions = {entry.tenant.database_name: await self._adopt(entry) for entry in plan.tenants if entry.adopt}
        entries = []
        for entry in plan.tenants:
            adoption = adoptions.get(entry.tenant.database_name)
            if adoption and adoption.failed:
                conditions = (*entry.conditions, *adoption.conditions)
                entries.append(replace(entry, changes=(), server=None, conditions=conditions))
            else:
                entries.append(entry)
        for idle in (True, False):
            # a tenant whose steps come next has not had its try yet
            found = {e.tenant.database_name: e.conditions for e in entries if (not steps_for(e)) is idle}
            await self._store(found, tried=idle)
        outcomes = [outcome for adoption in adoptions.values() for outcome in adoption.outcomes]
        await ledger.add_outcomes(self.run_id, outcomes)
        await self._keep_what_was_read(plan)
        return replace(plan, tenants=tuple(entries))

    async def _keep_what_was_read(self, plan: Plan) -> None:
        """Which organization is whose; and the marks of tenants that were looked at come off."""
        await self.connections.members.store_organizations(
            [
                (entry.tenant.database_name, entry.tenant.clerk_org_id)
                for entry in plan.tenants
                if entry.tenant.clerk_org_id
            ]
        )
        if plan.looked_at is not None:
            await self.connections.marks.forget_events(plan.looked_at - _KEPT_EVENTS)
            await self.connections.marks.catch_up(plan.looked_at)
            # who was asked for and is no more has been looked at too
            read = {*plan.asked, *(entry.tenant.database_name for entry in plan.tenants)}
            await self.connections.marks.clear(sorted(read - plan.unread), plan.looked_at)

    async def run(
        self, plans: Sequence[TenantPlan], only: Sequence[Step] | None = None, progress: Progress | None = None
    ) -> list[ChainResult]:
        """Run the steps of these tenants, a few tenants at a time; each one's end is stored as it comes.

        Raises:
            RunFault: when the ledger is lost on the way; nobody works on without it, and the next run goes on.
        """

        async def one(entry: TenantPlan) -> ChainResult | None:
            steps = [step for step in steps_for(entry) if only is None or step in only]
            if not steps:
                return None
            async with self._gate:
                result = await run_steps(self._scope(entry), steps)
            # outside the gate, so that the next tenant begins meanwhile
            await self._keep(result, tried=result.failed or steps[-1] is Step.VERIFY_LOGINS)
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

    def totals(self, results: Sequence[ChainResult], plan: Plan | None = None) -> Totals:
        """The figures of these results, with the calls since the last totals and the notes of the plan, if given."""
        twenty, mutating_twenty = self.connections.twenty_calls.take()
        clerk, mutating_clerk = self.connections.clerk_calls.take()
        servers = self.connections.servers.values()
        stops = [stop for server in servers for stop in (server.stop, server.creation_stop) if stop]
        return Totals(
            worked_on=len(results),
            failed=sum(result.failed for result in results),
            actions=sum(count_actions(result.outcomes) for result in results),
            mutating_calls=mutating_twenty + mutating_clerk,
            calls=twenty + clerk,
            defects=[result.defect for result in results if result.defect],
            refusals=list(dict.fromkeys([*(stop.message for stop in stops), *(plan.notes if plan else ())])),
            no_server_usable=all(
                server.stop is not None and server.stop.kind is FaultKind.SERVER for server in servers
            ),
        )

    # --- inside -------------------------------------------------------------------------------------------------

    def _scope(self, entry: TenantPlan) -> Scope:
        settings = self.connections.settings
        assert entry.server is not None
        return Scope(
            plan=entry,
            server=self.connections.servers[entry.server],
            ledger=self.connections.ledger,
            registry=self.connections.registry,
            members=self.connections.members,
            clerk=self.connections.clerk,
            run_id=self.run_id,
            member_password_key=settings.member_password_key,
            service_member_name=settings.service_member_name,
            activation_timeout_seconds=settings.activation_timeout_seconds,
            lock_wait_seconds=settings.lock_wait_seconds,
            ready_status=settings.registry_ready_status,
            pending_statuses=settings.registry_pending_statuses,
            invites=settings.members_foreign_password == "invite",  # noqa: S105  # a policy, no secret
        )

    async def _keep(self, result: ChainResult, *, tried: bool) -> None:
        await self._store({result.database_name: result.conditions}, tried=tried)
        await self.connections.ledger.add_outcomes(self.run_id, result.outcomes)

    async def _store(self, found: dict[str, tuple[Condition, ...]], *, tried: bool) -> None:
        if not found:
            return
        settings = self.connections.settings
        await self.connections.ledger.store_conditions(
            found,
            run_id=self.run_id,
            first_wait=settings.retry_seconds,
            most_wait=settings.retry_most_seconds,
            tried=tried,
        )

    async def _adopt(self, entry: TenantPlan) -> ChainResult:
        begun = time.perf_counter()
        name = entry.tenant.database_name
        status = (self.connections.settings.registry_pending_statuses or ("provisioning",))[-1]
        try:
            await self.connections.registry.adopt(entry.tenant, status)
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

    async def _make_servers_ready(self, plan: Plan) -> None:
        """Check every server that will be written to, and sign our account up where there is no user at all.

        The first user of a server becomes its admin.
        """
        wanted = sorted({entry.server for entry in plan.work if entry.server and steps_for(entry)})
        await all_of(self._make_server_ready(self.connections.servers[name]) for name in wanted)

    async def _make_server_ready(self, server: Server) -> None:
        try:
            if await server.database.has_any_user():
                # signing in writes nothing, so it need not wait for the check
                await all_of([server.client.check_contract(), server.client.sign_in()])
            else:
                await server.client.check_contract()
                await _sign_up(server.client)
        except Fault as fault:
            server.note(fault)


async def _sign_up(client: TwentyClient) -> None:
    try:
        await client.sign_up_service_account()
    except Fault as fault:
        if fault.kind is not FaultKind.TENANT:
            raise
        # lost the race against another run, or our own lost answer: signing in will tell
        await client.service_token()
