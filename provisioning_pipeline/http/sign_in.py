"""A member of a tenant signs in to Twenty by their Clerk session; one that no run has added yet is added first."""

import asyncio
import logging
import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlencode, urlsplit

from psycopg import Error

from provisioning_pipeline.clients.twenty.accounts import Account, Token, WorkspaceAddress, derived_password
from provisioning_pipeline.gateway.resolver import Resolver
from provisioning_pipeline.http.own_accounts import OwnAccounts
from provisioning_pipeline.model.condition import ConditionType, Reason
from provisioning_pipeline.model.contract import Decision
from provisioning_pipeline.model.fault import Fault, FaultKind, RunFault
from provisioning_pipeline.model.frames import BROKEN_RECORDS
from provisioning_pipeline.model.history import RunKind
from provisioning_pipeline.model.onboarding import pending_for
from provisioning_pipeline.model.session import CannotTell, Refusal, Refused, Session, WorkspaceContext
from provisioning_pipeline.model.tenant import MemberPlan, Plan, TenantPlan
from provisioning_pipeline.run.connections import Connections, connect
from provisioning_pipeline.run.contracts import judge_and_store
from provisioning_pipeline.run.record import run_under_way
from provisioning_pipeline.run.run import plan as make_plan
from provisioning_pipeline.run.work import TenantResult, run_steps, scope_of
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps import server_steps
from provisioning_pipeline.steps.logins.act import Login, prove_logins
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.logins.step import LOGINS
from provisioning_pipeline.steps.members.changes import DEMOTE_MEMBER, REMOVE_MEMBER
from provisioning_pipeline.steps.onboarding.changes import CLEAR_ONBOARDING
from provisioning_pipeline.steps.scope import Scope, Server
from provisioning_pipeline.steps.suspension.changes import UNLOCK_WORKSPACE
from provisioning_pipeline.steps.workspaces.changes import MAKING

_LOG = logging.getLogger(__name__)
TRIGGER = "session"
"""The trigger of a run that added one member, who was waiting for it."""
_LOCK_SECONDS = 15.0
_FOR_ONE = frozenset({CLEAR_ONBOARDING, PROVE_LOGIN})
_LOGIN_DISABLED = {
    Reason.PASSWORD_LOGIN_OFF: "The workspace lets no one log in by password, so we cannot sign anyone in. "
    "An admin of the workspace turns Email and password on in Twenty (Settings > Security).",
    Reason.SECOND_FACTOR_REQUIRED: "The workspace enforces a second factor, so the member cannot be signed in from "
    "here. An admin of the workspace no longer enforces it in Twenty (Settings > Security).",
}
_Context = asyncio.Task[WorkspaceContext]
_BUSY = "Another run or sign-in is working on the workspace. Come again in a moment."


@dataclass(frozen=True, slots=True, repr=False)
class TwentySignIn:
    """A sign-in to a workspace; its repr shows nothing, since its holder acts as that member."""

    login_token: str
    verify_url: str
    expires_at: datetime


class SignIns:
    """Signs members in."""

    def __init__(self, settings: Settings, resolver: Resolver) -> None:
        self._settings = settings
        self._resolver = resolver
        self._own_accounts = OwnAccounts(settings, TRIGGER)
        self._admitting: dict[tuple[str, str, str], tuple[_Context, _Context]] = {}
        """Work on members under way: first their workspace is found, then their account is made ready."""

    async def sign_in(self, session: Session) -> tuple[WorkspaceContext, TwentySignIn]:
        """A sign-in for this session's member, who sees no wizard after it.

        Raises:
            Refused: when the session leads to no workspace, or the member cannot be added to it.
            CannotTell: when Clerk, the ledger or Twenty cannot be asked, or another run is working there.
        """
        if session.impersonator is not None and not self._settings.impersonated_sign_in:
            raise Refused(
                Refusal.IMPERSONATED, "Another user opened this session in the user's name; it does not sign in."
            )
        context = await self._resolver.of_session(await self._admitted(session), session)
        try:
            return context, await self._login(context)
        except Fault as fault:
            raise _cannot(context, fault) from None
        except Error as error:
            _LOG.warning("A member of %s could not sign in: %s.", context.tenant, type(error).__name__)
            raise CannotTell("Twenty's database cannot be asked at present.") from None

    async def _admitted(self, session: Session) -> WorkspaceContext:
        """The member's workspace, with their account made ready; all who want that at once wait for the same work."""
        key = session.organization_id, session.user_id, session.role
        admission = self._admitting.get(key)
        if admission is None:
            found = asyncio.create_task(self._resolver.certain_context(session))
            ready = asyncio.create_task(self._made_ready(found, session))
            ready.add_done_callback(lambda task: self._ended(key, task))
            admission = self._admitting[key] = found, ready
        found, ready = admission
        # this token may name another workspace than those of other callers: before we wait
        await self._resolver.of_session(await asyncio.shield(found), session)
        # shielded: a caller who hangs up leaves no half member behind
        return await asyncio.shield(ready)

    def _ended(self, key: tuple[str, str, str], task: asyncio.Task[WorkspaceContext]) -> None:
        self._admitting.pop(key, None)
        if not task.cancelled():
            # also where no caller waits for it any more
            task.exception()

    async def _made_ready(self, found: asyncio.Task[WorkspaceContext], session: Session) -> WorkspaceContext:
        context = await found
        try:
            if context.twenty_user_id is not None and not await self._needs_work(context):
                return context
            await settle_member(self._settings, context.database_name, session.user_id)
        except Fault as fault:
            raise _cannot(context, fault) from None
        except (RunFault, Error) as error:
            # without its text: it may name a person
            _LOG.warning("A member of %s could not be checked: %s.", context.tenant, type(error).__name__)
            raise CannotTell("The member cannot be checked at present; the server's log says why.") from None
        # what was just decided was decided from Clerk's word
        return await self._resolver.certain_context(session, ask_clerk=False)

    async def _needs_work(self, context: WorkspaceContext) -> bool:
        """Whether Twenty would show the member its wizard, or refuse them for want of a whole member record."""
        assert context.twenty_user_id is not None
        async with connect(self._settings, dry_run=True) as connections:
            database = _server_of(connections, context).database
            flags = await database.flags(context.workspace_id)
            half = (await database.records.half_members([context.workspace_id])).rows
        broken = {user for _, user, _, record in half if record in BROKEN_RECORDS}
        pending = pending_for(context.twenty_user_id, context.workspace_id, flags)
        return bool(pending) or context.twenty_user_id in broken

    async def _login(self, context: WorkspaceContext) -> TwentySignIn:
        account, clerk_user = context.twenty_user_id, context.session.user_id
        async with connect(self._settings, dry_run=True, logins=True) as connections:
            server = _server_of(connections, context)
            if account is None:
                await self._own_accounts.none_may_be_in_the_way(connections, server, context, clerk_user)
                raise Refused(
                    Refusal.MEMBER_NOT_LINKED,
                    "The session's user could not be added to the workspace; the tenant's timeline says why.",
                )
            # the address may have been renamed in Twenty since it was written down
            state = await server.database.workspace_state(context.workspace_id)
            if state is None or state.deleted:
                raise Refused(Refusal.WORKSPACE_NOT_READY, "The workspace was deleted in Twenty.")
            address = WorkspaceAddress(context.workspace_id, context.workspace_url)
            if state.subdomain != (urlsplit(address.url).hostname or "").partition(".")[0]:
                address = await server.client.address(context.workspace_id)
            await self._own_accounts.must_be_theirs(connections, server, context, account, clerk_user)
            login = await self._token(connections, server, address, account)
        url = f"{address.url.rstrip('/')}/verify?{urlencode({'loginToken': login.value})}"
        return TwentySignIn(login.value, url, login.expires_at)

    async def _token(self, connections: Connections, server: Server, address: WorkspaceAddress, user_id: str) -> Token:
        """A login of exactly this account: its e-mail may be another one by now, and its old one another person's."""
        emails = [email for user, email in await server.database.users([], [user_id]) if user == user_id]
        if not emails:
            raise Refused(Refusal.MEMBER_NOT_LINKED, "The member's account was deleted in Twenty.")
        (email,) = emails
        if (await server.database.user_ids(email))[:1] != [user_id]:
            return await server.client.impersonation_token(user_id, address)
        derived_from = await server.password_email(connections.accounts, email, user_id)
        password = derived_password(self._settings.member_password_key, derived_from)
        return await server.client.login_token(Account(email, password, user_id), address)


async def settle_member(settings: Settings, database_name: str, clerk_user_id: str) -> None:
    """Add one person to a tenant's workspace, with link, name and role and without a wizard, and prove their login.

    Decided like every reconciliation, from what Clerk, the ledger and Twenty say now, and done under the tenant's
    lock; of what is decided only that one person's part is done.

    Raises:
        Refused: when it is decided that this person is not to be added by itself; the word is in it.
        CannotTell: when another run is working on the tenant, or the workspace is still being made.
        Fault: what a system refused.
        RunFault: when something could not be read.
    """
    run_id = str(uuid.uuid4())
    async with connect(settings, dry_run=False) as connections:
        plan = await make_plan(connections, [database_name], by_hand=False)
        if database_name in plan.unread:
            raise CannotTell("Clerk cannot be asked at present who the members are.")
        entry, whole = _part_of(plan, database_name, clerk_user_id)
        steps = server_steps(entry)
        if not steps:
            return
        assert entry.server is not None
        judged = await judge_and_store(connections, entry.server, [database_name])
        judged.must_be_complete()
        if judged.verdict.decision is Decision.CANARY:
            raise CannotTell(f"{judged.unlike} The next reconciliation does that.", retry_seconds=60)
        async with run_under_way(connections, run_id):
            await connections.history.begin_run(run_id, TRIGGER, RunKind.SIGN_IN)
            scope = scope_of(connections, entry, run_id)
            scope.lock_wait_seconds = min(scope.lock_wait_seconds, _LOCK_SECONDS)
            # of the whole tenant's logins only this one is proved: the caller waits
            quick = [step for step in steps if step is not LOGINS]
            result = await run_steps(scope, quick) if quick else TenantResult(database_name, (), (), failed=False)
            synced = scope.conditions.get(ConditionType.MEMBERS_SYNCED)
            # a member does not get in with more than their role while it is being set right
            differs = synced is not None and synced.reason is Reason.ROLE_DIFFERS
            failed = result.failed or differs or not await _is_proved(scope, clerk_user_id)
            await scope.record.settle()
            await _store(connections, run_id, result, whole=whole)
        if failed:
            raise _failed(result)


async def _is_proved(scope: Scope, clerk_user_id: str) -> bool:
    """Whether a real login of this person reads COMPLETED; true where no one was linked, and a finding says why."""
    members = await scope.members.of_tenant(scope.database_name)
    accounts = [row["twenty_user_id"] for row in members if row["clerk_user_id"] == clerk_user_id]
    # by the e-mail that the account has now
    emails = dict(await scope.server.database.users([], accounts)) if accounts else {}
    logins = [Login(account, emails[account]) for account in accounts if account in emails]
    if not logins:
        return True
    proved = await prove_logins(scope, await scope.link(), logins)
    if proved.stopped:
        raise proved.stopped
    return not proved.failures


def _part_of(plan: Plan, database_name: str, clerk_user_id: str) -> tuple[TenantPlan, bool]:
    """The plan of the tenant with one person's part of it alone, and whether that is all there is to do for members."""
    # by its identity: another tenant's slug may be this one's database name
    entry = next((entry for entry in plan.tenants if entry.tenant.database_name == database_name), None)
    if entry is None or entry.workspace_id is None or entry.server is None or MAKING & set(entry.changes):
        raise CannotTell("The workspace is still being made. Come again in a moment.")
    if UNLOCK_WORKSPACE in entry.changes:
        raise CannotTell("The next run gives the workspace's members their access back.", retry_seconds=60)
    members = tuple(_unharmed(member) for member in entry.members if member.clerk_user_id == clerk_user_id)
    members = tuple(member for member in members if member.changes)
    wanted = {change for member in members for change in member.changes}
    changes = [change for change in entry.changes if change in _FOR_ONE or change in wanted]
    whole = members == entry.members
    part = replace(
        entry,
        changes=tuple(changes),
        members=members,
        withdrawals=(),
        store_organization=None,
        database=None,
        adopt=False,
    )
    return part, whole


def _unharmed(member: MemberPlan) -> MemberPlan:
    """What a sign-in may do of it: it demotes no member, which runs do within their budget."""
    if REMOVE_MEMBER in member.changes:
        raise Refused(Refusal.NOT_A_MEMBER, "The session's user is no active member of its organization.")
    return replace(member, changes=tuple(change for change in member.changes if change != DEMOTE_MEMBER))


async def _store(connections: Connections, run_id: str, result: TenantResult, *, whole: bool) -> None:
    # what is true of all members is for a run to say that looked after all of them
    conditions = [found for found in result.conditions if whole or found.type is not ConditionType.MEMBERS_SYNCED]
    await connections.ledger.store_conditions({result.database_name: conditions}, run_id=run_id, waits=None)


def _failed(result: TenantResult) -> CannotTell | Refused:
    last = result.conditions[-1] if result.conditions else None
    if last:
        # without the message: it may name a person, and the tenant's timeline has it
        _LOG.warning("A member of %s could not be added: %s.", result.database_name, last.reason)
    for condition in result.conditions:
        if condition.reason in _LOGIN_DISABLED:
            return Refused(Refusal.LOGIN_DISABLED, _LOGIN_DISABLED[condition.reason])
    return CannotTell(_BUSY if last is None else f"The account could not be made ready ({last.reason}).")


def _server_of(connections: Connections, context: WorkspaceContext) -> Server:
    if context.server not in connections.servers:
        _LOG.warning("Tenant %s lives on %s, which is not in the settings.", context.tenant, context.server)
        raise CannotTell("The workspace's server is not known here at present.", retry_seconds=60)
    return connections.servers[context.server]


def _cannot(context: WorkspaceContext, fault: Fault) -> Refused | CannotTell:
    # without the message: it may name a person
    _LOG.warning("A member of %s could not sign in: %s.", context.tenant, fault.reason)
    if fault.reason in _LOGIN_DISABLED:
        return Refused(Refusal.LOGIN_DISABLED, _LOGIN_DISABLED[fault.reason])
    if fault.kind is FaultKind.TENANT:
        return Refused(
            Refusal.MEMBER_NOT_LINKED,
            f"Twenty does not let the member in ({fault.reason}). The next reconciliation says what is to be done.",
        )
    if fault.kind is FaultKind.BUSY:
        return CannotTell(_BUSY)
    return CannotTell(f"Twenty or its database cannot be used at present ({fault.reason}).")
