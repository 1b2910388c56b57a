"""What the role that opens tenant databases may do beyond its work: all of it is what their owners could gain."""

from datetime import datetime
from typing import Final, LiteralString

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.model.tenant_database import RoleRights

_MOST_NAMED: Final = 3

_RIGHTS: LiteralString = """
    SELECT json_build_object(
        'name', r.rolname, 'superuser', r.rolsuper,
        'attributes', array_remove(ARRAY[
            CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
            CASE WHEN r.rolreplication THEN 'REPLICATION' END], NULL),
        'roles', COALESCE((
            SELECT json_agg(m.rolname ORDER BY m.rolname) FROM pg_roles m
            WHERE m.oid <> r.oid AND pg_has_role(m.oid, 'MEMBER') AND (
                m.rolsuper OR m.rolcreaterole OR m.rolreplication OR m.rolname IN ('pg_execute_server_program',
                    'pg_read_server_files', 'pg_write_server_files', 'pg_write_all_data'))), '[]'),
        'databases', COALESCE((
            SELECT json_agg(d.datname ORDER BY d.datname) FROM pg_database d
            WHERE pg_has_role(d.datdba, 'MEMBER')), '[]'),
        'tables', COALESCE((
            SELECT json_agg(c.oid::regclass::text ORDER BY 1) FROM pg_class c
            WHERE c.relnamespace = to_regnamespace('core') AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
                AND pg_has_role(c.relowner, 'MEMBER')), '[]'))
    FROM pg_roles r WHERE r.rolname = current_user
"""


async def role_rights(database: Database) -> RoleRights:
    """What our role may do, asked in this database.

    Raises:
        Fault: when the database cannot be reached.
    """
    ((found,),) = await database.fetch_tuples(_RIGHTS)
    if found["superuser"]:
        return RoleRights(found["name"], superuser=True)
    lists = {name: tuple(found[name]) for name in ("attributes", "roles", "databases", "tables")}
    return RoleRights(found["name"], superuser=False, **lists)


async def who_and_where(database: Database) -> tuple[str, datetime]:
    """Our role, and since when the server runs: the same twice is the same role of the same server.

    Raises:
        Fault: when the database cannot be reached.
    """
    ((name, since),) = await database.fetch_tuples("SELECT current_user::text, pg_postmaster_start_time()")
    return name, since


def mending(rights: RoleRights) -> str:
    """The SQL that leaves the role what its work needs; a superuser is better replaced by a role of its own."""
    role = _quoted(rights.name)
    if rights.superuser:
        return "CREATE ROLE provisioning_tenants LOGIN PASSWORD '...'"
    statements = [
        *([f"ALTER ROLE {role} {' '.join(f'NO{name}' for name in rights.attributes)}"] if rights.attributes else []),
        *(f"REVOKE {_quoted(name)} FROM {role}" for name in rights.roles),
        *(f"ALTER DATABASE {_quoted(name)} OWNER TO ..." for name in rights.databases[:_MOST_NAMED]),
        *(f"ALTER TABLE {name} OWNER TO ..." for name in rights.tables[:_MOST_NAMED]),
    ]
    return "; ".join(statements)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
