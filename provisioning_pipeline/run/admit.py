"""Who may be worked on: the registry may refuse a tenant, and a server may be one that no run may write to yet."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from provisioning_pipeline.clients.concurrency import all_of, both
from provisioning_pipeline.clients.twenty.client import TwentyClient
from provisioning_pipeline.decide.placement import told
from provisioning_pipeline.model.change import RETIRE_MEMBERSHIPS, Where
from provisioning_pipeline.model.condition import ConditionType, Reason, Status, is_unknown
from provisioning_pipeline.model.contract import MOST_CANARIES, Decision, in_turn
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.tenant import Admin, OutcomeStatus, Plan, TenantPlan
from provisioning_pipeline.run.contracts import Judged, judge_and_store
from provisioning_pipeline.run.record import write_down
from provisioning_pipeline.run.work import MAKING_READY, Run, TenantResult, ends_the_run, settled, work
from provisioning_pipeline.steps import server_steps
from provisioning_pipeline.steps.logins.step import LOGINS
from provisioning_pipeline.steps.scope import Record, Server


@dataclass
class Tried:
    """What the canaries of one server came to.

    Args:
        results: what was done for each of them; the last one's login was proved if any was.
        report: a sentence for the log.
        stop: why no other tenant is worked on there in this run; None: the others go on.
    """

    results: list[TenantResult] = field(default_factory=list)
    report: str = ""
    stop: Fault | None = None


async def try_canaries(run: Run, wanted: Sequence[TenantPlan], judged: Judged) -> Tried:
    """Work on one tenant after another, up to the first whose login is proved; the server stops where none is.

    Args:
        wanted: the plans that write to this server.
        judged: the server's contract.
    """
    server = run.connections.servers[judged.server]
    tried = await _one_after_another(run, wanted, judged, server)
    server.stop = server.stop or tried.stop
    if tried.results and _is_proved(tried.results[-1]) and judged.contract.onboarding is None:
        await _prove_the_wizard(run, judged, tried)
    return tried


async def _prove_the_wizard(run: Run, judged: Judged, tried: Tried) -> None:
    """An empty server said nothing about its wizard; the workspace there now does, and the proof covers it."""
    canary = tried.results[-1].database_name
    try:
        whole = await judge_and_store(run.connections, judged.server, (canary,))
    except Fault as fault:
        tried.report += f" Its wizard could not be read, so a later run proves that: {fault.message}"
        return
    if whole.contract.agrees_with(judged.contract):
        await run.connections.contracts.prove(judged.server, whole.contract.fingerprint, canary)


async def _one_after_another(run: Run, wanted: Sequence[TenantPlan], judged: Judged, server: Server) -> Tried:
    """Up to the first whose login is proved, which the ledger remembers. The server may come to a stop of its own."""
    candidates = in_turn((plan for plan in wanted if _proves_a_login(plan)), judged.tried)
    slugs: dict[str, str] = {}
    tried = Tried()
    for plan in candidates[:MOST_CANARIES]:
        (result,) = await work(run, [plan])
        tried.results.append(result)
        slugs[plan.tenant.database_name] = plan.tenant.slug
        if _is_proved(result):
            await run.connections.contracts.prove(judged.server, judged.contract.fingerprint, plan.tenant.database_name)
            tried.report = (
                f"{judged.unlike} {plan.tenant.slug} went first and its login is proved, so the others go on."
            )
            return tried
        if server.stop:
            tried.report, tried.stop = server.stop.message, server.stop
            return tried
    failed = {*judged.tried, *slugs}
    # once every tenant was tried, it begins with the first again
    fresh = any(plan.tenant.database_name not in failed for plan in candidates)
    await run.connections.contracts.store_tried(judged.server, judged.contract.fingerprint, failed if fresh else set())
    tried.report = _unproved(judged, tried.results, slugs)
    if len(wanted) > len(tried.results):
        tried.stop = Fault(FaultKind.SERVER, Reason.CONTRACT_UNPROVED, tried.report)
    return tried


def _is_proved(result: TenantResult) -> bool:
    """Whether the tenant's login was proved."""
    return not result.failed and any(
        condition.type is ConditionType.LOGIN_PROVED and condition.status is Status.TRUE
        for condition in result.conditions
    )


def _proves_a_login(plan: TenantPlan) -> bool:
    return isinstance(plan.admin, Admin) and LOGINS in server_steps(plan)


def _unproved(judged: Judged, results: Sequence[TenantResult], slugs: dict[str, str]) -> str:
    if not results:
        return (
            f"{judged.unlike} One tenant goes first there, and the others once its login is proved; but no tenant that "
            "is to be worked on there has a known admin whose login could be proved. Nothing was written. Give one of "
            "them an admin, in its Clerk organization or in the registry's admin_email: a later run begins with it."
        )
    first = results[0]
    others = ", ".join(slugs[result.database_name] for result in results[1:])
    return (
        f"{judged.unlike} {slugs[first.database_name]} went first and its login is not proved: {_why(first)}"
        + (f" Nor is that of {others}." if others else "")
        + " The others wait. Put that right, or take that version of Twenty back; a later run tries again."
    )


def _why(result: TenantResult) -> str:
    troubles = (condition for condition in result.conditions if condition.status is not Status.TRUE)
    trouble = next(troubles, None)
    return trouble.message if trouble else "no member is known there who could sign in."


@dataclass(frozen=True)
class Admitted:
    """A plan that can be worked on, and what was settled for some tenants before.

    Args:
        plan: what is left to be done.
        results: of tenants that went first on their server, and of those on a server that no run may work on now; a
            part of the run's totals.
        reports: what an operator should know about those who went first.
    """

    plan: Plan
    results: tuple[TenantResult, ...]
    reports: tuple[str, ...]


async def admit(run: Run, plan: Plan) -> Admitted:
    """Write down what observing settled, make servers ready, and see who may be worked on. Before any step.

    The registry may not take a tenant, and a server may not be one that can be written to. On a server that is
    not the Twenty that is known here one tenant goes first, whole, and the others only once its login is proved.

    Raises:
        RunFault: when registry or ledger refuse.
    """
    with ends_the_run("The tenant registry refused"):
        plan = await _retire_memberships(run, plan)
        with run.timed(MAKING_READY):
            plan, judged = await both(write_down(run, plan), _make_servers_ready(run, plan))
        return await _with_canaries_first(run, plan, judged)


async def _retire_memberships(run: Run, plan: Plan) -> Plan:
    """End our memberships of workspaces that were deleted by SQL, before our account signs in to their servers.

    Each is recorded as an outcome, of its tenant where it has one. Without the right to write there the others go on:
    our own sign-in shows whether the server can be worked on.
    """
    if not plan.retirements:
        return plan
    troubles = []
    for retirement in plan.retirements:
        if not retirement.ours:
            continue
        database = run.connections.servers[retirement.server].database
        record = Record(run.connections.journal, run.run_id, retirement.database_name or retirement.subdomain)
        named = f"workspace {retirement.workspace_id} ({retirement.subdomain}) on {retirement.server}, deleted by SQL"
        with suppress(Fault):
            async with record.change(RETIRE_MEMBERSHIPS, named) as learnt:
                learnt.append(f"{await database.retire_memberships(retirement.workspace_id)} memberships")
        troubles += [outcome.detail for outcome in record.outcomes if outcome.status is OutcomeStatus.FAILED]
    # its outcome reports now what was to be done
    announced = set(told(retirement for retirement in plan.retirements if retirement.ours))
    return replace(plan, notes=(*troubles, *(note for note in plan.notes if note not in announced)))


async def _make_servers_ready(run: Run, plan: Plan) -> list[Judged]:
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
    judged = await all_of(_make_server_ready(run, name, inside) for name, inside in sorted(wanted.items()))
    return [server for server in judged if server is not None]


async def _make_server_ready(run: Run, name: str, inside: Sequence[str]) -> Judged | None:
    """Judge one server; `inside` names databases of tenants in whose workspace something will be done."""
    server = run.connections.servers[name]
    try:
        email = server.client.service_account.email
        # Twenty deletes our account with its last workspace, like every account
        known = await server.database.has_any_user() and not await server.database.was_deleted(email)
        # signing in writes nothing, so it need not wait for the verdict; what it refuses comes after that
        judged, refused = await both(
            judge_and_store(run.connections, name, inside),
            _refusal_of_sign_in(server.client, known=known),
        )
        judged.must_be_complete()
        await server.client.check_contract()
        if refused:
            server.note(refused)
        if not known:
            await _sign_up(server.client)
    except Fault as fault:
        # nothing is written to a server that we do not know
        server.stop = server.stop or fault
        return None
    return None if server.stop else judged


async def _refusal_of_sign_in(client: TwentyClient, *, known: bool) -> Fault | None:
    try:
        if known:
            await client.service_token()
    except Fault as refused:
        return refused
    return None


async def _sign_up(client: TwentyClient) -> None:
    try:
        await client.sign_up_service_account()
    except Fault as fault:
        if fault.kind is not FaultKind.TENANT:
            raise
        # lost the race against another run, or our own lost answer: signing in will show
        await client.service_token()


async def _with_canaries_first(run: Run, plan: Plan, judged: Sequence[Judged]) -> Admitted:
    """Who may be worked on, once one tenant went first on each server that is not the Twenty that is known here."""
    doubtful = [server for server in judged if server.verdict.decision is Decision.CANARY]
    tried = await all_of(
        try_canaries(run, [e for e in plan.work if e.server == server.server and server_steps(e)], server)
        for server in doubtful
    )
    results = [result for of_server in tried for result in of_server.results]
    done = {result.database_name for result in results}
    entries: list[TenantPlan] = []
    for entry in plan.tenants:
        stop = run.connections.servers[entry.server].stop if entry.server else None
        if entry.tenant.database_name in done:
            entries.append(replace(entry, changes=(), members=(), database=None))
        elif stop and server_steps(entry):
            results.append(result := _stopped(entry, stop))
            entries.append(_without_server(entry, result))
        else:
            entries.append(entry)
    waiting = {result.database_name: result.conditions for result in results if result.database_name not in done}
    await run.store_conditions(waiting, tried=True)
    await run.connections.turns.end(list(waiting))
    reports = tuple(of_server.report for of_server in tried)
    return Admitted(replace(plan, tenants=tuple(entries)), tuple(results), reports)


def _stopped(plan: TenantPlan, stop: Fault) -> TenantResult:
    """What a tenant's steps come to on a server where no run may work: its first step meets the stop."""
    type_ = server_steps(plan)[0].condition
    if stop.reason is Reason.CONTRACT_UNPROVED:
        # it holds for whatever is in that workspace, so it is reported before all else
        condition = is_unknown(ConditionType.WORKSPACE_READY, stop.reason, stop.message)
    else:
        condition = settled(type_, stop)
    return TenantResult(plan.tenant.database_name, (condition,), (), failed=True)


def _without_server(entry: TenantPlan, result: TenantResult) -> TenantPlan:
    """The plan with what is to be done in the tenant's own database alone, and with why."""
    newer = {condition.type: condition for condition in (*entry.conditions, *result.conditions)}
    changes = tuple(change for change in entry.changes if change.where is Where.OWN_DATABASE)
    return replace(
        entry,
        server=None,
        members=(),
        changes=changes if entry.database and entry.database.needs_work else (),
        conditions=tuple(newer.values()),
    )
