"""Our client and our examples before the real application, in which each launched run is a real reconciliation."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from provisioning_pipeline.client import AsyncProvisioningClient, NotReady, ProvisioningClient, ProvisioningError
from provisioning_pipeline_tests.client.test_examples import EXAMPLES, PROGRAMS, ROOT
from provisioning_pipeline_tests.http.dagster_stand_in import StandInDagster, running_dagster
from provisioning_pipeline_tests.http.services import key_of, reconciled_by, serving, small_world
from provisioning_pipeline_tests.world import World

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class RealDoor:
    """The application, a key, and what its runs act on."""

    url: str
    key: str
    world: World
    dagster: StandInDagster

    def new_tenant(self, slug: str) -> tuple[str, str, str]:
        """Database, organization and admin of a tenant that the registry does not know yet."""
        added = self.world.sandbox.add_tenant(slug, members=2)
        self.world.registry("DELETE FROM tenant_registry WHERE slug = %s", slug)
        return added.tenant.database_name, added.clerk_org_id, added.admin_email


@pytest.fixture(scope="module")
def real_door() -> Iterator[RealDoor]:
    with small_world(tenants=1, members=2) as world, running_dagster() as (dagster, server):
        settings = world.settings.model_copy(update={"dagster_graphql_url": f"{server.url}/graphql"})
        dagster.work = reconciled_by(settings)
        with serving(settings) as url:
            yield RealDoor(url, key_of(settings), world, dagster)


@pytest.fixture
def client(real_door: RealDoor) -> Iterator[ProvisioningClient]:
    with ProvisioningClient(real_door.url, real_door.key) as made:
        yield made


def test_a_tenant_is_registered_and_waited_for(real_door: RealDoor, client: ProvisioningClient) -> None:
    database_name, organization, admin = real_door.new_tenant("blocking")

    asked = client.put_tenant(
        "blocking", name="Blocking Ltd", database_name=database_name, clerk_org_id=organization, admin_email=admin
    )
    tenant = client.wait_until_ready("blocking", timeout_seconds=60)

    link = real_door.world.link("blocking")
    assert asked.slug == tenant.slug == "blocking"
    assert tenant.ready
    assert (str(tenant.workspace_id), str(tenant.user_id)) == (link["workspace_id"], link["admin_user_id"])
    assert tenant.onboarding_status == "COMPLETED"
    assert real_door.world.sees("blocking")["workspace_id"] == str(tenant.workspace_id)
    assert client.tenant("blocking").workspace_url == tenant.workspace_url == link["workspace_url"]
    again = client.put_tenant("blocking", wait=5)
    assert (again.ready, again.workspace_id) == (True, tenant.workspace_id)


@pytest.mark.slow
def test_it_is_waited_for_by_the_server_too(real_door: RealDoor, client: ProvisioningClient) -> None:
    database_name, organization, _ = real_door.new_tenant("patient")

    tenant = client.put_tenant("patient", database_name=database_name, clerk_org_id=organization, wait=60)

    assert tenant.ready
    assert [run.tags["trigger"] for run in real_door.dagster.runs][-1:] == ["tenant-manager"]


def test_a_tenant_is_looked_at_again(real_door: RealDoor, client: ProvisioningClient) -> None:
    (slug,) = real_door.world.registry("SELECT slug FROM tenant_registry ORDER BY created_at, slug LIMIT 1")[0]
    runs = len(real_door.dagster.runs)

    tenant = client.reconcile(slug, wait=60)

    assert tenant.ready
    assert len(real_door.dagster.runs) == runs + 1
    assert tenant.run_id == real_door.dagster.runs[-1].id


def test_every_tenant_and_the_timeline_of_one(real_door: RealDoor, client: ProvisioningClient) -> None:
    known = {row[0] for row in real_door.world.registry("SELECT slug FROM provisioning.tenant_link")}

    assert {tenant.slug for tenant in client.tenants()} == known
    ready = list(client.tenants(state="ready"))
    assert ready
    assert all(tenant.ready for tenant in ready)
    organization = ready[0].clerk_org_id
    assert [tenant.slug for tenant in client.tenants(clerk_org_id=organization)] == [ready[0].slug]
    events = list(client.timeline(ready[0].slug))
    assert events
    assert [event.at for event in events] == sorted((event.at for event in events), reverse=True)


@pytest.mark.slow
def test_the_asynchronous_client_does_the_same(real_door: RealDoor) -> None:
    database_name, organization, _ = real_door.new_tenant("asynchronous")

    async def work() -> tuple[bool, list[str]]:
        async with AsyncProvisioningClient(real_door.url, real_door.key) as client:
            await client.put_tenant("asynchronous", database_name=database_name, clerk_org_id=organization)
            tenant = await client.wait_until_ready("asynchronous", timeout_seconds=60)
            return tenant.ready, [found.slug async for found in client.tenants()]

    ready, found = asyncio.run(work())

    assert ready
    assert "asynchronous" in found


def test_refusals_say_what_is_wrong(real_door: RealDoor, client: ProvisioningClient) -> None:
    (name,) = real_door.world.registry("SELECT database_name FROM tenant_registry ORDER BY created_at LIMIT 1")[0]
    with pytest.raises(ProvisioningError) as unknown:
        client.tenant("nobody")
    with pytest.raises(ProvisioningError) as taken:
        client.put_tenant("another", database_name=name)
    with pytest.raises(ProvisioningError) as malformed:
        client.put_tenant("another", database_name="postgres")
    with (
        ProvisioningClient(real_door.url, "pvk_000000000000_wrong") as stranger,
        pytest.raises(ProvisioningError) as no,
    ):
        stranger.tenant("nobody")

    assert [error.value.status for error in (unknown, taken, malformed, no)] == [404, 409, 422, 401]
    assert "is registered as tenant" in str(taken.value)
    assert "pvk_000000000000_wrong" not in str(no.value)


def test_what_does_not_become_ready_says_why(real_door: RealDoor, client: ProvisioningClient) -> None:
    client.put_tenant("early", database_name="twenty_tenant_early", admin_email="ada@early.example", wait=60)

    with pytest.raises(NotReady) as caught:
        client.wait_until_ready("early", timeout_seconds=0)

    assert "DatabaseMissing" in [condition.reason for condition in caught.value.tenant.conditions]


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_each_example_makes_a_tenant_ready(real_door: RealDoor, program: str) -> None:
    command, tools = PROGRAMS[program]
    missing = [name for name in [*command, *tools] if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")
    slug = f"by-{program.rpartition('.')[2]}"
    database_name, organization, admin = real_door.new_tenant(slug)

    done = subprocess.run(
        [*command, str(EXAMPLES / program), slug, database_name, organization, admin],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PROVISIONING_API_URL": real_door.url,
            "PROVISIONING_API_KEY": real_door.key,
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    link = real_door.world.link(slug)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"workspace_id {link['workspace_id']}",
        f"user_id {link['admin_user_id']}",
        f"workspace_url {link['workspace_url']}",
    ]
    assert link["admin_email"] == admin
