"""What the ledger gives of one tenant over time, on a real PostgreSQL."""

from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from provisioning_pipeline.clients.postgres import Row
from provisioning_pipeline.ledger.timeline import Timelines
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in
from provisioning_pipeline_tests.ledger.conftest import ask_ledger

T = TypeVar("T")
NOON = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def fleet(sandbox_postgres: SandboxPostgres) -> Iterator[Fleet]:
    """Two tenants with an organization each."""
    with fleet_in(sandbox_postgres) as made:
        made.link("acme", "org_1", users=["user_1"])
        made.link("beta", "org_2", users=["user_2"])
        made.sql("INSERT INTO provisioning.run (run_id, trigger, report) VALUES ('r1', 'schedule', '/there')")
        yield made


def ask(fleet: Fleet, work: Callable[[Timelines], Coroutine[Any, Any, T]]) -> T:
    return ask_ledger(fleet.url, lambda database: work(Timelines(database)), read_only=True)


def rows(fleet: Fleet, table: str, *, until: datetime | None = None, most: int = 100, name: str = "acme") -> list[Row]:
    return ask(fleet, lambda timelines: timelines.rows(name, until=until, most=most))[table]


def outcome(
    fleet: Fleet, change: str, detail: str, *, at: datetime = NOON, done: bool = True, name: str = "acme"
) -> None:
    fleet.sql(
        "INSERT INTO provisioning.outcome (run_id, database_name, change, status, detail, seconds, at) "
        "VALUES ('r1', %s, %s, %s, %s, 1, %s)",
        *(name, change, "done" if done else "failed", detail, at),
    )


def clerk_event(fleet: Fleet, event_id: str, organization: str | None, user: str | None) -> None:
    fleet.sql(
        "INSERT INTO provisioning.clerk_event (event_id, type, organization_id, user_id) VALUES (%s, %s, %s, %s)",
        *(event_id, f"type of {event_id}", organization, user),
    )


def test_each_table_gives_the_newest_rows_up_to_a_limit_with_the_runs_trigger(fleet: Fleet) -> None:
    for minute in range(4):
        outcome(fleet, "add member", str(minute), at=NOON + timedelta(minutes=minute))
    outcome(fleet, "add member", "another tenant's", name="beta")

    found = rows(fleet, "outcome", most=2)

    assert [row["details"] for row in found] == [["3"], ["2"]]
    assert {row["trigger"] for row in found} == {"schedule"}


def test_what_is_younger_is_left_out(fleet: Fleet) -> None:
    for minute in range(3):
        outcome(fleet, "add member", str(minute), at=NOON + timedelta(minutes=minute))

    found = rows(fleet, "outcome", until=NOON + timedelta(minutes=1))

    assert [row["details"] for row in found] == [["1"], ["0"]]


def test_successful_logins_of_one_moment_are_one_row_and_nothing_else_is_folded(fleet: Fleet) -> None:
    for number in range(5):
        outcome(fleet, "prove login", f"user {number}")
        outcome(fleet, "add member", f"user {number}")
    outcome(fleet, "prove login", "refused", done=False)
    outcome(fleet, "prove login", "later", at=NOON + timedelta(minutes=1))

    found = [row for row in rows(fleet, "outcome") if row["change"] == "prove login"]

    told = [(row["status"], row["times"], row["details"]) for row in found]
    assert told == [
        ("done", 1, ["later"]),
        ("failed", 1, ["refused"]),
        ("done", 5, ["user 0", "user 1", "user 2"]),
    ]
    assert len(rows(fleet, "outcome")) == 3 + 5


def test_removed_rows_of_one_moment_are_one_row_with_what_became_of_them(fleet: Fleet) -> None:
    for key, status in (("A", "removed"), ("B", "restored"), ("B", "removing")):
        fleet.sql(
            "INSERT INTO provisioning.removed_row (run_id, database_name, server, table_name, row_id, row, status, "
            "removed_at) VALUES ('r1', 'acme', 'eu', 'core.x', gen_random_uuid(), jsonb_build_object('key', %s::text), "
            "%s, %s)",
            *(key, status, NOON),
        )

    (found,) = rows(fleet, "removed_row")

    assert (found["times"], found["restored"], found["uncertain"], found["keys"]) == (3, 1, 1, ["A", "B"])


def test_a_creation_comes_as_begun_and_once_it_is_over_as_settled(fleet: Fleet) -> None:
    begin = "INSERT INTO provisioning.intent (database_name, server, subdomain, begun_at, run_id) "
    fleet.sql(begin + "VALUES ('acme', 'eu', 'acme', %s, 'r1')", NOON)
    assert [row["open"] for row in rows(fleet, "intent")] == [True]
    assert rows(fleet, "settled_intent") == []

    fleet.sql("UPDATE provisioning.intent SET settled_at = %s, settled_as = 'created'", NOON + timedelta(minutes=1))
    assert [row["open"] for row in rows(fleet, "intent")] == [False]
    assert [row["settled_as"] for row in rows(fleet, "settled_intent")] == ["created"]
    assert rows(fleet, "settled_intent", until=NOON) == []


def test_conditions_and_drift_are_told_with_their_run(fleet: Fleet) -> None:
    fleet.sql(
        "INSERT INTO provisioning.condition_change (database_name, type, status, reason, message, run_id) "
        "VALUES ('acme', 'Ready', 'True', 'AllTrue', '', 'r1'), ('beta', 'Ready', 'True', 'AllTrue', '', 'r1'), "
        "('acme', 'Detected', 'True', 'DatabasePresent', '', 'forgotten')"
    )
    fleet.sql(
        "INSERT INTO provisioning.drift (run_id, database_name, cause, source, who, detail) "
        "VALUES ('r1', 'acme', 'c', 's', 'w', 'd'), ('r1', 'beta', 'c', 's', 'w', 'd')"
    )

    changes = rows(fleet, "condition_change")

    assert [(row["type"], row["trigger"]) for row in changes] == [("Detected", None), ("Ready", "schedule")]
    assert [row["detail"] for row in rows(fleet, "drift")] == ["d"]


def test_a_tenant_was_found_by_the_run_that_wrote_it_down(fleet: Fleet) -> None:
    assert [row["run_id"] for row in rows(fleet, "tenant_link")] == [None]

    fleet.sql("UPDATE provisioning.tenant_link SET found_by = 'r1'")
    assert [(row["run_id"], row["trigger"]) for row in rows(fleet, "tenant_link")] == [("r1", "schedule")]


def test_webhooks_are_those_of_its_organization_and_of_its_people_now_or_earlier(fleet: Fleet) -> None:
    clerk_event(fleet, "organization", "org_1", None)
    clerk_event(fleet, "membership", "org_1", "user_left")
    clerk_event(fleet, "member", None, "user_1")
    clerk_event(fleet, "member of old", None, "user_left")
    clerk_event(fleet, "another's organization", "org_2", None)
    clerk_event(fleet, "member elsewhere", "org_2", "user_1")
    clerk_event(fleet, "another's member", None, "user_2")

    found = rows(fleet, "clerk_event")

    told = {row["type"].removeprefix("type of "): row["person"] for row in found}
    assert told == {
        "organization": None,
        "membership": "user_left",
        "member": "a@acme.test",
        "member of old": "user_left",
    }
    assert [row["at"] for row in found] == sorted((row["at"] for row in found), reverse=True)
    assert len(rows(fleet, "clerk_event", most=3)) == 3


def test_a_tenant_without_an_organization_has_the_webhooks_of_its_people_alone(fleet: Fleet) -> None:
    fleet.link("gamma", users=["user_3"])
    clerk_event(fleet, "member", None, "user_3")
    clerk_event(fleet, "nobody's", None, None)

    assert [row["type"] for row in rows(fleet, "clerk_event", name="gamma")] == ["type of member"]


def test_a_stranger_has_nothing(fleet: Fleet) -> None:
    found = ask(fleet, lambda timelines: timelines.rows("stranger", most=10))
    assert not any(found.values())
    assert ask(fleet, lambda timelines: timelines.organization_and_members("stranger")) == (None, 0)


def test_organization_members_and_reports_are_known(fleet: Fleet) -> None:
    fleet.sql("INSERT INTO provisioning.run (run_id, trigger) VALUES ('r2', 'sensor')")
    assert ask(fleet, lambda timelines: timelines.organization_and_members("acme")) == ("org_1", 1)
    assert ask(fleet, lambda timelines: timelines.reported(["r1", "r2", "r3"])) == ["r1"]
