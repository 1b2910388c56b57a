"""One Twenty server: what it is, and who of ours is signed in there."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.http import OddAnswerFault, plain_text
from provisioning_pipeline.clients.transport import Effect
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import Account, Token, WorkspaceAddress
from provisioning_pipeline.clients.twenty.contract import (
    OLDER_PROBE,
    READ_ONBOARDING,
    Surface,
    check_config,
    lacking_by,
    onboarding_of,
    unsupported,
)
from provisioning_pipeline.clients.twenty.errors import (
    TwentyFault,
    is_expired_token,
    is_password_login_off,
    is_second_factor,
    is_unknown_user,
    is_used_login_token,
    is_without_record,
    is_wrong_password,
    leads_elsewhere,
    service_account_refused,
    without_record,
)
from provisioning_pipeline.clients.twenty.operation import Operation
from provisioning_pipeline.clients.twenty.operations import SignedIn
from provisioning_pipeline.clients.twenty.wire import CONTRACT_CHECK, RECORDS_PATH, TwentyWire, issued
from provisioning_pipeline.model.contract import Onboarding
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.settings import TwentyServer


@dataclass
class KnownServer:
    """Answers that hold for a run, and the tokens of those who are signed in. It lives in memory alone.

    Args:
        tokens: (e-mail, workspace id or nothing) → token, until it is about to expire.
        by_our_password: e-mail → whether the password that we derive let in at the last login.
        contract_met: everything that we use is there.
        version: as the server reported it.
        surface: what it takes of our operations.
        addresses, roles, own_members: by workspace: its address, its roles' ids by label, our own member record's id.
    """

    tokens: dict[tuple[str, str], Token] = field(default_factory=dict)
    by_our_password: dict[str, bool] = field(default_factory=dict)
    contract_met: bool = False
    version: str | None = None
    surface: Surface | None = None
    addresses: dict[str, WorkspaceAddress] = field(default_factory=dict)
    roles: dict[str, dict[str, str]] = field(default_factory=dict)
    own_members: dict[str, str | None] = field(default_factory=dict)


_LOGINS_TRIED = 3
_LONGEST_VERSION = 100
T = TypeVar("T")
S = TypeVar("S", bound=SignedIn)


class TwentySession:
    """All sign-ins of ours at one Twenty server, with their tokens, which we store until they are about to expire.

    `call_as` and `call_in_no_workspace` change nothing before `check_contract` has found everything that is needed;
    `call` leaves that to its caller.
    """

    def __init__(self, server: TwentyServer, wire: TwentyWire, known: KnownServer | None = None) -> None:
        self._wire = wire
        self.system = self._wire.system
        self.service_account = Account(server.service_email.strip().lower(), server.service_password)
        self._stays_signed_in = known is not None
        self.known = known or KnownServer()
        self._first = asyncio.Lock()
        self._signing_in = asyncio.Lock()
        self._entering: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections to the server, and end the stored logins, unless others know them too."""
        try:
            if not self._stays_signed_in:
                await self.sign_everybody_out()
        finally:
            await self._wire.close()

    async def sign_everybody_out(self) -> None:
        """End the stored logins."""
        stored = list(self.known.tokens.values())
        self.known.tokens.clear()
        await all_of(self._wire.end(token) for token in stored)

    # --- what the server is -------------------------------------------------------------------------------------

    async def check_contract(self) -> None:
        """Make sure that the server has every field and argument that we use.

        Raises:
            Fault: of kind SERVER, naming what is missing, or saying that this is no Twenty at all.
        """
        async with self._first:
            if self.known.contract_met:
                return
            config = await self.server_config()
            surface = await self._read_surface()
            if surface.lacks:
                raise unsupported(self.system, surface.lacks, version=self.known.version, older=surface.older)
            check_config(self.system, config)
            self.known.contract_met = True

    async def surface(self) -> Surface:
        """What the server takes of our operations; asked once.

        Raises:
            Fault: of kind SERVER when what answers is no Twenty at all.
        """
        async with self._first:
            return await self._read_surface()

    async def _read_surface(self) -> Surface:
        if self.known.surface is None:
            try:
                found = await all_of(self._lacking(operation) for operation in operations.ALL)
            except OddAnswerFault:
                # one odd answer, even time and again, is no verdict on a server that answers other questions
                await self._wire.must_speak_graphql()
                raise
            taken = tuple(zip(operations.ALL, found, strict=True))
            lacks = (name for operation, names in taken if operation.needed for name in names)
            self.known.surface = Surface(
                frozenset(operation.document for operation, names in taken if not names),
                missing := tuple(dict.fromkeys(lacks)),
                older=bool(missing) and await self._is_older(),
            )
        return self.known.surface

    async def first_taken(self, alternatives: Iterable[Operation[T]]) -> Operation[T] | None:
        """The first of these operations that the server takes; None: it takes none."""
        taken = (await self.surface()).operations
        return next((operation for operation in alternatives if operation.document in taken), None)

    async def server_config(self) -> dict[str, Any]:
        """What the server says about itself without a token (`/client-config`); empty when it says nothing."""
        found = await self._wire.server_config()
        version = found.get("appVersion")
        self.known.version = plain_text(version)[:_LONGEST_VERSION] if version and isinstance(version, str) else None
        return found

    async def _lacking(self, operation: Operation[Any]) -> tuple[str, ...]:
        answer = await self._wire.post(
            operation.probe(), operation.probe_variables(), CONTRACT_CHECK, Effect.READ, None, lacking_by
        )
        return answer.value

    async def _is_older(self) -> bool:
        """Whether the sign-ups of 1.x are there."""
        try:
            answer = await self._wire.post(
                OLDER_PROBE, {}, CONTRACT_CHECK, Effect.READ, None, lacking_by, path=RECORDS_PATH
            )
        except Fault:
            # it is refused in any case; this only says more about it
            return False
        return not answer.value

    async def onboarding(self, address: WorkspaceAddress) -> Onboarding | None:
        """What the server says about its wizard, to the service account in that workspace; None: nothing.

        Raises:
            Fault: as at every login.
        """
        token = await self.member_token(self.service_account, address)
        return (await self._wire.post(READ_ONBOARDING, {}, CONTRACT_CHECK, Effect.READ, token, onboarding_of)).value

    # --- the service account, in no workspace -----------------------------------------------------------------

    async def service_token(self) -> Token:
        """A token of the service account that belongs to no workspace.

        Raises:
            Fault: of kind SERVER when the account is missing or its password is wrong.
        """
        async with self._signing_in:
            known = self.known.tokens.get((self.service_account.email, ""))
            if known and known.is_fresh():
                return known
            token, _ = await self.sign_in_service_account(operations.SIGN_IN)
            return token

    async def sign_in_service_account(self, operation: Operation[S]) -> tuple[Token, S]:
        """Sign the service account in by password, with one of the operations that do that.

        Returns:
            Its token, which is stored from now on, and what the operation's root field answers.

        Raises:
            Fault: of kind SERVER when the account is missing or its password is wrong.
        """
        try:
            token, answer = await self._wire.call_for_token(operation, self.service_account.credentials())
        except TwentyFault as fault:
            raise service_account_refused(self.system, self.service_account.email, fault) from None
        return await self._store((self.service_account.email, ""), token), answer

    async def sign_up_service_account(self) -> None:
        """Create the service account; on a server without any user it becomes the server's admin."""
        await self.check_contract()
        token, _ = await self._wire.call_for_token(operations.SIGN_UP, self.service_account.credentials())
        await self._store((self.service_account.email, ""), token)

    async def check_password(self, account: Account) -> None:
        """Sign in without a workspace, and out again.

        Raises:
            TwentyFault: FOREIGN_PASSWORD when the account has a password that is not ours.
        """
        token, _ = await self._wire.call_for_token(operations.SIGN_IN, account.credentials())
        await self._wire.end(token)

    async def _store(self, key: tuple[str, str], token: Token) -> Token:
        before = self.known.tokens.get(key)
        self.known.tokens[key] = token
        if before:
            await self._wire.end(before)
        return token

    async def call_in_no_workspace(self, operation: Operation[T], variables: Mapping[str, Any]) -> T:
        """Send an operation as the service account with its token that belongs to no workspace.

        Sent again with a new token when the server no longer takes the stored one.
        """
        await self.check_contract()
        try:
            return await self._wire.call(operation, variables, await self.service_token())
        except TwentyFault as fault:
            # a token is refused before anything is looked at, so nothing was done yet
            if not is_expired_token(fault.error):
                raise
            self.known.tokens.pop((self.service_account.email, ""), None)
            return await self._wire.call(operation, variables, await self.service_token())

    async def call(self, operation: Operation[T], variables: Mapping[str, Any]) -> T:
        """Send an operation without a token; what its root field answers.

        It does not check the contract: `check_contract` comes before whatever changes something.

        Raises:
            Fault: as `TwentyWire.call`.
        """
        return await self._wire.call(operation, variables, None)

    async def call_with(self, token: Token, operation: Operation[T]) -> T:
        """The same with this very token, whether it is still good or not."""
        return await self._wire.call(operation, {}, token)

    async def download(self, path: str, write: Callable[[bytes], object]) -> int:
        """Read a file whose address holds its own token; the status of the answer, whose body is written if it is 200.

        Raises:
            Fault: transient, when no answer came, or it broke off.
        """
        return await self._wire.download(path, write)

    # --- a person in a workspace --------------------------------------------------------------------------------

    async def call_as(
        self,
        account: Account,
        address: WorkspaceAddress,
        operation: Operation[T],
        variables: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float | None = None,
    ) -> T:
        """Send an operation as that person in that workspace, who signs in first where no token is stored.

        Sent again with a new token when the server no longer takes the stored one.
        """
        if operation.effect is not Effect.READ:
            await self.check_contract()
        token = await self.member_token(account, address)
        try:
            return await self._wire.call(operation, variables or {}, token, timeout_seconds)
        except TwentyFault as fault:
            if not is_expired_token(fault.error):
                raise
            self.forget(account, address)
            token = await self.member_token(account, address)
            return await self._wire.call(operation, variables or {}, token, timeout_seconds)

    async def call_in(
        self, address: WorkspaceAddress, operation: Operation[T], variables: Mapping[str, Any] | None = None
    ) -> T:
        """Send an operation as the service account in that workspace."""
        return await self.call_as(self.service_account, address, operation, variables)

    async def member_token(self, account: Account, address: WorkspaceAddress) -> Token:
        """A token of that person in that workspace, stored until it is about to expire or is forgotten."""
        key = (account.email, address.workspace_id)
        async with self._entering[key]:
            known = self.known.tokens.get(key)
            if known and known.is_fresh():
                return known
            return await self.log_in(account, address)

    def forget(self, account: Account, address: WorkspaceAddress) -> None:
        """Store no token of that person in that workspace, so that the next call signs in anew."""
        self.known.tokens.pop((account.email, address.workspace_id), None)

    async def sign_out(self, account: Account, address: WorkspaceAddress) -> None:
        """The same, and end the login, so that it does not show among the person's devices."""
        token = self.known.tokens.pop((account.email, address.workspace_id), None)
        if token:
            await self._wire.end(token)

    async def log_in(self, account: Account, address: WorkspaceAddress) -> Token:
        """A new login to that workspace, whatever token is stored; by impersonation where no password of ours leads in.

        Raises:
            Fault: of kind SERVER when the service account is missing or its password is wrong.
            TwentyFault: FOREIGN_PASSWORD when the password is not ours and the user id unknown; HALF_MEMBER when the
                person has a membership without a member record; PASSWORD_LOGIN_OFF or SECOND_FACTOR_REQUIRED where a
                setting of the workspace or of the person keeps programs out.
        """
        for _ in range(_LOGINS_TRIED - 1):
            login_token = await self.login_token(account, address)
            try:
                return await self.exchange(account, address, login_token.value)
            except Fault as fault:
                if isinstance(fault, TwentyFault) and is_second_factor(fault.error):
                    if account.email == self.service_account.email:
                        raise service_account_refused(self.system, account.email, fault) from None
                    if account.user_id:
                        # an impersonation asks for no second factor
                        impersonation = await self.impersonation_token(account.user_id, address)
                        return await self.exchange(account, address, impersonation.value)
                if not _is_used_up(fault):
                    raise
        return await self.exchange(account, address, (await self.login_token(account, address)).value)

    async def exchange(self, account: Account, address: WorkspaceAddress, login_token: str) -> Token:
        """Exchange a login token, which may be good for once, for the token that is stored from now on.

        Raises:
            TwentyFault: HALF_MEMBER when the person has a membership without a member record.
            Fault: transient with `effect_unknown` when the answer was lost: another login token is needed then;
                WRONG_WORKSPACE when the address is another workspace's by now.
        """
        variables = {"loginToken": login_token, "origin": address.url}
        try:
            token, _ = await self._wire.call_for_token(operations.GET_AUTH_TOKENS_FROM_LOGIN_TOKEN, variables)
        except TwentyFault as fault:
            if not is_without_record(fault.error):
                raise
            raise without_record(self.system, account.email, address.workspace_id, fault) from None
        # Twenty goes by the address alone, which may be another workspace's by now
        led_to = token.workspace_id
        if led_to is None:
            led_to = (await self._wire.call(operations.CURRENT_WORKSPACE, {}, token)).id
        if led_to != address.workspace_id:
            await self._wire.end(token)
            raise leads_elsewhere(self.system, address.url, address.workspace_id, led_to)
        return await self._store((account.email, address.workspace_id), token)

    async def enter_by_gift(self, account: Account, address: WorkspaceAddress, login_token: str) -> None:
        """Use the login token that came with another answer; where it leads nowhere, the next call signs in anew.

        Raises:
            TwentyFault: HALF_MEMBER when the person has a membership without a member record.
            Fault: of kind SERVER, or when the server is away.
        """
        try:
            await self.exchange(account, address, login_token)
        except Fault as fault:
            second_factor = isinstance(fault, TwentyFault) and is_second_factor(fault.error)
            if not (second_factor or _is_used_up(fault)):
                raise

    async def login_token(self, account: Account, address: WorkspaceAddress) -> Token:
        """What `exchange` takes, or a browser at the workspace's /verify: by password, or by impersonation where no
        password of ours lets the person in.

        Raises:
            Fault: as `log_in`.
        """
        try:
            answer = await self._wire.call(
                operations.GET_LOGIN_TOKEN_FROM_CREDENTIALS,
                {**account.credentials(), "origin": address.url},
                None,
            )
        except TwentyFault as fault:
            if account.email == self.service_account.email:
                raise service_account_refused(self.system, account.email, fault) from None
            # an account whose e-mail has capitals is unknown by the e-mail in lower case, and found by its id
            by_password = not (
                is_wrong_password(fault.error) or is_unknown_user(fault.error) or is_password_login_off(fault.error)
            )
            if account.user_id is None or by_password:
                raise
            if not is_password_login_off(fault.error):
                self.known.by_our_password[account.email] = False
            return await self.impersonation_token(account.user_id, address)
        self.known.by_our_password[account.email] = True
        token = issued(answer.login_token)
        if token.workspace_id not in (None, address.workspace_id):
            raise leads_elsewhere(self.system, address.url, address.workspace_id, str(token.workspace_id))
        return token

    async def impersonation_token(self, user_id: str, address: WorkspaceAddress) -> Token:
        """The same for exactly this account, by the service account's impersonation.

        Raises:
            Fault: as `log_in`.
        """
        variables = {"userId": user_id, "workspaceId": address.workspace_id}
        answer = await self.call_in(address, operations.IMPERSONATE, variables)
        return issued(answer.login_token)


def _is_used_up(fault: Fault) -> bool:
    """The exchange came to nothing that we know of, and its login token may be good for once only."""
    used = isinstance(fault, TwentyFault) and is_used_login_token(fault.error)
    return used or (fault.effect_unknown and not fault.away)
