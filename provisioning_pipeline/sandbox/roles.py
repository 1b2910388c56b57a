"""The role under which the sandbox has tenant databases opened, with the rights that docs/installation.md gives it."""

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql

from provisioning_pipeline.sandbox.postgres import SandboxPostgres

TENANT_ROLE = "provisioning_tenants"
_READ = ("workspace", "user", "userWorkspace", "keyValuePair", "role", "roleTarget", "objectMetadata")
_RIGHTS = dict.fromkeys(_READ, ("SELECT",)) | {
    "keyValuePair": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "user": ("SELECT", "UPDATE"),
    "workspace": ("SELECT", "UPDATE"),
}
_THERE = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'core' AND c.relname = ANY(%s) OR c.relname = 'workspaceMember' AND c.relkind = 'r'
"""


def make_tenant_role(postgres: SandboxPostgres, password: str) -> str:
    """Make the role, or give it this password; the URL of database `postgres` as that role."""
    known = postgres.execute("postgres", "SELECT 1 FROM pg_roles WHERE rolname = %s", [TENANT_ROLE])
    statement = sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
        sql.SQL("ALTER" if known else "CREATE"), sql.Identifier(TENANT_ROLE), sql.Literal(password)
    )
    postgres.execute("postgres", statement)
    return f"postgresql://{TENANT_ROLE}:{password}@127.0.0.1:{postgres.port}/postgres"


def grant_everywhere(postgres: SandboxPostgres, databases: Iterable[str]) -> None:
    """Grant what the role needs in databases that were made before there was one."""
    for name in databases:
        with postgres.connect(name) as connection:
            grant(connection)


def grant(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Grant what the role needs in one tenant database, of the tables that are there; nothing where it was not made."""
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [TENANT_ROLE]).fetchone() is None:
        return
    role = sql.Identifier(TENANT_ROLE)
    for schema, table in connection.execute(_THERE, [list(_READ)]).fetchall():
        rights = sql.SQL(", ").join(map(sql.SQL, _RIGHTS.get(table, ("SELECT",))))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), role))
        connection.execute(sql.SQL("GRANT {} ON {} TO {}").format(rights, sql.Identifier(schema, table), role))
