"""Tenants that wait for a review: why, since when, and whose turn it is."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection, errors
from psycopg.rows import TupleRow

from provisioning_pipeline.clients.postgres import Database, anew_if_lost
from provisioning_pipeline.ledger.locks import alone, logging_holders_of
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.ledger.revisions import registry_refused
from provisioning_pipeline.ledger.schema import REQUEST_REVIEWS, LedgerTables, columns
from provisioning_pipeline.model.history import Turn

CLERK = "clerk"
"""The trigger of a run that Clerk's events ask for."""
USER_UPDATED = "user.updated"
MOST_UPDATES_PER_HOUR = 10
"""So many changes of one member's profile in an hour of the clock ask for a review of the member's tenants. Scheduled
runs see the rest: without a limit, one member could have run after run launched."""


@dataclass(frozen=True, slots=True)
class ClerkEvent:
    """What Clerk said has changed, without saying to what.

    Args:
        event_id: `svix-id`; the same for every delivery of the same event.
        type: such as `organizationMembership.created`.
        organization_id: whose organization; None for an event about a user alone.
        user_id: which user; None for an event about an organization alone.
        happened_at: when Clerk says that it happened.
        gone: Clerk says of the user that they are banned.
    """

    event_id: str
    type: str
    organization_id: str | None
    user_id: str | None
    happened_at: datetime | None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class PendingReview:
    """When a review was requested, and the trigger of the run that is to make it."""

    at: datetime
    trigger: str


class PendingReviews(LedgerTables):
    """Pending reviews in the ledger, and Clerk's events that ask for them.

    Each has the time of the ledger's own database, and so has what `clear` compares it with: one clock.

    Args:
        registry: where tenants name their organization; only `receive` asks it.
    """

    def __init__(self, database: Database, registry: Registry | None = None) -> None:
        super().__init__(database)
        self.registry = registry

    @anew_if_lost
    async def receive(self, event: ClerkEvent) -> tuple[str, ...] | None:
        """Store an event and ask for a review of the tenants that it concerns, both or neither.

        An event about an organization concerns the tenants that the ledger or the registry gives it to; one about a
        user alone concerns the tenants of which that user is a linked member, or a member by Clerk's last event about
        both. For a registry row that the ledger does not know yet nothing is asked: it is due in any case. An event
        that concerns no tenant is stored too, and so is the change of a user who has changed too often
        (`MOST_UPDATES_PER_HOUR`).

        Returns the database names of these tenants, sorted; None when this event had arrived before.

        Raises:
            Fault: when the ledger cannot be reached, is missing or too old.
        """
        registered: Sequence[str] = []
        if event.organization_id is not None and self.registry is not None:
            registered = await self.registry.databases_of(event.organization_id)
        try:
            async with self.database.transaction() as connection:
                cursor = await connection.execute(
                    """
                    INSERT INTO provisioning.clerk_event (event_id, type, organization_id, user_id, happened_at)
                    VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
                    """,
                    [event.event_id, event.type, event.organization_id, event.user_id, event.happened_at],
                )
                return await _request_reviews(connection, event, registered) if cursor.rowcount else None
        except (errors.UndefinedTable, errors.UndefinedColumn):
            raise registry_refused(
                f"The ledger in {self.database.where} is missing or older than this program. "
                "Run `provisioning migrate`."
            ) from None

    async def pending(self) -> dict[str, PendingReview]:
        """Database name → its pending review; empty where the ledger is missing or too old to have them."""
        known = "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('provisioning.tenant_link') AND attname = %s"
        if not await self.database.fetch(known, ["marked_by"]):
            return {}
        rows = await self.database.fetch(
            "SELECT database_name, marked_at, marked_by FROM provisioning.tenant_link WHERE marked_at IS NOT NULL"
        )
        return {row["database_name"]: PendingReview(row["marked_at"], row["marked_by"] or CLERK) for row in rows}

    async def now(self) -> datetime:
        """The time of the ledger's database: what to give to `clear`, taken before anything was read."""
        now: datetime = (await self.database.fetch_tuples("SELECT now()"))[0][0]
        return now

    async def request(self, database_name: str, trigger: str) -> None:
        """Ask for a review of a tenant. A pending one keeps its trigger and gets the time of this one."""
        await self.database.execute(
            """
            UPDATE provisioning.tenant_link SET marked_at = greatest(marked_at, now()),
                marked_by = CASE WHEN marked_at IS NULL THEN %s ELSE marked_by END
            WHERE database_name = %s
            """,
            [trigger, database_name],
        )

    async def clear(self, names: Sequence[str], before: datetime) -> None:
        """End the pending reviews of these databases; one requested after `before` stays.

        Args:
            before: `now()` as it was before Clerk was read. A request is younger than the change that it stands for, so
                the change behind an older request was there to be read.
        """
        if not names:
            return
        await self.database.execute(
            """
            UPDATE provisioning.tenant_link l SET marked_at = NULL, marked_by = NULL
            FROM (
                -- the same order in every process, so that two of them cannot deadlock
                SELECT database_name FROM provisioning.tenant_link
                WHERE database_name = ANY(%(names)s) AND marked_at <= %(before)s
                ORDER BY database_name FOR UPDATE
            ) looked_at
            WHERE l.database_name = looked_at.database_name AND l.marked_at <= %(before)s
            """,
            {"names": list(names), "before": before},
        )

    async def catch_up(self, looked_at: datetime) -> None:
        """Ask for a review of tenants that got their row after `looked_at`, and their organization an event since.

        Without a row, no review of a tenant can be pending, and the run that gives it one may have read Clerk before.
        """
        await self.database.execute(
            """
            UPDATE provisioning.tenant_link l SET marked_at = now()
            FROM provisioning.clerk_event e
            WHERE e.organization_id = l.clerk_org_id AND e.received_at > %(since)s
              AND l.created_at > %(since)s AND l.marked_at IS NULL
            """,
            {"since": looked_at},
        )

    async def happened_at(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], datetime]:
        """(organization, user) → when Clerk's last event about that membership or user happened, where one came."""
        if not pairs:
            return {}
        rows = await self.fetch_if_made(
            """
            SELECT p.organization, p.person, max(COALESCE(e.happened_at, e.received_at)) AS at
            FROM unnest(%s::text[], %s::text[]) AS p(organization, person)
            JOIN provisioning.clerk_event e ON e.user_id = p.person
                AND (e.organization_id = p.organization OR e.organization_id IS NULL)
            GROUP BY 1, 2
            """,
            columns(pairs),
        )
        return {(row["organization"], row["person"]): row["at"] for row in rows}

    async def forget_events(self, before: datetime) -> int:
        """Delete the events that arrived before this time, and return how many.

        Clerk repeats an event for about 27 hours: if we forgot it sooner, we would take it for a new one.
        """
        return await self.database.execute("DELETE FROM provisioning.clerk_event WHERE received_at < %s", [before])


async def _request_reviews(
    connection: AsyncConnection[TupleRow], event: ClerkEvent, registered: Sequence[str]
) -> tuple[str, ...]:
    user_alone = event.user_id if event.organization_id is None else None
    cursor = await connection.execute(
        """
        SELECT database_name FROM provisioning.tenant_link
        WHERE database_name IN (
            SELECT database_name FROM provisioning.tenant_link WHERE clerk_org_id = %s
            UNION ALL SELECT unnest(%s::text[])
            UNION ALL SELECT database_name FROM provisioning.member_link WHERE clerk_user_id = %s
            UNION ALL SELECT database_name FROM provisioning.member_intent WHERE clerk_user_id = %s
            -- a person who could not be linked yet, and has not left since
            UNION ALL SELECT database_name FROM provisioning.tenant_link WHERE clerk_org_id IN (
                SELECT organization_id FROM (
                    SELECT DISTINCT ON (organization_id) organization_id, type FROM provisioning.clerk_event
                    WHERE user_id = %s AND organization_id IS NOT NULL
                    ORDER BY organization_id, COALESCE(happened_at, received_at) DESC,
                        type = 'organizationMembership.deleted' DESC
                ) newest WHERE type <> 'organizationMembership.deleted'))
        -- the same order in every process, so that two of them cannot deadlock
        ORDER BY database_name FOR UPDATE
        """,
        [event.organization_id, list(registered), user_alone, user_alone, user_alone],
    )
    names = [str(row[0]) for row in await cursor.fetchall()]
    if event.type == USER_UPDATED and not event.gone and await _has_changed_too_often(connection, event):
        return ()
    if names:
        await connection.execute(REQUEST_REVIEWS, [names])
    return tuple(names)


async def _has_changed_too_often(connection: AsyncConnection[TupleRow], event: ClerkEvent) -> bool:
    # after the tenants are locked: every earlier request is there to be counted
    cursor = await connection.execute(
        """
        SELECT count(*) FROM provisioning.clerk_event
        WHERE user_id = %s AND type = %s AND received_at >= date_trunc('hour', now())
        """,
        [event.user_id, USER_UPDATED],
    )
    row = await cursor.fetchone()
    return row is not None and row[0] > MOST_UPDATES_PER_HOUR


_TURNS: Final = "code_location"
"""The table whose lock the sensors take to give turns: it has one row that hardly ever changes."""
_WAIT_SECONDS = 30.0
_KEPT_DAYS = 7


class OpenTurns:
    """The turns while no other process takes any; all changes are stored at the end, or none."""

    def __init__(self, connection: AsyncConnection[TupleRow], now: datetime) -> None:
        self._connection = connection
        self.now = now

    async def of(self, names: Collection[str]) -> dict[str, Turn]:
        """Database name → turn, of those that have one."""
        cursor = await self._connection.execute(
            """
            SELECT database_name, due_since, cause, attempts, launched_at, work, asked_by
            FROM provisioning.turn WHERE database_name = ANY(%s)
            """,
            [list(names)],
        )
        return {name: Turn(*columns) for name, *columns in await cursor.fetchall()}

    async def see(self, due: Collection[str]) -> None:
        """These are due, some of them since now; forget those that were not due for a week."""
        await self._connection.execute(
            """
            INSERT INTO provisioning.turn (database_name, due_since) SELECT name, %s FROM unnest(%s::text[]) name
            ON CONFLICT DO NOTHING
            """,
            [self.now, list(due)],
        )
        await self._connection.execute(
            """
            DELETE FROM provisioning.turn WHERE greatest(due_since, launched_at) < %s - make_interval(days => %s)
            AND NOT database_name = ANY(%s)
            """,
            [self.now, _KEPT_DAYS, list(due)],
        )

    async def launch(self, turns: Mapping[str, Turn]) -> None:
        """These are launched now."""
        await self._connection.execute(
            """
            UPDATE provisioning.turn t
            SET cause = n.cause, attempts = n.attempts, launched_at = %s, work = n.work, asked_by = n.asked_by
            FROM unnest(%s::text[], %s::text[], %s::integer[], %s::text[], %s::text[])
                AS n(database_name, cause, attempts, work, asked_by)
            WHERE t.database_name = n.database_name
            """,
            [self.now, *columns([(name, t.cause, t.attempts, t.work, t.asked_by) for name, t in turns.items()])],
        )


class Turns(LedgerTables):
    """Turns in the ledger."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[OpenTurns]:
        """Take turns, one sensor after another: two that tick at the same time never take the same tenant.

        Raises:
            Fault: BUSY when another sensor takes them for more than half a minute.
        """
        async with logging_holders_of(self.database, _TURNS), self.database.transaction() as connection:
            await alone(connection, _TURNS, wait_seconds=_WAIT_SECONDS)
            cursor = await connection.execute("SELECT clock_timestamp()")
            row = await cursor.fetchone()
            assert row is not None
            yield OpenTurns(connection, row[0])

    async def databases_of(self, named: Collection[str]) -> frozenset[str]:
        """The database names of tenants that are named by slug or database name."""
        rows = await self.database.fetch(
            "SELECT database_name FROM provisioning.tenant_link WHERE slug = ANY(%s)", [list(named)]
        )
        return frozenset(named).union(row["database_name"] for row in rows)

    async def end(self, names: Sequence[str]) -> None:
        """A run has finished with these tenants: whatever is due next is due anew.

        A tenant keeps its turn while a review from before its launch is pending: Clerk was not read for it.
        """
        if not names:
            return
        await self.database.execute(
            """
            DELETE FROM provisioning.turn t WHERE t.database_name = ANY(%s) AND NOT EXISTS (
                SELECT 1 FROM provisioning.tenant_link l
                WHERE l.database_name = t.database_name AND l.marked_at <= t.launched_at)
            """,
            [list(names)],
        )


class CodeLocations(LedgerTables):
    """Which code location of Dagster works on this ledger, as its own sensors say it."""

    async def known(self) -> tuple[str, str] | None:
        """Names of the location and of its repository; None when no sensor has said it yet."""
        ((there,),) = await self.database.fetch_tuples("SELECT to_regclass('provisioning.code_location') IS NOT NULL")
        if not there:
            return None
        rows = await self.database.fetch_tuples("SELECT location, repository FROM provisioning.code_location")
        return (rows[0][0], rows[0][1]) if rows else None

    async def store(self, location: str, repository: str) -> None:
        """Remember it in place of an earlier one."""
        await self.database.execute(
            """
            INSERT INTO provisioning.code_location (location, repository) VALUES (%s, %s)
            ON CONFLICT (only_row) DO UPDATE
            SET location = excluded.location, repository = excluded.repository, seen_at = now()
            """,
            [location, repository],
        )
