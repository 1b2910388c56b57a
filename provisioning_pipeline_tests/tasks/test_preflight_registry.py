"""What preflight says about a registry before the first run: what is added, or the statement that its owner runs."""

import asyncio
import re
import uuid
from collections.abc import Iterator

import pytest

from provisioning_pipeline.ledger import schema
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.tasks.preflight import Check, preflight
from provisioning_pipeline_tests.http.fleet import Fleet

USUAL = "CREATE TABLE tenant_registry (slug text, database_name text, name text, status text)"
OURS = "twenty_workspace_id uuid, ADD COLUMN twenty_admin_user_id uuid, ADD COLUMN twenty_admin_email text"
ADDED = "column twenty_workspace_id (uuid), column twenty_admin_user_id (uuid) and column twenty_admin_email (text)"


class Place(Fleet):
    """A registry's database without a ledger, a tenant database, and a role that owns nothing."""

    def __init__(self, postgres: SandboxPostgres) -> None:
        super().__init__(postgres, f"preflight_{uuid.uuid4().hex[:8]}")
        self.role, self.tenant = f"reader_{uuid.uuid4().hex[:8]}", f"tenant_of_{self.name}"

    def line(self, *, as_owner: bool, system: str = "Tenant registry", **overrides: str) -> Check:
        url = self.url if as_owner else re.sub("//.*@", f"//{self.role}:reader@", self.url)
        settings = self.settings(registry_url=url, tenant_database_pattern=f"^{self.tenant}", **overrides)
        (check,) = [found for found in asyncio.run(preflight(settings)) if found.system == system]
        return check


@pytest.fixture(scope="module")
def shared_place(sandbox_postgres: SandboxPostgres) -> Iterator[Place]:
    place = Place(sandbox_postgres)
    sandbox_postgres.create_databases([place.name, place.tenant])
    place.sql(f"CREATE ROLE {place.role} LOGIN PASSWORD 'reader'")
    yield place
    place.leave()
    for name in (place.tenant, place.name):
        sandbox_postgres.drop_database(name)
    sandbox_postgres.execute("postgres", f"DROP ROLE {place.role}")


@pytest.fixture
def place(shared_place: Place) -> Place:
    shared_place.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP SCHEMA IF EXISTS provisioning CASCADE")
    shared_place.sql(f"GRANT USAGE ON SCHEMA public TO {shared_place.role}; DROP SCHEMA IF EXISTS other CASCADE")
    shared_place.sql(f"GRANT CREATE ON DATABASE {shared_place.name} TO {shared_place.role}")
    return shared_place


def test_an_owner_is_told_which_columns_and_rows_the_first_run_adds(place: Place) -> None:
    place.sql(USUAL)
    check = place.line(as_owner=True)
    assert check.ok
    assert f"tenant_registry has 0 rows; the first run adds {ADDED} to it" in check.found
    assert "the next run adds a row for 1 database that it does not know" in check.found
    assert "may ALTER" not in check.found
    assert "adds a row" not in place.line(as_owner=True, adopt_databases="false").found


def test_others_are_told_the_statement_that_the_owner_runs_and_it_helps(place: Place) -> None:
    place.sql(f"{USUAL}; GRANT SELECT ON tenant_registry TO {place.role}")
    found = place.line(as_owner=False).found
    update = rf'GRANT UPDATE \([a-z_, ]+\) ON public.tenant_registry TO "{place.role}"'
    alter = re.search(f"ALTER TABLE public.tenant_registry ADD COLUMN {OURS}; {update}", found)
    grant = re.search(rf'GRANT INSERT ON public.tenant_registry TO "{place.role}"', found)
    assert alter
    assert grant
    place.sql(f"{alter.group()}; {grant.group()}")
    found = place.line(as_owner=False).found
    assert "owner" not in found
    assert "the next run adds a row for 1 database" in found


def test_a_schema_of_somebody_else_is_told_with_a_statement_that_helps(place: Place) -> None:
    place.sql(f"{USUAL}; GRANT ALL ON tenant_registry TO {place.role}; CREATE SCHEMA provisioning")
    place.sql("CREATE TABLE provisioning.alembic_version (version_num text)")
    check = place.line(as_owner=False)
    assert not check.ok
    grants = re.search(r"GRANT USAGE, CREATE ON SCHEMA provisioning TO .*(?=\.$)", check.found)
    assert grants
    place.sql(grants.group())
    assert place.line(as_owner=False).ok
    place.sql(f"REVOKE CREATE ON SCHEMA provisioning FROM {place.role}")
    check = place.line(as_owner=False)
    assert f'GRANT USAGE, CREATE ON SCHEMA provisioning TO "{place.role}"' in check.found
    assert not check.ok


@pytest.mark.slow
def test_a_column_that_may_not_be_written_is_told_with_its_grant(place: Place) -> None:
    place.sql(
        f"{USUAL}; ALTER TABLE tenant_registry ADD COLUMN {OURS}; GRANT SELECT ON tenant_registry TO {place.role}"
    )
    found = place.line(as_owner=False).found
    assert (
        "GRANT UPDATE (status, twenty_workspace_id, twenty_admin_user_id, twenty_admin_email) ON public.tenant_registry"
    ) in found


@pytest.mark.slow
def test_a_registry_that_does_not_exist_or_is_somewhere_else(place: Place) -> None:
    assert "tenant_registry will be created" in place.line(as_owner=True).found
    place.sql("CREATE SCHEMA other; CREATE TABLE other.tenant_registry (slug text, database_name text)")
    check = place.line(as_owner=True)
    assert not check.ok
    assert "PROVISIONING_REGISTRY_TABLE=other.tenant_registry" in check.found
    place.sql(USUAL)
    assert "other.tenant_registry and public.tenant_registry have that name" in place.line(as_owner=True).found
    assert "have that name" not in place.line(as_owner=True, registry_table="public.tenant_registry").found


@pytest.mark.slow
def test_hidden_rows_are_no_empty_registry_and_no_empty_ledger(place: Place) -> None:
    place.sql(f"{USUAL}; GRANT ALL ON tenant_registry TO {place.role}")
    schema.migrate(place.url)
    place.sql(
        f"GRANT ALL ON SCHEMA provisioning TO {place.role};"
        f"GRANT ALL ON ALL TABLES IN SCHEMA provisioning TO {place.role}"
    )
    assert place.line(as_owner=False).ok
    for table in ("provisioning.tenant_link", "public.tenant_registry"):
        place.sql(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        check = place.line(as_owner=False)
        assert not check.ok
        assert f"Row-level security hides rows of {table}" in check.found
        place.sql(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")


def test_a_schema_in_which_every_role_may_plant_something_is_told(place: Place) -> None:
    place.sql(f"{USUAL}; GRANT ALL ON tenant_registry TO {place.role}; GRANT CREATE ON SCHEMA public TO PUBLIC")
    revoke = re.search(r"REVOKE CREATE ON SCHEMA public FROM PUBLIC", place.line(as_owner=False).found)
    assert revoke
    place.sql(revoke.group())
    assert "REVOKE" not in place.line(as_owner=False).found
