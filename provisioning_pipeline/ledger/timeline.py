"""One tenant's history from the ledger's tables, and the last events of the whole fleet."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import LiteralString

from psycopg.rows import dict_row

from provisioning_pipeline.clients.postgres import Database, Row, anew_if_lost
from provisioning_pipeline.ledger.revisions import has_ledger
from provisioning_pipeline.ledger.runs import runs_at_work
from provisioning_pipeline.ledger.schema import LedgerTables

_END = datetime(9999, 12, 31, tzinfo=UTC)
_DETAILS = 3
"""How many details of a folded row are shown."""


class Timelines(LedgerTables):
    """Reads about single tenants."""

    async def organization_and_members(self, database_name: str) -> tuple[str | None, int]:
        """The tenant's Clerk organization, where one is known, and how many people are linked as its members."""
        rows = await self.database.fetch_tuples(
            """
            SELECT clerk_org_id,
                   (SELECT count(*) FROM provisioning.member_link m WHERE m.database_name = l.database_name)
            FROM provisioning.tenant_link l WHERE l.database_name = %s
            """,
            [database_name],
        )
        return (rows[0][0], rows[0][1]) if rows else (None, 0)

    @anew_if_lost
    async def rows(self, database_name: str, *, until: datetime | None = None, most: int) -> dict[str, list[Row]]:
        """Table → up to `most` rows about this tenant, not younger than `until`, newest first; all of one moment.

        Every row has `at`. All but those of `clerk_event` and `tenant_request` have `run_id` and `trigger`, which are
        None where the run is not known. Rows of `intent` come twice: as begun, and as `settled_intent`. Successful
        logins of one moment are one row of `outcome`, and so are removed rows of one moment, run and table: with
        `times`.
        """
        given = {"name": database_name, "until": until or _END, "most": most, "details": _DETAILS}
        found: dict[str, list[Row]] = {}
        async with self.database.transaction() as connection:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor = connection.cursor(row_factory=dict_row)
            for table, query in _QUERIES.items():
                await cursor.execute(query, given)
                found[table] = await cursor.fetchall()
        open_runs = [row["run_id"] for row in found["run"] if row["ended_as"] is None]
        at_work = await runs_at_work(self.database, open_runs)
        found["run"] = [row for row in found["run"] if row["run_id"] not in at_work]
        return found

    async def reported(self, run_ids: Sequence[str]) -> list[str]:
        """Which of these runs have a report."""
        with_report = "SELECT run_id FROM provisioning.run WHERE run_id = ANY(%s) AND report IS NOT NULL"
        return [run_id for (run_id,) in await self.database.fetch_tuples(with_report, [list(run_ids)])]


_QUERIES: Mapping[str, LiteralString] = {
    "tenant_link": """
        SELECT l.created_at AS at, l.found_by AS run_id, r.trigger, l.slug
        FROM provisioning.tenant_link l LEFT JOIN provisioning.run r ON r.run_id = l.found_by
        WHERE l.database_name = %(name)s AND l.created_at <= %(until)s
    """,
    # an event about a user alone names no organization: those who are members by our links, or were by earlier events
    "clerk_event": """
        WITH tenant AS (
            SELECT clerk_org_id FROM provisioning.tenant_link WHERE database_name = %(name)s
        ), people AS (
            SELECT m.clerk_user_id AS user_id FROM provisioning.member_link m WHERE m.database_name = %(name)s
            UNION
            SELECT e.user_id FROM provisioning.clerk_event e JOIN tenant t ON e.organization_id = t.clerk_org_id
            WHERE e.user_id IS NOT NULL
        ), of_organization AS (
            SELECT e.event_id, e.type, e.user_id, e.happened_at, e.received_at
            FROM provisioning.clerk_event e JOIN tenant t ON e.organization_id = t.clerk_org_id
            WHERE e.received_at <= %(until)s
            ORDER BY e.received_at DESC, e.event_id DESC LIMIT %(most)s
        ), of_people AS (
            SELECT e.* FROM people p CROSS JOIN LATERAL (
                SELECT event_id, type, user_id, happened_at, received_at FROM provisioning.clerk_event
                WHERE user_id = p.user_id AND organization_id IS NULL AND received_at <= %(until)s
                ORDER BY received_at DESC, event_id DESC LIMIT %(most)s) e
        )
        SELECT e.received_at AS at, e.type, e.happened_at, COALESCE(m.email, e.user_id) AS person
        FROM (SELECT * FROM of_organization UNION ALL SELECT * FROM of_people) e
        LEFT JOIN provisioning.member_link m ON m.database_name = %(name)s AND m.clerk_user_id = e.user_id
        ORDER BY e.received_at DESC, e.event_id DESC LIMIT %(most)s
    """,
    "tenant_request": """
        SELECT q.asked_at AS at, q.run_id, k.name AS caller
        FROM provisioning.tenant_request q LEFT JOIN provisioning.api_key k ON k.id = q.api_key_id
        WHERE q.database_name = %(name)s AND q.asked_at <= %(until)s
        ORDER BY q.asked_at DESC, q.id DESC LIMIT %(most)s
    """,
    "drift": """
        SELECT d.at, CASE WHEN d.run_id <> 'session' THEN d.run_id END AS run_id, r.trigger,
               d.cause, d.source, d.who, d.detail
        FROM provisioning.drift d LEFT JOIN provisioning.run r ON r.run_id = d.run_id
        WHERE d.database_name = %(name)s AND d.at <= %(until)s
        ORDER BY d.at DESC, d.id DESC LIMIT %(most)s
    """,
    "intent": """
        SELECT i.begun_at AS at, i.run_id, r.trigger, i.server, i.subdomain, i.settled_at IS NULL AS open
        FROM provisioning.intent i LEFT JOIN provisioning.run r ON r.run_id = i.run_id
        WHERE i.database_name = %(name)s AND i.begun_at <= %(until)s
        ORDER BY i.begun_at DESC, i.id DESC LIMIT %(most)s
    """,
    "settled_intent": """
        SELECT i.settled_at AS at, i.run_id, r.trigger, i.server, i.subdomain, i.settled_as
        FROM provisioning.intent i LEFT JOIN provisioning.run r ON r.run_id = i.run_id
        WHERE i.database_name = %(name)s AND i.settled_at <= %(until)s
        ORDER BY i.settled_at DESC, i.id DESC LIMIT %(most)s
    """,
    # a tenant with many members has as many logins at once, and they would hide everything else
    "outcome": """
        SELECT o.at, o.run_id, r.trigger, o.change, o.status, count(*) AS times,
               (array_agg(o.detail ORDER BY o.id))[1:%(details)s::int] AS details
        FROM provisioning.outcome o LEFT JOIN provisioning.run r ON r.run_id = o.run_id
        WHERE o.database_name = %(name)s AND o.at <= %(until)s
        GROUP BY o.at, o.run_id, r.trigger, o.change, o.status,
            CASE WHEN o.change = 'prove login' AND o.status = 'done' THEN 0 ELSE o.id END
        ORDER BY o.at DESC, max(o.id) DESC LIMIT %(most)s
    """,
    "removed_row": """
        SELECT w.removed_at AS at, w.run_id, r.trigger, w.server, w.table_name, count(*) AS times,
               count(*) FILTER (WHERE w.status = 'restored') AS restored,
               count(*) FILTER (WHERE w.status = 'removing') AS uncertain,
               array_remove(array_agg(DISTINCT w.row->>'key'), NULL) AS keys
        FROM provisioning.removed_row w LEFT JOIN provisioning.run r ON r.run_id = w.run_id
        WHERE w.database_name = %(name)s AND w.removed_at <= %(until)s
        GROUP BY w.removed_at, w.run_id, r.trigger, w.server, w.table_name
        ORDER BY w.removed_at DESC, max(w.id) DESC LIMIT %(most)s
    """,
    "condition_change": """
        SELECT c.at, c.run_id, r.trigger, c.type, c.status, c.reason, c.message
        FROM provisioning.condition_change c LEFT JOIN provisioning.run r ON r.run_id = c.run_id
        WHERE c.database_name = %(name)s AND c.at <= %(until)s
        ORDER BY c.at DESC, c.id DESC LIMIT %(most)s
    """,
    # that a killed run was cut may not be recorded yet, so runs without an end count, too
    "run": """
        SELECT COALESCE(r.ended_at, r.begun_at) AS at, r.run_id, r.trigger, r.begun_at, r.ended_as, r.cut_why
        FROM provisioning.run r
        -- what earlier versions began without a record was no reconciliation
        WHERE r.finished_at IS NULL AND r.ended_as IS DISTINCT FROM 'done'
          AND (r.kind IS NOT NULL OR r.record IS NOT NULL) AND COALESCE(r.ended_at, r.begun_at) <= %(until)s
          AND (EXISTS (SELECT 1 FROM provisioning.outcome o WHERE o.database_name = %(name)s AND o.run_id = r.run_id)
            OR EXISTS (SELECT 1 FROM provisioning.drift d WHERE d.database_name = %(name)s AND d.run_id = r.run_id))
        ORDER BY 1 DESC LIMIT %(most)s
    """,
}


async def newest_rows(database: Database, most: int) -> dict[str, dict[str, list[Row]]]:
    """Database name → table → its newest rows; `most` of each table over all tenants, none before there is a ledger."""
    found: dict[str, dict[str, list[Row]]] = {}
    if not await has_ledger(database):
        return found
    for table, query in _RECENT.items():
        for row in await database.fetch(query, {"most": most}):
            found.setdefault(row["database_name"], {}).setdefault(table, []).append(row)
    return found


_RECENT: Mapping[str, LiteralString] = {
    "clerk_event": """
        SELECT l.database_name, e.received_at AS at, e.type, e.happened_at, COALESCE(m.email, e.user_id) AS person
        FROM provisioning.clerk_event e
        JOIN provisioning.tenant_link l ON l.clerk_org_id = e.organization_id
        LEFT JOIN provisioning.member_link m
            ON m.database_name = l.database_name AND m.clerk_user_id = e.user_id
        ORDER BY e.received_at DESC, e.event_id DESC LIMIT %(most)s
    """,
    "drift": """
        SELECT d.database_name, d.at, d.run_id, r.trigger, d.cause, d.source, d.who, d.detail
        FROM provisioning.drift d LEFT JOIN provisioning.run r ON r.run_id = d.run_id
        ORDER BY d.at DESC, d.id DESC LIMIT %(most)s
    """,
    "outcome": """
        SELECT o.database_name, o.at, o.run_id, r.trigger, o.change, o.status, 1 AS times, ARRAY[o.detail] AS details
        FROM provisioning.outcome o LEFT JOIN provisioning.run r ON r.run_id = o.run_id
        ORDER BY o.at DESC, o.id DESC LIMIT %(most)s
    """,
    "condition_change": """
        SELECT c.database_name, c.at, c.run_id, r.trigger, c.type, c.status, c.reason, c.message
        FROM provisioning.condition_change c LEFT JOIN provisioning.run r ON r.run_id = c.run_id
        ORDER BY c.at DESC, c.id DESC LIMIT %(most)s
    """,
}
