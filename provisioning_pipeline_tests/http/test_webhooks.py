"""`POST /webhooks/clerk` over HTTP: who is marked by what, and everything that must not get through."""

import itertools
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from provisioning_pipeline.ledger import serving as access
from provisioning_pipeline_tests.http.api import Api, api_to
from provisioning_pipeline_tests.http.fleet import (
    SECRET,
    Fleet,
    envelope,
    membership_event,
    organization_event,
    signed,
    user_event,
)

CANARY = "canary-5ecret-value"


def problem(answer: httpx2.Response, status: int) -> str:
    """The detail of a problem document that must have this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["title"]
    return str(body["detail"])


@pytest.mark.parametrize(
    ("event", "marked"),
    [
        (organization_event("updated", "org_1"), ["acme"]),
        (organization_event("deleted", "org_2"), ["beta"]),
        (membership_event("created", "org_1", "user_3"), ["acme"]),
        (membership_event("deleted", "org_2", "user_2"), ["beta"]),
        (user_event("updated", "user_1"), ["acme", "beta"]),
        (user_event("deleted", "user_2"), ["acme"]),
        (organization_event("created", "org_unknown"), []),
        (user_event("created", "user_unknown"), []),
        (envelope("organization.updated", None), []),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else ",".join(value),
)
def test_an_event_marks_exactly_the_tenants_that_it_concerns(
    fleet: Fleet, api: Api, event: dict[str, Any], marked: list[str]
) -> None:
    answer = api.post(*signed(event))

    assert (answer.status_code, answer.content) == (204, b"")
    assert fleet.marked() == marked
    assert fleet.events() == [event["type"]]


def test_what_an_event_says_is_stored_without_what_it_carries(fleet: Fleet, api: Api) -> None:
    event = membership_event("created", "org_1", "user_1")
    event["data"]["private_metadata"] = {"secret": CANARY}
    api.deliver(event, "msg_first")

    ((row,),) = fleet.sql("SELECT to_jsonb(e) - 'received_at' FROM provisioning.clerk_event e")
    assert row == {
        "event_id": "msg_first",
        "type": "organizationMembership.created",
        "organization_id": "org_1",
        "user_id": "user_1",
        "happened_at": "2024-05-28T08:00:00.123+00:00",
    }


def test_other_types_are_acknowledged_and_not_stored(fleet: Fleet, api: Api) -> None:
    assert api.deliver(envelope("session.created", {"id": "sess_1", "user_id": "user_1"})) == 204
    assert (fleet.marked(), fleet.events()) == ([], [])


# --- forged -----------------------------------------------------------------------------------------------------

EVENT = organization_event("updated", "org_1")
OTHER_SECRET = "whsec_" + "QUJD" * 8
Delivery = tuple[bytes, dict[str, str]]


def changed(change: Callable[[bytes], bytes]) -> Delivery:
    raw, headers = signed(EVENT)
    return change(raw), headers


def without(name: str) -> Delivery:
    raw, headers = signed(EVENT)
    return raw, {key: value for key, value in headers.items() if key != name}


def having(**given: str) -> Delivery:
    raw, headers = signed(EVENT)
    return raw, headers | {name.replace("_", "-"): value for name, value in given.items()}


# made when the test runs: a delivery is good for five minutes only
FORGED: dict[str, Callable[[], Delivery]] = {
    "wrong secret": lambda: signed(EVENT, secret=OTHER_SECRET),
    "changed body": lambda: changed(lambda raw: raw.replace(b"org_1", b"org_3")),
    "white space changed": lambda: changed(lambda raw: raw + b" "),
    "no body": lambda: changed(lambda _: b""),
    "no text": lambda: changed(lambda _: b"\xff\xfe"),
    "another id": lambda: having(svix_id="msg_other"),
    "another time": lambda: having(svix_timestamp=signed(EVENT, seconds=-60)[1]["svix-timestamp"]),
    "no id": lambda: without("svix-id"),
    "no timestamp": lambda: without("svix-timestamp"),
    "no signature": lambda: without("svix-signature"),
    "no headers": lambda: (signed(EVENT)[0], {}),
    "no version": lambda: having(svix_signature="abc"),
    "unknown version": lambda: having(svix_signature="v9,abc"),
    "no base64": lambda: having(svix_signature="v1,a"),
    "no number": lambda: having(svix_timestamp="yesterday"),
    "endless": lambda: having(svix_timestamp="1e999"),
}


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_event_is_refused_and_leaves_nothing(fleet: Fleet, api: Api, how: str) -> None:
    detail = problem(api.post(*FORGED[how]()), 400)

    assert "signature" in detail
    assert (fleet.marked(), fleet.events()) == ([], [])


@pytest.mark.parametrize("seconds", [-310, 310])
def test_a_delivery_far_from_now_is_refused_however_well_signed(fleet: Fleet, api: Api, seconds: int) -> None:
    problem(api.post(*signed(EVENT, seconds=seconds)), 400)
    assert (fleet.marked(), fleet.events()) == ([], [])


@pytest.mark.parametrize("seconds", [-240, 240])
def test_a_delivery_a_few_minutes_from_now_is_taken(fleet: Fleet, api: Api, seconds: int) -> None:
    assert api.post(*signed(EVENT, seconds=seconds)).status_code == 204
    assert fleet.marked() == ["acme"]


def test_one_fitting_signature_among_several_is_enough(fleet: Fleet, api: Api) -> None:
    """While a secret is changed, Svix signs with the old one and the new one."""
    raw, headers = signed(EVENT)
    headers["svix-signature"] = f"v1,{'A' * 43}= {headers['svix-signature']}"

    assert api.post(raw, headers).status_code == 204
    assert fleet.marked() == ["acme"]


@pytest.mark.parametrize(
    "raw", [b"", b"type=user", b"[]", b'"user.created"', b"{}", b'{"type": 7}', b"[" * 100_000, b"{'type': 'x'}"]
)
def test_a_signed_body_that_is_no_event_is_refused(fleet: Fleet, api: Api, raw: bytes) -> None:
    problem(api.post(*signed(raw)), 400)
    assert fleet.events() == []


def test_a_huge_body_is_refused_with_and_without_its_length(fleet: Fleet, api: Api) -> None:
    raw, headers = signed(EVENT | {"padding": "x" * 1_000_000})

    assert "1000000 bytes" in problem(api.post(raw, headers), 413)
    in_pieces = (raw[start : start + 50_000] for start in range(0, len(raw), 50_000))
    assert "1000000 bytes" in problem(
        api.http.post("/webhooks/clerk", content=in_pieces, headers=headers | {"transfer-encoding": "chunked"}), 413
    )
    assert (fleet.marked(), fleet.events()) == ([], [])
    assert api.post(*signed(EVENT | {"padding": "x" * 900_000})).status_code == 204


@pytest.mark.own_ledger
def test_no_refusal_and_no_log_repeats_anything_of_the_request(
    fleet: Fleet, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    raw, headers = signed(EVENT | {"secret": CANARY}, f"msg_{CANARY}")
    answers = [
        api.post(raw, headers | {"svix-signature": f"v1,{CANARY}"}),
        api.post(*signed(CANARY.encode(), f"msg_{CANARY}")),
        api.http.get(f"/{CANARY}", headers={"x-key": CANARY}),
    ]
    fleet.shut()
    answers.append(api.post(raw, headers))

    assert [answer.status_code for answer in answers] == [400, 400, 404, 503]
    assert all(CANARY not in answer.text + str(answer.headers) for answer in answers)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("provisioning_pipeline")]
    assert ours
    assert CANARY not in "\n".join(ours)
    assert SECRET not in caplog.text


# --- replayed, out of order, at once ----------------------------------------------------------------------------


def test_an_event_that_arrives_again_is_acknowledged_and_marks_nothing_again(fleet: Fleet, api: Api) -> None:
    assert api.deliver(EVENT, "msg_same") == 204
    fleet.unmark()

    assert api.deliver(EVENT, "msg_same") == 204
    assert fleet.marked() == []
    assert fleet.events() == ["organization.updated"]


def test_the_order_of_arrival_does_not_matter(fleet: Fleet, api: Api) -> None:
    events = [
        membership_event("created", "org_1", "user_4"),
        membership_event("deleted", "org_1", "user_4"),
        user_event("deleted", "user_3"),
    ]
    ends = set()
    for order in itertools.permutations(events):
        for event in order:
            assert api.deliver(event) == 204
        ends.add(tuple(fleet.marked()))
        fleet.unmark()
    assert ends == {("acme", "gamma")}


def test_deliveries_at_once_are_each_taken_once(fleet: Fleet, api: Api) -> None:
    deliveries = [(user_event("updated", "user_1"), f"msg_{number % 10}") for number in range(60)]

    with ThreadPoolExecutor(max_workers=20) as pool:
        statuses = list(pool.map(lambda delivery: api.deliver(*delivery), deliveries))

    assert set(statuses) == {204}
    assert fleet.marked() == ["acme", "beta"]
    assert len(fleet.events()) == 10


# --- the ledger is away, or nothing is set up -------------------------------------------------------------------


@pytest.mark.own_ledger
def test_an_event_is_refused_while_the_ledger_is_away_and_taken_as_soon_as_it_is_back(fleet: Fleet, api: Api) -> None:
    assert api.deliver(organization_event("updated", "org_3"), "msg_before") == 204
    fleet.shut()
    for _ in range(3):
        answer = api.post(*signed(EVENT, "msg_again"))
        assert "send it again" in problem(answer, 503)
        assert int(answer.headers["retry-after"]) > 0

    fleet.open()

    assert api.deliver(EVENT, "msg_again") == 204
    assert fleet.marked() == ["acme", "gamma"]


@pytest.mark.slow
@pytest.mark.own_ledger
def test_it_starts_while_the_ledger_is_away(fleet: Fleet) -> None:
    fleet.shut()
    with api_to(fleet.settings()) as api:
        assert api.http.get("/healthz").status_code == 200
        problem(api.post(*signed(EVENT, "msg_again")), 503)
        fleet.open()
        assert api.deliver(EVENT, "msg_again") == 204
    assert fleet.marked() == ["acme"]


@pytest.mark.slow
@pytest.mark.own_ledger
def test_a_ledger_that_does_not_answer_in_time_is_one_that_is_away(
    fleet: Fleet, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_MOST_SECONDS", 0.2)
    with fleet.postgres.connect(fleet.name) as other, other.transaction():
        other.execute("SELECT 1 FROM provisioning.tenant_link FOR UPDATE")
        problem(api.post(*signed(EVENT, "msg_again")), 503)
    monkeypatch.undo()

    assert api.deliver(EVENT, "msg_again") == 204
    assert fleet.marked() == ["acme"]


@pytest.mark.own_ledger
def test_a_ledger_that_is_missing_takes_no_event(fleet: Fleet, api: Api, caplog: pytest.LogCaptureFixture) -> None:
    fleet.sql("DROP SCHEMA provisioning CASCADE")
    assert "Retry-After" in api.post(*signed(EVENT)).headers
    assert "provisioning migrate" in caplog.text


@pytest.mark.parametrize("secret", [None, "whsec_...", "", "whsec_a"])
def test_without_a_usable_secret_nothing_is_accepted_and_the_variable_is_named(
    fleet: Fleet, secret: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with api_to(fleet.settings(clerk_webhook_secret=secret)) as api:
        assert "PROVISIONING_CLERK_WEBHOOK_SECRET" in problem(api.post(*signed(EVENT)), 503)
        assert api.http.get("/healthz").status_code == 200
    assert "PROVISIONING_CLERK_WEBHOOK_SECRET" in caplog.text
    assert fleet.marked() == []


# --- the rest of the HTTP API ---------------------------------------------------------------------------------------


def test_it_says_that_it_is_up(api: Api) -> None:
    answer = api.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_there_is_nothing_else(api: Api) -> None:
    for path in ("/", "/docs", "/redoc", "/webhooks", "/webhooks/clerk/", "/v1/tenants/", "/tenants/acme/"):
        # no redirect: it would go wherever `Host` says
        problem(api.http.get(path), 404)
    answer = api.http.get("/webhooks/clerk")
    problem(answer, 405)
    assert answer.headers["allow"] == "POST"
