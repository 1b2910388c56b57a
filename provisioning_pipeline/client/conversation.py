"""What the two clients say and understand, without saying it: retries, paging and waiting are written here once.

A conversation is a generator. It yields a `Call` to be sent, and is sent its outcome; or it yields a `Pause` to be
waited out. What it returns is the result. So it needs no network, and does not mind who waits and how.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from provisioning_pipeline.client import answers, calls
from provisioning_pipeline.client.answers import Answer, EventPage, TenantPage
from provisioning_pipeline.client.calls import Call
from provisioning_pipeline.client.errors import ProvisioningError, Unreachable, not_ready
from provisioning_pipeline.client.tenant import Event, ManyAsked, Tenant

T = TypeVar("T")
P = TypeVar("P", TenantPage, EventPage)
_TRIES = 4
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 60.0
_LOOK_SECONDS = 2.0
_COME_AGAIN = (429, 503)


@dataclass(frozen=True, slots=True)
class Pause:
    """Go on after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A call that was not answered: why, and whether the connection failed, so that another try may help."""

    why: str
    connection_failed: bool


Conversation = Generator[Call | Pause, Answer | NoAnswer | None, T]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of many; `following` is the conversation that gets the next ones."""

    items: Sequence[T]
    following: "Conversation[Page[T]] | None"


def tenant_from(call: Call) -> Conversation[Tenant]:
    """Send the call and read the tenant that it answers with."""
    return answers.read(Tenant, (yield from _answered(call)), call)


def many_asked(call: Call) -> Conversation[ManyAsked]:
    """Send the call and read what became of it for each tenant."""
    return answers.read(ManyAsked, (yield from _answered(call)), call)


def tenants(state: str | None, clerk_org_id: str | None, lifecycle: str | None) -> Conversation[Page[Tenant]]:
    """All tenants, or those in this state or of this organization."""
    return _page(
        TenantPage, lambda page: page.items, lambda cursor: calls.tenants(state, clerk_org_id, lifecycle, cursor)
    )


def timeline(slug: str) -> Conversation[Page[Event]]:
    """What happened to the tenant, in the server's order."""
    return _page(EventPage, lambda page: page.events, lambda before: calls.timeline(slug, before))


def _page(
    shape: type[P],
    items: Callable[[P], Sequence[T]],
    call_from: Callable[[str | None], Call],
    begin: str | None = None,
) -> Conversation[Page[T]]:
    call = call_from(begin)
    answer = yield from _answered(call)
    page = answers.read(shape, answer, call)
    if page.next is not None and page.next == begin:
        raise answers.unexpected(answer, call, "its next page is itself")
    return Page(items(page), None if page.next is None else _page(shape, items, call_from, page.next))


def until_ready(slug: str, timeout_seconds: float, clock: Callable[[], float]) -> Conversation[Tenant]:
    """Look at the tenant until it is ready, as often as the server says.

    A server that restarts meanwhile is waited for.
    """
    call = calls.tenant(slug)
    end = clock() + timeout_seconds
    while True:
        outcome = yield from _tried(call)
        left = end - clock()
        if isinstance(outcome, Answer):
            found = answers.read(Tenant, outcome, call)
            if found.ready:
                return found
            if found.aside or left <= 0:
                raise not_ready(found, timeout_seconds)
            pause = answers.retry_after_seconds(outcome)
        elif left <= 0 or not outcome.another_try_may_help:
            raise outcome.error
        else:
            pause = outcome.error.retry_after_seconds
        yield Pause(min(left, _LOOK_SECONDS if pause is None else pause))


@dataclass(frozen=True, slots=True)
class _Setback:
    error: ProvisioningError
    another_try_may_help: bool


def _answered(call: Call) -> Conversation[Answer]:
    pause = _FIRST_PAUSE_SECONDS
    for tries in range(1, _TRIES + 1):
        outcome = yield from _tried(call)
        if isinstance(outcome, Answer):
            return outcome
        asked = outcome.error.retry_after_seconds
        if not outcome.another_try_may_help or tries == _TRIES or (asked or 0) > _LONGEST_PAUSE_SECONDS:
            raise outcome.error
        yield Pause(pause if asked is None else asked)
        pause *= 2
    raise AssertionError("the last try returns or raises")


def _tried(call: Call) -> Conversation[Answer | _Setback]:
    outcome = yield call
    assert outcome is not None, "a call is sent its outcome"
    if isinstance(outcome, NoAnswer):
        error = Unreachable(None, "No answer", f"{call} was not answered. {outcome.why}")
        return _Setback(error, outcome.connection_failed)
    if outcome.status in _COME_AGAIN:
        return _Setback(answers.refusal(outcome), another_try_may_help=True)
    if not 200 <= outcome.status < 300:
        raise answers.refusal(outcome)
    return outcome
