"""From a request's headers to its workspace, or to why there is none. Remembers for a short while; fails closed."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from types import TracebackType
from typing import Self

from provisioning_pipeline.clients.clerk.jwks import PublicKeys
from provisioning_pipeline.clients.clerk.session_token import SessionVerifier
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.remembered import Remembered
from provisioning_pipeline.decide.access import AccessPolicy, claim_agrees, decide_access
from provisioning_pipeline.decide.registry_loss import loss_budget, weigh_loss
from provisioning_pipeline.gateway.credentials import credentials_of
from provisioning_pipeline.gateway.member_checks import MemberChecks
from provisioning_pipeline.gateway.origins import must_be_of_own_page
from provisioning_pipeline.ledger.registry_reading import RegistryReading, known_rows
from provisioning_pipeline.ledger.serving import LedgerAccess, LedgerAway, tenant_of
from provisioning_pipeline.model.people import Departure
from provisioning_pipeline.model.registry import registry_status
from provisioning_pipeline.model.session import (
    CannotTell,
    LinkedTenant,
    Refusal,
    Refused,
    RegisteredTenant,
    Session,
    WorkspaceContext,
)
from provisioning_pipeline.values.sessions import SessionSettings

_LOG = logging.getLogger(__name__)
_REMEMBERED = 50_000
_REPORTED_SECONDS = 600.0
_REFUSED_SECONDS = 3.0
"""A refusal is remembered for less long: a member who was just added should not wait."""
LEDGER_AWAY = "The ledger cannot be read at present; the server's log says why."

Headers = Sequence[tuple[bytes, bytes]]
Key = tuple[str, str, str]
Answer = WorkspaceContext | Refused
OnTokenMismatch = Callable[[WorkspaceContext], Awaitable[bool]]


class _MemberCheck(Enum):
    """Whether Clerk is asked about a member."""

    MAY = "where its budget allows"
    MUST = "or there is no answer"
    NOT = "not at all"


class Resolver:
    """Finds the workspace behind a session.

    Args:
        settings: which sessions are accepted, and where the ledger is.
        ledger: shared with other callers; None: one of its own, closed with the resolver.
        on_token_mismatch: called for a token that names another workspace than the ledger gives its organization;
            returns whether that was recorded.
    """

    def __init__(
        self,
        settings: SessionSettings,
        ledger: LedgerAccess | None = None,
        *,
        on_token_mismatch: OnTokenMismatch | None = None,
    ) -> None:
        self._settings = settings
        self._own_ledger = ledger is None
        self._ledger = ledger or LedgerAccess(settings.registry_url)
        self._on_token_mismatch = on_token_mismatch
        keys = keys_of_issuers(settings, stale_seconds=settings.clerk_keys_stale_seconds)
        self.verifier = SessionVerifier(keys, settings.clerk_authorized_parties)
        # each from the start: a rate over what appears later would miss its first one
        self.member_checks: Counter[str] = Counter({"asked": 0, "failed": 0, "left out": 0})
        """Member checks: asked, failed, and left out because of the budget or of an earlier failure."""
        self._policy = AccessPolicy(
            settings.excluded_statuses,
            settings.member_roles,
            settings.member_default_role,
        )
        self._answers: Remembered[Key, Answer] = Remembered(_REMEMBERED)
        self._asking: dict[Key, asyncio.Task[Answer]] = {}
        self._members: MemberChecks | None = None
        self._loss_budget = loss_budget(settings)
        self._doubt: Remembered[str, bool] = Remembered(1)
        """That the registry is in doubt, for a moment: a whole fleet may ask."""
        self._suspended: Remembered[str, bool] = Remembered(_REMEMBERED)
        """Tenants whose row said so when it was last seen here."""
        self._reported: Remembered[str, bool] = Remembered(_REMEMBERED)
        """Tenants whose token mismatches were reported a moment ago."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        members, self._members = self._members, None
        if members:
            await members.close()
        self._asking.clear()
        if self._own_ledger:
            await self._ledger.__aexit__(None, None, None)

    async def resolve(
        self, headers: Headers, tenant: str | None = None, *, websocket: bool = False
    ) -> WorkspaceContext:
        """The workspace of a request with these headers.

        Args:
            headers: as ASGI has them.
            tenant: the tenant, by slug or database name, whose workspace it has to be; None: any.
            websocket: it opens a websocket, also where its headers do not say so.

        Raises:
            Refused: when there is no valid session, or when it leads to no workspace, or to another tenant's.
            CannotTell: when Clerk's keys or the ledger cannot be read.
        """
        session = await self.session(headers, websocket=websocket)
        context = await self.context(session)
        must_be_of(context, tenant)
        return context

    async def session(self, headers: Headers, *, websocket: bool = False) -> Session:
        """The session of a request with these headers.

        Raises:
            Refused: when there is no valid one, no telling which one is meant, or when the page of another origin
                opens a websocket by a cookie.
            CannotTell: when Clerk's keys cannot be read.
        """
        if not self.verifier.keys:
            raise CannotTell("No session is accepted: PROVISIONING_CLERK_ISSUERS is not set.", retry_seconds=60)
        credentials = credentials_of(headers)
        if credentials.bearer is not None:
            session = await self.verifier.verify(credentials.bearer)
        else:
            must_be_of_own_page(headers, self._settings.clerk_authorized_parties, websocket=websocket)
            session = await self._first_good(credentials.cookies)
        for cookie in credentials.cookies:
            if await self.verifier.contradicts(cookie, session):
                raise Refused(
                    Refusal.TOKENS_DISAGREE, "The request carries sessions of different users or organizations."
                )
        return session

    async def _first_good(self, tokens: Sequence[str]) -> Session:
        """The first session among these tokens: others may be of another instance, or planted by a sibling host.

        Where none is good, the refusal is the one that says most about the user's own token.
        """
        refusals: list[Refused] = []
        for token in tokens:
            try:
                return await self.verifier.verify(token)
            except Refused as refused:
                refusals.append(refused)
        signed = (refused for refused in refusals if refused.why is not Refusal.INVALID_TOKEN)
        raise next(signed, refusals[0])

    async def context(self, session: Session) -> WorkspaceContext:
        """The workspace of a verified session.

        Raises:
            Refused: with words of 403.
            CannotTell: when the ledger cannot be read.
        """
        key = _key(session)
        answer = self._answers.get(key)
        if answer is None:
            answer = await self._ask_once(key, session)
        if isinstance(answer, Refused):
            raise Refused(answer.why, answer.detail)
        return await self.of_session(answer, session)

    async def of_session(self, context: WorkspaceContext, session: Session) -> WorkspaceContext:
        """A workspace that was found for this member, perhaps by another session, for this session.

        Raises:
            Refused: when this session's token names another workspace.
        """
        # dataclasses.replace takes four times as long, at each request
        found = WorkspaceContext(
            context.tenant,
            context.database_name,
            context.server,
            context.workspace_id,
            context.workspace_url,
            context.twenty_user_id,
            context.role,
            session,
        )
        if not claim_agrees(session.workspace_id, found.workspace_id):
            await self._report_mismatch(found)
            raise Refused(
                Refusal.WORKSPACE_CLAIM_WRONG,
                "The token's twenty_workspace_id is not the workspace of its organization. It may be up to a minute "
                "old; if it stays so, the claim at Clerk or the organization's metadata is wrong.",
            )
        return found

    async def certain_context(self, session: Session, *, ask_clerk: bool = True) -> WorkspaceContext:
        """The same, looked up anew, and only if Clerk itself has just said that the user is an active member.

        A token mismatch is not looked for: `of_session` does that. Without `ask_clerk` the caller has
        just decided from Clerk's word, and the ledger alone is asked.

        Raises:
            Refused: with words of 403.
            CannotTell: when the ledger or Clerk cannot be asked.
        """
        answer = await self._ask(session, _MemberCheck.MUST if ask_clerk else _MemberCheck.NOT)
        self._answers.keep(_key(session), answer, self._seconds_of(answer))
        if isinstance(answer, Refused):
            raise Refused(answer.why, answer.detail)
        return answer

    async def _ask_once(self, key: Key, session: Session) -> Answer:
        """Ask; all who want the same wait for the same answer."""
        if key not in self._asking:
            task = self._asking[key] = asyncio.create_task(self._ask(session, _MemberCheck.MAY))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        # shielded: one caller who hangs up shall not leave the others without an answer
        answer = await asyncio.shield(self._asking[key])
        # a sign-in that asked meanwhile knows better
        known = self._answers.get(key)
        if known is None:
            self._answers.keep(key, answer, self._seconds_of(answer))
        return answer if known is None else known

    async def _ask(self, session: Session, check: _MemberCheck) -> Answer:
        async def known(database: Database) -> tuple[LinkedTenant | None, tuple[RegisteredTenant, ...], bool]:
            linked = await tenant_of(database, session.organization_id, session.user_id)
            # a new registry each time: it remembers columns, and the tenant manager may change its table meanwhile
            registry = RegistryReading(database, self._settings.registry_table)
            name = linked.database_name if linked else None
            registered = await registry.standing(session.organization_id, name)
            lost = name is not None and name not in {row.database_name for row in registered}
            return linked, registered, lost and await self._in_doubt(registry)

        try:
            linked, registered, in_doubt = await self._ledger.ask(known)
        except LedgerAway:
            raise CannotTell(LEDGER_AWAY) from None
        if linked is not None and self._was_suspended(linked.database_name, registered):
            return Refused(Refusal.TENANT_SUSPENDED, "The session's tenant is suspended or gone.")
        try:
            # once without Clerk: who is refused in any case costs no call
            context = decide_access(session, linked, registered, None, self._policy, in_doubt=in_doubt)
            if check is _MemberCheck.NOT:
                return context
            certain = check is _MemberCheck.MUST
            must = certain or context.twenty_user_id is None
            departure = await self._departure(session, must=must, certain=certain)
            return decide_access(session, linked, registered, departure, self._policy, in_doubt=in_doubt)
        except Refused as refused:
            return refused

    async def _in_doubt(self, registry: RegistryReading) -> bool:
        """Whether the registry has lost so many rows at once that a missing one says nothing."""
        if registry.table not in self._doubt:
            loss = weigh_loss(registry.table, await known_rows(registry), self._loss_budget)
            if loss.doubt is None:
                return False
            _LOG.warning("Sessions go by the ledger's last word: %s", loss.doubt)
            self._doubt.keep(registry.table, True, min(_REFUSED_SECONDS, self._settings.session_cache_seconds))
        return True

    def _was_suspended(self, database_name: str, registered: Sequence[RegisteredTenant]) -> bool:
        """Whether the tenant has no row now, and was suspended when it had one: no run may have seen that yet."""
        own = [row for row in registered if row.database_name == database_name]
        if not own:
            return database_name in self._suspended
        if any(registry_status(row.status) in self._policy.excluded_statuses for row in own):
            self._suspended.keep(database_name, True)
        else:
            self._suspended.forget(database_name)
        return False

    async def _departure(self, session: Session, *, must: bool, certain: bool) -> Departure | None:
        """How the member is gone, as Clerk says now; None: they are not, as far as we know.

        Where Clerk is away or asked too much, the token stands: Clerk signed it at most a minute ago, for a member.
        """
        # an application that is called without a server may have another loop for each request
        if self._members is None or self._members.loop is not asyncio.get_running_loop():
            self._members = MemberChecks(self._settings, self.member_checks)
        standing = await self._members.standing(session.organization_id, session.user_id, certain=certain)
        if isinstance(standing, Departure):
            return standing
        if must and not standing:
            raise CannotTell("Clerk cannot be asked at present whether the session's user is still a member.")
        return None

    async def _report_mismatch(self, context: WorkspaceContext) -> None:
        if context.database_name in self._reported:
            return
        self._reported.keep(context.database_name, True, _REPORTED_SECONDS)
        _LOG.warning("A session of tenant %s claims another workspace than the ledger's.", context.tenant)
        if self._on_token_mismatch and not await self._on_token_mismatch(context):
            self._reported.forget(context.database_name)

    def _seconds_of(self, answer: Answer) -> float:
        """How long an answer is remembered."""
        seconds = self._settings.session_cache_seconds
        # a member who is not linked yet may be at any moment
        lasting = isinstance(answer, WorkspaceContext) and answer.twenty_user_id is not None
        return seconds if lasting else min(seconds, _REFUSED_SECONDS)


def must_be_of(context: WorkspaceContext, tenant: str | None) -> None:
    """Refuse a workspace of another tenant than the one with this slug or database name; None: any will do.

    Raises:
        Refused: OTHER_TENANT.
    """
    if tenant is not None and tenant not in (context.tenant, context.database_name):
        raise Refused(Refusal.OTHER_TENANT, "The session belongs to another tenant.")


def _key(session: Session) -> Key:
    return session.organization_id, session.user_id, session.role


def keys_of_issuers(settings: SessionSettings, *, stale_seconds: float) -> dict[str, PublicKeys]:
    """The keys of each issuer. The secret key goes to Clerk's Backend API alone."""
    secret = {"authorization": f"Bearer {settings.clerk_secret_key}"}
    found: dict[str, PublicKeys] = {}
    for issuer in settings.clerk_issuers:
        url = settings.clerk_jwks_url or f"{issuer}/.well-known/jwks.json"
        headers = secret if url.startswith(f"{settings.clerk_base_url}/") else None
        found[issuer] = PublicKeys(url, headers=headers, stale_seconds=stale_seconds)
    return found
