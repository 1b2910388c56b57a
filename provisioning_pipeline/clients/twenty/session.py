"""The way to one Twenty server: its contract, who is signed in there, and the one method that sends an operation."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import datetime
from typing import Any

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.transport import CallCounter, Effect, Transport
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import Account, Door, Token
from provisioning_pipeline.clients.twenty.contract import (
    OLDER_PROBE,
    READ_ONBOARDING,
    Surface,
    check_config,
    lacking,
    onboarding_of,
    unsupported,
)
from provisioning_pipeline.clients.twenty.errors import (
    TwentyError,
    TwentyFault,
    classify,
    is_expired_token,
    is_unknown_user,
    is_without_record,
    is_wrong_password,
    service_account_refused,
    without_record,
)
from provisioning_pipeline.clients.twenty.operations import Operation
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.contract import Onboarding
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.settings import TwentyServer

_PATH = "/metadata"
_RECORDS_PATH = "/graphql"
_CONFIG_PATH = "/client-config"
CONTRACT_CHECK = "contract check"
"""Name under which the calls of `check_contract` are counted."""
_UNGATED = frozenset({CONTRACT_CHECK, operations.ACTIVATE_WORKSPACE.name})
"""One takes seconds of waiting, the other runs nothing: neither keeps anybody else waiting at the gate."""
_NO_GRAPHQL_HERE = frozenset({401, 403, 404, 405})
"""Twenty answers its GraphQL errors with HTTP 200; these come from something else at that address."""


class TwentySession:
    """Everybody's sign-ins at one Twenty server, with the tokens that are kept until they are about to expire.

    `call_as` and `call_in_no_workspace` change nothing before `check_contract` has found everything that is needed;
    `call` leaves that to its caller. At most `concurrency` HTTP calls are under way at once; an activation takes
    seconds and is not counted.
    """

    def __init__(
        self,
        server: TwentyServer,
        *,
        timeout_seconds: float,
        dry_run: bool,
        counter: CallCounter,
        logins: bool,
        concurrency: int,
    ) -> None:
        self.system = f'Twenty server "{server.name}"'
        self.service_account = Account(server.service_email.strip().lower(), server.service_password)
        self._transport = Transport(
            server.base_url,
            system=self.system,
            unreachable=Reason.SERVER_UNREACHABLE,
            timeout_seconds=timeout_seconds,
            dry_run=dry_run,
            counter=counter,
            logins=logins,
        )
        self._tokens: dict[tuple[str, str], Token] = {}
        self._gate = asyncio.Semaphore(concurrency)
        self._contract_met = False
        self.version: str | None = None
        self._surface: Surface | None = None
        self._first = asyncio.Lock()
        self._signing_in = asyncio.Lock()
        self._entering: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def close(self) -> None:
        """Let go of the connections to the server."""
        await self._transport.__aexit__(None, None, None)

    # --- what the server is -------------------------------------------------------------------------------------

    async def check_contract(self) -> None:
        """Make sure that the server has every field and argument that we use.

        Raises:
            Fault: of kind SERVER, naming what is missing, or saying that this is no Twenty at all.
        """
        async with self._first:
            if self._contract_met:
                return
            config = await self.server_config()
            surface = await self._read_surface()
            if surface.lacks:
                raise unsupported(self.system, surface.lacks, older=surface.older)
            check_config(self.system, config)
            self._contract_met = True

    async def surface(self) -> Surface:
        """What the server takes of our operations; asked once.

        Raises:
            Fault: of kind SERVER when what answers is no Twenty at all.
        """
        async with self._first:
            return await self._read_surface()

    async def _read_surface(self) -> Surface:
        if self._surface is None:
            found = await all_of(self._lacking(operation) for operation in operations.ALL)
            lacks = tuple(dict.fromkeys(name for names in found for name in names))
            taken = zip(operations.ALL, found, strict=True)
            self._surface = Surface(
                frozenset(operation.document for operation, names in taken if not names),
                lacks,
                older=bool(lacks) and await self._is_older(),
            )
        return self._surface

    async def server_config(self) -> dict[str, Any]:
        """What the server tells everybody about itself (`/client-config`); empty when it tells nothing."""
        async with self._gate:
            response = await self._transport.send("GET", _CONFIG_PATH, name=CONTRACT_CHECK, effect=Effect.READ)
        try:
            config = response.json() if response.status_code == 200 else {}
        except ValueError:
            config = {}
        found = config if isinstance(config, dict) else {}
        self.version = str(found["appVersion"]) if found.get("appVersion") else None
        return found

    async def _lacking(self, operation: Operation) -> tuple[str, ...]:
        answer = await self._post(operation.probe(), operation.probe_variables(), CONTRACT_CHECK, Effect.READ, None)
        return lacking(str(error.get("message", "")) for error in answer.get("errors") or [])

    async def _is_older(self) -> bool:
        """Whether the sign-ups of 1.x are there."""
        try:
            answer = await self._post(OLDER_PROBE, {}, CONTRACT_CHECK, Effect.READ, None, path=_RECORDS_PATH)
        except Fault:
            # it is refused in any case; this only tells more about it
            return False
        return not answer.get("errors")

    async def onboarding(self, door: Door) -> Onboarding | None:
        """What the server says about its wizard, to the service account in that workspace; None: nothing.

        Raises:
            Fault: as at every login.
        """
        token = await self.member_token(self.service_account, door)
        return onboarding_of(await self._post(READ_ONBOARDING, {}, CONTRACT_CHECK, Effect.READ, token))

    # --- the service account, in no workspace -----------------------------------------------------------------

    async def service_token(self) -> Token:
        """A token of the service account that belongs to no workspace.

        Raises:
            Fault: of kind SERVER when the account is missing or its password is wrong.
        """
        async with self._signing_in:
            known = self._tokens.get((self.service_account.email, ""))
            if known and known.is_fresh():
                return known
            return self._keep_service_token(await self.sign_in_service_account(operations.SIGN_IN))

    async def sign_in_service_account(self, operation: Operation) -> Any:
        """Sign the service account in by password, with one of the operations that do that; what it answers.

        Raises:
            Fault: of kind SERVER when the account is missing or its password is wrong.
        """
        try:
            return await self.call(operation, self.service_account.credentials(), None)
        except TwentyFault as fault:
            raise service_account_refused(self.system, self.service_account.email, fault) from None

    async def sign_up_service_account(self) -> None:
        """Create the service account; on a server without any user it becomes the server's admin."""
        await self.check_contract()
        self._keep_service_token(await self.call(operations.SIGN_UP, self.service_account.credentials(), None))

    async def call_in_no_workspace(self, operation: Operation, variables: Mapping[str, Any]) -> Any:
        """Send an operation as the service account with its token that belongs to no workspace.

        Sent again with a new token when the server no longer takes the one that was kept.
        """
        await self.check_contract()
        try:
            return await self.call(operation, variables, await self.service_token())
        except TwentyFault as fault:
            # a token is refused before anything is looked at, so nothing was done yet
            if not is_expired_token(fault.error):
                raise
            self._tokens.pop((self.service_account.email, ""), None)
            return await self.call(operation, variables, await self.service_token())

    def _keep_service_token(self, answer: Mapping[str, Any]) -> Token:
        token = self._tokens[(self.service_account.email, "")] = _token(answer)
        return token

    # --- somebody in a workspace ------------------------------------------------------------------------------

    async def call_as(
        self,
        account: Account,
        door: Door,
        operation: Operation,
        variables: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float | None = None,
    ) -> Any:
        """Send an operation as that person in that workspace, who signs in first where no token is kept.

        Sent again with a new token when the server no longer takes the one that was kept.
        """
        if operation.effect is not Effect.READ:
            await self.check_contract()
        token = await self.member_token(account, door)
        try:
            return await self.call(operation, variables or {}, token, timeout_seconds)
        except TwentyFault as fault:
            if not is_expired_token(fault.error):
                raise
            self.forget(account, door)
            token = await self.member_token(account, door)
            return await self.call(operation, variables or {}, token, timeout_seconds)

    async def member_token(self, account: Account, door: Door) -> Token:
        """A token of that person in that workspace, kept until it is about to expire or is forgotten."""
        key = (account.email, door.workspace_id)
        async with self._entering[key]:
            known = self._tokens.get(key)
            if known and known.is_fresh():
                return known
            return await self.log_in(account, door)

    def forget(self, account: Account, door: Door) -> None:
        """Keep no token of that person in that workspace, so that the next call signs in anew."""
        self._tokens.pop((account.email, door.workspace_id), None)

    async def log_in(self, account: Account, door: Door) -> Token:
        """A new login to that workspace, whatever token is kept; by impersonation where the password is not ours.

        Raises:
            Fault: of kind SERVER when the service account is missing or its password is wrong.
            TwentyFault: FOREIGN_PASSWORD when the password is not ours and the user id unknown; HALF_MEMBER when the
                person has a membership without a member record.
        """
        return await self.enter(account, door, (await self.login_token(account, door)).value)

    async def enter(self, account: Account, door: Door, login_token: str) -> Token:
        """Exchange a login token for the token that is kept from now on.

        Raises:
            TwentyFault: HALF_MEMBER when the person has a membership without a member record.
        """
        variables = {"loginToken": login_token, "origin": door.url}
        try:
            answer = await self.call(operations.GET_AUTH_TOKENS_FROM_LOGIN_TOKEN, variables, None)
        except TwentyFault as fault:
            if not is_without_record(fault.error):
                raise
            raise without_record(self.system, account.email, door.workspace_id, fault) from None
        token = self._tokens[(account.email, door.workspace_id)] = _token(answer)
        return token

    async def login_token(self, account: Account, door: Door) -> Token:
        """What `enter` takes, or a browser at the workspace's /verify: by password, or by impersonation of somebody
        whose password is not ours.

        Raises:
            Fault: as `log_in`.
        """
        try:
            answer = await self.call(
                operations.GET_LOGIN_TOKEN_FROM_CREDENTIALS,
                {**account.credentials(), "origin": door.url},
                None,
            )
        except TwentyFault as fault:
            if account.email == self.service_account.email:
                raise service_account_refused(self.system, account.email, fault) from None
            # an account whose e-mail has capitals is unknown by the e-mail in lower case, and found by its id
            ours = not is_wrong_password(fault.error) and not is_unknown_user(fault.error)
            if account.user_id is None or ours:
                raise
            return await self.impersonation_token(account.user_id, door)
        return _issued(answer["loginToken"])

    async def impersonation_token(self, user_id: str, door: Door) -> Token:
        """The same for exactly this account, by the service account's impersonation.

        Raises:
            Fault: as `log_in`.
        """
        variables = {"userId": user_id, "workspaceId": door.workspace_id}
        answer = await self.call_as(self.service_account, door, operations.IMPERSONATE, variables)
        return _issued(answer["loginToken"])

    # --- how an operation is sent -----------------------------------------------------------------------------

    async def call(
        self,
        operation: Operation,
        variables: Mapping[str, Any],
        token: Token | None,
        timeout_seconds: float | None = None,
    ) -> Any:
        """Send an operation with this token, or without any; what its root field answers.

        It does not check the contract: `check_contract` comes before whatever changes something.

        Raises:
            TwentyFault: what Twenty refused, classified.
            Fault: transient when no answer came, UNSUPPORTED_TWENTY when something else answers at that address.
        """
        answer = await self._post(
            operation.document, variables, operation.name, operation.effect, token, timeout_seconds
        )
        error = TwentyError.read(answer)
        if error:
            raise classify(error, call=operation.name, system=self.system)
        return answer["data"][operation.name]

    async def _post(
        self,
        document: str,
        variables: Mapping[str, Any],
        name: str,
        effect: Effect,
        token: Token | None,
        timeout_seconds: float | None = None,
        path: str = _PATH,
    ) -> dict[str, Any]:
        async with nullcontext() if name in _UNGATED else self._gate:
            response = await self._transport.send(
                "POST",
                path,
                name=name,
                effect=effect,
                timeout_seconds=timeout_seconds,
                json={"query": document, "variables": dict(variables)},
                headers={"authorization": f"Bearer {token.value}"} if token else {},
            )
        try:
            answer = response.json()
        except ValueError:
            answer = None
        graphql = isinstance(answer, dict) and ({"data", "errors"} & answer.keys())
        if not graphql or response.status_code in _NO_GRAPHQL_HERE:
            raise Fault(
                FaultKind.SERVER,
                Reason.UNSUPPORTED_TWENTY,
                f"{self.system}: {self._transport.base_url}{path} answers HTTP {response.status_code} without "
                "GraphQL, so it is no Twenty of the 2.x line. Check the base URL in the settings.",
            )
        return dict(answer)


def _token(answer: Mapping[str, Any]) -> Token:
    return _issued(answer["tokens"]["accessOrWorkspaceAgnosticToken"])


def _issued(token: Mapping[str, Any]) -> Token:
    return Token(token["token"], datetime.fromisoformat(token["expiresAt"].replace("Z", "+00:00")))
