"""Deletes rows of the ledger that are old enough, a few at a time so that no lock is held long."""

from typing import LiteralString

from psycopg import sql

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.request_windows import forget_requests
from provisioning_pipeline.ledger.revisions import has_ledger

_NEWEST_RUN: LiteralString = (
    "(SELECT run_id FROM provisioning.run WHERE finished_at IS NOT NULL ORDER BY begun_at DESC LIMIT 1)"
)
_UNDOABLE: LiteralString = "(SELECT run_id FROM provisioning.removed_row)"
_BEFORE: LiteralString = "now() - make_interval(days => %(days)s)"
_TABLES: tuple[tuple[str, LiteralString, LiteralString], ...] = (
    ("removed_row", "id", f"removed_at < {_BEFORE}"),
    ("outcome", "id", f"at < {_BEFORE} AND run_id IS DISTINCT FROM {_NEWEST_RUN}"),
    ("drift", "id", f"at < {_BEFORE} AND run_id IS DISTINCT FROM {_NEWEST_RUN}"),
    ("intent", "id", f"settled_at < {_BEFORE}"),
    ("tenant_request", "id", f"asked_at < {_BEFORE}"),
    ("refusal", "id", f"last_at < {_BEFORE}"),
    # one that is still tried again is younger; others are for an address that is no longer in the settings
    ("webhook_delivery", "id", f"created_at < {_BEFORE} AND (failed_at IS NOT NULL OR next_try_at < {_BEFORE})"),
    ("condition_change", "id", f"at < {_BEFORE}"),
    # after all that names it, so that a timeline can say who was behind it; and as long as rows that it removed can be
    # put back. One that never finished goes as well: it broke off
    ("run", "run_id", f"begun_at < {_BEFORE} AND run_id IS DISTINCT FROM {_NEWEST_RUN} AND run_id NOT IN {_UNDOABLE}"),
)
"""Table, its key, and which of its rows go."""
# their files go at the same age, and nothing shall link to them
_FORGET_REPORTS: LiteralString = f"""
    UPDATE provisioning.run SET report = NULL
    WHERE report IS NOT NULL AND begun_at < {_BEFORE} AND run_id IS DISTINCT FROM {_NEWEST_RUN}
"""  # noqa: S608  # texts of ours alone


async def prune_ledger(
    database: Database,
    *,
    outcomes_days: int,
    timelines_days: int,
    removed_rows_days: int,
    reports_days: int,
    dry_run: bool,
    batch: int = 5000,
) -> dict[str, int]:
    """Delete what is older than so many days by the ledger's own clock, or only count it; table → rows.

    The newest finished run stays with its outcomes and drift however old it is, because reports are drawn from it. So
    does a run of which rows can still be put back. A run stays as long as anything in a timeline may name it; open
    intents stay. Each batch is a transaction of its own: breaking off in between loses nothing.

    Clerk's events are not among the tables: each reconciliation forgets the old ones. Nor are the counts of requests,
    which are worth a minute and go each time.

    Raises:
        Fault: when the ledger cannot be reached, or is older than this program.
    """
    if not await has_ledger(database):
        return {}
    days = {
        "removed_row": removed_rows_days,
        "condition_change": timelines_days,
        "run": max(outcomes_days, timelines_days),
    }
    found: dict[str, int] = {}
    for table, key, condition in _TABLES:
        given = {"days": days.get(table, outcomes_days)}
        old = sql.SQL("FROM {} WHERE {}").format(sql.Identifier("provisioning", table), sql.SQL(condition))
        if dry_run:
            (row,) = await database.fetch(sql.SQL("SELECT count(*) AS found {}").format(old), given)
            found[table] = row["found"]
            continue
        delete = sql.SQL("DELETE FROM {table} WHERE {key} IN (SELECT {key} {old} LIMIT {batch})").format(
            table=sql.Identifier("provisioning", table), key=sql.Identifier(key), old=old, batch=sql.Literal(batch)
        )
        found[table] = last = await database.execute(delete, given)
        while last == batch:
            last = await database.execute(delete, given)
            found[table] += last
    if not dry_run:
        await database.execute(_FORGET_REPORTS, {"days": reports_days})
        await forget_requests(database)
    return found
