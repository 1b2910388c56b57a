"""API keys in the ledger: made, listed, revoked, looked up. The keys themselves are not there."""

from datetime import datetime

from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.model.api_key import ApiKey, hash_of, new_key


class ApiKeys:
    """The keys, in the registry's database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def create(self, name: str, *, days: int | None) -> tuple[ApiKey, str]:
        """A new key that is valid for so many days, or until it is revoked; the key itself is returned this once."""
        key_id, key = new_key()
        rows = await self.database.fetch(
            """
            INSERT INTO provisioning.api_key (id, name, hash, expires_at)
            VALUES (%s, %s, %s, now() + make_interval(days => %s)) RETURNING *
            """,
            [key_id, name, hash_of(key), days],
        )
        return _key(rows[0]), key

    async def all(self) -> list[ApiKey]:
        """Every key that ever was, oldest first."""
        return [
            _key(row) for row in await self.database.fetch("SELECT * FROM provisioning.api_key ORDER BY created_at, id")
        ]

    async def revoke(self, key_id: str) -> ApiKey | None:
        """Let a key be refused from now on; None when there is none with this id. Revoking twice is revoking once."""
        rows = await self.database.fetch(
            """
            UPDATE provisioning.api_key SET revoked_at = COALESCE(revoked_at, now()) WHERE id = %s RETURNING *
            """,
            [key_id],
        )
        return _key(rows[0]) if rows else None

    async def find(self, key_id: str) -> tuple[ApiKey | None, datetime]:
        """The key with this id, if there is one, and the time of the database by which it expires."""
        rows = await self.database.fetch(
            "SELECT k.*, t.now FROM (SELECT now() AS now) t LEFT JOIN provisioning.api_key k ON k.id = %s", [key_id]
        )
        now: datetime = rows[0].pop("now")
        return (_key(rows[0]) if rows[0]["id"] else None), now

    async def note_use(self, key_id: str) -> None:
        """Remember that it was used, to the minute: a key that nobody uses any more can be revoked."""
        await self.database.execute(
            """
            UPDATE provisioning.api_key SET last_used_at = now()
            WHERE id = %s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
            """,
            [key_id],
        )


def _key(row: Row) -> ApiKey:
    return ApiKey(**row | {"hash": bytes(row["hash"])})
