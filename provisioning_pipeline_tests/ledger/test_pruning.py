"""What of the ledger is pruned, and what stays, on a real PostgreSQL."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from provisioning_pipeline.ledger.pruning import prune_ledger
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.ledger.conftest import ask_ledger

STATEMENTS = {
    "run": "INSERT INTO provisioning.run (run_id, trigger, begun_at, finished_at) VALUES ({name}, 't', {at}, {at})",
    "unfinished": "INSERT INTO provisioning.run (run_id, trigger, begun_at) VALUES ({name}, 't', {at})",
    "outcome": "INSERT INTO provisioning.outcome (run_id, database_name, change, status, detail, seconds, at) "
    "VALUES ({name}, 'd', 'c', 'done', '', 1, {at})",
    "drift": "INSERT INTO provisioning.drift (run_id, database_name, cause, source, who, detail, at) "
    "VALUES ({name}, 'd', 'c', 's', 'w', '', {at})",
    "condition_change": "INSERT INTO provisioning.condition_change (database_name, type, status, reason, message, "
    "run_id, at) VALUES ('d', 't', 's', 'r', '', {name}, {at})",
    "removed_row": "INSERT INTO provisioning.removed_row (run_id, database_name, table_name, row_id, row, status, "
    "removed_at) VALUES ({name}, 'd', 't', gen_random_uuid(), '{{}}', 'removed', {at})",
    "intent": "INSERT INTO provisioning.intent (database_name, server, subdomain, begun_at, settled_at, run_id) "
    "VALUES ('d', 's', {name}, {at}, {at}, {name})",
    "open_intent": "INSERT INTO provisioning.intent (database_name, server, subdomain, begun_at, run_id) "
    "VALUES ('d', 's', {name}, {at}, {name})",
    "tenant_request": "INSERT INTO provisioning.tenant_request (database_name, api_key_id, fingerprint, run_id, "
    "asked_at) VALUES ('d', 'k', '', {name}, {at})",
    "refusal": "INSERT INTO provisioning.refusal (hour, reason, status, api_key_id, address, route, tenant, detail, "
    "request_id, first_at, last_at, times) VALUES ({at}, 'wrong_key', 401, '', '', '', '', '', {name}, {at}, {at}, 1)",
    "webhook_delivery": "INSERT INTO provisioning.webhook_delivery (message_id, endpoint, database_name, type, "
    "payload, created_at, next_try_at, last_error) "
    "VALUES (gen_random_uuid(), 'e', 'd', 't', '{{}}', {at}, {at}, {name})",
    "clerk_event": "INSERT INTO provisioning.clerk_event (event_id, type, received_at) VALUES ({name}, 't', {at})",
}
TABLES = (
    "run",
    "outcome",
    "drift",
    "condition_change",
    "removed_row",
    "intent",
    "tenant_request",
    "refusal",
    "webhook_delivery",
    "clerk_event",
)


class Kept:
    """A ledger with rows of a given age."""

    def __init__(self, postgres: SandboxPostgres, name: str) -> None:
        self.postgres, self.name = postgres, name

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        return self.postgres.execute(self.name, statement)

    def add(self, what: str, name: str, days: float) -> None:
        self.sql(STATEMENTS[what].format(name=f"'{name}'", at=f"now() - interval '{days} days'"))

    def left(self, table: str) -> list[str]:
        column = {"clerk_event": "event_id", "refusal": "request_id", "webhook_delivery": "last_error"}.get(
            table, "run_id"
        )
        return [row[0] for row in self.sql(f"SELECT {column} FROM provisioning.{table} ORDER BY 1")]

    def prune(self, *, dry_run: bool = False, batch: int = 100, days: tuple[int, int, int] = (90, 365, 90)) -> Any:
        return ask_ledger(
            self.postgres.url(self.name),
            lambda database: prune_ledger(
                database,
                outcomes_days=days[0],
                timelines_days=days[1],
                removed_rows_days=days[2],
                reports_days=30,
                dry_run=dry_run,
                batch=batch,
            ),
            read_only=dry_run,
        )


@pytest.fixture
def kept(sandbox_postgres: SandboxPostgres, migrated: str) -> Iterator[Kept]:
    name = f"pruning_{uuid.uuid4().hex[:8]}"
    sandbox_postgres.create_database(name, template=migrated)
    made = Kept(sandbox_postgres, name)
    made.sql("INSERT INTO provisioning.tenant_link (database_name, slug) VALUES ('d', 'd')")
    yield made
    sandbox_postgres.drop_database(name)


@pytest.mark.parametrize(
    ("what", "days"),
    [
        ("run", 365),
        ("outcome", 90),
        ("drift", 90),
        ("intent", 90),
        ("condition_change", 365),
        ("removed_row", 90),
        ("tenant_request", 90),
        ("refusal", 90),
    ],
)
def test_each_table_keeps_what_is_younger_than_its_setting(kept: Kept, what: str, days: int) -> None:
    kept.add("run", "latest", 0.5)
    kept.add(what, "old", days + 0.1)
    kept.add(what, "young", days - 0.1)

    assert kept.prune()[what] == 1

    assert "old" not in kept.left(what)
    assert "young" in kept.left(what)
    assert set(kept.prune().values()) == {0}


def test_the_newest_finished_run_stays_with_what_a_report_is_drawn_from(kept: Kept) -> None:
    for name, days in (("older", 400), ("newest", 300)):
        for what in ("run", "outcome", "drift"):
            kept.add(what, name, days)
    kept.add("unfinished", "broke-off", 200)
    kept.add("unfinished", "broke-off-long-ago", 400)

    kept.prune()

    assert kept.left("run") == ["broke-off", "newest"]
    assert kept.left("outcome") == kept.left("drift") == ["newest"]


def test_open_intents_and_clerks_events_are_not_its_business(kept: Kept) -> None:
    kept.add("open_intent", "open", 1000)
    kept.add("clerk_event", "event", 1000)

    assert "clerk_event" not in kept.prune()

    assert (kept.left("intent"), kept.left("clerk_event")) == (["open"], ["event"])


def test_a_run_whose_rows_can_still_be_put_back_keeps_its_name(kept: Kept) -> None:
    kept.add("run", "newest", 1)
    for what in ("run", "removed_row", "outcome"):
        kept.add(what, "removed", 400)

    kept.prune(days=(90, 365, 500))
    assert kept.left("run") == ["newest", "removed"]
    assert kept.left("outcome") == []

    kept.prune()
    assert kept.left("run") == ["newest"]


def test_a_timeline_can_say_who_was_behind_whatever_it_still_tells(kept: Kept) -> None:
    kept.add("run", "newest", 1)
    for what in ("run", "condition_change"):
        kept.add(what, "told", 300)
    kept.prune()
    assert (kept.left("run"), kept.left("condition_change")) == (["newest", "told"], ["told"])


def test_nothing_links_to_a_report_that_is_gone(kept: Kept) -> None:
    for name, days in (("old", 40), ("young", 20), ("newest", 1)):
        kept.add("run", name, days)
    kept.sql("UPDATE provisioning.run SET report = run_id")
    kept.prune()
    assert kept.sql("SELECT run_id FROM provisioning.run WHERE report IS NOT NULL ORDER BY 1") == [
        ("newest",),
        ("young",),
    ]


def test_many_rows_go_in_batches_and_none_is_forgotten(kept: Kept) -> None:
    kept.sql(
        "INSERT INTO provisioning.outcome (run_id, database_name, change, status, detail, seconds, at) "
        "SELECT 'old', 'd', 'c', 'done', '', 1, now() - interval '91 days' FROM generate_series(1, 25)"
    )
    kept.add("outcome", "young", 1)

    assert kept.prune(batch=10)["outcome"] == 25
    assert kept.left("outcome") == ["young"]


def test_a_dry_run_counts_what_would_go_and_leaves_it(kept: Kept) -> None:
    for what in STATEMENTS:
        kept.add(what, f"{what}-old", 1000)
    kept.add("run", "newest", 1)
    before = {table: kept.left(table) for table in TABLES}

    found = kept.prune(dry_run=True)

    assert {table: kept.left(table) for table in TABLES} == before
    once = (
        "removed_row",
        "outcome",
        "drift",
        "intent",
        "tenant_request",
        "refusal",
        "webhook_delivery",
        "condition_change",
    )
    assert found == {**dict.fromkeys(once, 1), "run": 2}
    assert kept.prune() == found


def test_where_there_is_no_ledger_nothing_is_pruned(sandbox_postgres: SandboxPostgres) -> None:
    name = f"pruning_none_{uuid.uuid4().hex[:8]}"
    sandbox_postgres.create_database(name)

    assert Kept(sandbox_postgres, name).prune() == {}
    sandbox_postgres.drop_database(name)
