"""The whole fleet: in figures for a monitor, a page at a time, who is due and who needs a person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from provisioning_pipeline.clients.postgres import Database, Row
from provisioning_pipeline.ledger.announcements import Deliveries
from provisioning_pipeline.ledger.ledger import TENANT_ROW
from provisioning_pipeline.ledger.revisions import has_ledger, revision
from provisioning_pipeline.ledger.schema import LedgerTables
from provisioning_pipeline.model.announcement import DeliveryCounts
from provisioning_pipeline.model.api_key import EVERY_TENANT, Reach
from provisioning_pipeline.model.condition import SET_ASIDE
from provisioning_pipeline.model.contract import certificate_from, contract_from
from provisioning_pipeline.model.lifecycle import REASON_OF, Lifecycle

READY_BUCKETS: tuple[float, ...] = (5, 10, 30, 60, 120, 300, 600, 1800, 3600, 21600, 86400)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Counts.

    Args:
        conditions: (type, status, reason) → tenants.
        tenants: state → tenants.
        marked: tenants whose review is pending.
        runs: (trigger, `finished`, `cut` or `open`) → runs that the ledger remembers.
        last_whole_run: when the last run over all tenants ended, in seconds since 1970; None: there was none.
        clerk_calls_last_run: of the last finished run; None as above.
        harm_waiting: people whose removal or demotion waits for approval, by the last run over all tenants.
        ready_counts: tenants that became ready within each of `READY_BUCKETS` seconds, and at all.
        ready_seconds_sum: of all of them.
        deliveries: webhooks that have not arrived.
        not_ready: reason → the tenant that has not been ready for the longest, by its slug, and since when.
        oldest_review: since when a review is pending; None: none is.
        runs_begun: trigger → when the last run began.
        actions: trigger → what the finished runs did.
        certificates: Twenty server → when it was last certified, and whether that holds for what it is now.
    """

    conditions: Mapping[tuple[str, str, str], int]
    tenants: Mapping[str, int]
    marked: int
    runs: Mapping[tuple[str, str], int]
    last_whole_run: float | None
    clerk_calls_last_run: int | None
    harm_waiting: int
    ready_counts: tuple[int, ...]
    ready_seconds_sum: float
    deliveries: DeliveryCounts
    not_ready: Mapping[str, tuple[str, float]]
    oldest_review: float | None
    runs_begun: Mapping[str, float]
    actions: Mapping[str, int]
    certificates: Mapping[str, tuple[float, bool]]


async def fleet(database: Database) -> Fleet:
    """The fleet as it is now."""
    conditions = await database.fetch(
        "SELECT type, status, reason, count(*) AS found FROM provisioning.condition GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    (links,) = await database.fetch(
        """
        SELECT count(*) AS every, count(*) FILTER (WHERE l.ready) AS ready,
               count(*) FILTER (WHERE c.reason = ANY(%s)) AS aside, count(l.marked_at) AS marked,
               extract(epoch FROM min(l.marked_at))::float8 AS oldest_review
        FROM provisioning.tenant_link l
        LEFT JOIN provisioning.condition c ON c.database_name = l.database_name AND c.type = 'Ready'
        """,
        [sorted(SET_ASIDE)],
    )
    runs = await database.fetch(
        """
        SELECT trigger, count(*) AS found,
               CASE WHEN finished_at IS NOT NULL THEN 'finished' WHEN ended_as = 'cut' THEN 'cut' ELSE 'open' END state,
               extract(epoch FROM max(begun_at))::float8 AS begun, COALESCE(sum(actions), 0)::int AS actions
        FROM provisioning.run
        -- a sign-in or a verification has a row to say who was behind something, and is about no fleet
        WHERE finished_at IS NOT NULL OR record IS NOT NULL
        GROUP BY 1, 3 ORDER BY 1, 3
        """
    )
    last = await database.fetch(
        """
        SELECT extract(epoch FROM max(finished_at) FILTER (WHERE record->>'whole' = 'true'))::float8 AS whole,
               (array_agg((record->>'clerk_calls')::int ORDER BY finished_at DESC)
                   FILTER (WHERE record->>'clerk_calls' ~ '^[0-9]+$'))[1] AS calls,
               (array_agg(record->'waiting'->>'people' ORDER BY begun_at DESC)
                   FILTER (WHERE record->>'whole' = 'true'))[1]::int AS waiting
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
    longest = await database.fetch(
        """
        SELECT DISTINCT ON (c.reason) c.reason, l.slug, extract(epoch FROM c.since)::float8 AS since
        FROM provisioning.condition c JOIN provisioning.tenant_link l USING (database_name)
        WHERE c.type = 'Ready' AND c.status <> 'True' AND NOT c.reason = ANY(%s)
        ORDER BY c.reason, c.since, l.slug
        """,
        [sorted(SET_ASIDE)],
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
        harm_waiting=last[0]["waiting"] or 0,
        ready_counts=(*ready["counts"], ready["every"]),
        ready_seconds_sum=float(ready["sum"]),
        deliveries=await Deliveries(database).counts(),
        not_ready={row["reason"]: (row["slug"], row["since"]) for row in longest},
        oldest_review=links["oldest_review"],
        # rows of one trigger differ in their state
        runs_begun={row["trigger"]: row["begun"] for row in sorted(runs, key=lambda row: row["begun"])},
        actions={row["trigger"]: row["actions"] for row in runs if row["state"] == "finished"},
        certificates=await _certificates(database),
    )


async def _certificates(database: Database) -> dict[str, tuple[float, bool]]:
    rows = await database.fetch(
        """
        SELECT DISTINCT ON (c.server) c.server, extract(epoch FROM c.certified_at)::float8 AS at, c.holds,
               CASE WHEN seen.fingerprint <> c.fingerprint THEN c.report END AS then, seen.contract AS now
        FROM provisioning.certificate c
        LEFT JOIN LATERAL (
            SELECT fingerprint, contract FROM provisioning.server_contract
            WHERE server = c.server ORDER BY checked_at DESC, fingerprint LIMIT 1
        ) seen ON true
        ORDER BY c.server, c.certified_at DESC, c.id DESC
        """
    )
    return {row["server"]: (row["at"], row["holds"] and _is_as_certified(row)) for row in rows}


def _is_as_certified(row: Row) -> bool:
    if row["then"] is None:
        return True
    contract = certificate_from(row["then"]).contract
    return contract is None or contract.agrees_with(contract_from(row["now"]))


async def link_counts(database: Database) -> Row:
    """How many user links and member links there are, and in how many tenants: users, members, tenants."""
    if not await has_ledger(database):
        return {"users": 0, "members": 0, "tenants": 0}
    (row,) = await database.fetch(
        """
        SELECT (SELECT count(*) FROM provisioning.user_link) AS users, count(*) AS members,
               count(DISTINCT database_name) AS tenants
        FROM provisioning.member_link
        """
    )
    return row


async def unsynced(database: Database) -> list[Row]:
    """Tenants some of whose members need a person: slug, reason, message. Not those that are excluded."""
    return await LedgerTables(database).fetch_if_made(
        """
        SELECT l.slug, c.reason, c.message
        FROM provisioning.condition c JOIN provisioning.tenant_link l USING (database_name)
        WHERE c.type = 'MembersSynced' AND c.status <> 'True' AND NOT EXISTS (
            SELECT 1 FROM provisioning.condition r WHERE r.database_name = c.database_name
            AND r.type = 'Ready' AND r.reason = ANY(%s))
        ORDER BY l.slug
        """,
        [sorted(SET_ASIDE)],
    )


async def known_and_due(database: Database) -> tuple[set[str], dict[str, int]]:
    """The databases that have a row, and of those the ones that are due now with the tries they have had.

    A tenant is due when its database was missing the last time, or when it has waited for long enough. JSON, since a
    sensor asks this often and ten thousand rows cost more than the query.
    """
    # after an upgrade the ledger is migrated by the run that this launches
    if await revision(database) is None:
        return set(), {}
    (row,) = await database.fetch(
        """
        SELECT COALESCE(json_agg(l.database_name), '[]') AS known,
               COALESCE(json_object_agg(l.database_name, l.attempts) FILTER (
                   WHERE NOT l.ready AND (l.look_again_at <= now() OR EXISTS (
                       SELECT 1 FROM provisioning.condition c WHERE c.database_name = l.database_name
                       AND c.type = 'Detected' AND c.status = 'False'))), '{}') AS due
        FROM provisioning.tenant_link l
        """
    )
    return set(row["known"]), row["due"]


async def page(
    database: Database,
    after: str,
    most: int,
    state: str | None,
    clerk_org_id: str | None,
    reach: Reach = EVERY_TENANT,
    lifecycle: Lifecycle | None = None,
) -> list[Row]:
    """What `Ledger.tenant_rows` has, and clerk_org_id, of up to `most` tenants after a database name, by that name.

    Those in reach; all, or those in one state (`ready`, `unwell`, `aside`), in one part of their life, or of one Clerk
    organization.
    """
    return await LedgerTables(database).fetch_if_made(
        f"""
        SELECT l.clerk_org_id, {TENANT_ROW}
        WHERE l.database_name > %(after)s COLLATE "C"
          AND (%(organization)s::text IS NULL OR l.clerk_org_id = %(organization)s)
          AND (%(tenant)s::text IS NULL OR l.slug = %(tenant)s)
          AND (%(prefix)s::text IS NULL OR starts_with(l.slug, %(prefix)s))
          AND (%(lifecycle)s::text IS NULL OR y.reason = %(lifecycle)s)
          AND (%(state)s::text IS NULL OR %(state)s = CASE
              WHEN c.status = 'True' THEN 'ready' WHEN c.reason = ANY(%(aside)s) THEN 'aside' ELSE 'unwell' END)
        ORDER BY l.database_name COLLATE "C" LIMIT %(most)s
        """,
        {
            "after": after,
            "most": most,
            "organization": clerk_org_id,
            "state": state,
            "lifecycle": lifecycle and REASON_OF[lifecycle],
            "aside": sorted(SET_ASIDE),
            "tenant": reach.tenant,
            "prefix": reach.tenant_prefix,
        },
    )


async def shared_names(database: Database, names: Sequence[str]) -> frozenset[str]:
    """Which of these slugs stand for several tenants, by their slugs or by their database names."""
    rows = await database.fetch(
        """
        SELECT name FROM (
            SELECT slug AS name, database_name FROM provisioning.tenant_link WHERE slug = ANY(%(names)s)
            UNION
            SELECT database_name, database_name FROM provisioning.tenant_link WHERE database_name = ANY(%(names)s)
        ) named GROUP BY name HAVING count(*) > 1
        """,
        {"names": list(names)},
    )
    return frozenset(row["name"] for row in rows)
