"""Requests for reconciliations in the ledger: each one once, each with a pending review until a run has made it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass

from provisioning_pipeline.clients.postgres import Row, anew_if_lost
from provisioning_pipeline.ledger.locks import launch_lock, request_lock
from provisioning_pipeline.ledger.schema import LedgerTables, ledger_database
from provisioning_pipeline.model.api_key import KeyRefusal
from provisioning_pipeline.model.condition import SET_ASIDE, Reason
from provisioning_pipeline.model.tenant_request import Caller, Conflict
from provisioning_pipeline.settings import GatewaySettings

TENANT_MANAGER = "tenant-manager"
"""The trigger of a run that a service asked for over HTTP."""
LAUNCH_SECONDS = 8.0
"""Longest wait of a request for its run; the sensor launches it then."""
_LOCK_SECONDS = 1.5
"""Shorter than a registration waits for others, so that a caller who asks the same meanwhile learns that in time.
Together, both waits are shorter than a server gives a request at the ledger."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `run_id` is the run that was launched for it; None: none was, or not yet."""

    id: int
    database_name: str
    run_id: str | None


@asynccontextmanager
async def launching(settings: GatewaySettings, name: str) -> AsyncIterator[None]:
    """Let one launch of this name go on at a time, in all processes: the second finds the first one's run at work.

    Raises:
        Fault: BUSY when another one is at it for too long; transient when the ledger cannot be reached.
    """
    async with (
        ledger_database(settings, read_only=False, patience_seconds=0.0) as database,
        launch_lock(database, name, wait_seconds=LAUNCH_SECONDS),
    ):
        yield


class TenantRequests(LedgerTables):
    """Requests of services."""

    def alone(self, caller: Caller) -> AbstractAsyncContextManager[None]:
        """No other request of this caller under the same key is under way; without a key there may be.

        Raises:
            Fault: BUSY when another one is for more than a second and a half.
        """
        if caller.idempotency_key is None:
            return nullcontext()
        name = f"{caller.api_key_id} {caller.idempotency_key}"
        return request_lock(self.database, name, wait_seconds=_LOCK_SECONDS)

    async def earlier(self, caller: Caller) -> Request | None:
        """The request that this caller made before under the same key; None: there is none, or it has no key.

        Raises:
            Conflict: when something else was asked for under that key.
        """
        if caller.idempotency_key is None:
            return None
        rows = await self.database.fetch(
            """
            SELECT id, database_name, run_id, fingerprint FROM provisioning.tenant_request
            WHERE api_key_id = %s AND idempotency_key = %s
            """,
            [caller.api_key_id, caller.idempotency_key],
        )
        if not rows:
            return None
        if rows[0]["fingerprint"] != caller.fingerprint:
            raise Conflict(
                "This Idempotency-Key was used for another request. Use a new key for a new request.",
                KeyRefusal.REQUEST_DIFFERS,
            )
        return Request(rows[0]["id"], rows[0]["database_name"], rows[0]["run_id"])

    @anew_if_lost
    async def add(
        self, database_name: str, slug: str, caller: Caller, *, admin_email: str | None, mark: bool
    ) -> Request:
        """Store a request, which has to be the first under its key: see `alone` and `earlier`.

        With `mark`, also a pending review, so that a sensor launches a run if nothing else does. All or nothing.
        """
        async with self.database.transaction() as connection:
            await connection.execute(
                """
                INSERT INTO provisioning.tenant_link AS l (database_name, slug, asked_admin_email)
                VALUES (%(name)s, %(slug)s, %(email)s)
                ON CONFLICT (database_name) DO UPDATE SET
                    slug = excluded.slug, asked_admin_email = COALESCE(excluded.asked_admin_email, l.asked_admin_email)
                """,
                {"name": database_name, "slug": slug, "email": admin_email},
            )
            cursor = await connection.execute(
                """
                INSERT INTO provisioning.tenant_request (database_name, api_key_id, idempotency_key, fingerprint)
                VALUES (%s, %s, %s, %s) RETURNING id
                """,
                [database_name, caller.api_key_id, caller.idempotency_key, caller.fingerprint],
            )
            row = await cursor.fetchone()
            assert row is not None
            if mark:
                await connection.execute(
                    """
                    UPDATE provisioning.tenant_link SET marked_at = greatest(marked_at, now()), marked_by = %s
                    WHERE database_name = %s
                    """,
                    [TENANT_MANAGER, database_name],
                )
        return Request(row[0], database_name, None)

    async def known(self, names: Sequence[str] | None) -> list[Row]:
        """Tenants, all or those with these slugs or database names: database_name, slug, excluded, gone."""
        return await self.database.fetch(
            """
            SELECT l.database_name, l.slug, COALESCE(c.reason = ANY(%(aside)s), false) AS excluded,
                   COALESCE(c.reason = %(gone)s, false) AS gone
            FROM provisioning.tenant_link l
            LEFT JOIN provisioning.condition c ON c.database_name = l.database_name AND c.type = 'Ready'
            WHERE %(names)s::text[] IS NULL OR l.database_name = ANY(%(names)s) OR l.slug = ANY(%(names)s)
            ORDER BY l.database_name
            """,
            {
                "names": None if names is None else list(names),
                "aside": sorted(SET_ASIDE),
                "gone": Reason.TENANT_GONE,
            },
        )

    @anew_if_lost
    async def add_many(self, slugs: Mapping[str, str], caller: Caller) -> list[Request]:
        """Store a request for each of these tenants (database name → slug), and a pending review; all or nothing.

        Has to be the first under the caller's key, which the first of the rows carries: see `alone` and `earlier`.
        """
        if not slugs:
            return []
        names = sorted(slugs)
        keys = [caller.idempotency_key, *[None] * (len(names) - 1)]
        async with self.database.transaction() as connection:
            # the same order in every process, so that two of them cannot deadlock
            await connection.execute(
                """
                INSERT INTO provisioning.tenant_link AS l (database_name, slug, marked_at, marked_by)
                SELECT name, slug, now(), %(trigger)s FROM unnest(%(names)s::text[], %(slugs)s::text[]) AS n(name, slug)
                ORDER BY name
                ON CONFLICT (database_name) DO UPDATE SET
                    marked_at = greatest(l.marked_at, now()), marked_by = excluded.marked_by
                """,
                {"trigger": TENANT_MANAGER, "names": names, "slugs": [slugs[name] for name in names]},
            )
            cursor = await connection.execute(
                """
                INSERT INTO provisioning.tenant_request (database_name, api_key_id, idempotency_key, fingerprint)
                SELECT name, %s, key, %s FROM unnest(%s::text[], %s::text[]) AS n(name, key)
                RETURNING id, database_name
                """,
                [caller.api_key_id, caller.fingerprint, names, keys],
            )
            return [Request(row[0], row[1], None) for row in await cursor.fetchall()]

    async def open_runs(self, names: Sequence[str]) -> dict[str, str]:
        """Database name → the last run that was launched for it by request, of those whose run has not ended."""
        rows = await self.database.fetch_tuples(
            """
            SELECT DISTINCT ON (q.database_name) q.database_name,
                   CASE WHEN COALESCE(r.finished_at, r.ended_at) IS NULL THEN q.run_id END
            FROM provisioning.tenant_request q LEFT JOIN provisioning.run r ON r.run_id = q.run_id
            WHERE q.database_name = ANY(%s) AND q.run_id IS NOT NULL ORDER BY q.database_name, q.id DESC
            """,
            [list(names)],
        )
        return {name: run_id for name, run_id in rows if run_id is not None}

    async def launched_many(self, ids: Sequence[int], run_id: str) -> None:
        """Store the run that was launched for these requests."""
        await self.database.execute(
            "UPDATE provisioning.tenant_request SET run_id = %s WHERE id = ANY(%s)", [run_id, list(ids)]
        )

    async def launched(self, request: Request, run_id: str) -> None:
        """Store the run that was launched for a request."""
        await self.database.execute(
            "UPDATE provisioning.tenant_request SET run_id = %s WHERE id = %s", [run_id, request.id]
        )

    async def last_run(self, database_name: str, *, open_only: bool = False) -> str | None:
        """The last run that was launched for this tenant by request, or None; `open_only`: only if it has not ended."""
        rows = await self.database.fetch_tuples(
            """
            SELECT q.run_id, COALESCE(r.finished_at, r.ended_at) IS NOT NULL FROM provisioning.tenant_request q
            LEFT JOIN provisioning.run r ON r.run_id = q.run_id
            WHERE q.database_name = %s AND q.run_id IS NOT NULL ORDER BY q.id DESC LIMIT 1
            """,
            [database_name],
        )
        return rows[0][0] if rows and not (open_only and rows[0][1]) else None

    async def waiting(self, names: Sequence[str]) -> frozenset[str]:
        """Those of these tenants (slugs or database names) that wait for a run, or for its end: database names.

        A tenant that has become ready since it was asked for no longer waits, though its run still writes its report.
        """
        rows = await self.database.fetch(
            """
            SELECT l.database_name FROM provisioning.tenant_link l
            LEFT JOIN LATERAL (
                SELECT q.run_id, q.asked_at FROM provisioning.tenant_request q
                WHERE q.database_name = l.database_name AND q.asked_at > now() - interval '1 hour'
                ORDER BY q.id DESC LIMIT 1
            ) last ON true
            LEFT JOIN provisioning.run r ON r.run_id = last.run_id
            LEFT JOIN provisioning.condition c ON c.database_name = l.database_name AND c.type = 'Ready'
            WHERE (l.database_name = ANY(%(names)s) OR l.slug = ANY(%(names)s)) AND (
                (l.marked_at IS NOT NULL AND l.marked_by = %(trigger)s)
                OR (CASE WHEN last.run_id IS NOT NULL THEN COALESCE(r.finished_at, r.ended_at) IS NULL ELSE EXISTS (
                        -- the sensor's: it has read the request, and may still be at work
                        SELECT 1 FROM provisioning.run s
                        WHERE s.trigger = %(trigger)s AND COALESCE(s.finished_at, s.ended_at) IS NULL
                        AND s.begun_at >= last.asked_at AND s.begun_at > now() - interval '10 minutes') END
                    AND NOT COALESCE(c.status = 'True' AND c.since >= last.asked_at, false)))
            """,
            {"names": list(names), "trigger": TENANT_MANAGER},
        )
        return frozenset(row["database_name"] for row in rows)

    async def has_ended(self, run_id: str | None) -> bool:
        """Whether this run has ended, as it recorded itself."""
        rows = await self.database.fetch(
            "SELECT 1 FROM provisioning.run WHERE run_id = %s AND COALESCE(finished_at, ended_at) IS NOT NULL", [run_id]
        )
        return bool(rows)
