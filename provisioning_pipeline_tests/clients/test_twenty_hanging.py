"""A server that takes calls and answers none is given up once for all calls; one that is slow is waited for."""

import asyncio
from typing import Any

import pytest

from provisioning_pipeline.clients.twenty import wire
from provisioning_pipeline.clients.twenty.wire import HangingServer
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.clients.twenty import ready, workspace

pytestmark = pytest.mark.anyio


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "PATIENCE_SECONDS", 0.01)


async def never() -> str:
    await asyncio.Event().wait()
    return "never"


async def at_once(answer: str) -> str:
    return answer


async def refused() -> str:
    raise Fault(FaultKind.TRANSIENT, Reason.SERVER_ERROR, "HTTP 500")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("writes", [True, False])
async def test_whoever_hangs_is_given_up_and_nobody_calls_again(writes: bool) -> None:
    server = HangingServer('Twenty server "eu"')
    with pytest.raises(Fault, match="takes calls and answers none") as first:
        await server.watch(never(), never, writes=writes)
    assert (first.value.kind, first.value.away, first.value.effect_unknown) == (FaultKind.TRANSIENT, True, writes)
    with pytest.raises(Fault, match="takes calls and answers none") as second:
        await server.watch(at_once("answered"), never, writes=writes)
    # it was never sent
    assert (second.value.away, second.value.effect_unknown) == (True, False)


@pytest.mark.usefixtures("impatient")
async def test_a_call_that_nobody_can_ask_about_has_its_time_and_no_more() -> None:
    with pytest.raises(Fault, match="takes calls and answers none"):
        await HangingServer("eu").watch(never(), None, writes=False)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", ["well", "with an error"])
async def test_a_call_that_takes_long_is_waited_for_as_long_as_the_server_answers_others(how: str) -> None:
    asked, done = 0, asyncio.Event()

    async def slow() -> str:
        await done.wait()
        return "at last"

    async def answers() -> str:
        nonlocal asked
        asked += 1
        if asked == 5:
            done.set()
        return await (at_once("here") if how == "well" else refused())

    assert await HangingServer("eu").watch(slow(), answers, writes=True) == "at last"
    assert asked == 5


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_was_given_up_is_called_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "GIVEN_UP_SECONDS", 0.0)
    server = HangingServer("eu")
    with pytest.raises(Fault):
        await server.watch(never(), never, writes=False)
    assert await server.watch(at_once("here again"), never, writes=False) == "here again"


async def test_what_a_call_meets_is_met_by_its_caller() -> None:
    with pytest.raises(Fault, match="HTTP 500"):
        await HangingServer("eu").watch(refused(), never, writes=False)


async def test_a_twenty_without_its_redis_is_given_up_for_all_its_tenants(
    special: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = special(TwentyOptions(activation_seconds=0))
    async with ready(server) as opened:
        address = await workspace(opened)
        await opened.current_user(opened.service_account, address)
        monkeypatch.setattr(wire, "PATIENCE_SECONDS", 0.5)
        server.faults.hanging = True
        with pytest.raises(Fault, match="takes calls and answers none"):
            await opened.current_user(opened.service_account, address)
        before = server.calls.total()
        with pytest.raises(Fault, match="takes calls and answers none"):
            await opened.create_workspace("Zenith", "zenith")
        assert server.calls.total() == before
        server.faults.hanging = False
