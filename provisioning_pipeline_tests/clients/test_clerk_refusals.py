"""What Clerk refuses, limits or garbles, told in words that say what to do."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from provisioning_pipeline.clients.clerk.client import ClerkClient
from provisioning_pipeline.clients.clerk.walk import Walk
from provisioning_pipeline.clients.concurrency import RateLimit
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline_tests.clients.clerk import client, of, organization
from provisioning_pipeline_tests.clients.conftest import AnyServer

pytestmark = pytest.mark.anyio
MEMBERS = "GET /organizations/{organization_id}/memberships"
Call = Callable[[ClerkClient], Awaitable[Any]]
CALLS: dict[str, Call] = {
    "instance": lambda opened: opened.instance(),
    "organizations": lambda opened: opened.organizations(),
    "memberships": lambda opened: opened.memberships(),
    "organization_memberships": lambda opened: opened.organization_memberships("org_1"),
    "users": lambda opened: opened.users(),
    "some_users": lambda opened: opened.some_users(["user_1"]),
    "some_organizations": lambda opened: opened.some_organizations(["org_1"]),
    "organization_by_slug": lambda opened: opened.organization_by_slug("acme"),
    "standing": lambda opened: opened.standing("org_1", "user_1"),
    "store_workspace_id": lambda opened: opened.store_workspace_id("org_1", "w-1"),
    "store_external_id": lambda opened: opened.store_external_id("user_1", "twenty-1"),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@every_call
async def test_a_wrong_key_ends_the_run_and_is_not_shown(clerk: StandInClerk, call: Call) -> None:
    async with client(clerk.base_url, "sk_test_c4nary", dry_run=False) as opened:
        with pytest.raises(Fault, match="PROVISIONING_CLERK_SECRET_KEY") as raised:
            await call(opened)
    assert (raised.value.kind, raised.value.reason) == (FaultKind.SERVER, Reason.CREDENTIALS_REFUSED)
    assert "c4nary" not in raised.value.message


@every_call
async def test_a_base_url_without_v1_is_recognised_and_gives_the_hint(
    clerk: StandInClerk, waits: list[float], call: Call
) -> None:
    async with client(clerk.base_url.removesuffix("/v1"), clerk.secret_key, dry_run=False) as opened:
        with pytest.raises(Fault, match="needs /v1 at its end") as raised:
            await call(opened)
    assert raised.value.kind is FaultKind.SERVER


@every_call
async def test_a_clerk_that_stays_down_is_transient_and_named(
    clerk: StandInClerk, waits: list[float], call: Call
) -> None:
    clerk.faults.error_rate = 1.0
    async with of(clerk, dry_run=False) as opened:
        with pytest.raises(Fault, match="Clerk at") as raised:
            await call(opened)
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TRANSIENT, Reason.CLERK_UNREACHABLE)
    assert clerk.secret_key not in raised.value.message


@every_call
async def test_clerks_own_error_codes_are_told(any_server: AnyServer, call: Call) -> None:
    async def answer(_: Request) -> Response:
        return JSONResponse({"errors": [{"code": "not_allowed_access", "message": "x"}]}, status_code=403)

    async with client(any_server.answers(answer), "sk_test_c4nary", dry_run=False) as opened:
        with pytest.raises(Fault, match="not_allowed_access") as raised:
            await call(opened)
    assert raised.value.kind is FaultKind.TENANT
    assert "c4nary" not in raised.value.message


@pytest.mark.parametrize(
    "body", [[], {}, "text", None, {"data": []}, {"total_count": 1}, {"data": {}, "total_count": 1}]
)
@pytest.mark.parametrize("call", ["organizations", "memberships", "organization_memberships", "users", "standing"])
async def test_json_that_is_not_clerks_is_a_fault_and_no_crash(
    any_server: AnyServer, waits: list[float], body: Any, call: str
) -> None:
    async def answer(_: Request) -> Response:
        return JSONResponse(body)

    async with client(any_server.answers(answer), "sk_test") as opened:
        with pytest.raises(Fault) as raised:
            await CALLS[call](opened)
    assert raised.value.reason is Reason.CLERK_UNREACHABLE


async def test_a_server_that_is_not_clerk_is_told_so(any_server: AnyServer, waits: list[float]) -> None:
    async def answer(_: Request) -> Response:
        return PlainTextResponse("<html>hello</html>")

    async with client(any_server.answers(answer), "sk_test") as opened:
        with pytest.raises(Fault, match="PROVISIONING_CLERK_BASE_URL") as raised:
            await opened.instance()
    assert raised.value.kind is FaultKind.SERVER


async def test_an_unknown_organization_is_the_tenants_trouble_alone(clerk: StandInClerk) -> None:
    async with of(clerk) as opened:
        with pytest.raises(Fault, match="org_unknown") as raised:
            await opened.organization_memberships("org_unknown")
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TENANT, Reason.ORGANIZATION_MISSING)


@pytest.mark.parametrize("odd", ["{}#x", "{}?a=b", "{}/../users", "../organizations/{}", "{} ", "ü", ".."])
async def test_an_organization_id_from_the_registry_cannot_lead_elsewhere(clerk: StandInClerk, odd: str) -> None:
    acme = clerk.add_organization("Acme")
    async with of(clerk) as opened:
        with pytest.raises(Fault) as raised:
            await opened.organization_memberships(odd.format(acme.id))
    assert raised.value.reason is Reason.ORGANIZATION_MISSING


async def test_a_rate_limit_is_waited_out_by_everybody_with_that_key(
    clerk: StandInClerk, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[float] = []

    async def hold(_: RateLimit, seconds: float) -> None:
        held.append(seconds)

    monkeypatch.setattr(RateLimit, "hold", hold)
    acme = organization(clerk)
    clerk.faults.scripted = [ScriptedFault(MEMBERS, "refuse", times=2)]
    async with of(clerk) as opened:
        assert await opened.organization_memberships(acme) == Walk((), None)
    assert waits == held == [1.0, 1.0]


async def test_clients_with_one_key_share_its_allowance(clerk: StandInClerk) -> None:
    async with of(clerk) as one, of(clerk) as other, client(clerk.base_url, "sk_test_other") as stranger:
        limits = [opened._transport._limit for opened in (one, other, stranger)]
    assert limits[0] is limits[1]
    assert limits[0] is not limits[2]
    assert [limit.calls for limit in limits if limit] == [800] * 3
