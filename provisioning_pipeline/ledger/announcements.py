"""Webhooks that leave, in the ledger: written with the condition that they tell of, and how far each delivery is."""

from collections.abc import Collection, Mapping, Sequence
from typing import LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from provisioning_pipeline.ledger.schema import LedgerTables, columns
from provisioning_pipeline.model.announcement import Delivery, DeliveryCounts, announcements
from provisioning_pipeline.model.condition import Condition, ConditionType

_COLUMNS: LiteralString = """
    id, message_id::text, endpoint, database_name, type, payload, created_at, next_try_at, attempts, delivered_at,
    failed_at, last_error
"""
_OPEN: LiteralString = "delivered_at IS NULL AND failed_at IS NULL"


async def announce(
    connection: AsyncConnection[TupleRow],
    known: Mapping[str, Mapping[ConditionType, Condition]],
    changed: Sequence[tuple[str, Condition]],
    endpoints: Collection[str],
) -> None:
    """Store what is to be told of changed conditions, for each endpoint, in the transaction that stores these.

    `known` and `changed` are as `announcements` has them.
    """
    news = announcements(known, changed) if endpoints else []
    if not news:
        return
    told = [(one.database_name, one.type, one.type.state, one.condition.reason, one.condition.message) for one in news]
    await connection.execute(_ANNOUNCE, [*columns(told), sorted(endpoints)])


class Deliveries(LedgerTables):
    """Deliveries of announcements."""

    async def claim(self, endpoints: Collection[str], *, most: int, lease_seconds: float) -> list[Delivery]:
        """Begin a try of up to `most` deliveries to these endpoints that are due; each has `attempts` with this one.

        Of each tenant only the oldest goes to an endpoint: the others wait for it. No other process takes these within
        the lease. One that dies meanwhile leaves them due again after it, under the same message id.
        """
        rows = await self.database.fetch(
            f"""
            UPDATE provisioning.webhook_delivery d
            SET attempts = attempts + 1, next_try_at = now() + make_interval(secs => %(lease)s)
            FROM (
                SELECT w.id AS due FROM provisioning.webhook_delivery w
                WHERE {_OPEN} AND next_try_at <= now() AND endpoint = ANY(%(endpoints)s) AND NOT EXISTS (
                    SELECT 1 FROM provisioning.webhook_delivery e
                    WHERE e.database_name = w.database_name AND e.endpoint = w.endpoint AND e.id < w.id
                    AND e.delivered_at IS NULL AND e.failed_at IS NULL)
                ORDER BY w.id LIMIT %(most)s FOR UPDATE SKIP LOCKED
            ) claimed
            WHERE d.id = claimed.due RETURNING {_COLUMNS}
            """,  # noqa: S608  # texts of ours alone
            {"lease": lease_seconds, "endpoints": sorted(endpoints), "most": most},
        )
        return sorted((Delivery(**row) for row in rows), key=lambda delivery: delivery.id)

    async def arrived(self, delivery: Delivery) -> None:
        """It was accepted."""
        await self.database.execute(
            "UPDATE provisioning.webhook_delivery SET delivered_at = now(), last_error = NULL WHERE id = %s",
            [delivery.id],
        )

    async def failed(self, delivery: Delivery, why: str, *, again_in: float | None) -> None:
        """It was not accepted; None: it is given up."""
        await self.database.execute(
            """
            UPDATE provisioning.webhook_delivery SET last_error = %(why)s,
                next_try_at = now() + make_interval(secs => COALESCE(%(again)s::float8, 0)),
                failed_at = CASE WHEN %(again)s::float8 IS NULL THEN now() END
            WHERE id = %(id)s AND delivered_at IS NULL
            """,
            {"why": why, "again": again_in, "id": delivery.id},
        )

    async def counts(self) -> DeliveryCounts:
        """Those that have not arrived; none before there is a ledger."""
        rows = await self.tuples_if_made(
            f"""
            SELECT count(*) FILTER (WHERE {_OPEN}), count(*) FILTER (WHERE {_OPEN} AND last_error IS NOT NULL),
                   count(failed_at)
            FROM provisioning.webhook_delivery WHERE delivered_at IS NULL
            """  # noqa: S608  # as above
        )
        return DeliveryCounts(*rows[0]) if rows else DeliveryCounts()

    async def last(self, most: int, *, undelivered: bool = False) -> list[Delivery]:
        """The last so many, newest first; all, or those that have not arrived."""
        rows = await self.fetch_if_made(
            f"""
            SELECT {_COLUMNS} FROM provisioning.webhook_delivery
            WHERE NOT %s OR delivered_at IS NULL ORDER BY id DESC LIMIT %s
            """,  # noqa: S608  # as above
            [undelivered, most],
        )
        return [Delivery(**row) for row in rows]

    async def begin_anew(self, message_ids: Sequence[str] | None) -> int:
        """Have deliveries tried at once, with all tries before them: those of these messages that have not arrived,
        or every one that was given up. How many."""
        return await self.database.execute(
            """
            UPDATE provisioning.webhook_delivery SET failed_at = NULL, attempts = 0, next_try_at = now()
            WHERE delivered_at IS NULL
            AND CASE WHEN %(ids)s::uuid[] IS NULL THEN failed_at IS NOT NULL ELSE message_id = ANY(%(ids)s) END
            """,
            {"ids": None if message_ids is None else list(message_ids)},
        )


_ANNOUNCE: LiteralString = """
    WITH news AS MATERIALIZED (
        SELECT gen_random_uuid() AS message_id, place, n, t, s, r, m
        FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
            WITH ORDINALITY AS found(n, t, s, r, m, place)
    )
    INSERT INTO provisioning.webhook_delivery (message_id, endpoint, database_name, type, payload)
    SELECT message_id, endpoint, n, t, jsonb_build_object(
        'type', t,
        'timestamp', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'data', jsonb_build_object(
            'tenant', l.slug, 'database_name', n, 'state', s, 'reason', r, 'message', m,
            'workspace_id', l.workspace_id, 'workspace_url', l.workspace_url))
    FROM news JOIN provisioning.tenant_link l ON l.database_name = n CROSS JOIN unnest(%s::text[]) AS endpoint
    ORDER BY place
"""
