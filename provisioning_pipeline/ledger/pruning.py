"""Deletes rows of the ledger that are old enough, a few at a time so that no lock is held long."""

from datetime import datetime
from typing import LiteralString

from psycopg import sql

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.schema import has_ledger

_BATCH = 5000

_NEWEST_RUN: LiteralString = (
    "(SELECT run_id FROM provisioning.run WHERE finished_at IS NOT NULL ORDER BY begun_at DESC LIMIT 1)"
)
_UNDOABLE: LiteralString = "(SELECT run_id FROM provisioning.removed_row)"
_OLD: LiteralString = "%(before)s::timestamptz"

_OUTCOMES: dict[str, tuple[LiteralString, LiteralString]] = {
    "outcome": ("id", f"at < {_OLD} AND run_id IS DISTINCT FROM {_NEWEST_RUN}"),
    "drift": ("id", f"at < {_OLD} AND run_id IS DISTINCT FROM {_NEWEST_RUN}"),
    "intent": ("id", f"settled_at < {_OLD}"),
    "tenant_request": ("id", f"asked_at < {_OLD}"),
    "refusal": ("id", f"last_at < {_OLD}"),
}
_RUNS: dict[str, tuple[LiteralString, LiteralString]] = {
    # after all that names it, so that a timeline can say who was behind it; and as long as rows that it removed can be
    # put back. One that never finished goes as well: it broke off
    "run": (
        "run_id",
        f"begun_at < {_OLD} AND run_id IS DISTINCT FROM {_NEWEST_RUN} AND run_id NOT IN {_UNDOABLE}",
    ),
}
_TIMELINES: dict[str, tuple[LiteralString, LiteralString]] = {"condition_change": ("id", f"at < {_OLD}")}
_REMOVED_ROWS: dict[str, tuple[LiteralString, LiteralString]] = {"removed_row": ("id", f"removed_at < {_OLD}")}


async def prune_ledger(
    database: Database,
    *,
    outcomes_days: int,
    timelines_days: int,
    removed_rows_days: int,
    reports_days: int,
    dry_run: bool,
    batch: int = _BATCH,
) -> dict[str, int]:
    """Delete what is older than so many days by the ledger's own clock, or only count it; table → rows.

    The newest finished run stays with its outcomes and drift however old it is, because reports are drawn from it. So
    does a run of which rows can still be put back. A run stays as long as anything in a timeline may name it; open
    intents stay. Each batch is a transaction of its own: breaking off in between loses nothing.

    Clerk's events are not among the tables: each reconciliation forgets the old ones.

    Raises:
        Fault: when the ledger cannot be reached, or is older than this program.
    """
    if not await has_ledger(database):
        return {}
    found: dict[str, int] = {}
    for tables, days in (
        (_REMOVED_ROWS, removed_rows_days),
        (_OUTCOMES, outcomes_days),
        (_TIMELINES, timelines_days),
        (_RUNS, max(outcomes_days, timelines_days)),
    ):
        rows = await database.fetch("SELECT now() - make_interval(days => %s) AS before", [days])
        for table, (key, condition) in tables.items():
            found[table] = await _rows(database, table, key, condition, rows[0]["before"], batch, dry_run=dry_run)
    if not dry_run:
        await database.execute(_FORGET_REPORTS, [reports_days])
    return found


# their files go at the same age, and nothing shall link to them
_FORGET_REPORTS: LiteralString = """
    UPDATE provisioning.run SET report = NULL
    WHERE report IS NOT NULL AND begun_at < now() - make_interval(days => %s) AND run_id IS DISTINCT FROM (
        SELECT run_id FROM provisioning.run WHERE finished_at IS NOT NULL ORDER BY begun_at DESC LIMIT 1)
"""


async def _rows(
    database: Database,
    table: str,
    key: LiteralString,
    condition: LiteralString,
    before: datetime,
    batch: int,
    *,
    dry_run: bool,
) -> int:
    names = {
        "table": sql.Identifier("provisioning", table),
        "key": sql.Identifier(key),
        "old": sql.SQL(condition),
        "batch": sql.Literal(batch),
    }
    if dry_run:
        count = sql.SQL("SELECT count(*) AS found FROM {table} AS kept WHERE {old}").format(**names)
        return int((await database.fetch(count, {"before": before}))[0]["found"])
    delete = sql.SQL(
        "DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} AS kept WHERE {old} LIMIT {batch})"
    ).format(**names)
    deleted = last = await database.execute(delete, {"before": before})
    while last == batch:
        last = await database.execute(delete, {"before": before})
        deleted += last
    return deleted
