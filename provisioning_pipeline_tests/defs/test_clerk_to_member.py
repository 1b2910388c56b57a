"""From a change at Clerk to a ready member: webhook over HTTP, mark, sensor, run, real login."""

import itertools
from collections.abc import Callable, Iterator

import dagster as dg
import httpx2
import pytest

from provisioning_pipeline.definitions import defs
from provisioning_pipeline.defs.launching import clerk_changes
from provisioning_pipeline.http.app import create_app
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.serving import LoopbackServer
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.defs.conftest import world_of
from provisioning_pipeline_tests.world import World

NUMBERS = itertools.count(1)


def new(slug: str) -> str:
    """Who joins the tenant."""
    return f"new.colleague@{slug}.example"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxOptions(tenants=0, twenty=(TwentyOptions(activation_seconds=0.0),))) as made:
        yield made


@pytest.fixture(scope="module")
def api(sandbox: Sandbox) -> Iterator[str]:
    """The running application's URL for webhooks."""
    server = LoopbackServer(create_app(World(sandbox).settings))
    server.start()
    try:
        yield f"{server.url}/webhooks/clerk"
    finally:
        server.stop()


@pytest.fixture
def slug() -> str:
    return f"tenant-{next(NUMBERS)}"


@pytest.fixture
def world(sandbox: Sandbox, api: str, slug: str, monkeypatch: pytest.MonkeyPatch) -> World:
    """A ready tenant of two people, and a stand-in Clerk whose webhooks reach the running application."""
    world = world_of(sandbox, monkeypatch)
    sandbox.clerk.webhooks.forget_endpoint()
    sandbox.clerk.faults.scripted.clear()
    sandbox.add_tenant(slug, members=2)
    world.apply()
    secret = world.settings.clerk_webhook_secret
    assert secret is not None
    sandbox.clerk.set_webhook(api, secret.get_secret_value())
    return world


def tick(instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    result = clerk_changes(dg.build_sensor_context(instance=instance))
    assert isinstance(result, list | dg.SkipReason)
    if isinstance(result, dg.SkipReason):
        return result
    (request,) = result
    return request


def follow(instance: dg.DagsterInstance) -> list[str]:
    """What Dagster's daemon does at a tick: run what the sensor asks for. The tenants of that run."""
    request = tick(instance)
    assert isinstance(request, dg.RunRequest), request
    result = defs.resolve_job_def("reconcile_tenants").execute_in_process(
        instance=instance, run_config=request.run_config, tags=dict(request.tags), raise_on_error=False
    )
    assert result.success
    return list(request.run_config["ops"]["detect_tenants"]["config"]["tenants"])


def join(world: World, slug: str) -> None:
    clerk = world.sandbox.clerk
    user = clerk.state.user_by_email(new(slug)) or clerk.add_user(new(slug), first_name="New", last_name="Colleague")
    clerk.add_membership(world.organization(slug), user.id)
    clerk.wait_for_webhooks()


@pytest.mark.slow
def test_a_membership_added_at_clerk_is_a_ready_member_after_the_next_tick(
    world: World, slug: str, instance: dg.DagsterInstance
) -> None:
    join(world, slug)

    assert follow(instance) == [world.link(slug)["database_name"]]

    assert world.sees_as(slug, new(slug))["status"] == "COMPLETED"
    assert isinstance(tick(instance), dg.SkipReason)


@pytest.mark.slow
def test_removed_at_clerk_is_refused_at_twenty_with_the_seconds_since_clerks_event(
    world: World, slug: str, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISIONING_MEMBERS_GONE", "remove")
    gone = f"juergen.mueller@{slug}.example"
    world.sandbox.clerk.remove_membership(world.organization(slug), world.clerk_user(gone))
    world.sandbox.clerk.wait_for_webhooks()

    follow(instance)

    assert gone not in world.members(slug)
    detail = world.registry(
        "SELECT detail FROM provisioning.outcome WHERE change = 'remove member' AND detail LIKE %s", f"{gone}%"
    )[0][0]
    assert "s after the change at Clerk" in detail


@pytest.mark.slow
def test_a_lost_event_is_made_good_by_the_next_whole_run(world: World, slug: str) -> None:
    world.sandbox.clerk.webhooks.forget_endpoint()
    join(world, slug)
    assert world.registry("SELECT count(*) FROM provisioning.tenant_link WHERE marked_at IS NOT NULL")[0][0] == 0

    world.apply()

    assert world.sees_as(slug, new(slug))["status"] == "COMPLETED"


def leave_and_join(world: World, slug: str) -> None:
    join(world, slug)
    world.sandbox.clerk.remove_membership(world.organization(slug), world.clerk_user(new(slug)))
    join(world, slug)


def join_and_leave(world: World, slug: str) -> None:
    join(world, slug)
    world.sandbox.clerk.remove_membership(world.organization(slug), world.clerk_user(new(slug)))
    world.sandbox.clerk.wait_for_webhooks()


@pytest.mark.slow
@pytest.mark.parametrize(("happens", "there"), [(leave_and_join, True), (join_and_leave, False)])
def test_whatever_the_events_said_and_in_which_order_the_truth_is_read(
    world: World, slug: str, instance: dg.DagsterInstance, happens: Callable[[World, str], None], there: bool
) -> None:
    happens(world, slug)

    follow(instance)

    assert (new(slug) in world.members(slug)) is there


@pytest.mark.slow
def test_while_clerk_cannot_be_read_the_mark_stays(world: World, slug: str, instance: dg.DagsterInstance) -> None:
    join(world, slug)
    world.sandbox.clerk.faults.scripted.append(
        ScriptedFault("GET /organizations/{organization_id}/memberships", "error", times=4)
    )

    follow(instance)
    assert new(slug) not in world.members(slug)
    waiting = tick(instance)
    assert isinstance(waiting, dg.SkipReason)
    assert "left them due" in str(waiting.skip_message)

    world.apply(slug)
    assert new(slug) in world.members(slug)
    at_rest = tick(instance)
    assert isinstance(at_rest, dg.SkipReason)
    assert "Nothing" in str(at_rest.skip_message)


def test_a_forged_event_changes_nothing(world: World, slug: str, instance: dg.DagsterInstance) -> None:
    url = world.sandbox.clerk.webhooks.url
    assert url is not None
    body = (
        f'{{"type":"organizationMembership.created","data":{{"organization":{{"id":"{world.organization(slug)}"}}}}}}'
    )

    answer = httpx2.post(
        url, content=body, headers={"svix-id": "msg_1", "svix-timestamp": "1", "svix-signature": "v1,x"}
    )

    assert answer.status_code == 400
    assert isinstance(tick(instance), dg.SkipReason)
