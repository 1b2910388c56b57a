"""Both clients against an HTTP API on loopback: what they bring about, what they give back, what their errors say."""

import logging
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime

import httpx2
import pytest
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from provisioning_pipeline.client import (
    NotAllowed,
    NotReady,
    ProvisioningClient,
    ProvisioningError,
    UnexpectedAnswer,
    Unreachable,
    answers,
    calls,
    wire,
)
from provisioning_pipeline.client.answers import Answer
from provisioning_pipeline.sandbox.postgres import free_port
from provisioning_pipeline.sandbox.serving import LoopbackServer
from provisioning_pipeline_tests.client.api import (
    API_KEY,
    RUN_ID,
    SINCE,
    Api,
    away,
    cut,
    problem,
    says,
    silence,
)
from provisioning_pipeline_tests.client.conftest import Client, Connect, Waits

ACME = {"name": "Acme", "database_name": "acme_db", "clerk_org_id": "org_1", "admin_email": "ada@acme.example"}


# --- what they bring about --------------------------------------------------------------------------------------


def test_a_tenant_is_registered_and_becomes_ready(client: Client, api: Api, waits: Waits):
    first = client.put_tenant("acme", **ACME)
    assert (first.state, first.run_id, first.workspace_id) == ("unwell", RUN_ID, None)
    tenant = client.wait_until_ready("acme")
    kept = api.tenants["acme"]
    assert (kept.name, kept.database_name, kept.clerk_org_id, kept.admin_email) == tuple(ACME.values())
    assert tenant.ready
    assert tenant.workspace_url == "https://acme.crm.example.com"
    assert (tenant.workspace_id, tenant.user_id, tenant.onboarding_status) != (None, None, None)
    assert tenant.status_url == f"{api.url}/v1/tenants/acme"
    assert client.put_tenant("acme").ready


def test_what_is_not_stated_is_left_as_it_is(client: Client, api: Api):
    api.register("acme", clerk_org_id="org_1", admin_email="ada@acme.example")
    client.put_tenant("acme", name="Acme Ltd")
    kept = api.tenants["acme"]
    assert (kept.name, kept.clerk_org_id, kept.admin_email) == ("Acme Ltd", "org_1", "ada@acme.example")


def test_what_becomes_ready_within_the_wait_is_answered_ready(client: Client, api: Api):
    assert client.put_tenant("acme", **ACME, wait=30).ready
    api.register("other")
    assert client.reconcile("other", wait=30).ready


def test_reconcile_starts_a_run(client: Client, api: Api):
    kept = api.register("acme")
    assert client.reconcile("acme").run_id == RUN_ID
    assert kept.runs == 1


def test_many_tenants_are_looked_at_with_one_request(client: Client, api: Api):
    acme, _ = api.register("acme"), api.register("gone", aside=True)
    asked = client.reconcile_many(["acme", "gone", "nosuch"])
    assert (asked.requested, asked.run_id, acme.runs) == (1, RUN_ID, 1)
    assert [(one.tenant, one.result, one.database_name) for one in asked.items] == [
        ("acme", "requested", "acme_db"),
        ("gone", "excluded", "gone_db"),
        ("nosuch", "unknown", None),
    ]
    assert [one.tenant for one in asked.left_out] == ["gone", "nosuch"]


def test_all_tenants_are_looked_at_with_one_request(client: Client, api: Api):
    kept = [api.register("acme"), api.register("other")]
    assert client.reconcile_all().requested == 2
    assert [one.runs for one in kept] == [1, 1]


def test_a_request_for_many_that_was_lost_counts_once(client: Client, api: Api, waits: Waits):
    acme = api.register("acme")
    api.after.append(away())
    assert client.reconcile_many(["acme"]).requested == 1
    assert acme.runs == 1


@pytest.mark.parametrize("number", [0, 501])
def test_a_request_for_none_or_too_many_is_not_sent(client: Client, api: Api, number: int):
    with pytest.raises(ValueError, match="1 to 500"):
        client.reconcile_many(["acme"] * number)


@pytest.mark.parametrize("name", ["acme", "acme_db"])
def test_a_tenant_is_known_by_slug_and_database(client: Client, api: Api, name: str):
    api.register("acme")
    assert client.tenant(name).slug == "acme"


@pytest.mark.parametrize("slug", ["a b", "größe", "100%", "a?b#c", "%41cme"])
def test_a_name_reaches_the_api_as_it_is(client: Client, api: Api, slug: str):
    client.put_tenant(slug, name="Acme", database_name="acme_db")
    assert list(api.tenants) == [slug]
    assert client.tenant(slug).slug == slug


@pytest.mark.parametrize("slug", ["", ".", ".."])
def test_a_name_that_would_lead_elsewhere_is_refused(client: Client, api: Api, slug: str):
    with pytest.raises(ValueError, match="no tenant's slug"):
        client.put_tenant(slug, **ACME)
    assert api.tenants == {}


def test_a_path_of_the_base_url_is_kept(connect: Connect, api: Api):
    with pytest.raises(ProvisioningError) as raised:
        connect(f"{api.url}/behind/a/proxy/").tenant("acme")
    assert raised.value.status == 404
    assert "not the provisioning server" in raised.value.detail


# --- what they give back ----------------------------------------------------------------------------------------


def test_a_tenant_has_real_types(client: Client, api: Api):
    api.register("acme")
    tenant = client.tenant("acme")
    assert tenant.look_again_at == datetime(2026, 8, 1, 12, 1, tzinfo=UTC)
    assert {condition.since for condition in tenant.conditions} == {datetime.fromisoformat(SINCE)}
    assert [condition.type for condition in tenant.unmet] == ["WorkspaceReady", "LoginProved"]
    with pytest.raises(FrozenInstanceError):
        tenant.slug = "other"  # type: ignore[misc]  # that is what is tested


def test_all_pages_are_read(client: Client, api: Api):
    slugs = [f"tenant-{number}" for number in range(5)]
    for slug in slugs:
        api.register(slug)
    assert [tenant.slug for tenant in client.tenants()] == slugs


def test_tenants_are_chosen_by_state_and_organization(client: Client, api: Api):
    api.register("ready", looks=0)
    api.register("unwell", clerk_org_id="org_1")
    api.register("aside", aside=True)
    assert [tenant.slug for tenant in client.tenants(state="aside")] == ["aside"]
    assert [tenant.slug for tenant in client.tenants(clerk_org_id="org_1")] == ["unwell"]
    assert list(client.tenants(state="ready", clerk_org_id="org_1")) == []


def test_a_list_is_read_as_it_is_taken(api: Api):
    for number in range(3):
        api.register(f"tenant-{number}")
    with ProvisioningClient(api.url, API_KEY) as client:
        found = client.tenants()
        assert next(found).slug == "tenant-0"
        api.tenants.popitem()
        assert [tenant.slug for tenant in found] == ["tenant-1"]


def test_a_timeline_is_read_to_its_end(client: Client, api: Api):
    api.register("acme")
    events = list(client.timeline("acme"))
    assert [event.what for event in events] == [f"Event {number}." for number in range(5)]
    assert {event.at for event in events} == {datetime.fromisoformat(SINCE)}


def test_a_page_that_leads_to_itself_ends_in_an_error(client: Client, api: Api):
    for number in range(3):
        api.register(f"tenant-{number}")
    endless = says(JSONResponse({"items": [], "next": "2"}))
    api.before += [endless, endless]
    with pytest.raises(UnexpectedAnswer, match="its next page is itself"):
        list(client.tenants())


# --- waiting ----------------------------------------------------------------------------------------------------


def test_it_looks_as_often_as_the_api_says(client: Client, api: Api, waits: Waits):
    api.retry_after = "7"
    api.register("acme", looks=3)
    assert client.wait_until_ready("acme").ready
    assert waits == [7, 7]


def test_without_a_word_of_the_api_it_looks_every_two_seconds(client: Client, api: Api, waits: Waits):
    api.retry_after = None
    api.register("acme")
    assert client.wait_until_ready("acme").ready
    assert waits == [2]


def test_what_is_not_ready_in_time_says_why(client: Client, api: Api):
    api.register("acme", looks=None)
    with pytest.raises(NotReady) as raised:
        client.wait_until_ready("acme", timeout_seconds=0)
    assert "WorkspaceReady is False, ServerFull: No server has room for it." in raised.value.detail
    assert "LoginProved is Unknown, Waiting: Not looked at yet." in raised.value.detail
    assert "looks again at 2026-08-01T12:01:00+00:00" in raised.value.detail
    assert "RowsReported" not in raised.value.detail
    assert raised.value.tenant.state == "unwell"


def test_it_never_waits_beyond_its_time(client: Client, api: Api, waits: Waits):
    api.retry_after = "3600"
    kept = api.register("acme", looks=None)
    waits.meanwhile = lambda: setattr(kept, "looks", 0)
    assert client.wait_until_ready("acme", timeout_seconds=20).ready
    assert len(waits) == 1
    assert waits[0] <= 20


def test_for_a_tenant_that_is_set_aside_nobody_waits(client: Client, api: Api, waits: Waits):
    api.register("acme", aside=True)
    with pytest.raises(NotReady, match=r"excluded.*TenantSuspended: The registry's status is suspended\."):
        client.wait_until_ready("acme")
    assert waits == []


def test_a_door_that_is_away_meanwhile_is_waited_for(client: Client, api: Api, waits: Waits):
    api.register("acme")
    api.before += [away(), cut(), away(), away(), away(), away(None)]
    assert client.wait_until_ready("acme").ready
    assert len(waits) == 7


def test_a_door_that_stays_away_is_the_error(client: Client, api: Api):
    api.register("acme")
    api.before += [away()]
    with pytest.raises(ProvisioningError) as raised:
        client.wait_until_ready("acme", timeout_seconds=0)
    assert raised.value.status == 503


def test_for_an_unknown_tenant_nobody_waits(client: Client, api: Api, waits: Waits):
    with pytest.raises(ProvisioningError) as raised:
        client.wait_until_ready("acme")
    assert raised.value.status == 404
    assert waits == []


def test_an_answer_may_take_as_long_as_the_call_lets_it():
    call = calls.put_tenant("acme", wait=60, idempotency_key=None, **ACME)
    assert wire.arguments(call, httpx2.Timeout(30))["timeout"] == httpx2.Timeout(30, read=90)


# --- tries ------------------------------------------------------------------------------------------------------


def test_what_was_lost_on_the_way_back_is_done_once(client: Client, api: Api, waits: Waits):
    api.after += [cut(), away(), says(problem(429, "Too Many Requests", "Too fast.", headers={"Retry-After": "5"}))]
    assert client.put_tenant("acme", **ACME).slug == "acme"
    assert api.tenants["acme"].runs == 1
    assert waits == [0.5, 0, 5]


def test_a_reconciliation_that_was_lost_is_one_run(client: Client, api: Api, waits: Waits):
    kept = api.register("acme")
    api.after += [cut()]
    client.reconcile("acme")
    assert kept.runs == 1


def test_two_calls_are_two_requests(client: Client, api: Api):
    kept = api.register("acme", looks=None)
    client.reconcile("acme")
    client.reconcile("acme")
    assert kept.runs == 2


def test_the_same_key_is_one_request_in_two_calls(client: Client, api: Api):
    kept = api.register("acme", looks=None)
    client.reconcile("acme", idempotency_key="order-17")
    client.reconcile("acme", idempotency_key="order-17")
    assert kept.runs == 1
    with pytest.raises(ProvisioningError) as raised:
        client.put_tenant("acme", idempotency_key="order-17")
    assert raised.value.status == 409


def test_a_date_to_come_again_counts_from_the_answers_own():
    headers = {"retry-after": "Sat, 01 Aug 2026 12:00:09 GMT", "date": "Sat, 01 Aug 2026 12:00:00 GMT"}
    assert answers.retry_after_seconds(Answer(503, headers, b"")) == 9
    assert answers.retry_after_seconds(Answer(503, {"retry-after": headers["retry-after"]}, b"")) is None


@pytest.mark.parametrize("retry_after", [None, "soon", "-1", "1e9", "nan", "9" * 400])
def test_without_a_time_that_can_be_read_it_waits_longer_each_time(
    client: Client, api: Api, waits: Waits, retry_after: str | None
):
    api.register("acme")
    api.before += [away(retry_after)] * 3
    assert client.tenant("acme").slug == "acme"
    assert waits == [0.5, 1, 2]


def test_tries_come_to_an_end(client: Client, api: Api, waits: Waits):
    api.before += [away()] * 9
    with pytest.raises(ProvisioningError) as raised:
        client.put_tenant("acme", **ACME)
    assert (raised.value.status, raised.value.retry_after_seconds) == (503, 0)
    assert "The ledger cannot be read at present. Asking again later is safe." in str(raised.value)
    assert len(api.before) == 5


def test_who_is_asked_to_wait_for_long_decides_for_oneself(client: Client, api: Api, waits: Waits):
    api.before += [away("3600")]
    with pytest.raises(ProvisioningError) as raised:
        client.tenant("acme")
    assert raised.value.retry_after_seconds == 3600
    assert "It asks to wait 3600 s." in str(raised.value)
    assert waits == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 418, 422, 500, 502, 504])
def test_nothing_else_is_tried_again(client: Client, api: Api, waits: Waits, status: int):
    api.register("acme")
    api.before += [says(problem(status, "No", "No.", headers={"Retry-After": "0"}))]
    with pytest.raises(ProvisioningError) as raised:
        client.tenant("acme")
    assert raised.value.status == status
    assert waits == []


def test_a_door_that_restarts_is_reached(connect: Connect, server: LoopbackServer, api: Api, waits: Waits):
    client = connect()
    client.put_tenant("acme", **ACME)
    server.stop()
    waits.meanwhile = server.start
    assert client.tenant("acme").slug == "acme"
    assert waits == [0.5]


# --- errors -----------------------------------------------------------------------------------------------------


def test_a_key_that_may_not_is_an_error_of_its_own(client: Client, api: Api):
    body = {"title": "Forbidden", "detail": "The API key lacks the scope tenants:write.", "code": "scope_missing"}
    api.before += [says(JSONResponse(body, 403, media_type="application/problem+json"))]
    with pytest.raises(NotAllowed, match="provisioning keys list") as raised:
        client.put_tenant("acme", **ACME)
    assert (raised.value.status, raised.value.code) == (403, "scope_missing")


def test_a_refusal_says_what_to_do(client: Client, api: Api):
    api.register("other", database_name="acme_db")
    with pytest.raises(ProvisioningError) as raised:
        client.put_tenant("acme", **ACME)
    error = raised.value
    assert (error.status, error.title, error.request_id) == (409, "Conflict", "req-1")
    assert str(error) == (
        "Conflict (HTTP 409): Database is another tenant's. Asking again gives the same answer: change what conflicts. "
        "Request id: req-1"
    )


def test_bad_input_is_named_field_by_field(client: Client, api: Api):
    with pytest.raises(ProvisioningError, match="name: is missing; database_name: is missing") as raised:
        client.put_tenant("acme")
    assert raised.value.status == 422


def test_a_wrong_key_says_how_to_get_a_right_one(connect: Connect, api: Api):
    with pytest.raises(ProvisioningError, match="provisioning keys create") as raised:
        connect(api_key="wrong").tenant("acme")
    assert raised.value.status == 401


def test_nobody_there(connect: Connect, waits: Waits):
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable) as raised:
        connect(url).put_tenant("acme", **ACME)
    assert url in str(raised.value)
    assert "PUT /v1/tenants/acme" in str(raised.value)
    assert (raised.value.status, raised.value.request_id) == (None, None)
    assert waits == [0.5, 1, 2]


def test_a_silent_door_is_not_asked_again(connect: Connect, api: Api, waits: Waits):
    api.before += [silence]
    with pytest.raises(Unreachable, match="took longer than timeout_seconds"):
        connect(timeout_seconds=0.1).tenant("acme")
    assert waits == []


@pytest.mark.parametrize(
    ("body", "says_why"),
    [
        (b"", "Invalid JSON"),
        (b"<html>Sign in</html>", "Invalid JSON"),
        (b'{"slug": "acme"', "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON"),
        (b"[]", "Input should be an object"),
        (b'{"slug": "acme"}', "database_name: Field required"),
        (b'{"slug": 7, "database_name": "a", "state": "b", "conditions": [], "status_url": "c"}', "slug: Input should"),
        (
            b'{"slug": "a", "database_name": "a", "state": "b", "status_url": "c", "conditions": [{"type": "Ready", '
            b'"status": "True", "reason": "AllTrue", "message": "", "since": "2026-08-01T12:00:00"}]}',
            "conditions.0.since: Input should have timezone info",
        ),
    ],
)
def test_garbage_is_told_as_such(client: Client, api: Api, waits: Waits, body: bytes, says_why: str):
    api.before += [says(Response(body, headers={"X-Request-Id": "req-9"}))]
    with pytest.raises(UnexpectedAnswer) as raised:
        client.tenant("acme")
    assert says_why in raised.value.detail
    assert "GET /v1/tenants/acme" in raised.value.detail
    assert (raised.value.status, raised.value.request_id) == (200, "req-9")
    assert waits == []


def test_a_body_that_is_not_what_its_header_says(client: Client, api: Api, waits: Waits):
    api.before += [says(Response(b"plain", headers={"Content-Encoding": "gzip"}))]
    with pytest.raises(Unreachable, match="DecodingError"):
        client.tenant("acme")
    assert waits == []


@pytest.mark.parametrize("body", ["<html>Bad Gateway</html>", '{"detail": "Not Found"}', "null", ""])
def test_a_refusal_of_something_else_points_to_base_url(client: Client, api: Api, body: str):
    api.before += [says(HTMLResponse(body, 502))]
    with pytest.raises(ProvisioningError) as raised:
        client.tenant("acme")
    assert str(raised.value).startswith("Bad Gateway (HTTP 502): What answers is not the provisioning server")


def test_a_redirect_is_not_followed(client: Client, api: Api):
    api.register("acme")
    api.before += [says(RedirectResponse(f"{api.url}/v1/tenants/acme"))]
    with pytest.raises(ProvisioningError, match="give the right address as base_url") as raised:
        client.tenant("acme")
    assert raised.value.status == 307


def test_an_error_survives_a_process_boundary(client: Client, api: Api):
    api.register("acme", looks=None)
    with pytest.raises(NotReady) as raised:
        client.wait_until_ready("acme", timeout_seconds=0)
    arrived = pickle.loads(pickle.dumps(raised.value))
    assert str(arrived) == str(raised.value)
    assert arrived.tenant == raised.value.tenant


# --- the key ----------------------------------------------------------------------------------------------------


def test_the_key_shows_nowhere(connect: Connect, api: Api, waits: Waits, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    echo = f"You sent Authorization: Bearer {API_KEY}"
    api.before += [
        says(problem(403, "Forbidden", echo)),
        says(HTMLResponse(echo, 500)),
        says(HTMLResponse(echo)),
        cut(),
    ]
    api.register("acme", looks=None)
    client = connect()
    told = [repr(client)]
    for _ in range(3):
        with pytest.raises(ProvisioningError) as raised:
            client.tenant("acme")
        told += [str(raised.value), repr(raised.value), repr(raised.value.__context__)]
    client.tenant("acme")
    for bad in (f"{API_KEY}\n", f"{API_KEY}é"):
        with pytest.raises(ValueError, match="api_key must be printable") as refused:
            connect(api_key=bad)
        told += [str(refused.value), repr(refused.value.__context__)]
    assert "[the API key]" in "".join(told)
    assert API_KEY not in "".join(told) + caplog.text


@pytest.mark.parametrize(
    "url",
    ["", "provisioning.example.com", "ftp://example.com", "http://", "http://a:b:c", "http://me:secret@example.com"],
)
def test_what_is_no_base_url_is_refused_at_once(connect: Connect, url: str, api: Api):
    with pytest.raises(ValueError, match="base_url") as refused:
        connect(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("key", ["", "two\r\nlines", "größe"])
def test_what_is_no_idempotency_key_is_refused_at_once(client: Client, api: Api, key: str):
    with pytest.raises(ValueError, match="idempotency_key"):
        client.put_tenant("acme", **ACME, idempotency_key=key)
    assert api.tenants == {}


def test_it_brings_nothing_else_of_ours_along():
    program = (
        "import sys, provisioning_pipeline.client; "
        "print(sorted(n for n in sys.modules if n.startswith('provisioning_pipeline.')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    names = {name.split(".")[1] for name in eval(done.stdout)}
    assert names == {"client"}
