"""What services were refused over HTTP, in the ledger."""

from collections.abc import Sequence
from dataclasses import astuple

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.schema import has_ledger
from provisioning_pipeline.model.key_refusal import RefusalKind, Refusals


async def add_refusals(database: Database, found: Sequence[Refusals]) -> None:
    """Add these to what is there: the same kind within an hour is one row."""
    rows = [(*astuple(one.kind), one.detail, one.request_id, one.first_at, one.last_at, one.times) for one in found]
    columns = [list(column) for column in zip(*rows, strict=True)]
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
        columns,
    )


async def refusals(database: Database, *, most: int, key_id: str | None = None) -> list[Refusals]:
    """The last of them, newest first; all, or those of one key.

    Raises:
        Fault: when the ledger cannot be reached, or is older than this program.
    """
    if not await has_ledger(database):
        return []
    rows = await database.fetch(
        """
        SELECT hour, reason, status, api_key_id, address, route, tenant, detail, request_id, first_at, last_at, times
        FROM provisioning.refusal WHERE %s::text IS NULL OR api_key_id = %s ORDER BY last_at DESC, id DESC LIMIT %s
        """,
        [key_id, key_id, most],
    )
    return [
        Refusals(
            RefusalKind(
                row["hour"],
                row["reason"],
                row["status"],
                row["api_key_id"],
                row["address"],
                row["route"],
                row["tenant"],
            ),
            row["times"],
            row["first_at"],
            row["last_at"],
            row["detail"],
            row["request_id"],
        )
        for row in rows
    ]
