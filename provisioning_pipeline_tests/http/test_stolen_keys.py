"""Somebody with an API key and a Clerk account of their own goes for a customer's workspace: from end to end."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from provisioning_pipeline_tests.http.services import accepted, caller, key_of, problem, serving, small_world
from provisioning_pipeline_tests.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
EVIL = "twenty_tenant_evil"


class Attack:
    """The attacker's key, and a ready customer whose organization the ledger alone knows."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.victim: str = world.registry("SELECT slug FROM tenant_registry")[0][0]
        self.organization = world.organization(self.victim)
        self.members = world.members(self.victim)
        # as if it never stood in the registry: a run finds it by the organization's metadata
        world.registry("UPDATE tenant_registry SET clerk_org_id = NULL")
        world.registry("UPDATE provisioning.tenant_link SET clerk_org_id = NULL")
        world.apply()
        clerk = world.sandbox.clerk
        self.own_organization = clerk.add_organization("Evil", slug="evil").id
        self.attacker = clerk.add_user("mallory@evil.example").id
        clerk.add_membership(self.own_organization, self.attacker, "org:admin")

    def put(self, slug: str, **body: Any) -> httpx2.Response:
        with serving(self.world.settings) as url, caller(url, key_of(self.world.settings)) as http:
            return http.put(f"/v1/tenants/{slug}", json=body)

    def verify(self) -> httpx2.Response:
        """What a gateway is told of a member of the victim's, by a server that remembers nothing."""
        (email, *_) = self.members
        token = self.world.sandbox.clerk.session_token(self.world.clerk_user(email), self.organization)
        with serving(self.world.settings) as url, caller(url, token) as http:
            return http.get("/v1/auth/verify")

    def must_have_failed(self) -> None:
        link = self.world.link(self.victim)
        assert link["clerk_org_id"] == self.organization
        assert self.world.members(self.victim) == self.members
        answer = self.verify()
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-twenty-workspace-id"] == str(link["workspace_id"])


@pytest.fixture(scope="module")
def attack() -> Iterator[Attack]:
    with small_world(tenants=1, members=2) as world:
        world.sandbox.postgres.create_database(EVIL)
        yield Attack(world)


def test_the_customers_organization_is_not_to_be_had_for_a_tenant_of_ones_own(attack: Attack) -> None:
    answer = attack.put("evil", database_name=EVIL, clerk_org_id=attack.organization)

    assert f"is tenant {attack.victim}'s in the ledger" in problem(answer, 409)
    attack.world.apply()
    attack.must_have_failed()


@pytest.mark.parametrize("tenants", [(), ("evil",)], ids=["all tenants", "the attacker's alone"])
def test_nor_is_a_run_led_astray_by_a_row_that_names_it(attack: Attack, tenants: tuple[str, ...]) -> None:
    """As a key could write it under an earlier version, or whoever may write to the registry."""
    attack.world.registry("DELETE FROM tenant_registry WHERE slug = 'evil'")
    attack.world.registry(
        "INSERT INTO tenant_registry (slug, name, database_name, database_url, status, clerk_org_id)"
        " VALUES ('evil', 'Evil', %s, '', 'provisioning', %s)",
        *(EVIL, attack.organization),
    )

    attack.world.apply(*tenants)

    attack.must_have_failed()
    assert attack.world.link("evil")["clerk_org_id"] is None
    assert attack.world.conditions("evil")["MembersSynced"] == ("False", "OrganizationAmbiguous")


def test_the_customers_workspace_gets_no_other_organization(attack: Attack) -> None:
    told = problem(attack.put(attack.victim, clerk_org_id=attack.own_organization), 409)

    assert "has another Clerk organization already" in told
    # nor where its link was erased, as earlier versions did
    attack.world.registry(
        "UPDATE provisioning.tenant_link SET clerk_org_id = NULL, organization_moved_at = now() WHERE slug = %s",
        attack.victim,
    )
    try:
        assert "had a Clerk organization" in problem(
            attack.put(attack.victim, clerk_org_id=attack.own_organization), 409
        )
    finally:
        attack.world.registry(
            "UPDATE provisioning.tenant_link SET clerk_org_id = %s, organization_moved_at = NULL WHERE slug = %s",
            *(attack.organization, attack.victim),
        )
    attack.world.apply()
    attack.must_have_failed()


def test_an_organization_of_ones_own_is_still_to_be_had(attack: Attack) -> None:
    attack.world.sandbox.postgres.create_database("twenty_tenant_honest")

    accepted(attack.put("honest", database_name="twenty_tenant_honest", clerk_org_id=attack.own_organization))
    attack.world.apply()

    assert attack.world.link("honest")["clerk_org_id"] == attack.own_organization
    assert "mallory@evil.example" in attack.world.members("honest")
    attack.must_have_failed()
