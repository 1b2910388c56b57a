"""Registries that hide something or spell something their own way: found out, or written to in their own words."""

import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from provisioning_pipeline.ledger import schema
from provisioning_pipeline.ledger.registration import adopt
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.ledger.registry_table import spelled
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.registry import folded_name, registry_status
from provisioning_pipeline.model.tenant import Tenant
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.ledger.conftest import ask_ledger

ACME = Tenant("twenty_tenant_acme", "acme", "Acme")
PENDING = ("pending", "creating", "provisioning")
COLUMNS = "slug text UNIQUE, name text, database_name text UNIQUE, clerk_org_id text, twenty_workspace_id uuid"
WORKSPACE = str(uuid.uuid4())
SEEN = "INSERT INTO tenant_registry (slug, name, database_name, status) VALUES ('acme', 'Acme', 'twenty_tenant_acme', "


class Place:
    """A database of a test's own, and a role that owns nothing in it."""

    def __init__(self, postgres: SandboxPostgres, name: str, role: str) -> None:
        self.postgres, self.name, self.role = postgres, name, role
        self.url = postgres.url(name)
        self.reader = make_conninfo(self.url, user=role, password="reader")

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        return self.postgres.execute(self.name, statement.replace("READER", self.role))

    def ask(self, work: Callable[[Registry], Awaitable[Any]], *, as_owner: bool = False) -> Any:
        url = self.url if as_owner else self.reader
        return ask_ledger(url, lambda database: work(Registry(database, "tenant_registry")))


@pytest.fixture(scope="module")
def shared_place(sandbox_postgres: SandboxPostgres) -> Iterator[Place]:
    name, role = f"registries_{uuid.uuid4().hex[:8]}", f"reader_{uuid.uuid4().hex[:8]}"
    sandbox_postgres.create_database(name)
    sandbox_postgres.execute("postgres", f"CREATE ROLE {role} LOGIN PASSWORD 'reader'")
    try:
        yield Place(sandbox_postgres, name, role)
    finally:
        sandbox_postgres.drop_database(name)
        sandbox_postgres.execute("postgres", f"DROP ROLE {role}")


@pytest.fixture
def place(shared_place: Place) -> Place:
    shared_place.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO READER")
    shared_place.sql("DROP SCHEMA IF EXISTS other CASCADE")
    return shared_place


USUAL = f"CREATE TABLE tenant_registry ({COLUMNS}, status text); GRANT ALL ON tenant_registry TO READER;"
HIDING = f"{USUAL} ALTER TABLE tenant_registry ENABLE ROW LEVEL SECURITY;"
BASE = f"CREATE TABLE base ({COLUMNS}, status text);"
HIDDEN = {
    "no policy at all": (HIDING, "Row-level security hides rows.*BYPASSRLS.*CREATE POLICY"),
    "a policy for some rows": (
        f"{HIDING} CREATE POLICY a_part ON tenant_registry TO READER USING (slug <> 'acme')",
        "Row-level security",
    ),
    "everything to others": (
        f"{HIDING} CREATE POLICY all_of_it ON tenant_registry TO pg_monitor USING (true)",
        "Row-level security",
    ),
    "everything, and a restriction": (
        f"{HIDING} CREATE POLICY all_of_it ON tenant_registry USING (true);"
        "CREATE POLICY less ON tenant_registry AS RESTRICTIVE USING (status <> 'suspended')",
        "Row-level security",
    ),
    "below a view": (
        f"{BASE} ALTER TABLE base ENABLE ROW LEVEL SECURITY; CREATE VIEW tenant_registry WITH (security_invoker) AS "
        "SELECT * FROM base; GRANT SELECT ON tenant_registry, base TO READER",
        "Row-level security hides rows of the tables below view",
    ),
    "a materialized view": (
        f"{BASE} CREATE MATERIALIZED VIEW tenant_registry AS SELECT * FROM base; GRANT SELECT ON tenant_registry "
        "TO READER",
        "materialized view",
    ),
    "columns": (
        f"CREATE TABLE tenant_registry ({COLUMNS}, status text);"
        "GRANT SELECT (slug, name, database_name) ON tenant_registry TO READER",
        r"may not read clerk_org_id, status, twenty_workspace_id.*GRANT SELECT \(clerk_org_id, status",
    ),
    "people": (
        f"{USUAL} CREATE TABLE global_users (id uuid, email text, tenant_id uuid, role text);"
        "GRANT ALL ON global_users TO READER; ALTER TABLE global_users ENABLE ROW LEVEL SECURITY",
        "Row-level security hides rows of public.global_users",
    ),
}


@pytest.mark.parametrize("how", HIDDEN)
def test_a_registry_that_hides_something_is_refused_in_words(place: Place, how: str) -> None:
    table, words = HIDDEN[how]
    place.sql(table)
    with pytest.raises(Fault, match=words) as caught:
        place.ask(lambda registry: registry.rows())
    assert caught.value.reason is Reason.REGISTRY_REFUSED
    assert "reader" not in caught.value.message.replace(place.role, "")
    if how == "people":
        return
    # a session, a webhook and a look-up by name ask the same table
    for ask in (
        lambda registry: registry.standing("org_1", "twenty_tenant_acme"),
        lambda registry: registry.databases_of("org_1"),
        lambda registry: registry.named("acme"),
    ):
        with pytest.raises(Fault, match=words):
            place.ask(ask)


SHOWN = {
    "its owner": (HIDING, True),
    "a policy for every row": (f"{HIDING} CREATE POLICY all_of_it ON tenant_registry TO READER USING (true)", False),
    "a view of its owner's": (
        f"{BASE} ALTER TABLE base ENABLE ROW LEVEL SECURITY; CREATE VIEW tenant_registry WITH (security_barrier) AS "
        "SELECT * FROM base; GRANT ALL ON tenant_registry TO READER",
        False,
    ),
    "a right to read what is used": (
        f"CREATE TABLE tenant_registry (secret text, {COLUMNS}, status text); GRANT SELECT (slug, name, database_name, "
        "clerk_org_id, twenty_workspace_id, status) ON tenant_registry TO READER",
        False,
    ),
    "partitions": (
        f"CREATE TABLE tenant_registry ({COLUMNS.replace(' UNIQUE', '')}, status text) PARTITION BY LIST (status);"
        "CREATE TABLE rest PARTITION OF tenant_registry DEFAULT; GRANT ALL ON tenant_registry TO READER",
        False,
    ),
    "words of several kinds": (
        "CREATE DOMAIN label AS varchar(63); CREATE TABLE tenant_registry (slug varchar(63), name jsonb, "
        "database_name label, clerk_org_id char(8), twenty_workspace_id text, status char(12));"
        "GRANT ALL ON tenant_registry TO READER",
        False,
    ),
}


@pytest.mark.parametrize("how", SHOWN)
def test_a_registry_that_shows_everything_is_read_whatever_it_is_made_of(place: Place, how: str) -> None:
    table, as_owner = SHOWN[how]
    place.sql(table)
    value = "'\"Acme\"'" if "jsonb" in table else "'Acme'"
    place.sql(SEEN.replace("'Acme'", value) + "'active')")
    rows = place.ask(lambda registry: registry.rows(), as_owner=as_owner)
    assert list(rows["database_name"]) == ["twenty_tenant_acme"]
    assert (rows["name"][0], registry_status(rows["status"][0])) == ("Acme", "active")


# --- statuses -------------------------------------------------------------------------------------------------------

CAPITALS = "('PENDING', 'CREATING', 'ACTIVE', 'SUSPENDED')"
STATUSES = {
    "an enum": f"CREATE TYPE standing AS ENUM {CAPITALS}; CREATE TABLE tenant_registry ({COLUMNS}, status standing)",
    "a check": f"CREATE TABLE tenant_registry ({COLUMNS}, status text CHECK (status IN {CAPITALS}))",
    "a domain": f"CREATE DOMAIN standing AS text CHECK (VALUE IN {CAPITALS});"
    f"CREATE TABLE tenant_registry ({COLUMNS}, status standing)",
    "a table of statuses": "CREATE TABLE standings (code varchar(20) PRIMARY KEY);"
    "INSERT INTO standings SELECT unnest(ARRAY['PENDING', 'CREATING', 'ACTIVE', 'SUSPENDED']);"
    f"CREATE TABLE tenant_registry ({COLUMNS}, status varchar(20) REFERENCES standings)",
}


@pytest.mark.parametrize("how", STATUSES)
def test_statuses_are_written_as_the_table_spells_them(place: Place, how: str) -> None:
    place.sql(STATUSES[how])

    async def work(registry: Registry) -> list[bool]:
        # it knows no `provisioning`
        assert await adopt(registry, ACME, "provisioning", PENDING[1::-1])
        return [
            await registry.store(ACME.database_name, WORKSPACE, None, ready_status="active", pending_statuses=PENDING)
            for _ in range(2)
        ]

    assert place.ask(work, as_owner=True) == [True, False]
    assert place.sql("SELECT status::text, twenty_workspace_id::text FROM tenant_registry") == [("ACTIVE", WORKSPACE)]
    place.sql("UPDATE tenant_registry SET status = 'SUSPENDED'")
    assert place.ask(work_again, as_owner=True) is False


def test_a_workspace_and_a_status_in_json_are_stored_once(place: Place) -> None:
    columns = COLUMNS.replace("twenty_workspace_id uuid", "twenty_workspace_id jsonb")
    place.sql(f"CREATE TABLE tenant_registry ({columns}, status jsonb)")
    place.sql(SEEN + "'\"provisioning\"')")

    assert place.ask(work_again, as_owner=True) is True
    stored = place.sql("SELECT status::text, twenty_workspace_id::text FROM tenant_registry")
    assert stored == [('"active"', f'"{WORKSPACE}"')]
    assert place.ask(work_again, as_owner=True) is False


async def work_again(registry: Registry) -> bool:
    return await registry.store(ACME.database_name, WORKSPACE, None, ready_status="active", pending_statuses=PENDING)


@pytest.mark.parametrize(
    ("wanted", "allowed", "like", "written"),
    [
        (["active"], [], None, "active"),
        (["active"], [], "PENDING", "ACTIVE"),
        (["active"], [], " Pending ", "Active"),
        (["active"], [], "pending", "active"),
        (["Live"], [], "PENDING", "Live"),  # somebody chose this spelling
        (["active"], ["ACTIVE", "active"], "PENDING", "active"),
        (["active"], ["Active "], None, "Active "),
        (["provisioning", "pending"], ["PENDING"], None, "PENDING"),
        (["active"], ["LIVE"], None, "active"),  # PostgreSQL refuses it in its own words
    ],
)
def test_how_a_status_is_spelled(wanted: list[str], allowed: list[str], like: str | None, written: str) -> None:
    assert spelled(wanted, allowed, like) == written


# --- what the table does with what we write -------------------------------------------------------------------------

DROPS = """
    CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
    CREATE TRIGGER meddling BEFORE {when} ON tenant_registry FOR EACH ROW EXECUTE FUNCTION meddle();
"""


@pytest.mark.parametrize("body", ["RETURN NULL;", "NEW.database_name = 'another'; RETURN NEW;"])
def test_a_row_that_a_trigger_drops_or_changes_is_no_adoption(place: Place, body: str) -> None:
    place.sql(USUAL + DROPS.format(body=body, when="INSERT"))
    with pytest.raises(Fault, match="took no such row") as caught:
        place.ask(lambda registry: adopt(registry, ACME, "provisioning"), as_owner=True)
    assert caught.value.reason is Reason.ADOPTION_REFUSED
    assert place.sql("SELECT * FROM tenant_registry") == []


@pytest.mark.parametrize("body", ["RETURN NULL;", "RETURN OLD;", "NEW.status = OLD.status; RETURN NEW;"])
def test_a_change_that_a_trigger_drops_is_told(place: Place, body: str) -> None:
    place.sql(USUAL + SEEN + "'pending');" + DROPS.format(body=body, when="UPDATE"))
    with pytest.raises(Fault, match="keeps what it had") as caught:
        place.ask(work_again, as_owner=True)
    assert caught.value.reason is Reason.REGISTRY_REFUSED


def test_a_row_that_was_taken_away_meanwhile_is_told(place: Place) -> None:
    place.sql(USUAL)
    with pytest.raises(Fault, match="no row for database twenty_tenant_acme"):
        place.ask(work_again, as_owner=True)


def test_a_row_that_somebody_else_adds_at_the_same_moment_stands(place: Place) -> None:
    place.sql(USUAL + SEEN + "'suspended')")
    assert place.ask(lambda registry: adopt(registry, ACME, "provisioning"), as_owner=True) is False
    with pytest.raises(Fault, match="another tenant's"):
        place.ask(lambda registry: adopt(registry, Tenant("elsewhere", "acme", "Acme"), "provisioning"), as_owner=True)
    assert place.sql("SELECT database_name, status FROM tenant_registry") == [("twenty_tenant_acme", "suspended")]


def test_no_second_registry_is_made_beside_one_in_another_schema(place: Place) -> None:
    place.sql(f"CREATE SCHEMA other; CREATE TABLE other.tenant_registry ({COLUMNS})")
    with pytest.raises(Fault, match=r"PROVISIONING_REGISTRY_TABLE=other\.tenant_registry"):
        place.ask(lambda registry: registry.ensure_table(), as_owner=True)


def test_no_second_registry_is_made_beside_one_of_another_name(place: Place) -> None:
    place.sql(
        f"CREATE TABLE tenants ({COLUMNS}); CREATE TABLE dropped ({COLUMNS}); ALTER TABLE dropped DROP COLUMN slug"
    )
    with pytest.raises(Fault, match=r"has public\.tenants\. Set PROVISIONING_REGISTRY_TABLE=public\.tenants"):
        place.ask(lambda registry: registry.ensure_table(), as_owner=True)
    assert place.sql("SELECT to_regclass('tenant_registry')::text") == [(None,)]


@pytest.mark.parametrize("collation", ["C", "ucs_basic"])
def test_addresses_are_in_small_letters_whatever_letters_the_database_knows(place: Place, collation: str) -> None:
    place.sql(
        f"CREATE TABLE tenant_registry (id int, {COLUMNS}, status text); GRANT ALL ON tenant_registry TO READER;"
        f'CREATE TABLE global_users (id int, tenant_id int, email text COLLATE "{collation}", role text);'
        "GRANT ALL ON global_users TO READER;"
        "INSERT INTO tenant_registry VALUES (1, 'acme', 'Acme', 'twenty_tenant_acme');"
        "INSERT INTO global_users VALUES (1, 1, 'IRMA.JÜRGENS@BÜCHER.EXAMPLE', 'ADMIN')"
    )
    rows = place.ask(lambda registry: registry.rows())
    assert rows["admin_email"].tolist() == ["irma.jürgens@bücher.example"]


def test_some_rows_come_with_those_that_write_the_same_database_otherwise(place: Place) -> None:
    long = f"twenty_tenant_{'é' * 40}"
    place.sql(
        f"{USUAL} INSERT INTO tenant_registry (slug, database_name) VALUES ('acme', 'Twenty_Tenant_Acme'),"
        f" ('beta', E' twenty_tenant_beta\\n'), ('long', '{long}'), ('other', 'twenty_tenant_other')"
    )
    asked = ["twenty_tenant_acme", "twenty_tenant_beta", folded_name(long)]
    assert len(folded_name(long).encode()) <= 63
    rows = place.ask(lambda registry: registry.rows(asked))
    assert sorted(rows["slug"]) == ["acme", "beta", "long"]


def test_no_column_is_added_to_a_view(place: Place) -> None:
    place.sql(f"{BASE} CREATE VIEW tenant_registry AS SELECT slug, database_name FROM base")

    async def work(registry: Registry) -> Any:
        await registry.ensure_our_columns()
        return list(await registry.columns())

    assert place.ask(work, as_owner=True) == ["slug", "database_name"]


def test_a_column_waits_for_nobody_who_holds_the_table(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioning_pipeline.ledger.registry._LOCK_WAIT", "50ms")
    place.sql("CREATE TABLE tenant_registry (slug text, database_name text)")
    with place.postgres.connect(place.name) as restoring, restoring.transaction():
        restoring.execute("LOCK TABLE tenant_registry IN SHARE MODE")
        place.ask(lambda registry: registry.ensure_our_columns(), as_owner=True)
    place.ask(lambda registry: registry.ensure_our_columns(), as_owner=True)
    columns = place.sql("SELECT attname FROM pg_attribute WHERE attrelid = 'tenant_registry'::regclass AND attnum > 2")
    assert [name for (name,) in columns] == ["twenty_workspace_id", "twenty_admin_user_id", "twenty_admin_email"]


# --- a ledger of before ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_ledger_of_before_remembers_who_had_a_row(sandbox_postgres: SandboxPostgres) -> None:
    from alembic import command

    name = f"before_{uuid.uuid4().hex[:8]}"
    url = sandbox_postgres.create_database(name)
    try:
        schema.migrate(url)
        config = schema.alembic_config(url)
        command.downgrade(config, "0006")
        told = {"a": "RegistryRow", "b": "Adopted", "c": "TenantSuspended", "d": "TenantGone", "e": "NotRegistered"}
        for database, reason in told.items():
            sandbox_postgres.execute(
                name, "INSERT INTO provisioning.tenant_link (database_name, slug) VALUES (%s, %s)", [database, database]
            )
            sandbox_postgres.execute(
                name,
                "INSERT INTO provisioning.condition (database_name, type, status, reason, message, run_id) "
                "VALUES (%s, 'Registered', 'True', %s, '', 'r1')",
                [database, reason],
            )
        schema.migrate(url)
        rows = sandbox_postgres.execute(
            name,
            "SELECT database_name, registered_at IS NOT NULL, registry_row_gone_at IS NOT NULL "
            "FROM provisioning.tenant_link ORDER BY 1",
        )
        expected = [("a", True, False), ("b", True, False), ("c", True, False), ("d", True, True), ("e", False, False)]
        assert rows == expected
    finally:
        sandbox_postgres.drop_database(name)
