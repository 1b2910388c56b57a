"""The one way to the outside: dry runs, retries, and what is known after a failure."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from provisioning_pipeline.clients.concurrency import RateLimit
from provisioning_pipeline.clients.transport import CallCounter, DryRunViolation, Effect, Transport
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.sandbox.postgres import free_port
from provisioning_pipeline_tests.clients.conftest import AnyServer

pytestmark = pytest.mark.anyio
CHANGING = [Effect.LOGIN, Effect.EXCHANGE, Effect.WRITE, Effect.CREATE]


class Cut(Response):
    """Promises a body and ends without one: the answer is lost, the effect took place."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})


class Remote:
    """A remote system whose state is how often it was changed; it answers from a script, then plainly."""

    def __init__(self) -> None:
        self.changed = 0
        self.script: list[Callable[[], Response]] = []
        self.base_url = ""

    async def answer(self, request: Request) -> Response:
        response = self.script.pop(0)() if self.script else PlainTextResponse("done")
        if response.status_code < 400:
            self.changed += 1
        return response


@pytest.fixture
def remote(any_server: AnyServer) -> Remote:
    remote = Remote()
    remote.base_url = any_server.answers(remote.answer)
    return remote


@asynccontextmanager
async def transport(
    base_url: str, *, dry_run: bool = False, counter: CallCounter | None = None, limit: RateLimit | None = None
) -> AsyncIterator[Transport]:
    async with Transport(
        base_url,
        system="The remote",
        unreachable=Reason.SERVER_UNREACHABLE,
        timeout_seconds=5,
        dry_run=dry_run,
        counter=counter or CallCounter(),
        limit=limit,
    ) as sender:
        yield sender


async def fault_of(base_url: str, effect: Effect) -> Fault:
    async with transport(base_url) as sender:
        with pytest.raises(Fault) as raised:
            await sender.send("POST", "/things", name="makeThing", effect=effect)
    assert raised.value.kind is FaultKind.TRANSIENT
    assert raised.value.reason is Reason.SERVER_UNREACHABLE
    return raised.value


def error(status: int, **headers: str) -> Callable[[], Response]:
    return lambda: PlainTextResponse("no", status, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize("effect", CHANGING)
async def test_a_dry_run_refuses_everything_but_reads(remote: Remote, effect: Effect) -> None:
    counter = CallCounter()
    async with transport(remote.base_url, dry_run=True, counter=counter) as sender:
        with pytest.raises(DryRunViolation, match="makeThing"):
            await sender.send("POST", "/things", name="makeThing", effect=effect)
    assert remote.changed == 0
    assert counter.take() == ({}, 0)


async def test_a_dry_run_reads(remote: Remote) -> None:
    async with transport(remote.base_url, dry_run=True) as sender:
        answer = await sender.send("POST", "/things", name="readThing", effect=Effect.READ)
    assert answer.text == "done"


def test_every_effect_is_either_a_read_or_refused_in_a_dry_run() -> None:
    assert set(Effect) == {Effect.READ, *CHANGING}


@pytest.mark.parametrize("effect", Effect)
async def test_a_rate_limit_is_waited_out_as_long_as_was_asked(
    remote: Remote, effect: Effect, waits: list[float]
) -> None:
    remote.script = [error(429, retry_after="7"), error(429, retry_after="0")]
    async with transport(remote.base_url) as sender:
        answer = await sender.send("POST", "/things", name="makeThing", effect=effect)
    assert (answer.text, remote.changed, waits) == ("done", 1, [7.0, 0.0])


@pytest.mark.parametrize("asked", ["86400", "inf"])
async def test_nobody_is_waited_for_endlessly(remote: Remote, waits: list[float], asked: str) -> None:
    remote.script = [error(429, retry_after=asked)]
    async with transport(remote.base_url) as sender:
        with pytest.raises(Fault, match="asks to wait") as caught:
            await sender.send("GET", "/things", name="readThing", effect=Effect.READ)
    assert caught.value.kind is FaultKind.TRANSIENT
    assert waits == []


@pytest.mark.parametrize("asked", ["Wed, 21 Oct 2026 07:28:00 GMT", "-3", "soon", "nan", ""])
async def test_an_odd_retry_after_does_no_harm(remote: Remote, waits: list[float], asked: str) -> None:
    remote.script = [error(429, retry_after=asked)]
    async with transport(remote.base_url) as sender:
        answer = await sender.send("GET", "/things", name="readThing", effect=Effect.READ)
    assert answer.text == "done"
    assert 0 <= waits[0] < 60


@pytest.mark.parametrize("effect", [Effect.READ, Effect.LOGIN, Effect.WRITE])
@pytest.mark.parametrize("trouble", [error(500), error(503), Cut])
async def test_what_may_be_sent_again_is_sent_again(
    remote: Remote, effect: Effect, trouble: Callable[[], Response], waits: list[float]
) -> None:
    remote.script = [trouble, trouble, trouble]
    async with transport(remote.base_url) as sender:
        assert (await sender.send("POST", "/things", name="makeThing", effect=effect)).text == "done"
    assert len(waits) == 3
    assert waits == sorted(waits), "each wait is longer than the one before"


@pytest.mark.parametrize("trouble", [Cut, error(500), error(502)])
async def test_a_creation_whose_answer_was_lost_is_not_repeated_and_says_so(
    remote: Remote, trouble: Callable[[], Response], waits: list[float]
) -> None:
    remote.script = [trouble]
    fault = await fault_of(remote.base_url, Effect.CREATE)
    assert fault.effect_unknown
    assert waits == []
    assert remote.changed == (1 if trouble is Cut else 0)


async def test_a_creation_that_was_refused_for_its_rate_is_known_not_to_have_happened(
    remote: Remote, waits: list[float]
) -> None:
    remote.script = [error(429)] * 9
    fault = await fault_of(remote.base_url, Effect.CREATE)
    assert not fault.effect_unknown
    assert remote.changed == 0
    assert "429" in fault.message


async def test_a_creation_that_is_repeated_after_a_refusal_may_still_be_lost(
    remote: Remote, waits: list[float]
) -> None:
    remote.script = [error(429), Cut]
    fault = await fault_of(remote.base_url, Effect.CREATE)
    assert fault.effect_unknown
    assert remote.changed == 1


@pytest.mark.parametrize("effect", Effect)
async def test_a_refused_connection_changed_nothing_and_says_where(effect: Effect, waits: list[float]) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    fault = await fault_of(nowhere, effect)
    assert not fault.effect_unknown
    assert nowhere in fault.message
    assert "The remote" in fault.message
    assert "makeThing" in fault.message


async def test_a_write_is_given_up_after_a_few_tries_and_may_have_happened(remote: Remote, waits: list[float]) -> None:
    remote.script = [Cut] * 9
    fault = await fault_of(remote.base_url, Effect.WRITE)
    assert fault.effect_unknown
    assert 2 <= remote.changed <= 5


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 409, 422])
async def test_other_answers_are_the_callers_to_judge(remote: Remote, status: int, waits: list[float]) -> None:
    remote.script = [error(status)]
    async with transport(remote.base_url) as sender:
        answer = await sender.send("GET", "/things", name="readThing", effect=Effect.READ)
    assert answer.status_code == status
    assert waits == []


class NotedLimit(RateLimit):
    """Notes who asks for a turn and who is held, and lets all through."""

    def __init__(self) -> None:
        super().__init__(1)
        self.turns = 0
        self.holds: list[float] = []

    async def turn(self) -> None:
        self.turns += 1

    async def hold(self, seconds: float) -> None:
        self.holds.append(seconds)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "told"),
    [
        (
            "https://u:c4nary@new.test/things?token=c4nary#c4nary",
            "to https://new.test/things, which is not followed. If",
        ),
        ("https://new.test:8443/things", "set it to https://new.test:8443: PROVISIONING_X"),
        ("//new.test/login", "to http://new.test/login, which"),
        ("/sign-in?c4nary", "/sign-in, which"),
        ("https://[c4nary", "an address that cannot be read"),
    ],
)
async def test_a_redirect_is_told_and_not_followed(
    remote: Remote, waits: list[float], status: int, location: str, told: str
) -> None:
    remote.script = [error(status, location=location)]
    sender = Transport(
        remote.base_url,
        system="The remote",
        unreachable=Reason.SERVER_UNREACHABLE,
        timeout_seconds=5,
        dry_run=False,
        counter=CallCounter(),
        setting="PROVISIONING_X",
    )
    async with sender:
        with pytest.raises(Fault) as raised:
            await sender.send("POST", "/things", name="makeThing", effect=Effect.CREATE)
    assert told in raised.value.message
    assert f"HTTP {status}" in raised.value.message
    assert "PROVISIONING_X" in raised.value.message
    assert "c4nary" not in raised.value.message
    assert raised.value.kind is FaultKind.TRANSIENT, "one redirect judges no server"
    # who answers 303 to a POST may have done it
    assert raised.value.effect_unknown
    assert waits == []


async def test_every_try_takes_a_turn_of_the_shared_limit(remote: Remote, waits: list[float]) -> None:
    limit = NotedLimit()
    remote.script = [error(500), Cut]
    async with transport(remote.base_url, limit=limit) as one, transport(remote.base_url, limit=limit) as other:
        await one.send("GET", "/things", name="readThing", effect=Effect.READ)
        await other.send("GET", "/things", name="readThing", effect=Effect.READ)
    assert limit.turns == 4
    assert limit.holds == []


async def test_a_refusal_holds_everybody_who_shares_the_limit(remote: Remote, waits: list[float]) -> None:
    limit = NotedLimit()
    remote.script = [error(429, retry_after="7"), error(429), error(429, retry_after="86400")]
    async with transport(remote.base_url, limit=limit) as sender:
        with pytest.raises(Fault, match="asks to wait"):
            await sender.send("GET", "/things", name="readThing", effect=Effect.READ)
    assert limit.holds == [7.0, 60.0], "a refusal that does not say when is that caller's alone"


async def test_who_shares_a_limit_sends_nothing_while_another_is_held(remote: Remote) -> None:
    refusal = asyncio.Event()

    class TellingLimit(RateLimit):
        async def hold(self, seconds: float) -> None:
            await super().hold(seconds)
            refusal.set()

    limit = TellingLimit(100)
    remote.script = [error(429, retry_after="0.2")]
    async with transport(remote.base_url, limit=limit) as refused, transport(remote.base_url, limit=limit) as other:
        first = asyncio.create_task(refused.send("GET", "/a", name="readThing", effect=Effect.READ))
        await refusal.wait()
        second = asyncio.create_task(other.send("GET", "/b", name="readThing", effect=Effect.READ))
        while limit.held:
            assert remote.changed == 0
            await asyncio.sleep(0)
        await asyncio.gather(first, second)
    assert remote.changed == 2


async def test_calls_are_counted_as_they_are_sent(remote: Remote, waits: list[float]) -> None:
    counter = CallCounter()
    remote.script = [error(500)]
    async with transport(remote.base_url, counter=counter) as sender:
        await sender.send("GET", "/things", name="read", effect=Effect.READ)
        await sender.send("POST", "/things", name="login", effect=Effect.LOGIN)
        await sender.send("POST", "/things", name="write", effect=Effect.WRITE)
        await sender.send("POST", "/things", name="create", effect=Effect.CREATE)
    assert counter.take() == ({"read": 2, "login": 1, "write": 1, "create": 1}, 2)
    assert counter.take() == ({}, 0)


async def test_a_header_that_cannot_be_sent_is_not_shown(remote: Remote, waits: list[float]) -> None:
    async with Transport(
        remote.base_url,
        system="The remote",
        unreachable=Reason.SERVER_UNREACHABLE,
        timeout_seconds=5,
        dry_run=False,
        counter=CallCounter(),
        headers={"authorization": "Bearer sk_live_c4nary\n"},
    ) as sender:
        with pytest.raises(Fault) as raised:
            await sender.send("GET", "/things", name="read", effect=Effect.READ)
    assert "c4nary" not in raised.value.message
