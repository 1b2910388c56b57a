"""How an operation is sent to one Twenty server and its answer read; gives up on a server that answers nothing."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final, Generic, TypeVar

import httpx2

from provisioning_pipeline.clients.http import OddAnswer, OddAnswerFault, answer_in_words, looks_of
from provisioning_pipeline.clients.json_answers import json_of
from provisioning_pipeline.clients.transport import CallCounter, Effect, Transport
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import Token
from provisioning_pipeline.clients.twenty.errors import TwentyError, classify
from provisioning_pipeline.clients.twenty.operation import Operation, field_of
from provisioning_pipeline.clients.twenty.operations import IssuedToken, SignedIn
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.settings import TwentyServer

R = TypeVar("R")
PATIENCE_SECONDS: Final = 8.0
"""A call that takes longer is asked about, and that question, or the call itself, is given as much time again."""
GIVEN_UP_SECONDS: Final = 30.0
"""For so long we do not call a server that we gave up on; a run is over by then, and a service tries again."""


class HangingServer:
    """What is known about a server that may hang.

    Args:
        system: the server, in a sentence.
    """

    def __init__(self, system: str) -> None:
        self._system = system
        self._given_up_until = 0.0

    async def watch(
        self, call: Coroutine[Any, Any, R], answers: Callable[[], Awaitable[object]] | None, *, writes: bool
    ) -> R:
        """The answer to this call, as long as the server answers other calls.

        Args:
            call: any call, which may take long.
            answers: one with the same token, which an answering server answers at once; None: there is none.
            writes: the call may have taken place when it is given up.

        Raises:
            Fault: transient and away, when the server was given up on just now or a moment ago.
        """
        if time.monotonic() < self._given_up_until:
            call.close()
            raise self._fault(effect_unknown=False)
        under_way = asyncio.ensure_future(call)
        try:
            while True:
                done, _ = await asyncio.wait({under_way}, timeout=PATIENCE_SECONDS)
                if done:
                    return under_way.result()
                try:
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        await (answers() if answers else asyncio.shield(under_way))
                except TimeoutError:
                    if not under_way.done():
                        self._given_up_until = time.monotonic() + GIVEN_UP_SECONDS
                        raise self._fault(effect_unknown=writes) from None
                except Fault:
                    # an answer, if a bad one, which the call itself meets, too
                    continue
        finally:
            if not under_way.done():
                under_way.cancel()
                await asyncio.gather(under_way, return_exceptions=True)
            elif not under_way.cancelled():
                # who waits may have been cancelled as it failed, and asyncio logs an error that was never retrieved
                under_way.exception()

    def _fault(self, *, effect_unknown: bool) -> Fault:
        return Fault(
            FaultKind.TRANSIENT,
            Reason.SERVER_UNREACHABLE,
            f"{self._system} takes calls and answers none, although it may say that it is well. Look whether its "
            "Redis and its database are up; the next run tries again.",
            effect_unknown=effect_unknown,
            away=True,
        )


_PATH = "/metadata"
RECORDS_PATH = "/graphql"
"""Where records are served, and in 1.x the sign-ups, too."""
_CONFIG_PATH = "/client-config"
CONTRACT_CHECK = "contract check"
"""Name under which the calls are counted that only ask what the server is, and whether it answers."""
_UNGATED = frozenset({CONTRACT_CHECK, operations.ACTIVATE_WORKSPACE.name})
"""One takes seconds of waiting, the other runs nothing: neither keeps other calls waiting at the gate."""
_GRAPHQL_STATUSES = frozenset({200, 201, 202, 400, 422})
"""Twenty answers its GraphQL errors with HTTP 200, and variables that do not fit with 400; any other status is that of
something else at that address."""
_ANSWERS = "query Answers { __typename }"
_SESSION_COOKIES = ("__Host-twenty-session", "twenty-session")
"""Read in the source of 2.38: the first where SERVER_URL is https."""
_SENT_BACK = re.compile(r"[\x21-\x7e]+")


T = TypeVar("T")
S = TypeVar("S", bound=SignedIn)


@dataclass(frozen=True, slots=True, repr=False)
class Answer(Generic[T]):
    """What an answer holds, and the session cookie that came with it, as it is sent back."""

    value: T
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
        logins: bool = False,
        concurrency: int = 8,
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
        await self._transport.__aexit__()

    async def call(
        self,
        operation: Operation[T],
        variables: Mapping[str, Any],
        token: Token | None,
        timeout_seconds: float | None = None,
    ) -> T:
        """Send an operation with this token, or without any; what its root field answers.

        Raises:
            TwentyFault: what Twenty refused, classified.
            Fault: transient when no answer came, or none that could be used.
        """
        return (await self._asked(operation, variables, token, timeout_seconds)).value

    async def call_for_token(self, operation: Operation[S], variables: Mapping[str, Any]) -> tuple[Token, S]:
        """Send an operation that issues a token; that token, and what its root field answers.

        Raises:
            Fault: as `call`.
        """
        answer = await self._asked(operation, variables, None)
        tokens = answer.value.tokens
        token = replace(issued(tokens.access), refresh=tokens.refresh_token.token, cookie=answer.cookie)
        return token, answer.value

    async def _asked(
        self,
        operation: Operation[T],
        variables: Mapping[str, Any],
        token: Token | None,
        timeout_seconds: float | None = None,
    ) -> Answer[T]:
        def read(body: Mapping[str, Any]) -> T:
            if complaints := complaints_of(body):
                raise classify(TwentyError.of(complaints[0]), call=operation.name, system=self.system)
            return field_of(body, operation.name, operation.answer)

        return await self.post(
            operation.document,
            variables,
            operation.name,
            operation.effect,
            token,
            read,
            timeout_seconds,
            RECORDS_PATH if operation.records else _PATH,
        )

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
                read=lambda _: None,
                cookie=token.cookie,
            )

    async def post(
        self,
        document: str,
        variables: Mapping[str, Any],
        name: str,
        effect: Effect,
        token: Token | None,
        read: Callable[[Mapping[str, Any]], T],
        timeout_seconds: float | None = None,
        path: str = _PATH,
        cookie: str | None = None,
    ) -> Answer[T]:
        """Send a document; what `read` makes of Twenty's answer, its errors too.

        Raises:
            Fault: as `call`, and what `read` raises; an `OddAnswer` is tried again first.
        """
        headers = _bearer(token) | ({"cookie": cookie} if cookie else {})

        def answer(response: httpx2.Response) -> Answer[T]:
            return Answer(read(self._graphql(response)), _session_cookie(response))

        async with nullcontext() if name in _UNGATED else self._gate:
            return await self._hanging.watch(
                self._transport.ask(
                    "POST",
                    path,
                    name=name,
                    effect=effect,
                    read=answer,
                    timeout_seconds=timeout_seconds,
                    json={"query": document, "variables": dict(variables)},
                    headers=headers,
                ),
                (lambda: self._answers(token)) if token else None,
                writes=effect is not Effect.READ,
            )

    def _graphql(self, response: httpx2.Response) -> dict[str, Any]:
        """The GraphQL answer in a response.

        Raises:
            OddAnswer: when it is none.
            Fault: of kind SERVER when Twenty takes our calls for a browser's.
        """
        try:
            body = json_of(response)
        except OddAnswer:
            body = None
        if isinstance(body, dict) and body.get("error") == "CSRF_ORIGIN_MISMATCH":
            raise Fault(
                FaultKind.SERVER,
                Reason.UNSUPPORTED_TWENTY,
                f"{self.system} takes our calls for a browser's (CSRF_ORIGIN_MISMATCH): something between here and it "
                "adds the cookie of a session, which this program never keeps. Let the base URL in the settings lead "
                "past that proxy, or let it pass cookies as they come.",
            )
        if (
            not isinstance(body, dict)
            or not {"data", "errors"} & body.keys()
            or response.status_code not in _GRAPHQL_STATUSES
        ):
            raise OddAnswer(f"HTTP {response.status_code} without GraphQL, but with {looks_of(response)}")
        return body

    async def download(self, path: str, write: Callable[[bytes], object]) -> int:
        """Read a file whose address holds its own token; the status of the answer, whose body is written if it is 200.

        Raises:
            Fault: transient, when no answer came, or it broke off.
        """
        async with self._gate:
            return await self._transport.download(path, name="GET /file", write=write)

    async def must_speak_graphql(self) -> None:
        """Ask what every GraphQL server answers, to tell one odd answer from an address where no Twenty is.

        Raises:
            Fault: of kind SERVER when that gets no GraphQL answer either.
        """
        try:
            await self.post(_ANSWERS, {}, CONTRACT_CHECK, Effect.READ, None, complaints_of)
        except OddAnswerFault as fault:
            raise Fault(
                FaultKind.SERVER,
                Reason.UNSUPPORTED_TWENTY,
                fault.message
                if fault.redirected
                else f"{self.system}: {self._transport.base_url}{_PATH} answers {fault.why}, so no Twenty is there. "
                "Check the base URL in the settings.",
            ) from None

    async def server_config(self) -> dict[str, Any]:
        """What the server says about itself without a token (`/client-config`); empty when it says nothing."""
        async with self._gate:
            with suppress(OddAnswerFault):
                # a server without that path answers with its front page
                return await self._hanging.watch(
                    self._transport.ask("GET", _CONFIG_PATH, name=CONTRACT_CHECK, effect=Effect.READ, read=_config),
                    None,
                    writes=False,
                )
        return {}

    async def _answers(self, token: Token) -> object:
        """Ask what a server that is well answers at once."""
        return await self._transport.send(
            "POST", _PATH, name=CONTRACT_CHECK, effect=Effect.READ, json={"query": _ANSWERS}, headers=_bearer(token)
        )


def complaints_of(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The errors of a GraphQL answer; empty when there are none.

    Raises:
        OddAnswer: when they are no list of GraphQL errors.
    """
    errors = body.get("errors")
    if errors is None or errors == []:
        return []
    if not isinstance(errors, list) or not all(
        isinstance(error, dict) and isinstance(error.get("message"), str) for error in errors
    ):
        raise OddAnswer("`errors` in its answer is no list of GraphQL errors")
    return errors


def issued(token: IssuedToken) -> Token:
    """A token as Twenty writes it."""
    return Token(token.token, token.expires_at)


def _config(response: httpx2.Response) -> dict[str, Any]:
    if response.status_code == httpx2.codes.NOT_FOUND:
        return {}
    found = json_of(response) if response.status_code == httpx2.codes.OK else None
    if not isinstance(found, dict):
        raise OddAnswer(answer_in_words(response))
    return found


def _bearer(token: Token | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token.value}"} if token else {}


def _session_cookie(response: httpx2.Response) -> str | None:
    """The cookie of a session that a server from 2.38 on sets with each login (source only)."""
    for header in response.headers.get_list("set-cookie"):
        cookies: SimpleCookie = SimpleCookie()
        with suppress(CookieError):
            cookies.load(header)
        for name in _SESSION_COOKIES:
            if name in cookies and cookies[name].value and _SENT_BACK.fullmatch(cookies[name].coded_value):
                return f"{name}={cookies[name].coded_value}"
    return None
