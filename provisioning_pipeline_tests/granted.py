"""The roles of docs/installation.md, "Database privileges", made by running the statements that stand there."""

import re
from pathlib import Path

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from provisioning_pipeline.sandbox.postgres import SandboxPostgres

INSTALLATION = Path(__file__).parents[1] / "docs" / "installation.md"
TENANT_ROLE, TENANT_PASSWORD = "provisioning_tenants", "choose-one"

ONCE = "on the tenant cluster, once"
IN_EACH = "in the template from which tenant databases are copied, and in each tenant database that is there"
FOR_UNDO = "in the same databases, for provisioning undo"
FOR_MENDING = "in the same databases, only for PROVISIONING_MEND_HAND_MADE=true"
ROLE_PER_DATABASE = "one role per tenant database: on the cluster, for each"


def documented(title: str) -> str:
    """The SQL block of the documentation that begins with this comment."""
    text = INSTALLATION.read_text("utf-8")
    section = text[text.index("## Database privileges") : text.index("## The service account")]
    blocks = {block.partition("\n")[0]: block for block in re.findall(r"```sql\n-- (.+?)```", section, re.DOTALL)}
    return f"-- {blocks[title]}"


def tenant_role(postgres: SandboxPostgres, database: str = "postgres") -> str:
    """The URL of a database as the role for tenant databases, which is made in this cluster where it is not yet."""
    if not postgres.execute("postgres", "SELECT 1 FROM pg_roles WHERE rolname = %s", [TENANT_ROLE]):
        postgres.execute("postgres", documented(ONCE))
    return url_as(postgres, TENANT_ROLE, TENANT_PASSWORD, database)


def grant_tenant_database(
    postgres: SandboxPostgres, database: str, titles: tuple[str, ...] = (IN_EACH, FOR_UNDO, FOR_MENDING)
) -> str:
    """Grant what is documented in a tenant database that has a whole schema core; its URL as that role."""
    url = tenant_role(postgres, database)
    for title in titles:
        postgres.execute(database, documented(title))
    return url


def tenant_owner(postgres: SandboxPostgres, database: str) -> str:
    """Give a database, with its schema core and all in it, to a role that owns nothing else; its URL as that role.

    This is the attacker: a tenant's own Twenty, or its own tool.
    """
    role, password = f"owner_of_{database}"[:63], "the-owner-s-own"
    name = sql.Identifier(role)
    if not postgres.execute("postgres", "SELECT 1 FROM pg_roles WHERE rolname = %s", [role]):
        postgres.execute("postgres", sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(password)))
    postgres.execute("postgres", sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(database), name))
    owned = postgres.execute(
        database,
        """
        SELECT format('SCHEMA %I', nspname) FROM pg_namespace
        WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
        UNION ALL
        SELECT format('%s %s', kinds.name, oid::regclass)
        FROM pg_class JOIN (VALUES ('r', 'TABLE'), ('v', 'VIEW')) kinds(kind, name) ON relkind::text = kinds.kind
        WHERE relnamespace = to_regnamespace('core')
        UNION ALL
        SELECT format('TYPE %s', oid::regtype) FROM pg_type
        WHERE typnamespace = to_regnamespace('core') AND typtype = 'e'
        """,
    )
    for (what,) in owned:
        postgres.execute(database, f'ALTER {what} OWNER TO "{role}"')
    return url_as(postgres, role, password, database)


def url_as(postgres: SandboxPostgres, role: str, password: str, database: str) -> str:
    """The URL of a database of this cluster as another role."""
    parts = conninfo_to_dict(postgres.url(database))
    return f"postgresql://{role}:{password}@{parts['host']}:{parts['port']}/{database}"
