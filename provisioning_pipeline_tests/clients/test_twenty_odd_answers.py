"""Answers that are not Twenty's: each is a transient fault in words, is tried again, and judges no server."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from provisioning_pipeline.clients import http, json_answers
from provisioning_pipeline.clients.http import OddAnswer, OddAnswerFault
from provisioning_pipeline.clients.transport import CallCounter, Effect
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.contract import check_config, lacking_by, onboarding_of
from provisioning_pipeline.clients.twenty.errors import TwentyError
from provisioning_pipeline.clients.twenty.operation import Operation, field_of
from provisioning_pipeline.clients.twenty.operations import ALL
from provisioning_pipeline.clients.twenty.wire import TwentyWire, complaints_of
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.sandbox.faults import FaultKind as Injected
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.odd_answers import ODD_ANSWERS
from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions
from provisioning_pipeline.settings import TwentyServer
from provisioning_pipeline_tests.clients.twenty import (
    cleared,
    client,
    joined,
    person,
    ready,
    role_of,
    sql,
    workspace,
)

pytestmark = pytest.mark.anyio
PROBE = "nothing"
"""What the stand-in calls a document that runs nothing, as each check of the contract is."""
TAKES_NULL = frozenset({operations.SIGN_OUT.name, operations.REVOKE_API_KEY.name, operations.RESTORE_API_KEY.name})
Respond = Callable[[httpx2.Request], httpx2.Response]


@asynccontextmanager
async def wire_to(respond: Respond) -> AsyncIterator[TwentyWire]:
    """A wire to a server that is a function."""
    server = TwentyServer(
        name="eu",
        base_url="http://twenty.test",
        database_url=SecretStr("postgresql://x/x"),
        service_email="ops@x.test",
        service_password=SecretStr("service-c4nary"),
    )
    wire = TwentyWire(server, timeout_seconds=5, dry_run=False, counter=CallCounter(), logins=False, concurrency=8)
    await wire._transport._client.aclose()
    wire._transport._client = httpx2.AsyncClient(transport=httpx2.MockTransport(respond))
    yield wire
    await wire.close()


class Bodies:
    """Answers one body after another, each as long as it is not told otherwise."""

    def __init__(self) -> None:
        self.calls = 0
        self.response: Callable[[], httpx2.Response] = httpx2.Response

    def __call__(self, _: httpx2.Request) -> httpx2.Response:
        self.calls += 1
        return self.response()


def as_httpx(name: str, operation: str) -> Callable[[], httpx2.Response]:
    made = ODD_ANSWERS[name].response(operation)
    return lambda: httpx2.Response(made.status_code, headers=made.raw_headers, content=made.body)


OF_A_FIELD = [name for name in ODD_ANSWERS if name.startswith(("data", "field"))]
ONE_OF_EACH = [
    operations.GET_ROLES,
    operations.SIGN_IN,
    operations.UPDATE_WORKSPACE,
    operations.SIGN_UP_IN_NEW_WORKSPACE,
]


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: operation.document[:60])
async def test_every_odd_answer_to_every_operation_is_a_transient_fault_in_words(
    operation: Operation[Any], waits: list[float]
) -> None:
    bodies = Bodies()
    async with wire_to(bodies) as wire:
        for name in ODD_ANSWERS if operation in ONE_OF_EACH else OF_A_FIELD:
            if operation.name in TAKES_NULL and name.startswith("field"):
                continue
            bodies.calls, bodies.response = 0, as_httpx(name, operation.name)
            with pytest.raises(OddAnswerFault) as raised:
                await wire.call(operation, {}, None)
            fault = raised.value
            assert (fault.kind, fault.reason) == (FaultKind.TRANSIENT, Reason.SERVER_UNREACHABLE), name
            assert operation.name in fault.message
            assert "eu" in fault.message
            assert "c4nary" not in fault.message
            assert not fault.away, "the next tenant's call may well be answered"
            once = operation.effect in (Effect.CREATE, Effect.EXCHANGE)
            assert bodies.calls == (1 if once else 4), name
            assert fault.effect_unknown is (operation.effect is not Effect.READ)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["id", "token", "tokens", "loginToken", "workspace", "errors", "email", "name", "success", "expiresAt"]
SHAPED = st.recursive(
    JSON, lambda inner: st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6) | st.lists(inner, max_size=3)
)


def reads(body: Mapping[str, Any], operation: Operation[Any]) -> None:
    """All that is ever made of a body."""
    for read in (
        lambda: field_of(body, operation.name, operation.answer),
        lambda: [TwentyError.of(complaint) for complaint in complaints_of(body)],
        lambda: lacking_by(body),
        lambda: onboarding_of(body),
    ):
        with suppress(OddAnswer):
            read()
    with suppress(Fault):
        check_config("eu", body)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(ALL), SHAPED, SHAPED, st.booleans())
def test_any_json_is_an_answer_or_odd_and_nothing_else(
    operation: Operation[Any], value: Any, errors: Any, failed: bool
) -> None:
    body = {"data": {operation.name: value}, "captcha": value, "authProviders": errors}
    reads(body | ({"errors": errors} if failed else {}), operation)
    reads({"data": value, "errors": errors}, operation)
    reads(value if isinstance(value, dict) else {"data": value}, operation)


RIGHT = "20202020-1c25-4d02-bf25-6aeccf7ea419"


@pytest.mark.parametrize("token", ["", "a b", "a\r\nx-evil: 1", "jeton-é", "\ud800", None, 5, ["x"]], ids=repr)
async def test_what_cannot_be_sent_back_is_no_token(token: object, waits: list[float]) -> None:
    answer = {"data": {"impersonate": {"loginToken": {"token": token, "expiresAt": "2030-01-01T00:00:00Z"}}}}
    with pytest.raises(OddAnswer):
        field_of(answer, "impersonate", operations.IMPERSONATE.answer)


@pytest.mark.parametrize(
    ("workspace_id", "url"),
    [("x", "https://a.test"), (RIGHT, "javascript:alert(1)"), (RIGHT, ""), (RIGHT, "https://"), ("", "https://a.test")],
)
def test_a_workspace_without_a_true_id_and_address_is_odd(workspace_id: str, url: str) -> None:
    token = {"token": "x", "expiresAt": "2030-01-01T00:00:00Z"}
    made = {"loginToken": token, "workspace": {"id": workspace_id, "workspaceUrls": {"subdomainUrl": url}}}
    with pytest.raises(OddAnswer):
        field_of(
            {"data": {"signUpInNewWorkspace": made}}, "signUpInNewWorkspace", operations.SIGN_UP_IN_NEW_WORKSPACE.answer
        )


async def test_a_body_without_end_is_not_read_to_its_end(waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MOST_BYTES", 1024 * 1024)
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 64 * 1024

    async with wire_to(lambda _: httpx2.Response(200, content=endless())) as wire:
        with pytest.raises(OddAnswerFault, match="a body of over 1 MiB"):
            await wire.call(operations.CURRENT_USER, {}, None)
    assert sent == 4 * 17


async def test_too_little_memory_is_never_an_odd_answer(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    def starved(_: bytes) -> object:
        raise json_answers.orjson.JSONDecodeError("Not enough memory to allocate buffer for parsing", "", 0)

    monkeypatch.setattr(json_answers.orjson, "loads", starved)
    async with wire_to(lambda _: httpx2.Response(200, json={"data": {}})) as wire:
        with pytest.raises(MemoryError):
            await wire.call(operations.CURRENT_USER, {}, None)
    assert waits == []


async def test_a_redirect_is_told_without_what_may_be_secret_in_it(waits: list[float]) -> None:
    bodies = Bodies()
    bodies.response = lambda: httpx2.Response(302, headers={"location": "https://us:c4nary@sso.test/in?next=c4nary"})
    async with wire_to(bodies) as wire:
        with pytest.raises(OddAnswerFault, match=r"redirect \(HTTP 302\) to https://sso\.test/in,") as raised:
            await wire.call(operations.CURRENT_USER, {}, None)
    assert "c4nary" not in raised.value.message


# --- over real HTTP, against the stand-in -----------------------------------------------------------------------------


async def test_one_odd_answer_is_healed_by_asking_again(server: StandInTwenty, waits: list[float]) -> None:
    async with ready(server) as opened:
        address = await workspace(opened)
        for answer in ODD_ANSWERS:
            waits.clear()
            server.faults.scripted = [ScriptedFault("currentWorkspace", "odd", answer=answer)]
            assert (await opened.invite_links.read(address)).enabled
            assert (len(waits), server.faults.scripted[0].times) == (1, 0), answer


EVERYTHING = [
    "activateWorkspace",
    "currentWorkspace",
    "currentUser",
    "getRoles",
    "getLoginTokenFromCredentials",
    "signIn",
    "signUpInWorkspace",
    "updateWorkspaceMemberRole",
    "updateWorkspaceMemberSettings",
    "updateWorkspace",
    "triggerInstallAppsOnboardingStep",
    "sendInvitations",
    "findWorkspaceInvitations",
    "deleteWorkspaceInvitation",
    "impersonate",
    "apiKeys",
    "deleteUserFromWorkspace",
]


@pytest.mark.parametrize(
    "kind", ["odd after", pytest.param("odd", marks=pytest.mark.slow), pytest.param("drop", marks=pytest.mark.slow)]
)
async def test_whatever_is_answered_oddly_once_is_done_all_the_same(
    server: StandInTwenty, waits: list[float], kind: Injected
) -> None:
    ada, bob = person(), person()
    async with ready(server) as opened:
        created = await opened.create_workspace("Acme", f"odd-{kind.replace(' ', '-')}")
        faults = [ScriptedFault(name, kind, answer="data null") for name in EVERYTHING]
        server.faults.scripted = faults
        address = created.address
        await opened.enter(created)
        assert await opened.activate_workspace(address) == "ACTIVE"
        await opened.invite_links.turn_off(address)
        await opened.invite_links.turn_on(address)
        await joined(opened, ada, address)
        await joined(opened, bob, address)
        seen = await opened.current_user(ada, address)
        assert seen.workspace_member_id is not None
        await opened.set_role(address, seen.workspace_member_id, await opened.role_id(address, "Admin"))
        await opened.set_name(address, seen.workspace_member_id, "Ada", "L")
        await cleared(opened, ada, address, "ONBOARDING_INSTALL_APPS_PENDING")
        await opened.impersonation_token(seen.user_id, address)
        await opened.skip_team_invitations(address)
        await opened.invite(address, "eve@x.test", None)
        assert await opened.withdraw_invitations(address, "eve@x.test") == 1
        assert await opened.api_keys(address) == []
        await opened.address(address.workspace_id)
        leaver = await opened.current_user(bob, address)
        assert leaver.workspace_member_id is not None
        await opened.remove_member(address, leaver.workspace_member_id)
        after = await opened.current_user(ada, address, by_new_login=True)
    assert [fault.operation for fault in faults if fault.times] == []
    assert role_of(server, ada.email) == [("Admin",)]
    assert role_of(server, bob.email) == []
    assert (after.onboarding_status, after.first_name) == ("COMPLETED", "Ada")
    assert sql(
        server,
        'SELECT count(*) FROM core."appToken" WHERE context->>\'email\' = %s AND "deletedAt" IS NULL',
        "eve@x.test",
    ) == [(0,)]


@pytest.mark.parametrize("kind", ["odd", "odd after"])
async def test_an_exchange_with_an_odd_answer_is_done_with_another_login_token(
    server: StandInTwenty, waits: list[float], kind: Injected
) -> None:
    async with ready(server) as opened:
        address = await workspace(opened)
        server.faults.scripted = [ScriptedFault("getAuthTokensFromLoginToken", kind, answer="field null")]
        seen = await opened.current_user(opened.service_account, address, by_new_login=True)
    assert seen.workspace_id == address.workspace_id


@pytest.mark.parametrize("kind", ["odd", "odd after"])
async def test_a_creation_with_an_odd_answer_is_not_sent_twice_and_says_that_it_may_have_happened(
    server: StandInTwenty, waits: list[float], kind: Injected
) -> None:
    async with ready(server) as opened:
        server.faults.scripted = [ScriptedFault("signUpInNewWorkspace", kind)]
        with pytest.raises(OddAnswerFault) as raised:
            await opened.create_workspace("Acme", f"creation-{kind.replace(' ', '-')}")
    assert raised.value.effect_unknown
    made = sql(server, "SELECT 1 FROM core.workspace WHERE subdomain = %s", f"creation-{kind.replace(' ', '-')}")
    assert len(made) == (1 if kind == "odd after" else 0)
    assert waits == []


# --- what the server is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["html", "data null", "errors text"])
async def test_one_odd_answer_to_the_contract_check_judges_no_server(
    server: StandInTwenty, waits: list[float], answer: str
) -> None:
    server.faults.scripted = [ScriptedFault(PROBE, "odd", answer=answer)]
    async with client(server) as opened:
        await opened.check_contract()
    assert server.faults.scripted[0].times == 0


async def test_a_proxy_that_never_lets_one_check_through_is_told_and_the_server_not_called_unsupported(
    waits: list[float],
) -> None:
    def respond(request: httpx2.Request) -> httpx2.Response:
        if b"signUpInWorkspace" in request.content:
            return as_httpx("forbidden page", "")()
        return httpx2.Response(200, json={"data": {"__typename": "Query"}})

    async with client("http://twenty.test") as opened:
        opened._wire._transport._client = httpx2.AsyncClient(transport=httpx2.MockTransport(respond))
        with pytest.raises(Fault, match=r"contract check: HTTP 403 without GraphQL, but with an HTML page") as raised:
            await opened.check_contract()
    assert (raised.value.kind, raised.value.reason) == (FaultKind.TRANSIENT, Reason.SERVER_UNREACHABLE)


@pytest.mark.parametrize(
    "error",
    [
        {"message": "Internal server error"},
        {"message": "Redis is away", "extensions": {"code": "INTERNAL_SERVER_ERROR"}},
        {"message": "Limit reached", "extensions": {"code": "LIMIT_REACHED", "subCode": "LIMIT_REACHED"}},
        {"message": "", "extensions": "none"},
    ],
)
def test_a_check_that_failed_for_another_reason_finds_nothing_missing(error: dict[str, Any]) -> None:
    with pytest.raises(OddAnswer, match="check of one operation failed"):
        lacking_by({"errors": [error]})


def test_errors_without_extensions_are_read() -> None:
    (complaint,) = complaints_of({"errors": [{"message": "a\x00b"}], "data": None})
    assert TwentyError.of(complaint) == TwentyError("a b", "", "")


async def test_a_server_whose_settings_are_odd_is_asked_again_for_them(waits: list[float], special: Any) -> None:
    special_server = special(TwentyOptions(activation_seconds=0, email_verification_required=True))
    answers = iter([httpx2.Response(200, html="<html>"), httpx2.Response(502)])

    async with client(special_server) as opened:
        transport = opened._wire._transport
        real = transport._client

        async def respond(request: httpx2.Request) -> httpx2.Response:
            if request.url.path == "/client-config" and (odd := next(answers, None)):
                return odd
            return await real.request(request.method, request.url, content=request.content, headers=request.headers)

        transport._client = httpx2.AsyncClient(transport=httpx2.MockTransport(respond))
        with pytest.raises(Fault, match="IS_EMAIL_VERIFICATION_REQUIRED") as raised:
            await opened.check_contract()
        await real.aclose()
    assert raised.value.reason is Reason.UNSUPPORTED_TWENTY
