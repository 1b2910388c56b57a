"""`provisioning undo` as a person and as a script meet it."""

import json
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner

from provisioning_pipeline.cli import undo as cli_undo
from provisioning_pipeline.cli.main import app
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.undoing import Seeded, Site


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
    result = CliRunner().invoke(app, ["undo", *arguments], input=answer, env=environment | {"COLUMNS": "260"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def test_rows_are_shown_and_put_back(site: Site, tenant: Seeded) -> None:
    done = undo(site, "r1", "--yes")

    assert done.code == 0, done.stderr
    for told in ("acme", f"database {tenant.name}", "ONBOARDING_CREATE_PROFILE_PENDING", tenant.workspace.id, "true"):
        assert told in done.stdout
    assert all(user in done.stdout for user in tenant.workspace.users)
    assert "unless PROVISIONING_TENANT_DATABASES=report" in done.stdout
    assert "3 put back, 0 there already, 0 not put back." in done.stdout
    assert len(tenant.rows()) == 3


def test_without_a_terminal_and_without_yes_it_is_refused_in_words(site: Site, tenant: Seeded) -> None:
    done = undo(site, "r1")

    assert done.code == 2
    assert "--yes" in done.stderr
    assert "ONBOARDING_CREATE_PROFILE_PENDING" in done.stdout
    assert tenant.rows() == []


@pytest.mark.parametrize(("answer", "back"), [("y\n", 3), ("n\n", 0)])
def test_at_a_terminal_somebody_is_asked(
    site: Site, tenant: Seeded, monkeypatch: pytest.MonkeyPatch, answer: str, back: int
) -> None:
    monkeypatch.setattr(cli_undo, "at_a_terminal", lambda: True)

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


def test_undoing_again_says_that_it_is_done(site: Site, tenant: Seeded) -> None:
    undo(site, "r1", "--yes")

    again = undo(site, "r1")

    assert again.code == 0
    assert "was put back already" in again.stdout


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


def test_with_the_policy_report_nothing_warns_of_the_next_run(site: Site, tenant: Seeded) -> None:
    done = undo(site, "r1", "--yes", tenant_databases="report")

    assert "removes the rows" not in done.stdout
    assert "alone" in done.stdout


def test_rows_of_a_server_are_removed_again_whatever_is_set(site: Site) -> None:
    site.tenant("acme", site.server).remove("r1")

    assert "The next run removes the rows of Twenty servers again.\n" in undo(site, "r1", "--yes").stdout


def test_a_registry_out_of_reach_is_one_sentence(site: Site) -> None:
    done = undo(site, "r1", registry_url="postgresql://u:canary@127.0.0.1:9/db")

    assert done.code == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "canary" not in done.stderr
