"""A tenant database whose owner means harm: our role with the documented grants, the owner's role, and traps."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from provisioning_pipeline.clients.tenant_database import look
from provisioning_pipeline.model.tenant_database import Inspection
from provisioning_pipeline.sandbox import hand_made
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.twenty import core_sql
from provisioning_pipeline_tests.clients.tenant import ANN, AT, NUMBERS

OWNER, READER = "hostile_owner", "provisioning_reader_of_tenants"
TEMPLATE = "hostile_template"
_PASSWORD = "c4nary"

_TRAPS = f"""
    CREATE SCHEMA evil;
    GRANT USAGE ON SCHEMA evil TO PUBLIC;
    CREATE FUNCTION evil.trap(said text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN
        -- a log line outlives every transaction, read-only ones too
        IF current_user OPERATOR(pg_catalog.=) '{READER}'::name THEN RAISE LOG 'trap ran as %', current_user; END IF;
        RETURN said;
    END $$;
"""
_GRANTS = f"""
    GRANT USAGE ON SCHEMA core TO {READER};
    GRANT SELECT ON core.workspace, core."user", core."userWorkspace", core."keyValuePair",
                    core.role, core."roleTarget", core."objectMetadata" TO {READER};
"""
"""As docs/installation.md has them."""


class Hostile:
    """One tenant database of the owner's, with Ann in a hand-made workspace."""

    def __init__(self, postgres: SandboxPostgres, name: str) -> None:
        self.postgres, self.name = postgres, name

    def url(self, role: str, database: str | None = None) -> str:
        return f"postgresql://{role}:{_PASSWORD}@127.0.0.1:{self.postgres.port}/{database or self.name}"

    def does(self, statements: str) -> None:
        """The owner runs these, each by itself."""
        with psycopg.connect(self.url(OWNER), autocommit=True) as connection:
            for statement in statements.split(";;"):
                connection.execute(statement.encode())

    def read_by_query(self, query: str) -> None:
        """What our role would do if it read by queries."""
        with psycopg.connect(self.url(READER)) as connection:
            connection.read_only = True
            connection.execute(query.encode())

    async def look(self, **options: object) -> Inspection:
        return await look(self.url(READER, "postgres"), self.name, "evidence", AT, **options)

    @contextmanager
    def watched(self) -> Iterator[list[str]]:
        """The traps that ran meanwhile as our role, once it is over."""
        log = Path(self.postgres.data) / "cluster" / "log"
        begun, ran = log.stat().st_size, list[str]()
        yield ran
        ran += [
            line for line in log.read_text(errors="replace")[begun:].splitlines() if f"trap ran as {READER}" in line
        ]


@contextmanager
def hostile_template(postgres: SandboxPostgres) -> Iterator[None]:
    """The roles, and the database of which each hostile one is a copy."""
    for role in (OWNER, READER):
        postgres.execute("postgres", f"CREATE ROLE {role} LOGIN PASSWORD '{_PASSWORD}'")
    postgres.create_database(TEMPLATE)
    postgres.execute("postgres", f"ALTER DATABASE {TEMPLATE} OWNER TO {OWNER}")
    with psycopg.connect(Hostile(postgres, TEMPLATE).url(OWNER), autocommit=True) as connection:
        connection.execute(core_sql().encode())
        hand_made.insert_workspace(connection, "acme", "Acme", [ANN])
        connection.execute(_TRAPS.encode())
        connection.execute(_GRANTS.encode())
    yield
    postgres.drop_database(TEMPLATE)
    for role in (OWNER, READER):
        postgres.execute("postgres", f"DROP ROLE {role}")


@contextmanager
def hostile_database(postgres: SandboxPostgres) -> Iterator[Hostile]:
    """A copy of it."""
    name = f"hostile_{next(NUMBERS)}"
    postgres.create_database(name, template=TEMPLATE)
    postgres.execute("postgres", sql.SQL("ALTER DATABASE {} OWNER TO {}").format(*map(sql.Identifier, (name, OWNER))))
    yield Hostile(postgres, name)
    postgres.drop_database(name)
