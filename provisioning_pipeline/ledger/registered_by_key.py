"""Tenants that services registered, and how many of these may be without a database."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.model.key_refusal import KeyRefusal
from provisioning_pipeline.model.tenant_request import Caller, Conflict, Registration

_UNSEEN: Final = """
    SELECT l.database_name FROM provisioning.tenant_link l
    WHERE l.registered_by_key = %s AND NOT EXISTS (
        SELECT 1 FROM provisioning.condition c
        WHERE c.database_name = l.database_name AND c.type = 'Detected' AND c.status = 'True')
"""
"""Tenants of a key of whose database no run says that it is there."""


@dataclass(frozen=True, slots=True)
class Databases:
    """How many tenants without a database one key may have registered.

    Args:
        most: so many; None: any number.
        present: databases that are on the cluster for certain, whatever runs have seen.
    """

    most: int | None
    present: Collection[str] = ()


NOT_LIMITED: Final = Databases(None)


async def unseen(database: Database, asked: Registration, caller: Caller) -> Sequence[str]:
    """Database names of the tenants that this key registered, and of which no run has seen the database.

    None where the tenant that is asked for is known already: it is not one more.
    """
    known = "SELECT 1 FROM provisioning.tenant_link WHERE database_name = %s"
    if await database.fetch_tuples(known, [asked.database_name]):
        return []
    return [row[0] for row in await database.fetch_tuples(_UNSEEN, [caller.api_key_id])]


async def must_have_room(
    connection: AsyncConnection[TupleRow],
    registry: Registry,
    asked: Registration,
    caller: Caller,
    databases: Databases,
) -> None:
    """Refuse one more tenant without a database where the key has too many. A tenant without a row is none.

    Raises:
        Conflict: with how many there may be.
    """
    if databases.most is None or asked.database_name in databases.present:
        return
    cursor = await connection.execute(
        sql.SQL(
            "SELECT pg_catalog.count(*) FROM ({unseen}) u WHERE u.database_name <> ALL(%s) AND EXISTS ("
            "SELECT 1 FROM {table} r WHERE r.database_name::text = u.database_name)"
        ).format(unseen=sql.SQL(_UNSEEN), table=registry.identifier),
        [caller.api_key_id, list(databases.present)],
    )
    row: tuple[Any, ...] | None = await cursor.fetchone()
    if row is not None and row[0] >= databases.most:
        raise Conflict(
            f"{row[0]} tenants that this key registered have no database yet, and {databases.most} may be without one. "
            "Create their databases, or take their rows out of the registry, then ask again.",
            KeyRefusal.TOO_MANY_WITHOUT_DATABASE,
        )


async def remember(connection: AsyncConnection[TupleRow], asked: Registration, caller: Caller) -> None:
    """Write down whose key added the tenant's row."""
    await connection.execute(
        """
        INSERT INTO provisioning.tenant_link (database_name, slug, registered_by_key) VALUES (%s, %s, %s)
        ON CONFLICT (database_name) DO UPDATE SET registered_by_key = excluded.registered_by_key
        """,
        [asked.database_name, asked.slug, caller.api_key_id],
    )
