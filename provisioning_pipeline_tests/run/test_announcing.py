"""Webhooks that leave: written with the condition that they tell of, and sent until they arrive, over real HTTP."""

import asyncio
import json
import logging
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import pytest
from psycopg import errors
from pydantic import SecretStr
from standardwebhooks import Webhook

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger import schema
from provisioning_pipeline.ledger.announcements import Deliveries
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.model.announcement import WAITS_SECONDS
from provisioning_pipeline.model.condition import ALWAYS_ASKED, Condition, ConditionType, Reason, is_false, is_true
from provisioning_pipeline.model.tenant import Tenant
from provisioning_pipeline.run.announcing import Delivered, deliver
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.settings import Settings
from provisioning_pipeline_tests.answering import answering
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in

T = TypeVar("T")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CANARY = "canary-of-the-url"
ACME, BETA = Tenant("twenty_tenant_acme_1", "acme", "Acme"), Tenant("twenty_tenant_beta_2", "beta", "Beta")
GOOD = tuple(is_true(type_, Reason.ADOPTED, "As it should be.") for type_ in ALWAYS_ASKED)
FULL = is_false(ConditionType.WORKSPACE_READY, Reason.SERVER_FULL, "The server is full.")


class Receiver(ThreadingHTTPServer):
    """A tenant manager: verifies what comes, and answers with the next of `answers`, or else 204."""

    request_queue_size = 128
    """Several processes connect at once; the default of five turns some away."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[int] = []
        self.ids: list[str] = []
        self.received: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook/{CANARY}"

    def told(self) -> list[tuple[str, str]]:
        return [(event["data"]["tenant"], event["type"]) for event in self.received]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        # raises when the signature does not fit
        event = Webhook(SECRET).verify(body, dict(self.headers))
        self.server.bodies.append(body)
        self.server.received.append(event)
        self.server.ids.append(self.headers["webhook-id"])
        status = self.server.answers.pop(0) if self.server.answers else 204
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", self.server.url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with answering(Receiver()) as server:
        yield server


class Desk:
    """A ledger with two tenants, and what leaves it."""

    def __init__(self, fleet: Fleet, settings: Settings) -> None:
        self.fleet, self.settings = fleet, settings

    def ask(self, work: Callable[[Database], Awaitable[T]]) -> T:
        async def run() -> T:
            async with schema.ledger_database(self.settings, read_only=False, most_connections=4) as database:
                return await work(database)

        return asyncio.run(run())

    def store(self, *found: tuple[Tenant, tuple[Condition, ...]]) -> None:
        async def run(database: Database) -> None:
            ledger = Ledger(database, endpoints=tuple(self.settings.webhook_endpoints))
            await ledger.ensure_links([ACME, BETA])
            conditions = {tenant.database_name: conditions for tenant, conditions in found}
            await ledger.store_conditions(conditions, run_id="r1", waits=None)

        self.ask(run)

    def send(self, seconds: float = 30) -> Delivered:
        return self.ask(lambda database: deliver(self.settings, database, seconds=seconds))

    def make_due(self) -> None:
        """As if the time of the next try had come."""
        self.fleet.ask("UPDATE provisioning.webhook_delivery SET next_try_at = now()", None)

    def rows(self, columns: str = "type") -> list[Any]:
        return self.fleet.ask(f"SELECT {columns} FROM provisioning.webhook_delivery ORDER BY id", None)


@pytest.fixture
def desk(sandbox_postgres: SandboxPostgres, receiver: Receiver) -> Iterator[Desk]:
    with fleet_in(sandbox_postgres) as fleet:
        yield Desk(fleet, fleet.settings(webhook_urls=(SecretStr(receiver.url),), webhook_secret=SecretStr(SECRET)))


def test_a_tenant_that_becomes_ready_is_told_once(desk: Desk, receiver: Receiver) -> None:
    desk.store((ACME, GOOD))
    desk.store((ACME, GOOD))

    assert desk.send() == Delivered(arrived=1)
    assert desk.send() == Delivered()
    (event,) = receiver.received
    assert (event["type"], event["timestamp"][-1]) == ("tenant.ready", "Z")
    assert event["data"] == {
        "tenant": "acme",
        "database_name": ACME.database_name,
        "state": "ready",
        "reason": "AllTrue",
        "message": "Workspace, members, onboarding and a real login are all as they should be.",
        "workspace_id": None,
        "workspace_url": None,
    }
    assert receiver.ids[0].startswith("msg_")


def test_where_the_workspace_is_is_told(desk: Desk, receiver: Receiver) -> None:
    workspace = str(uuid.uuid4())

    async def link(database: Database) -> None:
        ledger = Ledger(database)
        await ledger.ensure_links([ACME])
        await ledger.adopt_workspace(ACME.database_name, "twenty", "acme", workspace, "https://acme.example.com")

    desk.ask(link)
    desk.store((ACME, GOOD))
    desk.send()

    data = receiver.received[0]["data"]
    assert (data["workspace_id"], data["workspace_url"]) == (workspace, "https://acme.example.com")


def test_nothing_is_recorded_where_no_url_is_set(desk: Desk) -> None:
    desk.settings = desk.settings.model_copy(update={"webhook_urls": ()})
    desk.settings.__dict__.pop("webhook_endpoints", None)
    desk.store((ACME, GOOD))

    assert desk.rows() == []
    assert desk.send() == Delivered()


def test_what_is_not_stored_is_not_told(desk: Desk) -> None:
    """One transaction: a condition that the ledger refuses leaves no webhook."""
    desk.store((ACME, GOOD))
    desk.fleet.ask("ALTER TABLE provisioning.tenant_link ADD CHECK (ready) NOT VALID", None)
    with pytest.raises(errors.CheckViolation):
        desk.store((ACME, (FULL,)))

    assert desk.rows() == [("tenant.ready",)]


def test_a_receiver_that_fails_gets_it_again_under_the_same_id(desk: Desk, receiver: Receiver) -> None:
    receiver.answers = [500]
    desk.store((ACME, GOOD))

    assert desk.send() == Delivered(to_retry=1)
    assert desk.send() == Delivered(), "not before its time"
    assert desk.rows("attempts, last_error") == [(1, "the webhook answered HTTP 500")]
    ((wait,),) = desk.rows("extract(epoch FROM next_try_at - now())::float8")
    assert WAITS_SECONDS[0] - 5 < wait <= WAITS_SECONDS[0]
    desk.make_due()
    assert desk.send() == Delivered(arrived=1)
    assert receiver.ids[0] == receiver.ids[1]
    assert receiver.bodies[0] == receiver.bodies[1]
    assert desk.rows("attempts, last_error, delivered_at IS NOT NULL") == [(2, None, True)]


def test_what_was_sent_by_a_process_that_died_before_it_knew_goes_out_under_the_same_id(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    async def die(*_: Any) -> None:
        raise Killed

    desk.store((ACME, GOOD))
    with monkeypatch.context() as patched:
        patched.setattr(Deliveries, "arrived", die)
        with pytest.raises(Killed):
            desk.send()
    assert desk.send() == Delivered(), "another process may still be at it"
    desk.make_due()

    assert desk.send() == Delivered(arrived=1)
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1


def test_each_tenants_come_in_order_and_no_tenant_waits_for_another(desk: Desk, receiver: Receiver) -> None:
    desk.store((ACME, GOOD))
    desk.store((ACME, (FULL,)))
    receiver.answers = [503]

    assert desk.send() == Delivered(to_retry=1), "the second waits for the first"
    desk.store((BETA, GOOD))
    assert desk.send() == Delivered(arrived=1)
    assert receiver.told()[-1] == ("beta", "tenant.ready")
    desk.make_due()
    assert desk.send() == Delivered(arrived=2)
    assert receiver.told()[-2:] == [("acme", "tenant.ready"), ("acme", "tenant.not_ready")]


def test_it_is_given_up_after_the_last_try_and_what_comes_after_goes_on(desk: Desk, receiver: Receiver) -> None:
    desk.store((ACME, GOOD))
    desk.store((ACME, (FULL,)))
    receiver.answers = [500] * (len(WAITS_SECONDS) + 1)
    for _ in WAITS_SECONDS:
        assert desk.send() == Delivered(to_retry=1)
        desk.make_due()

    assert desk.send() == Delivered(given_up=1)
    assert desk.ask(lambda database: Deliveries(database).counts()).failed == 1
    assert desk.send() == Delivered(arrived=1)
    assert receiver.told()[-1] == ("acme", "tenant.not_ready")
    assert desk.ask(lambda database: Deliveries(database).begin_anew(None)) == 1
    assert desk.send() == Delivered(arrived=1)


def test_a_receiver_that_wants_no_more_is_not_asked_again(desk: Desk, receiver: Receiver) -> None:
    receiver.answers = [410]
    desk.store((ACME, GOOD))

    assert desk.send() == Delivered(given_up=1)


def test_a_redirect_is_not_followed(desk: Desk, receiver: Receiver) -> None:
    receiver.answers = [307]
    desk.store((ACME, GOOD))

    assert desk.send() == Delivered(to_retry=1)
    assert len(receiver.received) == 1


def test_each_address_gets_it_and_one_that_is_away_holds_up_no_other(desk: Desk, receiver: Receiver) -> None:
    urls = (SecretStr("http://127.0.0.1:9/away"), SecretStr(receiver.url))
    desk.settings = desk.fleet.settings(webhook_urls=urls, webhook_secret=SecretStr(SECRET))
    desk.store((ACME, GOOD), (BETA, GOOD))

    assert desk.send() == Delivered(arrived=2, to_retry=2)
    assert sorted(receiver.told()) == [("acme", "tenant.ready"), ("beta", "tenant.ready")]
    assert len(set(desk.rows("message_id"))) == 2


def test_an_address_that_takes_nothing_is_left_alone_until_the_next_time(desk: Desk, receiver: Receiver) -> None:
    many = [Tenant(f"twenty_tenant_{number}", f"t{number}", "T") for number in range(40)]

    async def link(database: Database) -> None:
        await Ledger(database).ensure_links(many)

    desk.ask(link)
    receiver.answers = [500] * 100
    desk.store(*((tenant, GOOD) for tenant in many))

    assert desk.send() == Delivered(to_retry=16)
    receiver.answers = []
    assert desk.send() == Delivered(arrived=24)


def test_two_processes_send_each_once(desk: Desk, receiver: Receiver) -> None:
    many = [Tenant(f"twenty_tenant_{number}", f"t{number}", "T") for number in range(40)]

    async def link(database: Database) -> None:
        await Ledger(database).ensure_links(many)

    desk.ask(link)
    desk.store(*((tenant, GOOD) for tenant in many))
    threads = [threading.Thread(target=desk.send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(receiver.ids) == len(set(receiver.ids)) == 40


def test_no_secret_is_in_ledger_log_or_body(desk: Desk, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answers = [500]
    desk.store((ACME, GOOD))
    desk.send()
    told = caplog.text + str(desk.rows("to_jsonb(webhook_delivery)")) + json.dumps(receiver.received)

    assert CANARY not in told
    assert SECRET not in told
    assert SECRET.removeprefix("whsec_") not in told
