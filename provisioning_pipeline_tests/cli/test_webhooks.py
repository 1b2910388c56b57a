"""`provisioning webhooks`, and where else an operator sees what did not arrive."""

import json
from collections.abc import Iterator

import dagster as dg
import pytest
from typer.testing import CliRunner

from provisioning_pipeline.cli.main import app
from provisioning_pipeline.defs.operations.sensors import deliver_webhooks
from provisioning_pipeline_tests.http.services import small_world
from provisioning_pipeline_tests.run.test_announcing import CANARY, SECRET, Receiver, receiver
from provisioning_pipeline_tests.world import World

__all__ = ["receiver"]


@pytest.fixture
def world(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with small_world(tenants=1, members=1) as world:
        environment = world.sandbox.environment() | {
            "PROVISIONING_WEBHOOK_URLS": json.dumps([receiver.url]),
            "PROVISIONING_WEBHOOK_SECRET": SECRET,
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield world


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code, done.output
    assert CANARY not in done.output
    assert SECRET not in done.output
    return done.output


def test_an_operator_sees_what_did_not_arrive_and_sends_it_again(world: World, receiver: Receiver) -> None:
    slug, name = world.registry("SELECT slug, database_name FROM tenant_registry")[0]
    receiver.answers = [410]
    world.registry("UPDATE tenant_registry SET status = 'suspended'")
    run("apply")

    assert "1 webhook was given up" in run("status")
    assert "1 webhook was given up" in " ".join(run("preflight").split())
    (listed,) = json.loads(run("webhooks", "list", "--undelivered", "--json"))
    assert (listed["type"], listed["database_name"], listed["to"]) == ("tenant.not_ready", name, "127.0.0.1")
    assert (listed["state"], listed["last_error"]) == ("failed", "the webhook answered HTTP 410")
    assert "1 webhooks are tried again: 1 webhooks arrived" in run("webhooks", "retry", f"msg_{listed['id']}")
    assert len(set(receiver.ids)) == 1
    assert receiver.received[-1]["data"]["tenant"] == slug
    assert "No webhook is waiting." in run("webhooks", "list", "--undelivered")
    assert "given up" not in run("status")
    run("webhooks", "retry", "nothing", code=2)


def test_the_sensor_sends_what_a_run_left(world: World, receiver: Receiver) -> None:
    world.registry("UPDATE tenant_registry SET status = 'suspended'")
    receiver.answers = [500]
    run("apply")
    world.registry("UPDATE provisioning.webhook_delivery SET next_try_at = now()")

    said = deliver_webhooks(dg.build_sensor_context())

    assert isinstance(said, dg.SkipReason)
    assert said.skip_message.startswith("1 webhooks arrived")
    assert len(receiver.ids) == 2


def test_without_an_address_the_sensor_asks_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROVISIONING_WEBHOOK_URLS")
    monkeypatch.setenv("PROVISIONING_REGISTRY_URL", "postgresql://nobody@127.0.0.1:9/none")

    said = deliver_webhooks(dg.build_sensor_context())

    assert isinstance(said, dg.SkipReason)
    assert "PROVISIONING_WEBHOOK_URLS is not set" in said.skip_message
