"""API keys of services, and the requests that were refused to them."""

from collections.abc import Collection, Sequence
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Final

from psycopg.rows import dict_row

from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.ledger.schema import LedgerTables, columns
from provisioning_pipeline.model.api_key import (
    EVERY_SCOPE,
    EVERY_TENANT,
    ApiKey,
    Reach,
    RefusalKind,
    Refusals,
    Scope,
    hash_of,
    new_key,
)

_KEYS: Final = """
    SELECT k.id, k.name, k.hash, k.created_at, k.expires_at, k.last_used_at, k.revoked_at,
           s.scopes, s.tenant, s.tenant_prefix, now() AS now
    FROM provisioning.api_key k LEFT JOIN provisioning.api_key_scope s ON s.key_id = k.id
    WHERE %(id)s::text IS NULL OR k.id = %(id)s ORDER BY k.created_at, k.id
"""


class ApiKeys(LedgerTables):
    """The keys of all services."""

    async def create(
        self,
        name: str,
        *,
        days: int | None,
        scopes: Collection[Scope] = EVERY_SCOPE,
        reach: Reach = EVERY_TENANT,
    ) -> tuple[ApiKey, str]:
        """A new key that is valid for so many days, or until it is revoked; the key itself is returned this once."""
        key_id, key = new_key()
        async with self.database.transaction() as connection:
            await connection.execute(
                """
                INSERT INTO provisioning.api_key (id, name, hash, expires_at)
                VALUES (%s, %s, %s, now() + make_interval(days => %s))
                """,
                [key_id, name, hash_of(key), days],
            )
            await connection.execute(
                """
                INSERT INTO provisioning.api_key_scope (key_id, scopes, tenant, tenant_prefix) VALUES (%s, %s, %s, %s)
                """,
                [key_id, sorted(scopes), reach.tenant, reach.tenant_prefix],
            )
            cursor = connection.cursor(row_factory=dict_row)
            await cursor.execute(_KEYS, {"id": key_id})
            row = await cursor.fetchone()
            assert row is not None
        return _key(row), key

    async def all(self) -> list[ApiKey]:
        """Every key that ever was, oldest first."""
        return [_key(row) for row in await self.database.fetch(_KEYS, {"id": None})]

    async def revoke(self, key_id: str) -> ApiKey | None:
        """Refuse a key from now on; None when there is none with this id. Revoking twice is revoking once."""
        await self.database.execute(
            "UPDATE provisioning.api_key SET revoked_at = COALESCE(revoked_at, now()) WHERE id = %s", [key_id]
        )
        rows = await self.database.fetch(_KEYS, {"id": key_id})
        return _key(rows[0]) if rows else None

    async def find(self, key_id: str) -> tuple[ApiKey | None, datetime]:
        """The key with this id, if there is one, and the time of the database by which it expires."""
        rows = await self.database.fetch(_KEYS, {"id": key_id})
        return (_key(rows[0]), rows[0]["now"]) if rows else (None, datetime.now(UTC))

    async def note_use(self, key_id: str) -> None:
        """Remember that it was used, to the minute: a key that is not used any more can be revoked."""
        await self.database.execute(
            """
            UPDATE provisioning.api_key SET last_used_at = now()
            WHERE id = %s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
            """,
            [key_id],
        )


def _key(row: Row) -> ApiKey:
    # a scope of a later version gives nothing here
    scopes = EVERY_SCOPE if row["scopes"] is None else frozenset(scope for scope in Scope if scope in row["scopes"])
    facts = {name: row[name] for name in ("id", "name", "created_at", "expires_at", "last_used_at", "revoked_at")}
    return ApiKey(**facts, hash=bytes(row["hash"]), scopes=scopes, reach=Reach(row["tenant"], row["tenant_prefix"]))


async def add_refusals(database: Database, found: Sequence[Refusals]) -> None:
    """Add these to what is there: the same kind within an hour is one row."""
    rows = [(*astuple(one.kind), one.detail, one.request_id, one.first_at, one.last_at, one.times) for one in found]
    await database.execute(
        """
        INSERT INTO provisioning.refusal AS known
            (hour, reason, status, api_key_id, address, route, tenant, detail, request_id, first_at, last_at, times)
        SELECT * FROM unnest(%s::timestamptz[], %s::text[], %s::integer[], %s::text[], %s::text[], %s::text[],
            %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::bigint[])
        ON CONFLICT (hour, reason, status, api_key_id, address, route, tenant) DO UPDATE SET
            detail = excluded.detail, request_id = excluded.request_id, last_at = excluded.last_at,
            times = known.times + excluded.times
        """,
        columns(rows),
    )


async def refusals(database: Database, *, most: int, key_id: str | None = None) -> list[Refusals]:
    """The last of them, newest first; all, or those of one key."""
    rows = await LedgerTables(database).tuples_if_made(
        """
        SELECT hour, reason, status, api_key_id, address, route, tenant, times, first_at, last_at, detail, request_id
        FROM provisioning.refusal WHERE %s::text IS NULL OR api_key_id = %s ORDER BY last_at DESC, id DESC LIMIT %s
        """,
        [key_id, key_id, most],
    )
    return [Refusals(RefusalKind(*row[:7]), *row[7:]) for row in rows]
