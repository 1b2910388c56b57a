"""The fleets that the sandbox seeds, and the tenants that are added to them."""

from typing import Any

import httpx2
import pytest
from psycopg.conninfo import conninfo_to_dict

from provisioning_pipeline.sandbox import fleet
from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.lived_in import LIVED_IN_STATES, seed_lived_in
from provisioning_pipeline.sandbox.people import staff
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.registry import REGISTRY_DATABASE, SeededTenant, database_name_for


def rows(postgres: SandboxPostgres, statement: str, params: Any = None) -> list[tuple[Any, ...]]:
    return postgres.execute(REGISTRY_DATABASE, statement, params)


def test_a_fresh_fleet(empty_cluster: SandboxPostgres, clerk: StandInClerk) -> None:
    made = fleet.seed_fresh(empty_cluster, clerk, tenants=3, members=3)

    assert [tenant.slug for tenant in made] == ["acme", "brightwave", "northgate"]
    names = {tenant.database_name for tenant in made}
    assert names < empty_cluster.databases()
    found = rows(
        empty_cluster,
        "SELECT r.database_name, r.status, r.clerk_org_id, u.email, u.clerk_user_id FROM tenant_registry r"
        " JOIN global_users u ON u.id = r.admin_user_id ORDER BY r.slug",
    )
    for tenant, row in zip(made, found, strict=True):
        assert tenant.admin is not None
        admin = (tenant.admin.email, tenant.admin.clerk_user_id)
        assert row == (tenant.database_name, "provisioning", tenant.clerk_org_id, *admin)
        roles = [member.role for member in clerk.state.members_of(str(tenant.clerk_org_id))]
        assert roles == ["org:admin", "org:member", "org:member"]
    emails = [email.status for user in clerk.state.users.values() for email in user.emails]
    assert emails == ["verified"] * 9
    (url,) = rows(empty_cluster, "SELECT database_url FROM tenant_registry WHERE slug = 'acme'")[0]
    assert conninfo_to_dict(url)["password"]
    assert empty_cluster.execute(made[0].database_name, "SELECT current_database()")


def test_the_same_fleet_every_time(empty_cluster: SandboxPostgres) -> None:
    def seed() -> list[SeededTenant]:
        with StandInClerk() as clerk:
            return fleet.seed_fresh(empty_cluster, clerk, tenants=30, members=1, databases=False)

    first = seed()
    empty_cluster.drop_database(REGISTRY_DATABASE)

    assert seed() == first
    assert len({tenant.slug for tenant in first}) == 30
    assert all(len(tenant.slug) <= 30 for tenant in first)


def test_many_people_have_addresses_of_their_own() -> None:
    people = staff("acme.example", 40)

    assert len({person.email.lower() for person in people}) == 40


@pytest.mark.parametrize("slug", ["a", "", "a" * 40, "long-" * 12])
def test_database_names_fit(slug: str) -> None:
    name = database_name_for(slug)

    assert name.startswith("twenty_tenant_")
    assert len(name) <= 63
    assert len(name.rpartition("_")[2]) == 8


def test_a_broken_tenant_has_no_database(empty_cluster: SandboxPostgres, clerk: StandInClerk) -> None:
    broken = fleet.seed_broken(empty_cluster, clerk)

    assert rows(empty_cluster, "SELECT database_name FROM tenant_registry") == [(broken.database_name,)]
    assert broken.database_name not in empty_cluster.databases()


@pytest.fixture(scope="class")
def lived_in(
    sandbox_postgres: SandboxPostgres,
) -> Any:
    with StandInClerk() as clerk:
        made = {tenant.slug: tenant for tenant in seed_lived_in(sandbox_postgres, clerk)}
        yield sandbox_postgres, clerk, made
    for name in sandbox_postgres.databases():
        if name.startswith(("twenty_tenant_", "tenant_manager")):
            sandbox_postgres.drop_database(name)


class TestLivedIn:
    """One test per kind of state; the table says what each tenant is."""

    def test_every_state_is_there_and_explained(self, lived_in: Any) -> None:
        postgres, _, made = lived_in
        slugs = {slug for (slug,) in rows(postgres, "SELECT slug FROM tenant_registry")}

        assert set(made) == set(LIVED_IN_STATES)
        assert slugs == set(made) - {"database-without-row"}
        assert all(sentence.endswith(".") for sentence in LIVED_IN_STATES.values())

    def test_databases(self, lived_in: Any) -> None:
        postgres, _, made = lived_in
        missing = {slug for slug in made if made[slug].database_name not in postgres.databases()}

        assert missing == {"row-without-database"}
        assert made[""].database_name.startswith("twenty_tenant__")
        long_one = made["name-cut-to-thirty-characters-because-it-was-long"].database_name
        assert long_one.startswith("twenty_tenant_name-cut-to-thirty-characters-_")

    def test_copies_of_core(self, lived_in: Any) -> None:
        postgres, _, made = lived_in

        def tables(slug: str) -> int:
            statement = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'core'"
            return int(postgres.execute(made[slug].database_name, statement)[0][0])

        assert tables("database-without-schema") == 0
        assert tables("partial-core") == 2
        assert tables("hand-made-workspace") >= 8
        statement = (
            'SELECT "activationStatus"::text, "databaseSchema", (SELECT count(*) FROM core."objectMetadata"),'
            ' (SELECT count(*) FROM core."user") FROM core.workspace'
        )
        for slug, schema in (
            ("hand-made-workspace", None),
            ("database-without-row", None),
            ("schema-named-by-slug", "workspace_schema-named-by-slug"),
        ):
            assert postgres.execute(made[slug].database_name, statement) == [("ACTIVE", schema, 0, 3)]

    def test_roles_and_members(self, lived_in: Any) -> None:
        postgres, _, made = lived_in
        foreign = 'SELECT count(*) FROM core.role r JOIN core.workspace w ON r."workspaceId" = w.id'
        members = 'SELECT count(*) FROM workspace_users_without_members."workspaceMember"'

        assert postgres.execute(made["foreign-role"].database_name, foreign) == [(0,)]
        assert postgres.execute(made["hand-made-workspace"].database_name, foreign) == [(2,)]
        assert postgres.execute(made["users-without-members"].database_name, members) == [(0,)]

    def test_onboarding_rows(self, lived_in: Any) -> None:
        postgres, _, made = lived_in

        def onboarding(slug: str) -> set[tuple[str, str, bool, bool]]:
            statement = (
                'SELECT key, value::text, "userId" IS NOT NULL, "workspaceId" IS NOT NULL FROM core."keyValuePair"'
            )
            return {
                (key.removeprefix("ONBOARDING_").removesuffix("_PENDING"), value, user, workspace)
                for key, value, user, workspace in postgres.execute(made[slug].database_name, statement)
            }

        assert onboarding("onboarding-partly-cleared") == {
            ("INVITE_TEAM", "true", False, True),
            ("INSTALL_APPS", "true", True, True),
            ("CREATE_PROFILE", "true", True, True),
        }
        assert onboarding("onboarding-odd-values") == {
            ("CONNECT_ACCOUNT", "false", True, True),
            ("INSTALL_APPS", '"true"', True, True),
            ("CREATE_PROFILE", "true", True, True),
        }
        assert onboarding("onboarding-wider-levels") == {
            ("CREATE_PROFILE", "true", False, True),
            ("CONNECT_ACCOUNT", "true", True, False),
            ("CREATE_PROFILE", "false", True, True),
        }

    def test_registry_and_clerk(self, lived_in: Any) -> None:
        postgres, clerk, made = lived_in
        statement = "SELECT slug, status, clerk_org_id, database_url FROM tenant_registry"
        registry = {slug: rest for slug, *rest in rows(postgres, statement)}

        assert registry["suspended-tenant"][0] == "suspended"
        assert registry["no-organization"][1] is None
        assert registry["organization-gone"][1] not in clerk.state.organizations
        assert "kept-in-clear" in registry["password-in-url"][2]
        roles = {member.role for member in clerk.state.members_of(registry["organization-without-admin"][1])}
        assert roles == {"org:member"}
        admin = clerk.state.user(made["admin-not-verified"].admin.clerk_user_id)
        assert [email.status for email in admin.emails] == ["unverified"]


@pytest.fixture
def where(empty_cluster: SandboxPostgres, clerk: StandInClerk) -> dict[str, Any]:
    fleet.prepare(empty_cluster)
    return {
        "registry_url": empty_cluster.url(REGISTRY_DATABASE),
        "clerk_base_url": clerk.base_url,
        "clerk_secret_key": clerk.secret_key,
    }


def test_adding_a_tenant(where: dict[str, Any], empty_cluster: SandboxPostgres, clerk: StandInClerk) -> None:
    added = fleet.add_tenant(**where, slug="Late-Comer", members=3)

    assert added.slug == "late-comer"
    assert added.tenant.name == "Late Comer"
    assert added.database_name in empty_cluster.databases()
    assert len(clerk.state.members_of(added.clerk_org_id)) == 3
    (row,) = rows(empty_cluster, "SELECT database_url, clerk_org_id FROM tenant_registry")
    assert conninfo_to_dict(row[0])["dbname"] == added.database_name
    assert row[1] == added.clerk_org_id


def test_adding_it_twice_is_refused(where: dict[str, Any], empty_cluster: SandboxPostgres) -> None:
    fleet.add_tenant(**where, slug="once", members=1)

    with pytest.raises(fleet.TenantExistsError, match="once"):
        fleet.add_tenant(**where, slug="once", members=1)

    assert rows(empty_cluster, "SELECT count(*) FROM tenant_registry") == [(1,)]


@pytest.mark.parametrize("slug", ["", "-a", "a-", "a b", "ümlaut", "a" * 41, "a/b", "a\n"])
def test_bad_slugs_are_refused(slug: str) -> None:
    with pytest.raises(fleet.SlugError, match="letters, digits and hyphens"):
        fleet.check_slug(slug)


def test_what_is_no_sandbox_is_not_touched(where: dict[str, Any], empty_cluster: SandboxPostgres) -> None:
    with StandInClerk() as stopped:
        where["clerk_base_url"] = stopped.base_url

    with pytest.raises(fleet.NotASandboxError, match="no sandbox"):
        fleet.add_tenant(**where, slug="acme")

    assert rows(empty_cluster, "SELECT count(*) FROM tenant_registry") == [(0,)]


def test_somebody_known_joins_another_tenant(where: dict[str, Any], clerk: StandInClerk) -> None:
    known = clerk.add_user("olivia.bennett@twice.example")

    added = fleet.add_tenant(**where, slug="twice", members=1)

    assert [member.user_id for member in clerk.state.members_of(added.clerk_org_id)] == [known.id]
    assert httpx2.get(f"{clerk.frontend_url}/sandbox/state").json()["users"] == 1
