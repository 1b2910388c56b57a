"""A look into a database whose owner means harm: nothing of theirs runs as us, and what is wrong is told.

Each attack is one by a role that owns the database and nothing else, against a role with the grants of
docs/installation.md. The traps say in the server's log whom they ran as; a query as it would be written shows that they
work.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.clients.hostile import OWNER, Hostile, hostile_database, hostile_template

pytestmark = pytest.mark.anyio

_ALL = 'SELECT * FROM core."user"'


@pytest.fixture(scope="module")
def template(sandbox_postgres: SandboxPostgres) -> Iterator[None]:
    with hostile_template(sandbox_postgres):
        yield


@pytest.fixture
def hostile(sandbox_postgres: SandboxPostgres, template: None) -> Iterator[Hostile]:
    with hostile_database(sandbox_postgres) as database:
        yield database


@dataclass(frozen=True)
class Attack:
    """What the owner does, a query by which it would succeed, and what the look says of it."""

    does: str
    query: str
    told: str | None = None


ATTACKS = {
    "a view over a function": Attack(
        'ALTER TABLE core."user" RENAME TO hidden;;'
        'CREATE VIEW core."user" AS SELECT id, evil.trap(email) AS email, "lastName", "deletedAt",'
        ' set_config($$default_transaction_read_only$$, $$off$$, false) AS "firstName" FROM core.hidden;;'
        'GRANT SELECT ON core."user" TO PUBLIC;; GRANT SELECT ON core.hidden TO PUBLIC',
        "SELECT email FROM core.\"user\"",
        'core."user" is a view',
    ),
    "a row policy": Attack(
        'ALTER TABLE core."user" ENABLE ROW LEVEL SECURITY;;'
        'CREATE POLICY theirs ON core."user" USING (evil.trap(email) IS NOT NULL)',
        _ALL,
        'core."user" has row security',
    ),
    "a type with a cast": Attack(
        "CREATE TYPE evil.mail AS (a text);;"
        "CREATE FUNCTION evil.told(evil.mail) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT evil.trap(($1).a)';;"
        "CREATE CAST (evil.mail AS text) WITH FUNCTION evil.told(evil.mail);;"
        "CREATE FUNCTION evil.mail(text) RETURNS evil.mail LANGUAGE sql IMMUTABLE AS 'SELECT ROW($1)::evil.mail';;"
        'DROP INDEX IF EXISTS core."UQ_USER_EMAIL";;'
        'ALTER TABLE core."user" ALTER email TYPE evil.mail USING evil.mail(email)',
        'SELECT email::text FROM core."user"',
        'core."user"."email" has the type evil.mail',
    ),
    "an index on a function of a constant": Attack(
        "CREATE INDEX ON core.\"user\" ((evil.trap('x')))",
        _ALL,
    ),
    "an index where a function of a constant says so": Attack(
        "CREATE INDEX ON core.\"user\" (id) WHERE evil.trap('x') = 'x'",
        'SELECT id FROM core."user" WHERE id IS NULL',
    ),
    "statistics of a function of a constant": Attack(
        "CREATE STATISTICS evil.theirs ON (evil.trap('x')), email FROM core.\"user\"",
        _ALL,
    ),
    "a constraint with a function of a constant": Attack(
        "ALTER TABLE core.\"user\" ADD CHECK (evil.trap('x') = 'x');;"
        "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET constraint_exclusion = on', current_database()); END$$",
        "SELECT id FROM core.\"user\" WHERE email = 'a'",
    ),
    "functions before those of PostgreSQL": Attack(
        "CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE sql AS 'SELECT evil.trap($1)';;"
        "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = evil, pg_catalog', current_database()); END$$",
        'SELECT lower(email::text) FROM core."user"',
    ),
    "operators before those of PostgreSQL": Attack(
        "CREATE FUNCTION evil.same(name, name) RETURNS bool LANGUAGE sql AS 'SELECT evil.trap($1::text) IS NOT NULL';;"
        "CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.same);;"
        "CREATE FUNCTION evil.row_security_active(oid) RETURNS bool LANGUAGE sql AS"
        " 'SELECT evil.trap(''x'') IS NULL';;"
        "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = evil, pg_catalog', current_database()); END$$",
        "SELECT relname FROM pg_class WHERE relname = 'user'::name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
async def test_nothing_of_the_owners_runs_as_us(hostile: Hostile, attack: Attack) -> None:
    hostile.does(attack.does)
    with hostile.watched() as ran:
        hostile.read_by_query(attack.query)
    assert ran, "the attack would not have worked anyway"
    with hostile.watched() as ran:
        found = await hostile.look()
    assert ran == []
    if attack.told:
        assert found.reason is Reason.TENANT_DATABASE_UNSAFE
        assert attack.told in found.message
        assert (found.workspaces, found.flags) == ((), ())
    else:
        assert found.reason is None
        assert [member.email for member in found.workspaces[0].members] == ["ann@acme.example"]
    assert found.owners == {OWNER}


HARMLESS = {
    "triggers": "CREATE FUNCTION evil.fire() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN PERFORM evil.trap(''x''); RETURN OLD; END';;"
    'CREATE TRIGGER theirs BEFORE DELETE ON core."keyValuePair" FOR EACH ROW EXECUTE FUNCTION evil.fire()',
    "rules": 'CREATE RULE theirs AS ON DELETE TO core."keyValuePair" DO ALSO SELECT evil.trap($$x$$)',
    "domains": "CREATE DOMAIN evil.mail AS text CHECK (evil.trap(VALUE) IS NOT NULL);;"
    'ALTER TABLE core."user" ALTER email TYPE evil.mail',
    "enums": "CREATE TYPE evil.name AS ENUM ('Ann', 'Bob');;"
    'ALTER TABLE core."user" ALTER "firstName" DROP DEFAULT, ALTER "firstName" TYPE evil.name'
    ' USING "firstName"::text::evil.name',
    "settings": "DO $$DECLARE said text; BEGIN FOREACH said IN ARRAY ARRAY["
    "'default_transaction_read_only = off', 'default_transaction_isolation = serializable',"
    "'standard_conforming_strings = off', 'backslash_quote = on', 'row_security = on', 'client_encoding = latin1',"
    "'client_min_messages = debug5', 'datestyle = german', 'bytea_output = escape', 'search_path = evil',"
    "'default_table_access_method = heap', 'session_authorization = hostile_owner', 'role = hostile_owner'"
    "] LOOP BEGIN EXECUTE format('ALTER DATABASE %I SET ', current_database()) || said;"
    " EXCEPTION WHEN insufficient_privilege THEN NULL; END; END LOOP; END$$",
    "a schema with a strange name": r"""CREATE SCHEMA "x'\;) '$$ ""DROP" """
    r""";; UPDATE core.workspace SET "databaseSchema" = $q$x'\;) '$$ "DROP$q$""",
}


@pytest.mark.parametrize("does", HARMLESS.values(), ids=HARMLESS)
async def test_what_cannot_hurt_a_reader_does_not_stop_one(hostile: Hostile, does: str) -> None:
    hostile.does(does)
    with hostile.watched() as ran:
        found = await hostile.look()
    assert ran == []
    assert (found.reason, found.message) == (None, "")
    assert [member.email for member in found.workspaces[0].members] == ["ann@acme.example"]


REFUSED = {
    "a materialized view": (
        'ALTER TABLE core."user" RENAME TO hidden;; CREATE MATERIALIZED VIEW core."user" AS SELECT * FROM core.hidden;;'
        'GRANT SELECT ON core."user" TO PUBLIC',
        'core."user" is a materialized view',
    ),
    "a partitioned table": (
        'DROP TABLE core."objectMetadata" CASCADE;;'
        'CREATE TABLE core."objectMetadata" ("workspaceId" uuid) PARTITION BY HASH ("workspaceId")',
        'core."objectMetadata" is a partitioned table',
    ),
    "a table with heirs": (
        'CREATE TABLE evil.heir () INHERITS (core."user")',
        'core."user" has tables that inherit from it',
    ),
    "a column that is computed": (
        'ALTER TABLE core."user" DROP COLUMN email CASCADE;;'
        'ALTER TABLE core."user" ADD email text GENERATED ALWAYS AS (evil.trap("firstName")) STORED',
        'core."user"."email" is a generated column',
    ),
    "a sequence": (
        'DROP TABLE core."objectMetadata" CASCADE;; CREATE SEQUENCE core."objectMetadata"',
        'core."objectMetadata" is no table',
    ),
}


@pytest.mark.parametrize(("does", "told"), REFUSED.values(), ids=REFUSED)
async def test_what_is_no_plain_table_is_named(hostile: Hostile, does: str, told: str) -> None:
    hostile.does(does)
    found = await hostile.look()
    assert found.reason is Reason.TENANT_DATABASE_UNSAFE
    assert told in found.message
