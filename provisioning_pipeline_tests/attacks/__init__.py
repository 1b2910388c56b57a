"""What the owner of a tenant database may put into it, and how to tell that any of it ran.

Each attack is a piece of SQL that the owner's own role runs. All of them call `evil.run()` in the end, which tries what
an attacker wants: to leave a trace, to write to an audit table, and to change the password of the role that it runs as.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.granted import grant_tenant_database, tenant_owner, tenant_role

PRELUDE = """
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE TABLE evil.audit (who text);
GRANT SELECT, INSERT ON evil.audit TO PUBLIC;
CREATE SEQUENCE evil.ran;  -- no rollback takes a number back
GRANT ALL ON SEQUENCE evil.ran TO PUBLIC;

CREATE FUNCTION evil.run() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF session_user LIKE 'owner\\_of\\_%' THEN
        RETURN true;
    END IF;
    PERFORM nextval('evil.ran');
    INSERT INTO evil.audit VALUES (current_user);
    EXECUTE format('ALTER ROLE %I PASSWORD %L', current_user, 'taken-over');
    RETURN true;
EXCEPTION WHEN OTHERS THEN
    RETURN true;
END $$;
CREATE FUNCTION evil.folded(integer) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN evil.run(); END';
CREATE FUNCTION evil.checked(text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN evil.run(); END';
CREATE FUNCTION evil.made() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN evil.run()::text; END $$;
CREATE FUNCTION evil.fired() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM evil.run();
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
"""


@dataclass(frozen=True)
class Attack:
    """What the owner runs after `PRELUDE`, in a database with a whole schema core."""

    name: str
    sql: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Victim:
    """A tenant database whose owner attacks, and the URL under which this program goes there."""

    postgres: SandboxPostgres
    name: str
    url: str
    owner_url: str
    calls_before: int

    def must_be_untouched(self) -> None:
        """Nothing of the owner's ran in a session of any other role, whether or not it was rolled back."""
        assert self.calls() == self.calls_before, "functions of the owner's were called"
        assert self.postgres.execute(self.name, "SELECT is_called FROM evil.ran") == [(False,)]
        assert self.postgres.execute(self.name, "SELECT who FROM evil.audit") == []
        psycopg.connect(self.url).close()

    def calls(self) -> int:
        """How often functions of the owner's were called, by PostgreSQL's own counters."""
        return _calls(self.postgres, self.name)


def _calls(postgres: SandboxPostgres, database: str) -> int:
    # a session writes its counters down when it ends
    postgres.execute(
        "postgres", "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [database]
    )
    ((calls,),) = postgres.execute(
        database, "SELECT COALESCE(sum(calls), 0)::int FROM pg_stat_user_functions WHERE schemaname = 'evil'"
    )
    return int(calls)


_NUMBERS = count()


class Ground:
    """A template of tenant databases that belong to an attacker, who has run `PRELUDE`."""

    def __init__(self, postgres: SandboxPostgres, core: str) -> None:
        self.postgres = postgres
        self.template = f"attacked_template_{next(_NUMBERS)}"
        postgres.create_database(self.template)
        postgres.execute(self.template, core)
        self.owner_url = tenant_owner(postgres, self.template)
        grant_tenant_database(postgres, self.template)
        with psycopg.connect(self.as_owner(self.template), autocommit=True) as connection:
            connection.execute(PRELUDE.encode())

    def as_owner(self, database: str) -> str:
        """The URL of a database as the attacker."""
        return self.owner_url.rpartition("/")[0] + f"/{database}"

    @contextmanager
    def attacked(self, attack: Attack, rows: str = "") -> Iterator[Victim]:
        """A database of its own in which the owner has put these rows and then made this attack."""
        database = f"attacked_{next(_NUMBERS)}"
        self.make(database)
        self.does(database, rows, attack.sql)
        try:
            yield self.victim(database, tenant_role(self.postgres, database))
        finally:
            self.postgres.drop_database(database)

    def make(self, database: str) -> None:
        """A copy of the template that belongs to the attacker."""
        self.postgres.create_database(database, template=self.template)
        name, owner = sql.Identifier(database), sql.Identifier(str(conninfo_to_dict(self.owner_url)["user"]))
        self.postgres.execute("postgres", sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, owner))
        self.postgres.execute("postgres", sql.SQL("ALTER DATABASE {} SET track_functions = 'all'").format(name))

    def does(self, database: str, *scripts: str) -> None:
        """The attacker runs these."""
        with psycopg.connect(self.as_owner(database), autocommit=True) as connection:
            for script in filter(None, scripts):
                connection.execute(script.replace("DATABASE_NAME", f'"{database}"').encode())

    def victim(self, database: str, url: str) -> Victim:
        """That database as it is now, and the URL under which this program goes there."""
        return Victim(self.postgres, database, url, self.as_owner(database), _calls(self.postgres, database))

    def close(self) -> None:
        """Drop the template; the roles stay with the cluster."""
        self.postgres.drop_database(self.template)
