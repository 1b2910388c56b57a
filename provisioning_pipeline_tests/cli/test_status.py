"""`provisioning status`: of one tenant, what holds and what happened to it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from provisioning_pipeline.cli.main import _tenant_names, app
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.reasons import meaning, next_step
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.cli.test_cli import provisioning
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in

NOON = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def fleet(sandbox_postgres: SandboxPostgres) -> Iterator[Fleet]:
    """acme with four outcomes a minute apart, the last of them failed, and a condition; beta, which has no room."""
    with fleet_in(sandbox_postgres) as made:
        made.link("acme", "org_1")
        made.link("beta")
        made.sql("UPDATE provisioning.tenant_link SET created_at = %s", NOON - timedelta(days=1))
        made.sql("INSERT INTO provisioning.run (run_id, trigger) VALUES ('run-12345678-rest', 'sensor')")
        made.sql(
            "INSERT INTO provisioning.condition (database_name, type, status, reason, message, run_id) "
            "VALUES ('acme', 'Detected', 'True', 'DatabasePresent', 'There.', 'run-12345678-rest')"
        )
        for condition in ("WorkspaceReady", "Ready"):
            made.sql(
                "INSERT INTO provisioning.condition (database_name, type, status, reason, message, run_id) "
                "VALUES ('beta', %s, 'False', 'ServerFull', 'Twenty has 5 of 5.', 'run-12345678-rest')",
                condition,
            )
        for number, detail in enumerate(("first", "[bold]second[/]", "\x1b[31mthird\nline", "fourth\\")):
            made.sql(
                "INSERT INTO provisioning.outcome (run_id, database_name, change, status, detail, seconds, at) "
                "VALUES ('run-12345678-rest', 'acme', 'add member', %s, %s, 1, %s)",
                *("failed" if number == 3 else "done", detail, NOON + timedelta(minutes=number)),
            )
        yield made


def test_one_tenant_is_shown_with_its_conditions_and_then_its_timeline_newest_last(fleet: Fleet) -> None:
    shown = provisioning("status", "acme", environment=fleet.environment())

    assert shown.returncode == 0
    text = shown.stdout
    places = [text.index(word) for word in ("DatabasePresent", "timeline", "first", "second", "third", "fourth")]
    assert places == sorted(places)
    last = next(line for line in text.splitlines() if "fourth" in line)
    assert [word in last for word in ("2026-08-01 12:03:00", "sensor", "✗ add member failed", "run-1234")] == [True] * 4
    assert "run-12345" not in last


def test_a_tenant_that_is_not_ready_shows_what_its_reason_means_and_the_next_step_once(fleet: Fleet) -> None:
    shown = " ".join(provisioning("status", "beta", environment=fleet.environment()).stdout.split())

    assert shown.count(f"ServerFull: {meaning(Reason.SERVER_FULL)} Next: {next_step(Reason.SERVER_FULL)}") == 1


def test_below_all_tenants_stands_the_next_step_for_each_reason(fleet: Fleet) -> None:
    shown = provisioning("status", environment=fleet.environment()).stdout

    assert f"1 × ServerFull Next: {next_step(Reason.SERVER_FULL)}" in shown.splitlines()
    assert f"1 × Waiting Next: {next_step(Reason.WAITING)}" in shown.splitlines()


def test_nothing_from_outside_steers_the_terminal(fleet: Fleet) -> None:
    shown = provisioning("status", "acme", environment=fleet.environment()).stdout
    assert "[bold]second[/]" in shown
    assert "\x1b" not in shown
    assert "\\x1b[31mthird\\nline" in shown
    assert "fourth\\" in shown


def test_only_the_last_events_are_shown_and_it_says_that_there_are_more(fleet: Fleet) -> None:
    shown = provisioning("status", "acme", "--events", "2", environment=fleet.environment()).stdout
    assert "third" in shown
    assert "second" not in shown
    assert "--events N" in shown
    assert "--events N" not in provisioning("status", "acme", environment=fleet.environment()).stdout


def test_for_a_machine_the_timeline_is_part_of_the_one_tenant_and_of_no_list(fleet: Fleet) -> None:
    (one,) = json.loads(provisioning("status", "acme", "--json", environment=fleet.environment()).stdout)
    every = json.loads(provisioning("status", "--json", environment=fleet.environment()).stdout)

    assert [event["what"].split(": ")[0] for event in one["timeline"][1:]] == ["add member"] * 3 + ["add member failed"]
    assert one["timeline"][4] == {
        "at": "2026-08-01T12:03:00+00:00",
        "who": "sensor",
        "source": "action",
        "what": "add member failed: fourth\\",
        "run_id": "run-12345678-rest",
        "failed": True,
    }
    assert [row["slug"] for row in every] == ["acme", "beta"]
    assert all("timeline" not in row for row in every)
    assert one == every[0] | {"timeline": one["timeline"]}


def test_a_tenant_is_named_by_its_database_too_and_a_stranger_is_bad_input(fleet: Fleet) -> None:
    assert provisioning("status", "beta", environment=fleet.environment()).returncode == 0
    stranger = provisioning("status", "stranger", environment=fleet.environment())
    assert stranger.returncode == 2
    assert "no tenant called 'stranger'" in stranger.stderr


def test_no_events_at_all_is_bad_input(fleet: Fleet) -> None:
    assert provisioning("status", "acme", "--events", "0", environment=fleet.environment()).returncode == 2


@pytest.mark.parametrize(
    "slug", ["日本語", "-leading", "--help", "a/b", "..", 'it\'s "it"', "tab\tnew\nline", "%2F", " "]
)
def test_a_tenant_is_shown_whatever_it_is_called(fleet: Fleet, slug: str) -> None:
    fleet.link(slug)
    shown = provisioning("status", "--json", "--", slug, environment=fleet.environment())
    fleet.sql("DELETE FROM provisioning.tenant_link WHERE slug = %s", slug)

    assert shown.returncode == 0, shown.stderr
    assert slug in json.dumps(json.loads(shown.stdout), ensure_ascii=False).replace("\\t", "\t").replace(
        "\\n", "\n"
    ).replace('\\"', '"')
    assert _tenant_names([slug]) == [slug]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_lacks_letters_shows_question_marks(fleet: Fleet, encoding: str) -> None:
    shown = CliRunner(charset=encoding).invoke(app, ["status"], env=fleet.environment() | {"COLUMNS": "200"})
    assert (shown.exit_code, shown.exception) == (0, None)
    assert "acme" in shown.stdout
    assert "?" in shown.stdout
