"""The role that opens tenant databases has nothing to lose, and preflight says where it has."""

import asyncio
from collections.abc import Iterator

import pytest

from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.tasks.preflight import Check, preflight
from provisioning_pipeline_tests.granted import TENANT_ROLE, grant_tenant_database, tenant_role
from provisioning_pipeline_tests.undoing import Site

MIGHT = {
    f"ALTER ROLE {TENANT_ROLE} CREATEROLE": ("has CREATEROLE", f'ALTER ROLE "{TENANT_ROLE}" NOCREATEROLE'),
    f"GRANT pg_write_server_files TO {TENANT_ROLE}": (
        "is a member of pg_write_server_files",
        f'REVOKE "pg_write_server_files" FROM "{TENANT_ROLE}"',
    ),
    f"ALTER DATABASE mighty OWNER TO {TENANT_ROLE}": ("owns the databases mighty", 'ALTER DATABASE "mighty" OWNER TO'),
    f"GRANT mighty_owner TO {TENANT_ROLE}; ALTER DATABASE mighty OWNER TO mighty_owner": (
        "owns the databases mighty",
        'ALTER DATABASE "mighty" OWNER TO',
    ),
}
UNDONE = (
    f"ALTER ROLE {TENANT_ROLE} NOCREATEROLE; REVOKE pg_write_server_files, mighty_owner FROM {TENANT_ROLE};"
    "ALTER DATABASE mighty OWNER TO postgres"
)


@pytest.fixture(scope="module")
def site(sandbox_postgres: SandboxPostgres) -> Iterator[Site]:
    made = Site(sandbox_postgres)
    tenant_role(sandbox_postgres)
    sandbox_postgres.create_database("mighty")
    sandbox_postgres.execute("postgres", "CREATE ROLE mighty_owner")
    yield made
    sandbox_postgres.drop_database("mighty")
    sandbox_postgres.execute("postgres", "DROP ROLE mighty_owner")


def cluster_check(site: Site, url: str, **overrides: str) -> Check:
    given = {"tenant_cluster_url": url, "tenant_database_pattern": f"{site.mark}$"} | overrides
    settings = site.settings(**given)
    (check,) = [one for one in asyncio.run(preflight(settings)) if one.system == "Tenant cluster"]
    return check


def test_a_superuser_is_refused(site: Site) -> None:
    check = cluster_check(site, site.postgres.url())
    assert not check.ok
    assert "postgres opens tenant databases, whose owners we do not know, and is a superuser" in check.found
    assert "CREATE ROLE provisioning_tenants" in check.found


@pytest.mark.slow
@pytest.mark.parametrize("given", MIGHT)
def test_a_role_that_may_do_more_than_its_work_is_refused_with_what_mends_it(site: Site, given: str) -> None:
    site.postgres.execute("postgres", given)
    try:
        check = cluster_check(site, tenant_role(site.postgres))
    finally:
        site.postgres.execute("postgres", UNDONE)
    found, mended_by = MIGHT[given]
    assert not check.ok
    assert found in check.found
    assert mended_by in check.found


@pytest.mark.slow
def test_a_role_that_owns_tables_of_tenants_is_refused(site: Site) -> None:
    tenant = site.tenant("owned")
    site.postgres.execute(tenant.where, f"ALTER TABLE core.workspace OWNER TO {TENANT_ROLE}")
    try:
        check = cluster_check(site, tenant_role(site.postgres))
    finally:
        site.postgres.drop_database(tenant.where)
    assert not check.ok
    assert "owns core.workspace" in check.found
    assert f"The tenant database {tenant.where} cannot be read: permission denied for schema core." in check.found


def test_the_documented_role_is_taken_and_the_registrys_is_warned_of(site: Site) -> None:
    tenant = site.tenant("granted")
    url = grant_tenant_database(site.postgres, tenant.where).rpartition("/")[0] + "/postgres"
    try:
        check = cluster_check(site, url)
        assert (check.ok, check.warning) == (True, False), check.found
        shared = cluster_check(site, url, registry_url=url)
        assert (shared.ok, shared.warning) == (True, True), shared.found
        assert f"{TENANT_ROLE} is also the registry's user" in shared.found
    finally:
        site.postgres.drop_database(tenant.where)


def test_a_tenant_that_shuts_us_out_does_not_fail_the_check_of_all(site: Site) -> None:
    shut, tenant = site.tenant("a_shut"), site.tenant("b_granted")
    url = grant_tenant_database(site.postgres, tenant.where).rpartition("/")[0] + "/postgres"
    site.postgres.execute("postgres", f'REVOKE CONNECT ON DATABASE "{shut.where}" FROM PUBLIC')
    both = f"^({shut.where}|{tenant.where})$"
    try:
        check = cluster_check(site, url, tenant_database_pattern=both)
        assert (check.ok, check.warning) == (True, False), check.found
        assert "2 tenant databases" in check.found
        site.postgres.execute("postgres", f'REVOKE CONNECT ON DATABASE "{tenant.where}" FROM PUBLIC')
        assert "permission denied for database" in cluster_check(site, url, tenant_database_pattern=both).found
    finally:
        site.postgres.drop_database(shut.where)
        site.postgres.drop_database(tenant.where)


def test_a_tenant_that_gives_us_no_rights_does_not_fail_the_check_of_all(site: Site) -> None:
    bare, tenant = site.tenant("a_bare"), site.tenant("b_granted")
    url = grant_tenant_database(site.postgres, tenant.where).rpartition("/")[0] + "/postgres"
    both = f"^({bare.where}|{tenant.where})$"
    try:
        check = cluster_check(site, url, tenant_database_pattern=both)
        assert (check.ok, check.warning) == (True, False), check.found
        alone = cluster_check(site, url, tenant_database_pattern=f"^{bare.where}$")
    finally:
        site.postgres.drop_database(bare.where)
        site.postgres.drop_database(tenant.where)
    assert not alone.ok
    assert alone.found.startswith(f"The tenant database {bare.where} cannot be read: permission denied for schema core")
    assert "docs/installation.md#database-privileges" in alone.found


@pytest.mark.slow
def test_each_tenant_database_is_opened_by_its_own_user(site: Site) -> None:
    tenant = site.tenant("own_user")
    own = f"own_{tenant.where}"[:63]
    site.postgres.execute("postgres", f"CREATE ROLE \"{own}\" LOGIN PASSWORD 'choose-one' CREATEROLE")
    try:
        check = cluster_check(site, tenant_role(site.postgres), tenant_database_user="own_{database}")
    finally:
        site.postgres.drop_database(tenant.where)
        site.postgres.execute("postgres", f'DROP ROLE "{own}"')
    assert not check.ok
    assert f"Our user {own} opens tenant databases, whose owners we do not know, and has CREATEROLE" in check.found
    assert f"The tenant database {tenant.where} cannot be read: permission denied for schema core." in check.found
