"""What docs/installation.md grants is what the roles of the tests have, and no more."""

from collections.abc import Iterator

import psycopg
import pytest

from provisioning_pipeline.sandbox.hand_made import create_core
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.twenty import core_sql
from provisioning_pipeline_tests.granted import (
    ROLE_PER_DATABASE,
    TENANT_ROLE,
    documented,
    grant_tenant_database,
    tenant_owner,
)

DATABASE = "granted_tenant"


@pytest.fixture(scope="module")
def postgres(sandbox_postgres: SandboxPostgres) -> Iterator[SandboxPostgres]:
    sandbox_postgres.create_database(DATABASE)
    sandbox_postgres.execute(DATABASE, core_sql())
    yield sandbox_postgres
    sandbox_postgres.drop_database(DATABASE)


def test_the_documented_statements_make_a_role_that_may_do_nothing_else(postgres: SandboxPostgres) -> None:
    with psycopg.connect(grant_tenant_database(postgres, DATABASE)) as connection:
        connection.execute('SELECT FROM core."keyValuePair" FOR UPDATE')
        held = connection.execute(
            "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls OR EXISTS ("
            "SELECT FROM pg_auth_members WHERE member = r.oid) FROM pg_roles r WHERE rolname = current_user"
        ).fetchone()
        assert held == (False,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE core.ours ()")
    may = dict(
        postgres.execute(
            DATABASE,
            "SELECT c.relname, array_agg(a.privilege_type ORDER BY a.privilege_type)::text "
            "FROM pg_class c, aclexplode(c.relacl) a WHERE a.grantee = %s::regrole GROUP BY 1",
            [TENANT_ROLE],
        )
    )
    assert may == {
        "keyValuePair": "{DELETE,INSERT,SELECT,UPDATE}",
        "user": "{SELECT,UPDATE}",
        "workspace": "{SELECT,UPDATE}",
        **dict.fromkeys(("userWorkspace", "role", "roleTarget", "objectMetadata"), "{SELECT}"),
    }


@pytest.mark.slow
def test_the_sandbox_grants_exactly_what_is_documented(postgres: SandboxPostgres) -> None:
    rights = "SELECT c.relname, c.relacl::text FROM pg_class c WHERE relnamespace = 'core'::regnamespace ORDER BY 1"
    grant_tenant_database(postgres, DATABASE)
    postgres.create_database("granted_by_sandbox")
    try:
        with postgres.connect("granted_by_sandbox") as connection:
            create_core(connection)
        granted = [dict(postgres.execute(name, rights)) for name in (DATABASE, "granted_by_sandbox")]
    finally:
        postgres.drop_database("granted_by_sandbox")
    documented_for, made_for = ({name: set(_entries(acl)) for name, acl in one.items()} for one in granted)
    assert made_for == documented_for


def _entries(acl: str | None) -> list[str]:
    return [entry.partition("/")[0] for entry in (acl or "{}").strip("{}").split(",") if TENANT_ROLE in entry]


def test_the_owner_of_a_tenant_database_owns_all_in_it(postgres: SandboxPostgres) -> None:
    with psycopg.connect(tenant_owner(postgres, DATABASE)) as connection:
        connection.execute("CREATE SCHEMA own; ALTER TABLE core.workspace ADD COLUMN more text")
        connection.execute("ALTER TYPE core.\"keyValuePair_type_enum\" ADD VALUE 'MORE'")
        connection.rollback()


def test_one_role_per_tenant_database_gets_into_no_other(postgres: SandboxPostgres) -> None:
    postgres.create_database("twenty_tenant_acme")
    try:
        postgres.execute("postgres", documented(ROLE_PER_DATABASE))
        mine = f"postgresql://provisioning_twenty_tenant_acme:another-one@127.0.0.1:{postgres.port}"
        with psycopg.connect(f"{mine}/twenty_tenant_acme") as connection:
            connection.execute("CREATE TEMPORARY VIEW bound AS SELECT 1 AS one")
        with pytest.raises(psycopg.OperationalError, match="CONNECT"):
            psycopg.connect(f"postgresql://{TENANT_ROLE}:choose-one@127.0.0.1:{postgres.port}/twenty_tenant_acme")
    finally:
        postgres.drop_database("twenty_tenant_acme")
        postgres.execute("postgres", "DROP ROLE IF EXISTS provisioning_twenty_tenant_acme")
