"""Real logins read COMPLETED in the right workspace, else nothing is ready: the step verify_logins, and its proof.

The proof of a login is the same in the step, for a tenant that a run changed, and in a verification of the fleet.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.twenty.accounts import WorkspaceAddress
from provisioning_pipeline.ledger.ledger import Link
from provisioning_pipeline.ledger.members import COMPLETED, Proof, Proofs
from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, is_false, is_true
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.onboarding import PLAN_REQUIRED
from provisioning_pipeline.model.people import Origin
from provisioning_pipeline.model.tenant import AdminUnknown
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.members.changes import ENTERING
from provisioning_pipeline.steps.onboarding.changes import STORE_LINK
from provisioning_pipeline.steps.scope import Scope, workspace_address

_KEPT_OUT = frozenset({Reason.PASSWORD_LOGIN_OFF, Reason.SECOND_FACTOR_REQUIRED, Reason.WRONG_WORKSPACE})
"""A setting of the workspace keeps our sign-in out, or its address is another's by now: the fault says it."""
LOGIN_REASONS = _KEPT_OUT | {
    Reason.LOGIN_REFUSED,
    Reason.WRONG_WORKSPACE,
    Reason.WIZARD_SHOWS,
    Reason.WORKSPACE_UNPAID,
    Reason.WORKSPACE_GONE,
}
"""Why a login failed; LoginProved that is false for another reason says that no admin could be made."""

_CAME_IN = frozenset({Reason.WRONG_WORKSPACE, Reason.WIZARD_SHOWS})


@dataclass(frozen=True, slots=True)
class Login:
    """A login that is to be proved. Without `anew`, the one by which they came in in this run counts, too."""

    twenty_user_id: str
    email: str
    anew: bool = True


@dataclass(frozen=True, slots=True)
class LoginFailure:
    """A member who does not come into the right workspace without a wizard.

    Args:
        seen: what they would see, as a sentence.
    """

    database_name: str
    slug: str
    twenty_user_id: str
    email: str
    reason: Reason
    seen: str
    advice: str


@dataclass(frozen=True, slots=True)
class Proved:
    """What the logins of one tenant came to.

    Args:
        proofs: of every login that was tried, in the order in which they were asked for.
        failures: those of them who would not see their workspace, in the same order.
        stopped: why the others could not be tried; None when all were.
    """

    proofs: tuple[Proof, ...]
    failures: tuple[LoginFailure, ...]
    stopped: Fault | None


async def verify_login(scope: Scope) -> None:
    """Log in as the admin, and as all members of ours if this run changed the tenant; settle LoginProved.

    Otherwise only those members log in besides whose last login failed: it is not proved before they come in.

    Raises:
        Fault: when a login is refused, lands in another workspace, or would show the wizard; the first of these, with
            how many there are. All logins are tried before.
    """
    scope.server.must_be_usable()
    link = await scope.link()
    unknown = _without_admin(scope)
    if not (link.admin_email and link.admin_user_id) or (unknown and link.admin_user_id == scope.plan.lost_admin):
        if unknown is None:
            return
        by_members = unknown.reason is Reason.ACCOUNT_UNPROVEN
        ours = await scope.members.of_tenant(scope.database_name) if by_members else []
        logins = [Login(row["twenty_user_id"], row["email"]) for row in ours]
        if not logins:
            scope.set(unknown)
            return
    else:
        admin = Login(link.admin_user_id, link.admin_email)
        logins = [admin, *await _others(scope, link.admin_user_id)]
    proved = await prove_logins(scope, link, logins)
    if proved.failures:
        raise first_of(proved.failures)
    if proved.stopped:
        raise proved.stopped
    first = proved.proofs[0]
    if first.twenty_user_id == link.admin_user_id:
        await scope.ledger.store_admin(scope.database_name, first.twenty_user_id, first.email)
    await settle_proved(scope, link, len(proved.proofs), first=first.email)


async def prove_logins(scope: Scope, link: Link, logins: Sequence[Login]) -> Proved:
    """Log in as each of these in the tenant's workspace, where no failure hides another, and store what they saw.

    A server that is away ends it; what was seen until then is stored and returned with the fault, which `scope.server`
    notes.

    Raises:
        Fault: when there is no workspace to log in to, or its database or the ledger cannot be reached.
    """
    try:
        address = await workspace_address(scope, link)
    except Fault as fault:
        if fault.reason is not Reason.WORKSPACE_GONE:
            raise
        gone = _Failed(fault.reason, fault.message, "Restore it there.")
        return await _stored(scope, logins, dict.fromkeys(logins, gone), None)
    # they may have changed their addresses in Twenty since
    emails = dict(await scope.server.database.users([], [login.twenty_user_id for login in logins]))
    logins = [replace(login, email=emails.get(login.twenty_user_id, login.email)) for login in logins]
    seen: dict[Login, _Failed | None] = {}
    stopped = None
    try:
        await all_of(_look(scope, address, login, seen) for login in logins)
    except Fault as fault:
        scope.server.note(fault)
        stopped = fault
    return await _stored(scope, logins, seen, stopped)


def first_of(failures: Sequence[LoginFailure]) -> Fault:
    """The first failure as a fault of the tenant, with how many others there are."""
    first, others = failures[0], len(failures) - 1
    more = f" {others} other login{'s' if others > 1 else ''} of it failed, too." if others else ""
    return Fault(FaultKind.TENANT, first.reason, f"{first.seen} {first.advice}".rstrip() + more)


async def settle_proved(scope: Scope, link: Link, logins: int, *, first: str) -> None:
    """LoginProved is true: say so in the condition, and in the registry, whose status may become ready now.

    `first` is the admin; a member where the account of each possible admin proves nothing.
    """
    assert link.workspace_id is not None
    others = f" So do those of {logins - 1} other{'s' if logins > 2 else ''}." if logins > 1 else ""
    scope.set(
        is_true(
            ConditionType.LOGIN_PROVED,
            Reason.LOGIN_COMPLETED,
            f"A login of {first} reads {COMPLETED} in workspace {link.workspace_id}.{others}",
        )
    )
    changed = await scope.registry.store(
        scope.database_name,
        link.workspace_id,
        link.admin_user_id,
        ready_status=scope.settings.registry_ready_status,
        pending_statuses=scope.settings.registry_pending_statuses,
    )
    stored = STORE_LINK in scope.plan.changes and changed
    if stored and STORE_LINK not in {outcome.change for outcome in scope.outcomes}:
        async with scope.change(STORE_LINK, f"status {scope.settings.registry_ready_status} in {scope.registry.table}"):
            pass


def _without_admin(scope: Scope) -> Condition | None:
    """Why the workspace has no admin, as planned, or as the attempt to make an admin has just shown."""
    unknown = scope.plan.admin
    if isinstance(unknown, AdminUnknown):
        return is_false(ConditionType.LOGIN_PROVED, unknown.reason, unknown.message)
    return scope.conditions.get(ConditionType.LOGIN_PROVED)


async def _others(scope: Scope, admin_user_id: str) -> list[Login]:
    """The members besides the admin whose logins are to be proved."""
    members = await scope.members.of_tenant(scope.database_name)
    entered = {member.clerk_user_id for member in scope.plan.members if ENTERING & set(member.changes)}
    proofs = Proofs(scope.ledger.database)
    await proofs.forget_strangers([scope.database_name])
    failed = {proof.twenty_user_id for proof in await proofs.of([scope.database_name]) if not proof.completed}
    done = {*scope.plan.changes, *(outcome.change for outcome in scope.outcomes)}
    all_members = any(change.proves_everybody for change in done)
    return [
        Login(row["twenty_user_id"], row["email"], anew=row["clerk_user_id"] not in entered)
        for row in members
        if row["twenty_user_id"] != admin_user_id and (all_members or row["twenty_user_id"] in failed)
    ]


async def _origins(scope: Scope, found: Sequence[tuple[Login, "_Failed | None"]]) -> AsyncIterator[tuple[str, Origin]]:
    """What their logins tell of who made the accounts, of those who came in as the account that is theirs."""
    for login, failed in found:
        ours = scope.client.let_in_by_our_password(await scope.account(login.email, login.twenty_user_id))
        if ours is not None and (failed is None or failed.reason in _CAME_IN):
            yield login.twenty_user_id, Origin(login.email, ours)


async def _look(scope: Scope, address: WorkspaceAddress, login: Login, seen: dict[Login, "_Failed | None"]) -> None:
    """Keep in `seen` how this login failed, or that it did not; only what befalls the server goes on as a fault."""
    try:
        async with scope.change(PROVE_LOGIN, login.email):
            await _log_in(scope, address, login)
    except _Failed as failed:
        seen[login] = failed
    else:
        seen[login] = None


async def _log_in(scope: Scope, address: WorkspaceAddress, login: Login) -> None:
    account, slug, email = await scope.account(login.email, login.twenty_user_id), scope.plan.tenant.slug, login.email
    try:
        user = await scope.client.current_user(account, address, by_new_login=login.anew)
    except Fault as fault:
        if fault.kind is not FaultKind.TENANT:
            raise
        if fault.reason in _KEPT_OUT:
            raise _Failed(fault.reason, f"{email} cannot be signed in: {fault.message}") from None
        raise _Failed(
            Reason.LOGIN_REFUSED,
            f"The login of {email} is refused: {fault.message}",
            f"`provisioning apply {slug}` does it now."
            if fault.reason is Reason.HALF_MEMBER
            else f"If they were removed from the workspace in Twenty, `provisioning apply {slug}` adds them again, or "
            "makes the member that Clerk names by now its admin.",
        ) from None
    await scope.client.sign_out(account, address)
    status = user.onboarding_status
    if user.user_id != login.twenty_user_id:
        raise _Failed(
            Reason.LOGIN_REFUSED,
            f"The login of {email} is another account's than the member's: the e-mail changed hands in Twenty.",
            "Compare the e-mails of both accounts there.",
        )
    if user.workspace_id != address.workspace_id:
        raise _Failed(
            Reason.WRONG_WORKSPACE,
            f"The login of {email} lands in workspace {user.workspace_id}, not in {address.workspace_id}.",
            "Compare the workspace's address in Twenty with the one that `provisioning status` tells.",
        )
    if status == PLAN_REQUIRED:
        raise _Failed(
            Reason.WORKSPACE_UNPAID,
            f"{email} gets no further than the bill: workspace {address.workspace_id} has no subscription.",
            "Have the customer pay there: unpaid, Twenty deletes it 7 days after its creation.",
            status=status,
        )
    if status != COMPLETED:
        raise _Failed(
            Reason.WIZARD_SHOWS,
            f"{email} would see the onboarding step {status}.",
            f"`provisioning apply {slug}` clears it and proves the login again.",
            status=status,
        )


class _Failed(Fault):
    """A login that failed: what the person would see, what to do about it, and the status that is stored of it."""

    def __init__(self, reason: Reason, seen: str, advice: str = "", *, status: str | None = None) -> None:
        super().__init__(FaultKind.TENANT, reason, f"{seen} {advice}".rstrip())
        self.seen, self.advice, self.status = seen, advice, status or reason


async def _stored(
    scope: Scope, logins: Sequence[Login], seen: Mapping[Login, _Failed | None], stopped: Fault | None
) -> Proved:
    """What was seen, in the order of the logins, once it is in the ledger; and whose password is ours."""
    found = [(login, seen[login]) for login in logins if login in seen]
    await scope.accounts.store(scope.client.name, [seen async for seen in _origins(scope, found)], scope.run_id)
    proofs = await Proofs(scope.ledger.database).store(
        [
            Proof(scope.database_name, login.twenty_user_id, login.email, failed.status if failed else COMPLETED)
            for login, failed in found
        ],
        scope.run_id,
    )
    tenant = scope.plan.tenant
    failures = tuple(
        LoginFailure(
            tenant.database_name,
            tenant.slug,
            login.twenty_user_id,
            login.email,
            failed.reason,
            failed.seen,
            failed.advice,
        )
        for login, failed in found
        if failed
    )
    return Proved(tuple(proofs), failures, stopped)
