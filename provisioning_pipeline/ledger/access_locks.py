"""Locks of workspaces at Twenty, and what each has taken, as the ledger keeps them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from psycopg.types.json import Jsonb

from provisioning_pipeline.clients.postgres import Row, anew_if_lost
from provisioning_pipeline.ledger.schema import LedgerTables, columns
from provisioning_pipeline.model.access_lock import AccessLock, ItemKind, LockedItem, LockState

_LOCKS: Final = """
    SELECT l.database_name, l.server, l.workspace_id::text AS workspace_id, l.why, l.begun_at, l.locked_at,
           l.tokens_until, CASE WHEN l.release_begun_at IS NOT NULL THEN 'unlocking'
               WHEN l.locked_at IS NOT NULL THEN 'locked' ELSE 'locking' END AS state,
           COALESCE(jsonb_object_agg(i.user_id, i.before -> 'label') FILTER (
               WHERE i.user_id IS NOT NULL AND i.given_back_at IS NULL), '{}') AS roles
    FROM provisioning.access_lock l LEFT JOIN provisioning.access_lock_item i USING (database_name)
    WHERE l.released_at IS NULL AND (%(name)s::text IS NULL OR l.database_name = %(name)s)
    GROUP BY l.database_name
"""


class AccessLocks(LedgerTables):
    """The locks of all tenants."""

    async def all(self) -> dict[str, AccessLock]:
        """Database name → lock, of every lock that is not given back wholly."""
        return {row["database_name"]: _lock(row) for row in await self.fetch_if_made(_LOCKS, {"name": None})}

    async def of(self, database_name: str) -> AccessLock | None:
        """The lock of one tenant; None when nothing is locked."""
        rows = await self.database.fetch(_LOCKS, {"name": database_name})
        return _lock(rows[0]) if rows else None

    async def items(self, database_name: str) -> list[LockedItem]:
        """What a lock has taken, or is about to take, with what was so before; given back or not."""
        rows = await self.database.fetch(
            """
            SELECT kind, id, user_id::text AS user_id, name, before FROM provisioning.access_lock_item
            WHERE database_name = %s ORDER BY kind, name, id
            """,
            [database_name],
        )
        return [LockedItem(ItemKind(row.pop("kind")), **row) for row in rows]

    @anew_if_lost
    async def begin(self, database_name: str, server: str, workspace_id: str, why: str, run_id: str) -> None:
        """Write down that a workspace is to be locked, before anything is taken.

        A lock whose giving back was begun is one again: what it wrote down of before stays. What is left of a lock of
        another workspace goes.
        """
        async with self.database.transaction() as connection:
            await connection.execute(
                """
                DELETE FROM provisioning.access_lock
                WHERE database_name = %s AND (released_at IS NOT NULL OR server <> %s OR workspace_id <> %s)
                """,
                [database_name, server, workspace_id],
            )
            await connection.execute(
                """
                INSERT INTO provisioning.access_lock AS known (database_name, server, workspace_id, why, run_id)
                VALUES (%s, %s, %s, %s, %s)
                ON CONFLICT (database_name) DO UPDATE SET why = excluded.why, run_id = excluded.run_id,
                    begun_at = CASE WHEN known.release_begun_at IS NULL THEN known.begun_at ELSE now() END,
                    locked_at = CASE WHEN known.release_begun_at IS NULL THEN known.locked_at END,
                    release_begun_at = NULL
                """,
                [database_name, server, workspace_id, why, run_id],
            )

    async def record(self, database_name: str, items: Sequence[LockedItem]) -> None:
        """Write down what was so before it is taken. What stands there already stays, unless it was given back."""
        if not items:
            return
        await self.database.execute(
            """
            INSERT INTO provisioning.access_lock_item AS known (database_name, kind, id, user_id, name, before)
            SELECT %s, k, i, u, n, b
            FROM unnest(%s::text[], %s::text[], %s::uuid[], %s::text[], %s::jsonb[]) AS found(k, i, u, n, b)
            ON CONFLICT (database_name, kind, id) DO UPDATE SET user_id = excluded.user_id, name = excluded.name,
                before = excluded.before, recorded_at = now(), given_back_at = NULL
            WHERE known.given_back_at IS NOT NULL
            """,
            [
                database_name,
                *columns([(item.kind, item.id, item.user_id, item.name, Jsonb(dict(item.before))) for item in items]),
            ],
        )

    async def settle_locked(self, database_name: str, tokens_until: datetime | None) -> None:
        """Write down that the lock is proved; when it was proved first stays."""
        await self.database.execute(
            """
            UPDATE provisioning.access_lock SET locked_at = COALESCE(locked_at, now()),
                tokens_until = GREATEST(tokens_until, %s)
            WHERE database_name = %s
            """,
            [tokens_until, database_name],
        )

    async def begin_release(self, database_name: str, run_id: str) -> None:
        """Write down that what is locked is to be given back, before anything is."""
        await self.database.execute(
            """
            UPDATE provisioning.access_lock SET release_begun_at = COALESCE(release_begun_at, now()), run_id = %s
            WHERE database_name = %s AND released_at IS NULL
            """,
            [run_id, database_name],
        )

    async def note_given_back(self, database_name: str, items: Sequence[LockedItem]) -> None:
        """Write down that these were given back: a lock that begins anew looks at them anew."""
        if not items:
            return
        await self.database.execute(
            """
            UPDATE provisioning.access_lock_item i SET given_back_at = now()
            FROM unnest(%s::text[], %s::text[]) AS back(kind, id)
            WHERE i.database_name = %s AND i.kind = back.kind AND i.id = back.id
            """,
            [*columns([item.key for item in items]), database_name],
        )

    @anew_if_lost
    async def release(self, database_name: str) -> None:
        """Write down that all of it was given back; what was so before is forgotten."""
        async with self.database.transaction() as connection:
            await connection.execute(
                "DELETE FROM provisioning.access_lock_item WHERE database_name = %s", [database_name]
            )
            await connection.execute(
                "UPDATE provisioning.access_lock SET released_at = now() WHERE database_name = %s", [database_name]
            )


def _lock(row: Row) -> AccessLock:
    return AccessLock(
        **(row | {"state": LockState(row["state"])}),
    )
