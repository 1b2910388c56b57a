"""The stand-in Clerk sends for every change what Clerk would send, and the HTTP API takes it."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from provisioning_pipeline.ledger import schema
from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.serving import LoopbackServer
from provisioning_pipeline_tests.http.api import Api, api_to
from provisioning_pipeline_tests.http.fleet import SECRET, Fleet
from provisioning_pipeline_tests.world import settings_of

SPECIFICATION = Path(__file__).resolve().parents[3] / "shared" / "data" / "clerk" / "webhooks-2025-04-15.yml"

pytestmark = pytest.mark.own_ledger


class Listener:
    """Keeps what is sent to it."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        self._server = LoopbackServer(Starlette(routes=[Route("/", self._take, methods=["POST"])]))

    async def _take(self, request: Request) -> Response:
        self.got.append((dict(request.headers), await request.body()))
        return Response(status_code=self.status)

    @property
    def url(self) -> str:
        return self._server.url

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(raw) for _, raw in self.got]

    def types(self) -> list[str]:
        return [event["type"] for event in self.events()]

    def __enter__(self) -> "Listener":
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as made:
        yield made


@pytest.fixture
def clerk() -> Iterator[StandInClerk]:
    with StandInClerk() as made:
        yield made


def change_everything(clerk: StandInClerk) -> None:
    ann = clerk.add_user("ann@acme.test", external_id="ext")
    acme = clerk.add_organization("Acme", created_by=ann.id)
    bob = clerk.add_user("bob@acme.test")
    clerk.add_membership(acme.id, bob.id)
    clerk.set_role(acme.id, bob.id, "org:admin")
    clerk.ban_user(bob.id)
    clerk.remove_membership(acme.id, bob.id)
    clerk.delete_user(bob.id)
    clerk.delete_organization(acme.id)
    clerk.wait_for_webhooks()


def test_every_change_is_told_in_order_and_signed(clerk: StandInClerk, listener: Listener) -> None:
    clerk.add_user("before@acme.test")
    clerk.set_webhook(listener.url, SECRET)

    change_everything(clerk)

    assert listener.types() == [
        "user.created",
        # the founder's membership is made within the organization's creation: Clerk promises no order either
        "organizationMembership.created",
        "organization.created",
        "user.created",
        "organizationMembership.created",
        "organizationMembership.updated",
        "user.updated",
        "organizationMembership.deleted",
        "user.deleted",
        "organizationMembership.deleted",
        "organization.deleted",
    ]
    assert len({headers["svix-id"] for headers, _ in listener.got}) == len(listener.got)
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    for headers, raw in listener.got:
        text = f"{headers['svix-id']}.{headers['svix-timestamp']}.".encode() + raw
        expected = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
        assert headers["svix-signature"] == f"v1,{expected}"
        assert headers["content-type"] == "application/json"
    assert (clerk.webhooks.delivered, clerk.webhooks.failed) == (11, 0)


@pytest.mark.skipif(not SPECIFICATION.exists(), reason="Clerk's webhooks-2025-04-15.yml is not beside this checkout")
def test_every_event_is_as_clerks_own_specification_has_it(clerk: StandInClerk, listener: Listener) -> None:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    specification = as_json_schema(yaml.load(SPECIFICATION.read_text("utf-8"), Loader=loader))
    clerk.set_webhook(listener.url, SECRET)

    change_everything(clerk)

    for event in listener.events():
        content = specification["x-webhooks"][event["type"]]["post"]["requestBody"]["content"]
        whole = {**content["application/json"]["schema"], "components": specification["components"]}
        jsonschema.validators.Draft202012Validator(whole).validate(event)
        assert event["object"] == "event"
        assert event["instance_id"] == clerk.instance_id


def as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0's `nullable` said in JSON Schema's words."""
    if isinstance(node, list):
        return [as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {name: as_json_schema(value) for name, value in node.items() if name != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") is True else plain


def test_changes_over_http_are_told_too_and_other_processes_can_ask_for_it(
    clerk: StandInClerk, listener: Listener
) -> None:
    control = f"{clerk.frontend_url}/sandbox"
    bad = {"url": listener.url, "secret": "whsec_"}
    assert httpx2.post(f"{control}/webhook", json=bad).status_code == 422
    assert httpx2.post(f"{control}/webhook", json={"url": listener.url}).status_code == 422
    answer = httpx2.post(f"{control}/webhook", json={"url": listener.url, "secret": SECRET})
    assert (answer.status_code, SECRET in answer.text) == (200, False)

    with httpx2.Client(base_url=clerk.base_url, headers={"authorization": f"Bearer {clerk.secret_key}"}) as backend:
        user = backend.post("/users", json={"email_address": ["ann@acme.test"]}).json()["id"]
        organization = backend.post("/organizations", json={"name": "Acme"}).json()["id"]
        members = f"/organizations/{organization}/memberships"
        backend.post(members, json={"user_id": user, "role": "org:member"})
        backend.patch(f"{members}/{user}", json={"role": "org:admin"})
        backend.patch(f"/organizations/{organization}/metadata", json={"public_metadata": {"a": 1}})
        backend.patch(f"/users/{user}", json={"first_name": "Ann"})
        backend.delete(f"{members}/{user}")
    clerk.wait_for_webhooks()

    assert listener.types() == [
        "user.created",
        "organization.created",
        "organizationMembership.created",
        "organizationMembership.updated",
        "organization.updated",
        "user.updated",
        "organizationMembership.deleted",
    ]
    state = httpx2.get(f"{control}/state").json()
    assert state["webhook"] == {"url": listener.url, "delivered": 7, "failed": 0}
    httpx2.post(f"{control}/reset")
    assert clerk.webhooks.delivered == 0


def test_what_nobody_takes_is_counted_and_not_sent_again(clerk: StandInClerk, listener: Listener) -> None:
    listener.status = 503
    clerk.set_webhook(listener.url, SECRET)
    clerk.add_user("ann@acme.test")
    clerk.set_webhook("http://127.0.0.1:9", SECRET)
    clerk.add_user("bob@acme.test")
    clerk.wait_for_webhooks()

    assert (len(listener.got), clerk.webhooks.delivered, clerk.webhooks.failed) == (1, 0, 2)


def test_after_a_stop_what_waits_was_sent_and_a_cleared_instance_sends_nothing(listener: Listener) -> None:
    with StandInClerk() as clerk:
        clerk.set_webhook(listener.url, SECRET)
        clerk.add_user("ann@acme.test")
    assert listener.types() == ["user.created"]

    with clerk:
        clerk.add_user("bob@acme.test")
        clerk.clear()
        clerk.add_user("cid@acme.test")
        clerk.wait_for_webhooks()
    assert listener.types() == ["user.created", "user.created"]


def test_the_api_takes_what_the_stand_in_sends(clerk: StandInClerk, fleet: Fleet, api: Api) -> None:
    ann = clerk.add_user("ann@acme.test")
    organization = clerk.add_organization("Delta")
    fleet.link("delta", organization.id, users=[ann.id])
    clerk.set_webhook(f"{api.url}/webhooks/clerk", SECRET)

    clerk.add_membership(organization.id, ann.id)
    clerk.wait_for_webhooks()
    assert fleet.marked() == ["delta"]
    fleet.unmark()
    clerk.delete_user(ann.id)
    clerk.wait_for_webhooks()

    assert fleet.marked() == ["delta"]
    assert fleet.events() == ["organizationMembership.created", "organizationMembership.deleted", "user.deleted"]
    assert clerk.webhooks.failed == 0


@pytest.mark.slow
def test_the_settings_of_a_sandbox_hold_a_secret_for_its_webhooks() -> None:
    with Sandbox(SandboxOptions(tenants=0)) as sandbox:
        environment = sandbox.environment()
        assert sandbox.environment() == environment
        with api_to(settings_of(environment)) as api:
            secret = environment["PROVISIONING_CLERK_WEBHOOK_SECRET"]
            assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 24
            schema.migrate(sandbox.registry_url)
            sandbox.clerk.set_webhook(f"{api.url}/webhooks/clerk", secret)
            sandbox.clerk.add_user("ann@acme.test")
            sandbox.clerk.wait_for_webhooks()
            assert (sandbox.clerk.webhooks.delivered, sandbox.clerk.webhooks.failed) == (1, 0)
