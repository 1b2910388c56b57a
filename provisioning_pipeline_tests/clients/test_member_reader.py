"""A gateway's own member checks: they see what a run's client of Clerk sees, by the same two calls."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from provisioning_pipeline.clients.clerk import member_reader
from provisioning_pipeline.clients.clerk.member_reader import MemberReader
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline_tests.clients.clerk import of, organization, people
from provisioning_pipeline_tests.clients.conftest import AnyServer

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member_reader, "_FIRST_PAUSE_SECONDS", 0.0)


@asynccontextmanager
async def reader(base_url: str, key: str = "sk_test") -> AsyncIterator[MemberReader]:
    opened = MemberReader(base_url, key, timeout_seconds=5)
    try:
        yield opened
    finally:
        await opened.close()


async def test_it_sees_of_each_member_what_a_run_sees(clerk: StandInClerk) -> None:
    kept, banned, deleted, left, elsewhere = people(clerk, 5)
    acme, zenith = organization(clerk, kept, banned, deleted, left), organization(clerk, elsewhere)
    clerk.ban_user(banned)
    clerk.delete_user(deleted)
    clerk.remove_membership(acme, left)
    asked = [(one, user) for one in (acme, zenith, "org_unknown") for user in (kept, banned, deleted, left, elsewhere)]

    async with of(clerk) as client, reader(clerk.base_url, clerk.secret_key) as opened:
        seen = [await opened.standing(*pair) for pair in asked]
        assert seen == [await client.standing(*pair) for pair in asked]
    assert [found is True for found in seen[:5]] == [True, False, False, False, False]


async def test_a_clerk_that_fails_once_is_asked_again(clerk: StandInClerk) -> None:
    (ada,) = people(clerk, 1)
    acme = organization(clerk, ada)
    clerk.faults.scripted = [ScriptedFault("GET /users/{user_id}", "error", times=1)]
    async with reader(clerk.base_url, clerk.secret_key) as opened:
        assert await opened.standing(acme, ada) is True


async def test_a_clerk_that_is_down_has_seen_nobody_leave(clerk: StandInClerk) -> None:
    (ada,) = people(clerk, 1)
    acme = organization(clerk, ada)
    clerk.faults.error_rate = 1.0
    async with reader(clerk.base_url, clerk.secret_key) as opened:
        with pytest.raises(Fault, match="gave no usable answer") as raised:
            await opened.standing(acme, ada)
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TRANSIENT, Reason.CLERK_UNREACHABLE)


async def test_a_wrong_key_is_named_and_not_shown(clerk: StandInClerk) -> None:
    async with reader(clerk.base_url, "sk_test_c4nary") as opened:
        with pytest.raises(Fault, match="PROVISIONING_CLERK_SECRET_KEY") as raised:
            await opened.standing("org_1", "user_1")
    assert "c4nary" not in raised.value.message


@pytest.mark.parametrize(
    "answer",
    [
        PlainTextResponse("<html>Sign in</html>"),
        PlainTextResponse("Not Found", 404),
        JSONResponse({"detail": "Not Found"}, 404),
        JSONResponse([]),
        JSONResponse({"errors": [None]}, 403),
        JSONResponse({"errors": [{"code": "no"}]}, 403),
        RedirectResponse("https://login.example.com/?secret=1"),
        JSONResponse({"errors": []}, 429),
    ],
)
async def test_what_is_not_clerk_is_no_answer(any_server: AnyServer, answer: Response) -> None:
    async with reader(any_server.answers(answer)) as opened:
        with pytest.raises(Fault) as raised:
            await opened.standing("org_1", "user_1")
    assert "secret" not in raised.value.message


async def test_nobody_at_the_address_is_no_answer() -> None:
    async with reader("http://127.0.0.1:9") as opened:
        with pytest.raises(Fault, match="Check that it is reachable"):
            await opened.standing("org_1", "user_1")


@pytest.mark.parametrize("listed", [{"data": [], "total_count": 7}, {"data": [{}], "total_count": 1}])
async def test_a_list_that_was_not_narrowed_proves_nothing(any_server: AnyServer, listed: Any) -> None:
    async def answer(request: Request) -> Response:
        return JSONResponse(listed if "/organizations/" in request.url.path else {"id": "user_1", "banned": False})

    async with reader(any_server.answers(answer)) as opened:
        assert await opened.standing("org_1", "user_1") is False
