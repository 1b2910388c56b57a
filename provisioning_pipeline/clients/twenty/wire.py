"""How an operation is sent to one Twenty server, with a token or without, and how its answer is read."""

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from http.cookies import CookieError, SimpleCookie
from typing import Any

import httpx

from provisioning_pipeline.clients.transport import CallCounter, Effect, Transport
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import Token
from provisioning_pipeline.clients.twenty.errors import TwentyError, classify
from provisioning_pipeline.clients.twenty.hanging import HangingServer
from provisioning_pipeline.clients.twenty.operations import Operation
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.settings import TwentyServer

_PATH = "/metadata"
RECORDS_PATH = "/graphql"
"""Where records are served, and in 1.x the sign-ups, too."""
_CONFIG_PATH = "/client-config"
CONTRACT_CHECK = "contract check"
"""Name under which the calls are counted that only ask what the server is, and whether it answers."""
_UNGATED = frozenset({CONTRACT_CHECK, operations.ACTIVATE_WORKSPACE.name})
"""One takes seconds of waiting, the other runs nothing: neither keeps anybody else waiting at the gate."""
_NO_GRAPHQL_HERE = frozenset({401, 403, 404, 405})
"""Twenty answers its GraphQL errors with HTTP 200; these come from something else at that address."""
_ANSWERS = "query Answers { __typename }"
_SESSION_COOKIES = ("__Host-twenty-session", "twenty-session")
"""Read in the source of 2.38: the first where SERVER_URL is https."""


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """A GraphQL answer, and the session cookie that came with it, as it is sent back."""

    body: dict[str, Any]
    cookie: str | None


class TwentyWire:
    """Sends documents to one server. At most `concurrency` HTTP calls are under way at once.

    An activation takes seconds and is not counted. A server that takes calls and answers none is given up on.
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
        self._transport = Transport(
            server.base_url,
            system=self.system,
            unreachable=Reason.SERVER_UNREACHABLE,
            timeout_seconds=timeout_seconds,
            dry_run=dry_run,
            counter=counter,
            logins=logins,
            setting="PROVISIONING_TWENTY_BASE_URL, or its base_url in PROVISIONING_TWENTY_SERVERS",
        )
        self._hanging = HangingServer(self.system)
        self._gate = asyncio.Semaphore(concurrency)

    async def close(self) -> None:
        """Let go of the connections to the server."""
        await self._transport.__aexit__(None, None, None)

    async def call(
        self,
        operation: Operation,
        variables: Mapping[str, Any],
        token: Token | None,
        timeout_seconds: float | None = None,
    ) -> Any:
        """Send an operation with this token, or without any; what its root field answers.

        Raises:
            TwentyFault: what Twenty refused, classified.
            Fault: transient when no answer came, UNSUPPORTED_TWENTY when something else answers at that address.
        """
        answer = await self._asked(operation, variables, token, timeout_seconds)
        return answer.body["data"][operation.name]

    async def call_for_token(self, operation: Operation, variables: Mapping[str, Any]) -> tuple[Token, Any]:
        """Send an operation that issues a token; that token, and what its root field answers.

        Raises:
            Fault: as `call`.
        """
        answer = await self._asked(operation, variables, None)
        field = answer.body["data"][operation.name]
        tokens = field["tokens"]
        token = issued(tokens["accessOrWorkspaceAgnosticToken"])
        return replace(token, refresh=tokens["refreshToken"]["token"], cookie=answer.cookie), field

    async def _asked(
        self,
        operation: Operation,
        variables: Mapping[str, Any],
        token: Token | None,
        timeout_seconds: float | None = None,
    ) -> Answer:
        answer = await self.post(
            operation.document, variables, operation.name, operation.effect, token, timeout_seconds
        )
        error = TwentyError.read(answer.body)
        if error:
            raise classify(error, call=operation.name, system=self.system)
        return answer

    async def end(self, token: Token) -> None:
        """End a login of ours on a server that lists it among the person's devices; older ones keep no such list."""
        if token.cookie is None:
            return
        # it ends by itself, too, so that no run need fail for this
        with suppress(Fault):
            await self.post(
                operations.SIGN_OUT.document,
                {"refreshToken": token.refresh},
                operations.SIGN_OUT.name,
                operations.SIGN_OUT.effect,
                token,
                cookie=token.cookie,
            )

    async def post(
        self,
        document: str,
        variables: Mapping[str, Any],
        name: str,
        effect: Effect,
        token: Token | None,
        timeout_seconds: float | None = None,
        path: str = _PATH,
        cookie: str | None = None,
    ) -> Answer:
        """Send a document; what Twenty answers, its errors too.

        Raises:
            Fault: as `call`.
        """
        headers = _bearer(token) | ({"cookie": cookie} if cookie else {})
        async with nullcontext() if name in _UNGATED else self._gate:
            response = await self._hanging.watch(
                self._transport.send(
                    "POST",
                    path,
                    name=name,
                    effect=effect,
                    timeout_seconds=timeout_seconds,
                    json={"query": document, "variables": dict(variables)},
                    headers=headers,
                ),
                (lambda: self._answers(token)) if token else None,
                writes=effect is not Effect.READ,
            )
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if isinstance(answer, dict) and answer.get("error") == "CSRF_ORIGIN_MISMATCH":
            raise Fault(
                FaultKind.SERVER,
                Reason.UNSUPPORTED_TWENTY,
                f"{self.system} takes our calls for a browser's (CSRF_ORIGIN_MISMATCH): something between here and it "
                "adds the cookie of a session, which this program never keeps. Let the base URL in the settings lead "
                "past that proxy, or let it pass cookies as they come.",
            )
        graphql = isinstance(answer, dict) and ({"data", "errors"} & answer.keys())
        if not graphql or response.status_code in _NO_GRAPHQL_HERE:
            raise Fault(
                FaultKind.SERVER,
                Reason.UNSUPPORTED_TWENTY,
                f"{self.system}: {self._transport.base_url}{path} answers HTTP {response.status_code} without "
                "GraphQL, so no Twenty is there. Check the base URL in the settings.",
            )
        return Answer(dict(answer), _session_cookie(response))

    async def server_config(self) -> dict[str, Any]:
        """What the server tells everybody about itself (`/client-config`); empty when it tells nothing."""
        async with self._gate:
            response = await self._hanging.watch(
                self._transport.send("GET", _CONFIG_PATH, name=CONTRACT_CHECK, effect=Effect.READ),
                None,
                writes=False,
            )
        try:
            config = response.json() if response.status_code == 200 else {}
        except ValueError:
            config = {}
        return config if isinstance(config, dict) else {}

    async def _answers(self, token: Token) -> object:
        """Ask what a server that is well answers at once."""
        return await self._transport.send(
            "POST", _PATH, name=CONTRACT_CHECK, effect=Effect.READ, json={"query": _ANSWERS}, headers=_bearer(token)
        )


def issued(token: Mapping[str, Any]) -> Token:
    """A token as Twenty writes it."""
    return Token(token["token"], datetime.fromisoformat(token["expiresAt"].replace("Z", "+00:00")))


def _bearer(token: Token | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token.value}"} if token else {}


def _session_cookie(response: httpx.Response) -> str | None:
    """The cookie of a session that a server from 2.38 on sets with each login (source only)."""
    for header in response.headers.get_list("set-cookie"):
        cookies: SimpleCookie = SimpleCookie()
        with suppress(CookieError):
            cookies.load(header)
        for name in _SESSION_COOKIES:
            if name in cookies and cookies[name].value:
                return f"{name}={cookies[name].coded_value}"
    return None
