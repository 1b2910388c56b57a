"""A tenant manager before a whole sandbox: what it asks for is made by real runs."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from provisioning_pipeline_tests.http.dagster_stand_in import StandInDagster, running_dagster
from provisioning_pipeline_tests.http.services import (
    accepted,
    caller,
    key_of,
    ready,
    reconciled_by,
    serving,
    small_world,
)
from provisioning_pipeline_tests.world import World


class Manager:
    """A tenant manager before a sandbox in which each launched run is a real reconciliation."""

    def __init__(self, world: World, dagster: StandInDagster, http: httpx2.Client) -> None:
        self.world, self.dagster, self.http = world, dagster, http

    def put(self, slug: str, wait: float = 0, **body: Any) -> httpx2.Response:
        return self.http.put(f"/v1/tenants/{slug}", params={"wait": wait}, json=body or None)


@pytest.fixture(scope="module")
def managing() -> Iterator[Manager]:
    with small_world(tenants=1, members=2) as world, running_dagster() as (dagster, server):
        world.settings = world.settings.model_copy(update={"dagster_graphql_url": f"{server.url}/graphql"})
        with serving(world.settings) as url, caller(url, key_of(world.settings)) as http:
            yield Manager(world, dagster, http)


@pytest.fixture
def manager(managing: Manager) -> Manager:
    managing.dagster.forget()
    managing.dagster.work = reconciled_by(managing.world.settings)
    return managing


class TestForReal:
    """On one sandbox, in turn."""

    @pytest.mark.slow
    def test_a_new_tenant_becomes_ready_within_one_request(self, manager: Manager) -> None:
        world = manager.world
        added = world.sandbox.add_tenant("newcomer", members=2)
        registered = added.tenant
        world.registry("DELETE FROM tenant_registry WHERE slug = 'newcomer'")

        document = ready(
            manager.put(
                "newcomer",
                wait=60,
                name="Newcomer Ltd",
                database_name=registered.database_name,
                clerk_org_id=added.clerk_org_id,
                admin_email=added.admin_email,
            )
        )

        link = world.link("newcomer")
        (workspace,) = [found for found in world.workspaces() if found.id == document["workspace_id"]]
        assert (workspace.status, workspace.deleted) == ("ACTIVE", False)
        assert document["user_id"] == link["admin_user_id"]
        assert document["onboarding_status"] == "COMPLETED"
        seen = world.sees("newcomer")
        assert (seen["status"], seen["workspace_id"], seen["user_id"]) == (
            "COMPLETED",
            document["workspace_id"],
            document["user_id"],
        )
        assert {found["type"] for found in document["conditions"] if found["status"] == "True"} >= {
            "Ready",
            "WorkspaceReady",
            "MembersSynced",
            "OnboardingComplete",
            "LoginProved",
        }
        assert document["workspace_url"] == link["workspace_url"]

    @pytest.mark.slow
    def test_asked_again_it_is_the_same_tenant_and_nothing_begins(self, manager: Manager) -> None:
        world = manager.world
        (slug,) = world.registry("SELECT slug FROM tenant_registry WHERE slug <> 'newcomer'")[0]
        row = world.registry("SELECT database_name, clerk_org_id, name FROM tenant_registry WHERE slug = %s", slug)[0]
        calls = world.mutating_calls()

        first = ready(manager.put(slug, 30, database_name=row[0], clerk_org_id=row[1], name=row[2]))
        again = ready(manager.put(slug, 30))

        assert first == again
        assert first["workspace_id"] == world.link(slug)["workspace_id"]
        assert manager.dagster.runs == []
        assert world.mutating_calls() == calls
        assert world.link(slug)["marked_at"] is None

    @pytest.mark.slow
    def test_the_tenants_timeline_tells_who_asked(self, manager: Manager) -> None:
        (slug,) = manager.world.registry("SELECT slug FROM tenant_registry WHERE slug <> 'newcomer'")[0]

        document = ready(manager.put(slug, 60, name="Renamed by its manager"))

        runs = manager.world.registry(
            "SELECT run_id, trigger FROM provisioning.run WHERE run_id = %s", document["run_id"]
        )
        assert runs == [(document["run_id"], "tenant-manager")]
        assert manager.world.registry("SELECT name FROM tenant_registry WHERE slug = %s", slug) == [
            ("Renamed by its manager",)
        ]

    @pytest.mark.slow
    def test_the_admin_who_was_asked_for_becomes_admin_where_there_is_no_organization(self, manager: Manager) -> None:
        world = manager.world
        self.with_database(world, "twenty_tenant_lonely")

        document = ready(
            manager.put("lonely", 60, database_name="twenty_tenant_lonely", admin_email="Grace.Hopper@Lonely.Example")
        )

        assert world.link("lonely")["admin_email"] == "grace.hopper@lonely.example"
        assert world.sees("lonely")["user_id"] == document["user_id"]

    @pytest.mark.slow
    def test_the_admin_who_was_asked_for_is_preferred_among_the_organizations(self, manager: Manager) -> None:
        world = manager.world
        added = world.sandbox.add_tenant("council", members=2)
        second = added.tenant.members[1]
        world.sandbox.clerk.set_role(added.clerk_org_id, second.clerk_user_id, "org:admin")
        world.registry("DELETE FROM tenant_registry WHERE slug = 'council'")

        ready(
            manager.put(
                "council",
                60,
                database_name=added.tenant.database_name,
                clerk_org_id=added.clerk_org_id,
                admin_email=second.email,
            )
        )

        assert world.link("council")["admin_email"] == second.email

    @pytest.mark.slow
    def test_a_database_that_is_not_there_yet_is_told(self, manager: Manager) -> None:
        document = accepted(manager.put("early", 60, database_name="twenty_tenant_early"))

        assert (document["state"], document["waiting"]) == ("unwell", False)
        assert "DatabaseMissing" in {condition["reason"] for condition in document["conditions"]}
        self.with_database(manager.world, "twenty_tenant_early")

        document = ready(manager.put("early", 60, admin_email="ada@early.example"))

        assert document["user_id"] == manager.world.link("early")["admin_user_id"]

    @staticmethod
    def with_database(world: World, name: str) -> None:
        """What a tenant manager makes before or after it asks."""
        world.sandbox.postgres.create_database(name)
