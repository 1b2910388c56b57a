"""The one place through which every HTTP call passes: dry-run, guards of writes, retries, counting, error classes."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import httpx2
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from provisioning_pipeline.clients.concurrency import Limit
from provisioning_pipeline.clients.guards import during, may_write
from provisioning_pipeline.clients.http import (
    OddAnswer,
    OddAnswerFault,
    http_client,
    in_words,
    read_whole,
    redirect_of,
    seconds_to_wait,
)
from provisioning_pipeline.clients.tracing import failed, span
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

if TYPE_CHECKING:
    from opentelemetry.trace import Span

T = TypeVar("T")


class Effect(StrEnum):
    """What a call does to the other side."""

    READ = "read"
    """Changes nothing."""
    LOGIN = "login"
    """Issues a token, or ends one; no state that anyone else sees."""
    EXCHANGE = "exchange"
    """Issues a token for another that may be good for once, so it must never be sent twice blindly."""
    WRITE = "write"
    """Changes something; safe to send again."""
    CREATE = "create"
    """Changes something and must never be sent twice blindly."""


@dataclass
class CallCounter:
    """How many calls were sent, by name, and how many of them could change something."""

    by_name: Counter[str] = field(default_factory=Counter)
    mutating: int = 0

    def add(self, name: str, effect: Effect) -> None:
        """Count one sent call."""
        self.by_name[name] += 1
        if effect in (Effect.WRITE, Effect.CREATE):
            self.mutating += 1

    def take(self) -> tuple[Counter[str], int]:
        """The counts since the last take: calls by name, and mutating ones."""
        taken = (self.by_name, self.mutating)
        self.by_name, self.mutating = Counter(), 0
        return taken


Watcher = Callable[[str, Effect, Literal["before", "after"]], None]
"""Gets every call: its name, what it does, and whether it goes out now or has had its effect."""
_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Notify `watcher` of every call that is sent from here on; "after" comes before the caller gets the answer."""
    with during(_watcher, watcher):
        yield


class DryRunViolation(Exception):
    """A dry run tried to send a call that is not a plain read. A defect above the transport."""


_NEVER_TWICE = frozenset({Effect.CREATE, Effect.EXCHANGE})
_ATTEMPTS = 4
_ATTEMPTS_WITHOUT_ANSWER = 2
"""A server that took the whole time twice would take it again."""
_LONGEST_WAIT_SECONDS = 60.0
"""A server that asks for a longer wait is not asked again in this run."""


class Transport:
    """Sends HTTP requests to one remote system.

    Args:
        base_url: taken as it is.
        system: its name in error texts, for example `Twenty server "eu"`.
        unreachable: the reason that stands for "no answer from this system".
        dry_run: refuse everything that is not a read.
        logins: let logins through all the same; they change nothing that anyone else sees.
        counter: counts the calls that were sent.
        limit: how many calls may be sent, shared by all who hold the same one; None: as many as come.
        setting: what to correct when the address is not the right one.
    """

    def __init__(
        self,
        base_url: str,
        *,
        system: str,
        unreachable: Reason,
        timeout_seconds: float,
        dry_run: bool,
        counter: CallCounter,
        logins: bool = False,
        headers: Mapping[str, str] | None = None,
        limit: Limit | None = None,
        setting: str = "its base URL in the settings",
    ) -> None:
        self.base_url = base_url
        self._setting = setting
        self.system = system
        self.counter = counter
        self._unreachable = unreachable
        self._limit = limit
        self._allowed = frozenset(Effect)
        if dry_run:
            self._allowed = frozenset({Effect.READ, Effect.LOGIN, Effect.EXCHANGE} if logins else {Effect.READ})
        self._client = http_client(
            base_url,
            timeout_seconds=timeout_seconds,
            headers=headers,
            # a session cookie that is sent back would make a call another person's (Twenty from 2.38 on refuses it)
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            # every idle connection is looked at before each call
            limits=httpx2.Limits(max_connections=64, max_keepalive_connections=8),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def send(
        self,
        method: str,
        path: str,
        *,
        name: str,
        effect: Effect,
        timeout_seconds: float | None = None,
        **arguments: Any,
    ) -> httpx2.Response:
        """Send one request and return its answer, whatever its status, except redirects, 429 and 5xx.

        Tried again with backoff (and `Retry-After`), except a `CREATE` or `EXCHANGE` that may have taken place; once
        only where no answer came in time. Cookies are never stored. A 429 that says when
        to come again stops all who share the limit until then.

        Raises:
            Fault: transient, when no usable answer came; `effect_unknown` says that it may have taken place.
            DryRunViolation: for anything but a read in a dry run.
            Fault: before a write, from its guard: a lock under which it happens was lost.
        """
        return await self.ask(
            method,
            path,
            name=name,
            effect=effect,
            read=lambda response: response,
            timeout_seconds=timeout_seconds,
            **arguments,
        )

    async def ask(
        self,
        method: str,
        path: str,
        *,
        name: str,
        effect: Effect,
        read: Callable[[httpx2.Response], T],
        timeout_seconds: float | None = None,
        **arguments: Any,
    ) -> T:
        """The same, and what `read` makes of the answer. One that it finds odd counts as none, like a 5xx.

        Args:
            read: raises `OddAnswer` for an answer that is not the system's own.

        Raises:
            OddAnswerFault: when only odd answers came.
            Fault: as `send`, and what `read` raises.
            DryRunViolation: for anything but a read in a dry run.
        """
        if effect not in self._allowed:
            raise DryRunViolation(f"{name} would have been sent to {self.system} in a dry run")
        if timeout_seconds is not None:
            arguments["timeout"] = timeout_seconds
        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: _worth_repeating(error, effect)),
            stop=_enough,
            wait=_wait,
            reraise=True,
        )
        try:
            return await retrying(self._ask_once, method, path, name, effect, read, arguments)
        except _NoAnswer as failure:
            what = f"{self.system} at {self.base_url} gave no usable answer to {name}: {failure.why}."
            if failure.odd:
                raise OddAnswerFault(
                    self._unreachable,
                    failure.message
                    or f"{what} Something in front of it (a proxy, a firewall, a login page) may have answered in its "
                    "place: look there if it stays; the next run tries again.",
                    why=failure.why,
                    effect_unknown=effect is not Effect.READ,
                    redirected=failure.message is not None,
                ) from None
            raise Fault(
                FaultKind.TRANSIENT,
                self._unreachable,
                f"{what} Check that it is up and reachable from here; the next run tries again.",
                effect_unknown=effect is not Effect.READ and failure.effect_unknown,
                away=failure.away,
            ) from None

    async def download(self, path: str, *, name: str, write: Callable[[bytes], object]) -> int:
        """Read a file of any size, piece by piece; the status of the answer. Only that of a 200 is written.

        Asked once: what was written of an earlier try would stand before it.

        Raises:
            Fault: transient, when no answer came, or it broke off.
        """
        self.counter.add(name, Effect.READ)
        about = {"provisioning.system": self.system, "provisioning.effect": Effect.READ}
        try:
            with span(name, about, kind="CLIENT") as current:
                async with self._client.stream("GET", self.base_url + path) as response:
                    _note_status(current, response)
                    if response.status_code == httpx2.codes.OK:
                        async for piece in response.aiter_bytes():
                            write(piece)
                    return response.status_code
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            why = in_words(error, self.base_url)
            raise Fault(
                FaultKind.TRANSIENT,
                self._unreachable,
                f"{self.system} at {self.base_url} gave no usable answer to {name}: {why}. The next run tries again.",
            ) from None

    async def _ask_once(
        self,
        method: str,
        path: str,
        name: str,
        effect: Effect,
        read: Callable[[httpx2.Response], T],
        arguments: dict[str, Any],
    ) -> T:
        if self._limit is not None:
            await self._limit.turn()
        if effect in (Effect.WRITE, Effect.CREATE):
            await may_write()
        self.counter.add(name, effect)
        with span(name, {"provisioning.system": self.system, "provisioning.effect": effect}, kind="CLIENT") as current:
            response = await self._answer(method, path, name, effect, arguments)
            _note_status(current, response)
        if response.status_code == 429:
            wait = seconds_to_wait(response)
            if self._limit is not None and wait is not None:
                await self._limit.hold(min(wait, _LONGEST_WAIT_SECONDS))
            asks = f", and asks to wait {wait:g} s" if wait is not None and wait > _LONGEST_WAIT_SECONDS else ""
            raise _NoAnswer(f"rate limit (HTTP 429){asks}", effect_unknown=False, wait=wait)
        if response.status_code >= 500:
            raise _NoAnswer(f"HTTP {response.status_code}", wait=seconds_to_wait(response))
        location = redirect_of(response)
        if location is not None:
            message = self._sent_on(response.status_code, path, name, location)
            # also of one that is meant to last: whether a server is the right one is asked once, and not by each call
            why = f"a redirect (HTTP {response.status_code}) to {location}"
            raise _NoAnswer(why, odd=True, message=message)
        try:
            return read(response)
        except OddAnswer as odd:
            raise _NoAnswer(odd.why, odd=True) from None

    async def _answer(
        self, method: str, path: str, name: str, effect: Effect, arguments: dict[str, Any]
    ) -> httpx2.Response:
        watcher = _watcher.get()
        if watcher:
            watcher(name, effect, "before")
        try:
            response = await read_whole(self._client, method, self.base_url + path, arguments)
        except OddAnswer as odd:
            raise _NoAnswer(odd.why, odd=True) from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            # a proxy that refuses to connect has sent nothing on
            raise _NoAnswer(in_words(error, self.base_url), effect_unknown=False, away=True) from None
        except httpx2.DecodingError:
            raise _NoAnswer("a body that cannot be decompressed", odd=True) from None
        except httpx2.TransportError as error:
            slow = isinstance(error, httpx2.ReadTimeout)
            raise _NoAnswer(in_words(error, self.base_url), slow=slow) from None
        if watcher:
            watcher(name, effect, "after")
        return response

    def _sent_on(self, status: int, path: str, name: str, location: str) -> str:
        """What a redirect means: who answers there is not the system that was configured, and gets no key of it."""
        base = location.removesuffix(path)
        what = f"set it to {base}" if base != location else "correct it"
        return (
            f"{self.system} at {self.base_url} answers {name} with a redirect (HTTP {status}) to {location}, which is "
            f"not followed. If that is where it is now, {what}: {self._setting}. If not, something in between "
            "(a sign-in page, a load balancer) answers in its place."
        )


def _note_status(current: "Span | None", response: httpx2.Response) -> None:
    if current is None:
        return
    current.set_attribute("http.response.status_code", response.status_code)
    if response.status_code >= 400:
        failed(current, str(response.status_code))


@dataclass(eq=False)
class _NoAnswer(Exception):
    why: str
    effect_unknown: bool = True
    wait: float | None = None
    away: bool = False
    slow: bool = False
    odd: bool = False
    message: str | None = None


def _worth_repeating(error: BaseException, effect: Effect) -> bool:
    if not isinstance(error, _NoAnswer) or (effect in _NEVER_TWICE and error.effect_unknown):
        return False
    return error.wait is None or error.wait <= _LONGEST_WAIT_SECONDS


def _enough(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    slow = isinstance(error, _NoAnswer) and error.slow
    return state.attempt_number >= (_ATTEMPTS_WITHOUT_ANSWER if slow else _ATTEMPTS)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, _NoAnswer) and error.wait is not None:
        return error.wait
    backoff = 0.2 * 2.0 ** (state.attempt_number - 1)
    return float(backoff * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, not a secret


async def pause(seconds: float) -> None:
    """Wait inside a poll; one place, so that tests can shorten it."""
    await asyncio.sleep(seconds)
