"""Registration in tables that a tenant manager may really have: it registers, or says in words why it cannot."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.registration import Databases, register
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.model.api_key import Reach
from provisioning_pipeline.model.tenant_request import Caller, Conflict, Registration
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.registry import TABLES
from provisioning_pipeline_tests.ledger.conftest import ask_ledger

CALLER = Caller("0123456789ab", None, "")
ACME = Registration("acme", "Acme & Sons", "twenty_tenant_acme", "org_1", "ada@acme.test")
KEEPS_LEDGER = "GRANT USAGE ON SCHEMA provisioning TO {0}; GRANT ALL ON ALL TABLES IN SCHEMA provisioning TO {0}"
NAMELESS = Registration("acme", None, "twenty_tenant_acme", None, None)


class Table:
    """A database with one registry table, of any shape."""

    def __init__(self, postgres: SandboxPostgres, name: str) -> None:
        self.postgres, self.name = postgres, name
        self.url = postgres.url(name)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.postgres.execute(self.name, statement, values or None)

    def register(self, asked: Registration, **given: Any) -> bool:
        """Whether anything was changed."""
        return self.registered(asked, **given)[0]

    def registered(
        self,
        asked: Registration,
        *,
        url: str | None = None,
        table: str = "tenant_registry",
        caller: Caller = CALLER,
        **given: Any,
    ) -> tuple[bool, bool]:
        given = {"status": "provisioning", "aside": {"suspended", "deleted"}, **given}
        return ask_ledger(url or self.url, lambda database: register(Registry(database, table), asked, caller, **given))

    @contextmanager
    def reader(self, rights: str) -> Iterator[str]:
        """The URL of a role that has these rights to the registry and all to the ledger."""
        role = f"reader_{uuid.uuid4().hex[:8]}"
        self.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'reader'; GRANT {rights} ON tenant_registry TO {role}")
        self.sql(KEEPS_LEDGER.format(role))
        try:
            yield make_conninfo(self.url, user=role, password="reader")
        finally:
            self.sql(f"DROP OWNED BY {role}")
            self.postgres.execute("postgres", f"DROP ROLE {role}")

    def link(self, database_name: str, organization: str | None, *, slug: str = "acme") -> None:
        """As runs leave it in the ledger."""
        self.sql(
            "INSERT INTO provisioning.tenant_link AS l (database_name, slug, clerk_org_id) VALUES (%s, %s, %s)"
            " ON CONFLICT (database_name) DO UPDATE SET clerk_org_id = excluded.clerk_org_id",
            *(database_name, slug, organization),
        )

    def refused(self, asked: Registration, **given: Any) -> str:
        before = self.rows()
        with pytest.raises(Conflict) as caught:
            self.register(asked, **given)
        assert self.rows() == before
        return str(caught.value)

    def rows(self) -> list[dict[str, Any]]:
        return [row for (row,) in self.sql("SELECT to_jsonb(t) FROM tenant_registry t ORDER BY database_name")]

    def row(self) -> dict[str, Any]:
        (found,) = self.rows()
        return found


@pytest.fixture
def table(sandbox_postgres: SandboxPostgres, migrated: str) -> Iterator[Table]:
    name = f"registration_{uuid.uuid4().hex[:8]}"
    sandbox_postgres.create_database(name, template=migrated)
    try:
        yield Table(sandbox_postgres, name)
    finally:
        sandbox_postgres.drop_database(name)


@pytest.fixture
def usual(table: Table) -> Table:
    table.sql(TABLES)
    return table


def test_the_usual_table(usual: Table) -> None:
    assert usual.register(ACME) is True

    row = usual.row()
    assert {name: row[name] for name in ("slug", "name", "database_name", "clerk_org_id", "status", "plan")} == {
        "slug": "acme",
        "name": "Acme & Sons",
        "database_name": "twenty_tenant_acme",
        "clerk_org_id": "org_1",
        "status": "provisioning",
        "plan": "standard",
    }
    assert usual.register(ACME) is False
    assert usual.register(NAMELESS) is False
    assert usual.row() == row


def test_no_table_at_all(table: Table) -> None:
    assert table.register(ACME) is True
    assert table.row()["database_name"] == "twenty_tenant_acme"
    assert table.register(ACME) is False


def test_only_the_columns_that_a_registry_must_have(table: Table) -> None:
    table.sql("CREATE TABLE tenant_registry (database_name text, slug text)")

    assert table.register(NAMELESS) is True
    assert table.row() == {"database_name": "twenty_tenant_acme", "slug": "acme"}
    assert table.register(NAMELESS) is False


def test_no_column_for_the_organization(table: Table) -> None:
    table.sql("CREATE TABLE tenant_registry (database_name text, slug text, name text)")

    assert "no column clerk_org_id" in table.refused(ACME)
    assert table.register(NAMELESS) is True
    assert "no column clerk_org_id" in table.refused(ACME)
    assert table.row()["name"] == "acme"


def test_a_column_that_nobody_here_knows(usual: Table) -> None:
    usual.sql("ALTER TABLE tenant_registry ADD billing_account text NOT NULL, ADD region text NOT NULL")

    told = usual.refused(ACME)

    assert "requires billing_account, region" in told
    assert "Register tenant acme there yourself" in told
    usual.sql(
        "INSERT INTO tenant_registry (slug, name, database_name, database_url, billing_account, region)"
        " VALUES ('acme', 'x', 'twenty_tenant_acme', '', 'b-1', 'eu')"
    )
    assert usual.register(ACME) is True
    assert (usual.row()["name"], usual.row()["billing_account"]) == ("Acme & Sons", "b-1")


@pytest.mark.parametrize(
    "columns",
    [
        "id bigint GENERATED ALWAYS AS IDENTITY, database_name varchar(63), slug varchar(63), name varchar(200),"
        " status varchar(20), clerk_org_id varchar(100)",
        "id serial, database_name name, slug name, name varchar(200), status name, clerk_org_id name",
        "id varchar(36) NOT NULL, database_name text, slug text, name text NOT NULL, status text NOT NULL,"
        " clerk_org_id text, created_at timestamptz NOT NULL, updated_at timestamp NOT NULL,"
        " database_url varchar NOT NULL",
        "id uuid NOT NULL, database_name text, slug text, clerk_org_id text, status text",
        'database_name text COLLATE "C", slug char(63), clerk_org_id text, status char(20)',
    ],
    ids=["varchar", "name", "all required", "uuid", "char"],
)
def test_other_types(table: Table, columns: str) -> None:
    table.sql(f"CREATE TABLE tenant_registry ({columns})")

    assert table.register(ACME) is True
    row = table.row()
    assert (row["slug"].strip(), row["database_name"], row["clerk_org_id"]) == ("acme", "twenty_tenant_acme", "org_1")
    assert table.register(ACME) is False


def test_statuses_of_an_enumeration(table: Table) -> None:
    table.sql(
        "CREATE TYPE tenant_status AS ENUM ('PENDING', 'active', 'SUSPENDED');"
        "CREATE TABLE tenant_registry (database_name text, slug text, clerk_org_id text, status tenant_status NOT NULL)"
    )

    assert "does not fit its column" in table.refused(ACME)
    assert table.register(ACME, status="PENDING") is True
    assert table.row()["status"] == "PENDING"
    table.sql("UPDATE tenant_registry SET status = 'SUSPENDED'")
    other = Registration("other", None, "twenty_tenant_other", "org_1", None)
    assert "is excluded, and keeps it" in table.refused(other, status="PENDING")


def test_organizations_of_an_odd_type(table: Table) -> None:
    table.sql("CREATE TABLE tenant_registry (database_name text, slug text, clerk_org_id uuid)")

    assert "does not take tenant acme" in table.refused(ACME)
    assert table.register(NAMELESS) is True


def test_a_slug_that_is_too_long_for_the_column(table: Table) -> None:
    table.sql("CREATE TABLE tenant_registry (database_name text, slug varchar(3), clerk_org_id text)")

    assert "does not take tenant acme" in table.refused(ACME)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("ALTER TABLE tenant_registry ADD CONSTRAINT short_names CHECK (length(name) < 5)", "short_names"),
        ("CREATE UNIQUE INDEX one_tenant ON tenant_registry ((true))", "one_tenant"),
    ],
)
def test_a_rule_of_the_table_that_it_breaks(usual: Table, rule: str, told: str) -> None:
    usual.sql(
        "INSERT INTO tenant_registry (slug, name, database_name, database_url) VALUES ('o', 'o', 'twenty_tenant_o', '')"
    )
    usual.sql(rule)

    assert told in usual.refused(ACME)
    assert "Acme & Sons" not in usual.refused(ACME)


def test_a_trigger_that_refuses(usual: Table) -> None:
    usual.sql(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'ask billing first'; END $$;"
        "CREATE TRIGGER no BEFORE INSERT OR UPDATE ON tenant_registry FOR EACH ROW EXECUTE FUNCTION no()"
    )

    assert "ask billing first" in usual.refused(ACME)


def test_a_view_that_takes_no_rows(usual: Table) -> None:
    usual.sql("CREATE VIEW seen AS SELECT DISTINCT * FROM tenant_registry")

    assert "does not take tenant acme" in usual.refused(ACME, table="seen")


def test_a_view_that_takes_rows(usual: Table) -> None:
    usual.sql("CREATE VIEW seen AS SELECT * FROM tenant_registry")
    assert "database_url" in usual.refused(ACME, table="public.seen"), "a view does not say what it requires"
    usual.sql("ALTER TABLE tenant_registry ALTER database_url DROP NOT NULL")

    assert usual.register(ACME, table="public.seen") is True
    assert usual.register(ACME, table="public.seen") is False
    assert usual.row()["slug"] == "acme"


@pytest.mark.parametrize(
    ("rights", "known"), [("SELECT", False), ("SELECT", True), ("SELECT, UPDATE", False), ("SELECT, INSERT", True)]
)
def test_no_right_to_write(usual: Table, rights: str, known: bool) -> None:
    if known:
        usual.register(NAMELESS)
    with usual.reader(rights) as url:
        told = usual.refused(ACME, url=url)

        assert "permission denied" in told
        assert "Register it there yourself" in told
        if known:
            assert usual.register(NAMELESS, url=url) is False


def test_rows_that_are_hidden_from_us(usual: Table) -> None:
    """Row-level security: what we may not see still cannot be registered twice."""
    usual.register(NAMELESS)
    usual.sql("ALTER TABLE tenant_registry ENABLE ROW LEVEL SECURITY")
    with usual.reader("ALL") as url:
        assert "does not take tenant acme" in usual.refused(ACME, url=url)


def test_a_status_that_stands_stays(usual: Table) -> None:
    usual.register(ACME)
    usual.sql("UPDATE tenant_registry SET status = 'active', plan = 'gold'")

    assert usual.register(Registration("acme", "Acme Ltd", "twenty_tenant_acme", None, None)) is True

    row = usual.row()
    assert (row["status"], row["plan"], row["name"], row["clerk_org_id"]) == ("active", "gold", "Acme Ltd", "org_1")


@pytest.mark.parametrize(("status", "is_aside"), [("active", False), ("Suspended", True), ("deleted", True)])
def test_whether_the_tenant_is_set_aside_is_told(usual: Table, status: str, is_aside: bool) -> None:
    usual.register(ACME)
    usual.sql("UPDATE tenant_registry SET status = %s", status)

    assert usual.registered(ACME) == (False, is_aside)


def test_an_organization_is_given_once(usual: Table) -> None:
    usual.register(NAMELESS)
    assert usual.register(ACME) is True

    told = usual.refused(Registration("acme", "Acme Ltd", "twenty_tenant_acme", "org_2", None))

    assert "has another Clerk organization already" in told
    assert (usual.row()["name"], usual.row()["clerk_org_id"]) == ("Acme & Sons", "org_1")


def test_an_apostrophe_is_an_apostrophe(usual: Table) -> None:
    name = "Acme'; DROP TABLE tenant_registry; -- \\ \N{GRINNING FACE} %s {}"

    usual.register(Registration("acme", name, "twenty_tenant_acme", None, None))

    assert usual.row()["name"] == name
    assert usual.register(Registration("acme", name, "twenty_tenant_acme", None, None)) is False


class TestConflicts:
    """What is another tenant's."""

    @pytest.fixture
    def acme(self, usual: Table) -> Table:
        usual.register(ACME)
        return usual

    @pytest.mark.parametrize(
        ("asked", "told"),
        [
            (Registration("acme", None, "twenty_tenant_2", None, None), "acme is registered with database"),
            (Registration("other", None, "twenty_tenant_acme", None, None), "is registered as tenant acme"),
            (Registration("other", None, "twenty_tenant_2", "org_1", None), "is tenant acme's in the registry"),
        ],
    )
    def test_it_stays_with_that_tenant(self, acme: Table, asked: Registration, told: str) -> None:
        assert told in acme.refused(asked)

    @pytest.mark.parametrize("status", ["Suspended", "deleted", "active"])
    def test_a_tenant_keeps_its_organization_whatever_its_status(self, acme: Table, status: str) -> None:
        """Its owner may give it to another tenant in the registry; a key may not."""
        acme.sql("UPDATE tenant_registry SET status = %s", status)
        asked = Registration("other", None, "twenty_tenant_2", "org_1", None)

        assert "is tenant acme's in the registry" in acme.refused(asked)
        # nor one that the ledger alone knows
        acme.sql("UPDATE tenant_registry SET clerk_org_id = NULL")
        acme.link("twenty_tenant_acme", "org_1")
        assert "is tenant acme's in the ledger" in acme.refused(asked)

    def test_it_keeps_its_organization_when_its_row_is_gone(self, acme: Table) -> None:
        acme.link("twenty_tenant_acme", "org_1")
        acme.sql("DELETE FROM tenant_registry")

        told = acme.refused(Registration("other", None, "twenty_tenant_2", "org_1", None))

        assert "is tenant acme's in the ledger" in told

    def test_an_organization_in_json_is_the_same_one(self, acme: Table) -> None:
        acme.sql("ALTER TABLE tenant_registry ALTER clerk_org_id TYPE jsonb USING to_jsonb(clerk_org_id)")

        assert "is tenant acme's" in acme.refused(Registration("other", None, "twenty_tenant_2", "org_1", None))
        assert acme.register(ACME) is False

    def test_it_keeps_slug_and_database(self, acme: Table) -> None:
        acme.sql("UPDATE tenant_registry SET status = 'suspended'")

        acme.refused(Registration("acme", None, "twenty_tenant_2", None, None))
        acme.refused(Registration("other", None, "twenty_tenant_acme", None, None))


def test_two_at_the_same_time_are_registered_once(usual: Table) -> None:
    one, other = (Registration(slug, None, f"twenty_tenant_{slug}", "org_1", None) for slug in ("one", "other"))

    async def all_of_them(database: Database) -> list[tuple[bool, bool] | BaseException]:
        again = [
            register(Registry(database, "tenant_registry"), each, CALLER, status="provisioning", aside=set())
            for each in (one, one, other, other, one)
        ]
        return await asyncio.gather(*again, return_exceptions=True)

    found = ask_ledger(usual.url, all_of_them)

    assert found.count((True, False)) == 1
    assert len(usual.rows()) == 1
    assert all(each in ((True, False), (False, False)) or isinstance(each, Conflict) for each in found)


def test_what_the_registry_says_now_beats_what_a_run_has_read(usual: Table) -> None:
    usual.register(ACME)
    usual.sql("UPDATE tenant_registry SET clerk_org_id = 'org_2'")
    moved = Registration("acme", None, "twenty_tenant_acme", "org_2", None)
    usual.link("twenty_tenant_acme", "org_1")

    # as the refusal says: changed in the registry itself, then asked again
    assert usual.register(moved) is True
    usual.link("twenty_tenant_acme", "org_2")
    assert usual.register(moved) is False


class TestWorkspaces:
    """A tenant that has a workspace gets its first organization by a key, and never another one."""

    @pytest.fixture
    def acme(self, usual: Table) -> Table:
        usual.register(NAMELESS)
        usual.sql("UPDATE provisioning.tenant_link SET workspace_id = gen_random_uuid()")
        return usual

    def test_it_may_get_its_first_one(self, acme: Table) -> None:
        assert acme.register(ACME) is True

    def test_not_after_its_own_was_given_to_another_tenant(self, acme: Table) -> None:
        acme.sql("UPDATE provisioning.tenant_link SET organization_moved_at = now()")

        assert "had a Clerk organization" in acme.refused(ACME)
        assert acme.register(Registration("acme", "Acme & Sons", "twenty_tenant_acme", None, None)) is True

    @pytest.mark.parametrize(
        "change", ["UPDATE tenant_registry SET status = 'suspended'", "DELETE FROM tenant_registry"]
    )
    def test_not_while_it_is_set_aside_or_gone(self, acme: Table, change: str) -> None:
        acme.sql(change)

        assert "is suspended or gone" in acme.refused(ACME)

    def test_not_before_a_run_has_looked_at_the_one_that_the_registry_names(self, usual: Table) -> None:
        usual.register(NAMELESS)
        usual.sql("ALTER TABLE tenant_registry ADD COLUMN IF NOT EXISTS twenty_workspace_id uuid")
        usual.sql("UPDATE tenant_registry SET twenty_workspace_id = gen_random_uuid()")

        assert "of which no run has learnt yet" in usual.refused(ACME)


class TestWithoutDatabase:
    """A key registers so many tenants whose databases are not there, and no more."""

    @staticmethod
    def register(table: Table, slug: str, *, present: tuple[str, ...] = (), key_id: str = "0123456789ab") -> bool:
        asked = Registration(slug, None, f"twenty_tenant_{slug}", None, None)
        return table.register(asked, caller=Caller(key_id, None, ""), databases=Databases(2, present))

    def test_one_more_is_refused_until_a_database_is_there_or_a_row_is_gone(self, usual: Table) -> None:
        assert [self.register(usual, slug) for slug in ("a", "b")] == [True, True]

        with pytest.raises(Conflict) as caught:
            self.register(usual, "c")

        assert "2 may be without one" in str(caught.value)
        assert len(usual.rows()) == 2
        # asked again for one that is registered, with a database of its own, by another key, and one for another
        assert self.register(usual, "a") is False
        assert self.register(usual, "with", present=("twenty_tenant_with",)) is True
        assert self.register(usual, "others", key_id="another") is True
        assert self.register(usual, "c", present=("twenty_tenant_a", "twenty_tenant_with")) is True
        usual.sql("DELETE FROM tenant_registry WHERE slug IN ('a', 'b')")
        assert self.register(usual, "d", present=("twenty_tenant_with",)) is True

    def test_what_a_run_has_seen_counts_no_more(self, usual: Table) -> None:
        for slug in ("a", "b"):
            self.register(usual, slug)
        usual.sql(
            "INSERT INTO provisioning.condition (database_name, type, status, reason, message, run_id)"
            " VALUES ('twenty_tenant_a', 'Detected', 'True', 'DatabasePresent', '', 'r1')"
        )

        assert self.register(usual, "c") is True


class TestReach:
    """A key for some tenants learns nothing of the others, and gets hold of none."""

    @staticmethod
    def refused(table: Table, asked: Registration) -> str:
        return table.refused(asked, caller=Caller("0123456789ab", None, "", Reach(tenant_prefix="eu-")))

    @pytest.mark.parametrize(
        "asked",
        [
            Registration("eu-x", None, "twenty_tenant_acme", None, None),
            Registration("eu-x", None, "twenty_tenant_x", "org_1", None),
        ],
    )
    def test_another_tenant_is_not_named(self, usual: Table, asked: Registration) -> None:
        usual.register(ACME)

        told = self.refused(usual, asked)

        assert "another tenant" in told
        assert "tenant acme" not in told

    def test_a_tenant_that_lost_its_row_cannot_be_had_under_another_slug(self, usual: Table) -> None:
        usual.register(ACME)
        usual.sql("DELETE FROM tenant_registry")

        assert "this key is not for" in self.refused(
            usual, Registration("eu-x", None, "twenty_tenant_acme", None, None)
        )
        assert usual.rows() == []
