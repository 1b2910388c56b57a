"""The fleet in figures, for a monitor."""

from collections.abc import Mapping
from dataclasses import dataclass

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.model.condition import SET_ASIDE

READY_BUCKETS: tuple[float, ...] = (5, 10, 30, 60, 120, 300, 600, 1800, 3600, 21600, 86400)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Counts.

    Args:
        conditions: (type, status, reason) → tenants.
        tenants: state → tenants.
        marked: tenants that wait for a run to look at them.
        runs: (trigger, `finished`, `cut` or `open`) → runs that the ledger remembers.
        last_whole_run: when the last run over all tenants ended, in seconds since 1970; None: there was none.
        clerk_calls_last_run: of the last finished run; None as above.
        ready_counts: tenants that became ready within each of `READY_BUCKETS` seconds, and at all.
        ready_seconds_sum: of all of them.
    """

    conditions: Mapping[tuple[str, str, str], int]
    tenants: Mapping[str, int]
    marked: int
    runs: Mapping[tuple[str, str], int]
    last_whole_run: float | None
    clerk_calls_last_run: int | None
    ready_counts: tuple[int, ...]
    ready_seconds_sum: float


async def fleet(database: Database) -> Fleet:
    """The fleet as it is now."""
    conditions = await database.fetch(
        "SELECT type, status, reason, count(*) AS found FROM provisioning.condition GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    (links,) = await database.fetch(
        """
        SELECT count(*) AS every, count(*) FILTER (WHERE l.ready) AS ready,
               count(*) FILTER (WHERE c.reason = ANY(%s)) AS aside, count(l.marked_at) AS marked
        FROM provisioning.tenant_link l
        LEFT JOIN provisioning.condition c ON c.database_name = l.database_name AND c.type = 'Ready'
        """,
        [sorted(SET_ASIDE)],
    )
    runs = await database.fetch(
        """
        SELECT trigger, count(*) AS found,
               CASE WHEN finished_at IS NOT NULL THEN 'finished' WHEN ended_as = 'cut' THEN 'cut' ELSE 'open' END state
        FROM provisioning.run
        -- a sign-in or a verification has a row to say who was behind something, and looks at no fleet
        WHERE finished_at IS NOT NULL OR record IS NOT NULL
        GROUP BY 1, 3 ORDER BY 1, 3
        """
    )
    last = await database.fetch(
        """
        SELECT extract(epoch FROM max(finished_at) FILTER (WHERE record->>'whole' = 'true'))::float8 AS whole,
               (array_agg((record->>'clerk_calls')::int ORDER BY finished_at DESC)
                   FILTER (WHERE record->>'clerk_calls' ~ '^[0-9]+$'))[1] AS calls
        FROM provisioning.run WHERE finished_at IS NOT NULL
        """
    )
    (ready,) = await database.fetch(
        """
        WITH waited AS (
            SELECT extract(epoch FROM min(c.at) - l.created_at)::float8 AS seconds
            FROM provisioning.condition_change c JOIN provisioning.tenant_link l USING (database_name)
            WHERE c.type = 'Ready' AND c.status = 'True' GROUP BY l.database_name, l.created_at
        )
        SELECT array(
                   SELECT (SELECT count(*) FROM waited w WHERE w.seconds <= bound)
                   FROM unnest(%s::float8[]) WITH ORDINALITY AS b(bound, place) ORDER BY place
               ) AS counts,
               (SELECT count(*) FROM waited) AS every, (SELECT COALESCE(sum(seconds), 0) FROM waited) AS sum
        """,
        [list(READY_BUCKETS)],
    )
    return Fleet(
        conditions={(row["type"], row["status"], row["reason"]): row["found"] for row in conditions},
        tenants={
            "ready": links["ready"],
            "aside": links["aside"],
            "unwell": links["every"] - links["ready"] - links["aside"],
        },
        marked=links["marked"],
        runs={(row["trigger"], row["state"]): row["found"] for row in runs},
        last_whole_run=last[0]["whole"],
        clerk_calls_last_run=last[0]["calls"],
        ready_counts=(*ready["counts"], ready["every"]),
        ready_seconds_sum=float(ready["sum"]),
    )
