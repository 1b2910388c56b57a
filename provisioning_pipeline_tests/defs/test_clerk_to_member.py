"""From a change at Clerk to a ready member: webhook over HTTP, mark, sensor, run, real login."""

from collections.abc import Callable, Iterator

import dagster as dg
import httpx
import pytest

from provisioning_pipeline.api.app import create_app
from provisioning_pipeline.definitions import defs
from provisioning_pipeline.defs.members.sensors import clerk_changes
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.serving import LoopbackServer
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.world import World

NEW = "new.colleague@acme.example"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Two ready tenants, and a stand-in Clerk whose webhooks reach the running application."""
    options = SandboxOptions(tenants=2, members=2, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as sandbox:
        for name, value in sandbox.environment().items():
            monkeypatch.setenv(name, value)
        world = World(sandbox)
        world.apply()
        secret = world.settings.clerk_webhook_secret
        assert secret is not None
        server = LoopbackServer(create_app(world.settings))
        server.start()
        sandbox.clerk.set_webhook(f"{server.url}/webhooks/clerk", secret.get_secret_value())
        try:
            yield world
        finally:
            server.stop()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def tick(instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    result = clerk_changes(dg.build_sensor_context(instance=instance))
    assert isinstance(result, dg.RunRequest | dg.SkipReason)
    return result


def follow(instance: dg.DagsterInstance) -> list[str]:
    """What Dagster's daemon does at a tick: run what the sensor asks for. The tenants of that run."""
    request = tick(instance)
    assert isinstance(request, dg.RunRequest), request
    result = defs.resolve_job_def("reconcile_tenants").execute_in_process(
        instance=instance, run_config=request.run_config, tags=dict(request.tags), raise_on_error=False
    )
    assert result.success
    return list(request.run_config["ops"]["detect_tenants"]["config"]["tenants"])


def join(world: World) -> None:
    clerk = world.sandbox.clerk
    user = clerk.state.user_by_email(NEW) or clerk.add_user(NEW, first_name="New", last_name="Colleague")
    clerk.add_membership(world.organization("acme"), user.id)
    clerk.wait_for_webhooks()


def test_a_membership_added_at_clerk_is_a_ready_member_after_the_next_tick(
    world: World, instance: dg.DagsterInstance
) -> None:
    join(world)

    assert follow(instance) == [world.link("acme")["database_name"]]

    assert world.sees_as("acme", NEW)["status"] == "COMPLETED"
    assert isinstance(tick(instance), dg.SkipReason)


def test_removed_at_clerk_is_refused_at_twenty_with_the_seconds_since_clerks_event(
    world: World, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISIONING_MEMBERS_GONE", "remove")
    gone = "juergen.mueller@acme.example"
    world.sandbox.clerk.remove_membership(world.organization("acme"), world.clerk_user(gone))
    world.sandbox.clerk.wait_for_webhooks()

    follow(instance)

    assert gone not in world.members("acme")
    detail = world.registry("SELECT detail FROM provisioning.outcome WHERE change = 'remove member'")[0][0]
    assert "s after the change at Clerk" in detail


def test_a_lost_event_is_made_good_by_the_next_whole_run(world: World) -> None:
    world.sandbox.clerk.webhooks.forget_endpoint()
    join(world)
    assert world.registry("SELECT count(*) FROM provisioning.tenant_link WHERE marked_at IS NOT NULL")[0][0] == 0

    world.apply()

    assert world.sees_as("acme", NEW)["status"] == "COMPLETED"


def leave_and_join(world: World) -> None:
    join(world)
    world.sandbox.clerk.remove_membership(world.organization("acme"), world.clerk_user(NEW))
    join(world)


def join_and_leave(world: World) -> None:
    join(world)
    world.sandbox.clerk.remove_membership(world.organization("acme"), world.clerk_user(NEW))
    world.sandbox.clerk.wait_for_webhooks()


@pytest.mark.parametrize(("happens", "there"), [(leave_and_join, True), (join_and_leave, False)])
def test_whatever_the_events_said_and_in_which_order_the_truth_is_read(
    world: World, instance: dg.DagsterInstance, happens: Callable[[World], None], there: bool
) -> None:
    happens(world)

    follow(instance)

    assert (NEW in world.members("acme")) is there


def test_while_clerk_cannot_be_read_the_mark_stays(world: World, instance: dg.DagsterInstance) -> None:
    join(world)
    world.sandbox.clerk.faults.scripted.append(
        ScriptedFault("GET /organizations/{organization_id}/memberships", "error", times=4)
    )

    follow(instance)
    assert NEW not in world.members("acme")
    waiting = tick(instance)
    assert isinstance(waiting, dg.SkipReason)
    assert "left them due" in str(waiting.skip_message)

    world.apply("acme")
    assert NEW in world.members("acme")
    assert "Nothing" in str(tick(instance).skip_message)  # type: ignore[union-attr]


def test_a_forged_event_changes_nothing(world: World, instance: dg.DagsterInstance) -> None:
    url = world.sandbox.clerk.webhooks.url
    assert url is not None
    body = (
        f'{{"type":"organizationMembership.created","data":{{"organization":{{"id":"{world.organization("acme")}"}}}}}}'
    )

    answer = httpx.post(
        url, content=body, headers={"svix-id": "msg_1", "svix-timestamp": "1", "svix-signature": "v1,x"}
    )

    assert answer.status_code == 400
    assert isinstance(tick(instance), dg.SkipReason)
