"""The command line as a person and as a script meet it: exit codes, sentences, JSON."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from provisioning_pipeline.cli.main import app
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions

CANARY = "canary-5ecret-value"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    options = SandboxOptions(tenants=2, broken=True, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as running:
        yield running


@dataclass(frozen=True)
class Done:
    """How a command ended and what it said."""

    returncode: int
    stdout: str
    stderr: str


def provisioning(*arguments: str, environment: dict[str, str] | None = None) -> Done:
    """The command in this process: starting Python anew for each would take most of the suite's time."""
    variables: dict[str, str | None] = dict.fromkeys(name for name in os.environ if name.startswith("PROVISIONING_"))
    result = CliRunner().invoke(app, list(arguments), env=variables | (environment or {}) | {"COLUMNS": "200"})
    # a command ends by an exit code and a sentence; any other exception would be a traceback for its user
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def program(*arguments: str, folder: Path, environment: dict[str, str] | None = None) -> Done:
    """The same as a program of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PROVISIONING_")}
    done = subprocess.run(
        [sys.executable, "-m", "provisioning_pipeline.cli", *arguments],
        env=clean | (environment or {}) | {"COLUMNS": "200"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_apply_prints_one_json_object_and_exits_3_while_a_tenant_is_unwell() -> None:
    with Sandbox(SandboxOptions(tenants=2, members=1, broken=True)) as sandbox:
        assert_apply_says_what_it_did(sandbox)


def assert_apply_says_what_it_did(sandbox: Sandbox) -> None:
    done = provisioning("apply", "--json", environment=sandbox.environment())

    result = json.loads(done.stdout)
    assert done.returncode == 3, done.stderr
    assert {"ready": 2, "unwell": 1}.items() <= result["tenants"].items()
    assert result["actions"] > 0
    assert result["mutating_calls"] > 0
    assert result["run_id"] in result["report"]
    page = Path(result["report"]).read_text()
    assert "half-made" in page
    assert "DatabaseMissing" in page

    again = json.loads(provisioning("apply", "--json", environment=sandbox.environment()).stdout)
    assert (again["actions"], again["mutating_calls"]) == (0, 0)

    acme = provisioning("apply", "acme", "--json", environment=sandbox.environment())
    assert json.loads(acme.stdout)["actions"] == 0


@pytest.mark.slow
def test_status_lists_every_tenant_with_its_conditions(sandbox: Sandbox) -> None:
    provisioning("apply", environment=sandbox.environment())

    rows = {
        row["slug"]: row
        for row in json.loads(provisioning("status", "--json", environment=sandbox.environment()).stdout)
    }

    assert rows["acme"]["ready"] is True
    assert rows["acme"]["workspace_id"]
    assert rows["half-made"]["ready"] is False
    by_type = {condition["type"]: condition for condition in rows["half-made"]["conditions"]}
    assert by_type["Detected"]["reason"] == "DatabaseMissing"
    one = provisioning("status", "acme", environment=sandbox.environment())
    assert one.returncode == 0
    assert "LoginCompleted" in one.stdout


def test_plan_says_what_would_be_done_and_does_not(sandbox: Sandbox) -> None:
    sandbox.add_tenant("planned", members=1)

    shown = provisioning("plan", environment=sandbox.environment())
    planned = json.loads(provisioning("plan", "planned", "--json", environment=sandbox.environment()).stdout)

    assert "create workspace" in shown.stdout
    assert planned["tenants"][0]["changes"][0] == "create workspace"
    known = json.loads(provisioning("status", "--json", environment=sandbox.environment()).stdout)
    assert "planned" not in {row["slug"] for row in known}


def test_preflight_reaches_everything(sandbox: Sandbox) -> None:
    done = provisioning("preflight", "--json", environment=sandbox.environment())

    checks = {check["system"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 0
    twenty = {"Twenty twenty", "Twenty twenty, database", "Twenty twenty, certificate"}
    assert set(checks) == {"Tenant registry", "Tenant cluster", "Clerk", *twenty}
    assert all(check["ok"] for check in checks.values())
    # nobody has certified it, which is no fault
    assert [name for name, check in checks.items() if check["warning"]] == ["Twenty twenty, certificate"]
    assert "PostgreSQL 18" in checks["Tenant cluster"]["found"]


def test_migrate_can_be_repeated(sandbox: Sandbox) -> None:
    for _ in range(2):
        done = provisioning("migrate", environment=sandbox.environment())
        assert (done.returncode, "revision" in done.stdout) == (0, True)


@pytest.mark.slow
def test_missing_settings_are_one_line_each_and_exit_2(tmp_path: Path) -> None:
    done = program("apply", folder=tmp_path)

    assert done.returncode == 2
    lines = done.stderr.splitlines()
    for name in ("REGISTRY_URL", "TENANT_CLUSTER_URL", "CLERK_SECRET_KEY", "MEMBER_PASSWORD_KEY", "TWENTY_BASE_URL"):
        assert sum(line.startswith(f"PROVISIONING_{name}: is missing") for line in lines) == 1
    assert "Traceback" not in done.stderr


WRONG = {
    "unreachable registry": (
        "PROVISIONING_REGISTRY_URL",
        f"postgresql://u:{CANARY}@127.0.0.1:9/db",
        "cannot be reached",
    ),
    "missing database": ("PROVISIONING_REGISTRY_URL", "{registry}_nowhere", "does not exist"),
    "unreachable cluster": (
        "PROVISIONING_TENANT_CLUSTER_URL",
        f"postgresql://u:{CANARY}@127.0.0.1:9/db",
        "tenant cluster .* cannot be reached",
    ),
    "unreachable Clerk": ("PROVISIONING_CLERK_BASE_URL", "http://127.0.0.1:9/v1", "Clerk at .* gave no usable answer"),
    "wrong Clerk key": ("PROVISIONING_CLERK_SECRET_KEY", CANARY, "Clerk refuses the secret key"),
    "unreachable Twenty": ("PROVISIONING_TWENTY_BASE_URL", "http://127.0.0.1:9", "gave no usable answer"),
    "unknown Twenty": ("PROVISIONING_TWENTY_BASE_URL", "{clerk}", "so no Twenty is there"),
    "wrong Twenty password": ("PROVISIONING_TWENTY_SERVICE_PASSWORD", CANARY, "refuses the password"),
    "wrong Twenty database": ("PROVISIONING_TWENTY_DATABASE_URL", "{registry}", "not the database of a known Twenty"),
}


NO_REGISTRY = ("unreachable registry", "missing database")


@pytest.mark.slow
@pytest.mark.parametrize("trouble", WRONG)
def test_preflight_says_in_one_sentence_what_is_wrong_and_shows_no_secret(sandbox: Sandbox, trouble: str) -> None:
    name, value, sentence = WRONG[trouble]
    environment = sandbox.environment()
    if "Twenty" in trouble:
        provisioning("apply", environment=environment)  # so that the service account exists
    value = value.format(registry=sandbox.registry_url, clerk=sandbox.clerk.frontend_url)

    done = provisioning("preflight", environment=environment | {name: value})

    assert done.returncode == 1
    assert re.search(sentence, " ".join(done.stdout.split())), done.stdout
    assert CANARY not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "trouble"),
    [
        *((command, trouble) for command in ("apply", "plan", "status", "migrate") for trouble in NO_REGISTRY),
        ("apply", "unreachable cluster"),
        ("plan", "unreachable cluster"),
    ],
)
def test_every_command_ends_with_one_sentence_when_a_database_is_out_of_reach(
    sandbox: Sandbox, command: str, trouble: str
) -> None:
    name, value, sentence = WRONG[trouble]
    value = value.format(registry=sandbox.registry_url)

    done = provisioning(command, environment=sandbox.environment() | {name: value})

    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert re.search(sentence, done.stderr)
    assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize(("name", "code"), [("no such", 2), ("a;b", 2), ("unknown-tenant", 2)])
def test_a_bad_tenant_name_is_refused_in_words(sandbox: Sandbox, name: str, code: int) -> None:
    done = provisioning("apply", name, environment=sandbox.environment())

    assert done.returncode == code
    assert name in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_wrong_clerk_key_ends_apply_before_anything_is_made(sandbox: Sandbox) -> None:
    sandbox.add_tenant("keyless", members=1)

    done = provisioning(
        "apply", "keyless", environment=sandbox.environment() | {"PROVISIONING_CLERK_SECRET_KEY": CANARY}
    )

    assert done.returncode == 1
    assert "Clerk refuses the secret key" in done.stderr
    assert CANARY not in done.stdout + done.stderr


def test_help_teaches_without_settings(tmp_path: Path) -> None:
    done = program("--help", folder=tmp_path)

    assert done.returncode == 0
    for command in ("demo", "sandbox", "migrate", "preflight", "plan", "apply", "status"):
        assert command in done.stdout


@pytest.mark.slow
def test_the_demo_ends_with_four_ready_tenants_and_one_explained_failure(tmp_path: Path) -> None:
    done = program("demo", folder=tmp_path, environment={"PROVISIONING_TWENTY_BASE_URL": "http://127.0.0.1:9"})

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("✓ ready") == 4
    assert done.stdout.count("✗ not ready") == 1
    assert "DatabaseMissing" in done.stdout
    assert len(list((tmp_path / "reports").glob("*.html"))) == 1
