"""What the ledger knows of what happened lately to all tenants, in the shape of `ledger.timeline`'s rows."""

from collections.abc import Mapping
from typing import LiteralString

from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.ledger.schema import has_ledger


async def newest_rows(database: Database, most: int) -> dict[str, dict[str, list[Row]]]:
    """Database name → table → its newest rows; `most` of each table over all tenants, none before there is a ledger."""
    found: dict[str, dict[str, list[Row]]] = {}
    if not await has_ledger(database):
        return found
    for table, query in _QUERIES.items():
        for row in await database.fetch(query, {"most": most}):
            found.setdefault(row["database_name"], {}).setdefault(table, []).append(row)
    return found


_QUERIES: Mapping[str, LiteralString] = {
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
