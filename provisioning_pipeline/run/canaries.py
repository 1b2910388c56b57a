"""One tenant goes first where a server is not the Twenty that is known here; the others once its login is proved."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from provisioning_pipeline.decide.contract import MOST_CANARIES, in_turn
from provisioning_pipeline.model.condition import ConditionType, Reason, Status
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.tenant import Admin, TenantPlan
from provisioning_pipeline.run.contracts import Judged, look_and_remember
from provisioning_pipeline.run.state import Run
from provisioning_pipeline.run.work import work
from provisioning_pipeline.steps.chain import ChainResult, server_steps
from provisioning_pipeline.steps.logins.step import LOGINS
from provisioning_pipeline.steps.scope import Server


@dataclass
class Tried:
    """What the canaries of one server came to.

    Args:
        results: what was done for each of them; the last one's login was proved if any was.
        told: a sentence for the log.
        stop: why nobody else is worked on there in this run; None: the others go on.
    """

    results: list[ChainResult] = field(default_factory=list)
    told: str = ""
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
        whole = await look_and_remember(run.connections, judged.server, (canary,))
    except Fault as fault:
        tried.told += f" Its wizard could not be read, so a later run proves that: {fault.message}"
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
            tried.told = f"{judged.unlike} {plan.tenant.slug} went first and its login is proved, so the others go on."
            return tried
        if server.stop:
            tried.told, tried.stop = server.stop.message, server.stop
            return tried
    failed = {*judged.tried, *slugs}
    # once everybody was tried, it begins with the first again
    fresh = any(plan.tenant.database_name not in failed for plan in candidates)
    await run.connections.contracts.keep_tried(judged.server, judged.contract.fingerprint, failed if fresh else set())
    tried.told = _unproved(judged, tried.results, slugs)
    if len(wanted) > len(tried.results):
        tried.stop = Fault(FaultKind.SERVER, Reason.CONTRACT_UNPROVED, tried.told)
    return tried


def _is_proved(result: ChainResult) -> bool:
    """Whether the tenant's login was proved."""
    return not result.failed and any(
        condition.type is ConditionType.LOGIN_PROVED and condition.status is Status.TRUE
        for condition in result.conditions
    )


def _proves_a_login(plan: TenantPlan) -> bool:
    return isinstance(plan.admin, Admin) and LOGINS in server_steps(plan)


def _unproved(judged: Judged, results: Sequence[ChainResult], slugs: dict[str, str]) -> str:
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


def _why(result: ChainResult) -> str:
    troubles = (condition for condition in result.conditions if condition.status is not Status.TRUE)
    trouble = next(troubles, None)
    return trouble.message if trouble else "nobody is known there who could sign in."
