"""`provisioning undo` as a person and as a script meet it."""

import json
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner

from provisioning_pipeline.cli import exits
from provisioning_pipeline.cli.main import app
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.undoing import Seeded, Site

COLUMNS = "80"


@dataclass(frozen=True)
class Done:
    """How the command ended and what it said."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def site(sandbox_postgres: SandboxPostgres) -> Site:
    return Site(sandbox_postgres)


@pytest.fixture
def tenant(site: Site) -> Seeded:
    """A tenant whose three rows the run r1 removed."""
    seeded = site.tenant("acme")
    seeded.remove("r1")
    return seeded


def undo(site: Site, *arguments: str, answer: str = "", **settings: str) -> Done:
    environment = site.environment() | {f"PROVISIONING_{name.upper()}": value for name, value in settings.items()}
    result = CliRunner().invoke(app, ["undo", *arguments], input=answer, env=environment | {"COLUMNS": COLUMNS})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


@pytest.mark.slow
def test_rows_are_shown_and_put_back(site: Site, tenant: Seeded) -> None:
    done = undo(site, "r1", "--yes")

    assert done.code == 0, done.stderr
    for told in ("acme", "own database", " CREATE_PROFILE ", tenant.workspace.id, "true"):
        assert told in done.stdout
    assert all(user in done.stdout for user in tenant.workspace.users)
    assert "unless PROVISIONING_TENANT_DATABASES=report" in done.stdout
    assert "3 put back, 0 there already, 0 not put back." in done.stdout
    assert len(tenant.rows()) == 3


def test_without_a_terminal_and_without_yes_it_is_refused_in_words(site: Site, tenant: Seeded) -> None:
    done = undo(site, "r1")

    assert done.code == 2
    assert "--yes" in done.stderr
    assert "CREATE_PROFILE" in done.stdout
    assert tenant.rows() == []


@pytest.mark.parametrize(("answer", "back"), [("y\n", 3), ("n\n", 0)])
def test_at_a_terminal_the_operator_is_asked(
    site: Site, tenant: Seeded, monkeypatch: pytest.MonkeyPatch, answer: str, back: int
) -> None:
    monkeypatch.setattr(exits, "at_a_terminal", lambda: True)

    done = undo(site, "r1", answer=answer)

    assert done.code == 0
    assert "Put these 3 rows back?" in done.stderr
    assert len(tenant.rows()) == back


def test_json_is_one_object_with_what_became_of_each_row(site: Site, tenant: Seeded) -> None:
    gone = site.tenant("zeta")
    gone.remove("r1")
    site.postgres.drop_database(gone.name)

    done = undo(site, "r1", "--yes", "--json")

    found = json.loads(done.stdout)
    assert done.code == 3
    assert found["run_id"] == "r1"
    assert found["rows"] == {"put back": 3, "there already": 0, "not put back": 3}
    assert {(told["tenant"], told["fate"]) for told in found["told"]} == {
        ("acme", "put back"),
        ("zeta", "not put back"),
    }
    assert all(told["value"] is True for told in found["told"])


def test_what_is_not_put_back_is_told_with_its_reason_and_exits_3(site: Site, tenant: Seeded) -> None:
    site.postgres.drop_database(tenant.name)

    done = undo(site, "r1", "--yes")

    assert done.code == 3
    assert "cannot be reached" in done.stdout
    assert "0 put back, 0 there already, 3 not put back." in done.stdout


def test_a_row_has_the_same_number_where_it_is_shown_and_where_it_is_told(site: Site, tenant: Seeded) -> None:
    late = site.tenant("a-slug-that-is-as-long-as-slugs-may-be-and-has-many-words", site.server)
    late.remove("r1")
    _, john = late.workspace.users
    late.execute('DELETE FROM core."user" WHERE id = %s RETURNING 1', john)

    lines = undo(site, "r1", "--yes").stdout.splitlines()

    (place,) = (place for place, line in enumerate(lines) if f"user {john}  workspace {late.workspace.id}" in line)
    number, slug, *_ = lines[place - 1].split()
    assert slug == "a-slug-that-is-as-long-as-slugs-may-be-and-has-many-words"
    assert " twenty " in lines[place - 1]
    (told,) = (line for line in lines if "not put back: There is no user" in line)
    assert told.startswith(f"{number} {slug}, CREATE_PROFILE, row ")


def test_the_beginning_of_a_run_id_is_enough_and_the_whole_one_is_told(site: Site) -> None:
    site.tenant("zeta").remove("0a1b2c3d-4e5f")

    done = undo(site, "0a1b2c3d", "--yes", "--json")

    found = json.loads(done.stdout)
    assert (found["run_id"], found["rows"]["put back"]) == ("0a1b2c3d-4e5f", 3)


def test_a_beginning_of_several_runs_exits_2_and_puts_nothing_back(site: Site) -> None:
    one, other = site.tenant("acme"), site.tenant("zeta")
    one.remove("0a1b2c3d-4e5f")
    other.remove("0a1b2c3d-6071")

    done = undo(site, "0a1b2c3d", "--yes")

    assert done.code == 2
    assert "0a1b2c3d-4e5f, 0a1b2c3d-6071" in done.stderr
    assert one.rows() == other.rows() == []


def test_undoing_again_says_that_it_is_done(site: Site, tenant: Seeded) -> None:
    undo(site, "r1", "--yes")

    again = undo(site, "r1")

    assert again.code == 0
    assert "was put back already" in again.stdout
    assert "later run" not in again.stdout


def test_undoing_again_names_the_later_run_that_removed_the_rows_again(site: Site, tenant: Seeded) -> None:
    undo(site, "r1", "--yes")
    tenant.remove("r2")
    undo(site, "r2", "--yes")
    tenant.remove("r3")

    again = undo(site, "r1")

    assert again.code == 0
    assert "If rows are gone again, a later run removed them: undo that one, r3." in again.stdout


def test_a_ledger_that_cannot_be_written_to_exits_1_and_says_what_may_be_back(site: Site, tenant: Seeded) -> None:
    with site.postgres.connect(site.registry) as ledger:
        ledger.execute("ALTER TABLE provisioning.removed_row ADD CHECK (status <> 'restored')")

    done = undo(site, "r1", "--yes")

    assert done.code == 1
    assert "Rows may be back already" in done.stderr
    assert len(tenant.rows()) == 3


def test_a_run_that_removed_nothing_says_so(site: Site) -> None:
    tenant = site.tenant("acme")
    tenant.execute('DELETE FROM core."keyValuePair" RETURNING 1')
    tenant.remove("r1")

    done = undo(site, "r1")

    assert done.code == 0
    assert "removed no row by SQL" in done.stdout
    assert json.loads(undo(site, "r1", "--json").stdout)["told"] == []


def test_an_unknown_run_exits_2_with_the_latest_ones(site: Site, tenant: Seeded) -> None:
    done = undo(site, "nowhere", "--yes")

    assert done.code == 2
    assert "no run nowhere" in done.stderr
    assert "r1 (" in done.stderr


def test_of_a_workspace_only_its_status_is_shown(site: Site) -> None:
    tenant = site.tenant("acme")
    tenant.activate("r1")
    (invite_hash,) = tenant.execute('SELECT "inviteHash" FROM core.workspace')[0]

    done = undo(site, "r1", "--yes", "--json")

    (told,) = json.loads(done.stdout)["told"]
    assert (told["key"], told["value"], told["workspace"]) == (
        "activationStatus",
        "PENDING_CREATION",
        tenant.workspace.id,
    )
    assert invite_hash not in done.stdout + done.stderr


def test_with_the_policy_report_only_runs_with_another_setting_are_warned_of(site: Site, tenant: Seeded) -> None:
    done = undo(site, "r1", "--yes", tenant_databases="report")

    assert "removes the rows" not in done.stdout
    assert "PROVISIONING_TENANT_DATABASES is report here" in done.stdout
    assert "runs with another setting, such as a daemon's, remove them again." in done.stdout


def test_rows_of_a_server_are_removed_again_whatever_is_set(site: Site) -> None:
    site.tenant("acme", site.server).remove("r1")

    assert "The next run removes the rows of Twenty servers again.\n" in undo(site, "r1", "--yes").stdout


def test_a_registry_out_of_reach_is_one_sentence(site: Site) -> None:
    done = undo(site, "r1", registry_url="postgresql://u:canary@127.0.0.1:9/db")

    assert done.code == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "canary" not in done.stderr


def test_the_help_says_what_comes_again_what_is_not_undone_and_the_exit_codes() -> None:
    told = " ".join(CliRunner().invoke(app, ["undo", "--help"], env={"COLUMNS": "200"}).stdout.split())

    for words in ("activation statuses", "removes the rows again", "People who were taken over stay", "3 some not"):
        assert words in told
