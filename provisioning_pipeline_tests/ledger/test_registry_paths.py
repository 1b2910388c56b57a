"""What others plant in the registry's database never runs for us, and what its owner has there goes on running."""

import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger import revisions, schema
from provisioning_pipeline.ledger.organizations import claims, store_organizations
from provisioning_pipeline.ledger.pending import Turns
from provisioning_pipeline.ledger.registration import Databases, adopt, register
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.ledger.registry_reading import known_rows
from provisioning_pipeline.ledger.registry_table import open_schemas
from provisioning_pipeline.ledger.runs import tenants_at_work
from provisioning_pipeline.ledger.serving import tenant_of
from provisioning_pipeline.model.tenant import Tenant
from provisioning_pipeline.model.tenant_request import Caller, Conflict, Registration
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.ledger.conftest import ask_ledger
from provisioning_pipeline_tests.planting import planted

ACME = Registration("acme", "Acme & Sons", "twenty_tenant_acme", "org_1", "ada@acme.test")
CALLER = Caller("0123456789ab", None, "")
BETA = Tenant("twenty_tenant_beta", "beta", "Beta")
TABLES = """
    CREATE TYPE mood AS ENUM ('provisioning', 'active');
    CREATE TABLE tenant_registry (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(), slug varchar(63) NOT NULL UNIQUE, name varchar(200) NOT NULL,
        database_name varchar(63) NOT NULL UNIQUE, status mood NOT NULL, clerk_org_id varchar(60), admin_user_id uuid,
        twenty_workspace_id uuid, twenty_admin_user_id uuid, twenty_admin_email varchar(200),
        created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
    CREATE TABLE global_users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), email varchar(200) NOT NULL,
        first_name varchar(80), last_name varchar(80), tenant_id uuid, role varchar(20), is_active boolean);
"""
GRANTS = """
    GRANT CONNECT, CREATE ON DATABASE {name} TO {us};
    GRANT USAGE ON SCHEMA public TO {us};
    GRANT SELECT ON tenant_registry, global_users TO {us};
    GRANT UPDATE (twenty_workspace_id, twenty_admin_user_id, twenty_admin_email, status, updated_at)
        ON tenant_registry TO {us};
    GRANT INSERT (id, slug, name, database_name, status, created_at, updated_at) ON tenant_registry TO {us};
    GRANT INSERT (clerk_org_id, twenty_admin_email), UPDATE (clerk_org_id, name) ON tenant_registry TO {us};
"""
"""As docs/installation.md has them."""


class Place:
    """A registry's database with our role, as documented, and somebody else's."""

    def __init__(self, postgres: SandboxPostgres, name: str, us: str, them: str) -> None:
        self.postgres, self.name, self.us, self.them = postgres, name, us, them
        self.url = make_conninfo(postgres.url(name), user=self.us, password="ours")

    def sql(self, statement: str, *, by: str | None = None) -> list[tuple[Any, ...]]:
        with self.postgres.connect(self.name) as connection:
            if by:
                connection.execute(f"SET ROLE {by}".encode())
            cursor = connection.execute(statement.format(us=self.us, them=self.them, name=self.name).encode())
            return cursor.fetchall() if cursor.description else []

    def ask(self, work: Callable[[Database], Awaitable[Any]]) -> Any:
        return ask_ledger(self.url, work)

    def ran(self, where: str = "public") -> list[str]:
        return [row[0] for row in self.sql(f"SELECT DISTINCT what || ' as ' || who FROM {where}.ran ORDER BY 1")]


@pytest.fixture(scope="module")
def pattern(sandbox_postgres: SandboxPostgres) -> Iterator[Place]:
    """A migrated one, of which each test gets a copy."""
    unique = uuid.uuid4().hex[:8]
    made = Place(sandbox_postgres, f"paths_{unique}", f"us_{unique}", f"them_{unique}")
    sandbox_postgres.create_database(made.name)
    made.sql("CREATE ROLE {us} LOGIN PASSWORD 'ours'; CREATE ROLE {them} LOGIN PASSWORD 'theirs'")
    made.sql(TABLES + GRANTS)
    schema.migrate(made.url)
    try:
        yield made
    finally:
        sandbox_postgres.drop_database(made.name)
        sandbox_postgres.execute("postgres", f"DROP ROLE {made.us}; DROP ROLE {made.them}")


@pytest.fixture
def place(pattern: Place) -> Iterator[Place]:
    made = Place(pattern.postgres, f"paths_{uuid.uuid4().hex[:8]}", pattern.us, pattern.them)
    made.postgres.create_database(made.name, template=pattern.name)
    made.sql(GRANTS)
    try:
        yield made
    finally:
        made.postgres.drop_database(made.name)


async def everything(database: Database, table: str = "tenant_registry") -> list[str]:
    """Read, register, adopt, store and read again; the slugs."""
    registry = Registry(database, table)
    await register(registry, ACME, CALLER, status="provisioning", aside=[], databases=Databases(1))
    renamed = Registration("acme", "Acme", "twenty_tenant_acme", "org_1", "bob@acme.test")
    again = await register(Registry(database, table), renamed, CALLER, status="provisioning", aside=[])
    assert again == (True, False)
    other = Registration("other", "Other", "twenty_tenant_other", None, None)
    with pytest.raises(Conflict, match="without one"):
        await register(registry, other, CALLER, status="provisioning", aside=[], databases=Databases(1))
    for _ in range(2):
        assert await store_organizations(registry, {ACME.database_name: "org_1"}, stands=bool) == frozenset()
    assert [(claim.linked, claim.named) for claim in await claims(registry)] == [(True, "org_1")]
    await adopt(registry, BETA, "provisioning")
    workspace = str(uuid.uuid4())
    assert await registry.store(
        BETA.database_name, workspace, workspace, ready_status="active", pending_statuses=["provisioning"]
    )
    await registry.store_asked_admins({BETA.database_name: "bea@beta.test"})
    await database.execute("INSERT INTO provisioning.tenant_link (database_name, slug) VALUES ('b', 'b')")
    await known_rows(registry)
    await tenant_of(database, "org_1", "user_1")
    await tenants_at_work(database, ["b"])
    async with Turns(database).open() as turns:
        await turns.of(["b"])
    assert [row.status for row in await registry.standing("org_1", "b")] == ["provisioning"]
    assert list((await registry.rows(["acme"]))["admin_email"]) == [None]
    rows = (await registry.rows()).set_index("slug")
    assert rows.loc["beta", "workspace_id"] == workspace
    assert rows.loc["beta", "status"] == "active"
    return sorted(rows.index)


def test_what_fits_better_than_our_own_functions_never_runs(place: Place) -> None:
    place.sql("GRANT CREATE ON SCHEMA public TO {them}")
    place.sql(planted("public", "varchar").replace("{", "{{").replace("}", "}}"), by=place.them)
    place.sql(
        "CREATE FUNCTION moods(a mood, b mood) RETURNS boolean LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO public.ran VALUES ('moods'); RETURN a::text = b::text; END $$;"
        "CREATE OPERATOR = (LEFTARG = mood, RIGHTARG = mood, FUNCTION = moods)",
        by=place.them,
    )

    assert place.ask(everything) == ["acme", "beta"]

    assert place.ran() == []
    # the same through a view, which is read by our role's own search path
    place.sql("CREATE VIEW seen AS SELECT * FROM tenant_registry; GRANT SELECT ON seen TO {us}")
    assert len(place.ask(lambda database: Registry(database, "seen").rows())) == 2
    assert len(place.ask(lambda database: Registry(database, "seen").rows(["acme"]))) == 1
    assert place.ran() == []


def test_a_search_path_that_puts_others_before_postgresql_is_not_ours(place: Place) -> None:
    """What is read of a table, and all of the ledger, goes by a path that nobody else sets."""
    place.sql("CREATE SCHEMA ahead AUTHORIZATION {them}; GRANT USAGE ON SCHEMA ahead TO PUBLIC")
    place.sql(planted("ahead", "text").replace("{", "{{").replace("}", "}}"), by=place.them)
    place.sql(
        "INSERT INTO tenant_registry (slug, name, database_name, status, clerk_org_id)"
        " VALUES ('acme', 'Acme', 'twenty_tenant_acme', 'active', 'org_1')"
    )
    place.sql("ALTER DATABASE {name} SET search_path = ahead, pg_catalog, public")

    async def read(database: Database) -> None:
        registry = Registry(database, "tenant_registry")
        for only in (None, ["acme"]):
            assert list((await registry.rows(only))["slug"]) == ["acme"]
        assert await registry.databases_of("org_1") == ["twenty_tenant_acme"]
        assert len(await registry.named("acme")) == 1
        await known_rows(registry)
        await tenant_of(database, "org_1", "user_1")
        assert await revisions.revision(database)
        async with Turns(database).open() as turns:
            await turns.see(["b"])

    place.ask(read)
    schema.migrate(place.url)

    assert place.ran("ahead") == []
    assert place.ask(lambda database: database.fetch("SHOW search_path")) == [{"search_path": "pg_catalog, pg_temp"}]


TRIGGERED = """
    CREATE TABLE audit (what text);
    GRANT INSERT ON audit TO {us};
    CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO audit VALUES (TG_OP || ' ' || NEW.slug); RETURN NEW; END $$;
    CREATE TRIGGER audited AFTER INSERT OR UPDATE ON tenant_registry FOR EACH ROW EXECUTE FUNCTION audited();
"""


def test_a_trigger_of_the_tenant_managers_that_names_a_table_without_its_schema_goes_on(place: Place) -> None:
    place.sql(TRIGGERED)

    place.ask(everything)

    assert place.sql("SELECT what, count(*) FROM audit GROUP BY 1 ORDER BY 1") == [
        ("INSERT acme", 1),
        ("INSERT beta", 1),
        ("UPDATE acme", 1),
        ("UPDATE beta", 2),
    ]


@pytest.mark.parametrize("language", ["sql", "plpgsql"])
def test_a_view_over_a_function_that_names_a_table_without_its_schema_is_read(place: Place, language: str) -> None:
    body = "SELECT state FROM states WHERE name = wanted"
    body = f"BEGIN RETURN ({body}); END" if language == "plpgsql" else body
    place.sql(
        "CREATE TABLE states (name text, state text); INSERT INTO states VALUES ('twenty_tenant_acme', 'suspended');"
        f"CREATE FUNCTION state_of(wanted text) RETURNS text LANGUAGE {language} STABLE AS $$ {body} $$;"
        "INSERT INTO tenant_registry (slug, name, database_name, status) VALUES ('acme', 'Acme', 'twenty_tenant_acme',"
        " 'active'); CREATE VIEW seen AS SELECT slug, database_name, state_of(database_name) AS status"
        " FROM tenant_registry; GRANT SELECT ON seen, states TO {us}"
    )

    async def read(database: Database) -> list[str]:
        registry = Registry(database, "seen")
        await known_rows(registry)
        return [*(await registry.rows())["status"], *(await registry.rows(["acme"]))["status"]]

    assert place.ask(read) == ["suspended"] * 2


def test_a_table_without_a_schema_is_the_one_on_our_roles_own_path(place: Place) -> None:
    place.sql(
        "CREATE SCHEMA crm; ALTER TABLE tenant_registry SET SCHEMA crm; ALTER TABLE global_users SET SCHEMA crm;"
        "ALTER TYPE mood SET SCHEMA crm; GRANT USAGE ON SCHEMA crm TO {us};"
        "ALTER ROLE {us} IN DATABASE {name} SET search_path = crm"
    )
    assert place.ask(everything) == ["acme", "beta"]
    assert place.ask(open_schemas) == []
    place.sql("GRANT CREATE ON SCHEMA crm TO PUBLIC")
    assert place.ask(open_schemas) == ["crm"]


def test_odd_values_are_cut_or_told_and_end_nothing(place: Place) -> None:
    digits, deep = "9" * 5000, "[" * 1500 + "]" * 1500
    place.sql(
        "ALTER TABLE tenant_registry ALTER name TYPE json USING to_json(name), ALTER slug DROP NOT NULL,"
        " ALTER database_name DROP NOT NULL, ALTER clerk_org_id TYPE text"
    )
    place.sql(
        "INSERT INTO tenant_registry (slug, name, database_name, status, clerk_org_id) VALUES"
        f" ('a', '{digits}', 'a', 'active', NULL), ('b', '{deep}', 'b', 'active', repeat('x', 10000000)),"
        " (NULL, '{{}}', NULL, 'active', NULL), ('c', '\"Gamma\"', 'c', 'active', 'org_c')"
    )

    rows = place.ask(lambda database: Registry(database, "tenant_registry").rows()).set_index("slug")

    assert rows.loc["c", "name"] == "Gamma"
    assert rows.loc["a", "name"] is None
    assert len(rows.loc["b", "clerk_org_id"]) == 4000
