"""Each example is run as its reader would run it, against an HTTP API on loopback."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.responses import HTMLResponse, JSONResponse

from provisioning_pipeline.sandbox.postgres import free_port
from provisioning_pipeline_tests.client.api import API_KEY, Api, away, cut, says

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
PROGRAMS = {
    "provision.sh": (["bash"], ["curl", "jq"]),
    "provision.mjs": (["node"], []),
    "provision.py": ([sys.executable], []),
}
READY = (
    "workspace_id b1b2c3d4-0000-4000-8000-000000000001\n"
    "user_id b1b2c3d4-0000-4000-8000-000000000002\n"
    "workspace_url https://acme.crm.example.com\n"
)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=PROGRAMS)
def run(request: pytest.FixtureRequest, api: Api) -> Run:
    """Runs one of the programs with these arguments, and these variables beside the address and the key."""
    command, tools = PROGRAMS[request.param]
    missing = [name for name in [*command, *tools] if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")

    def program(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PROVISIONING_API_URL": api.url,
            "PROVISIONING_API_KEY": API_KEY,
        }
        return subprocess.run(
            [*command, str(EXAMPLES / request.param), *arguments],
            env=environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    return program


def test_what_the_page_shows_of_the_client_works(api: Api, capsys: pytest.CaptureFixture[str]):
    other = api.register("other", looks=None)
    [program] = re.findall(r"```python\n(.+?)```", (EXAMPLES / "README.md").read_text("utf-8"), re.DOTALL)
    exec(compile(program, "README.md", "exec"), {"base_url": api.url, "api_key": API_KEY})
    assert capsys.readouterr().out.splitlines()[0] == "https://acme.crm.example.com"
    assert (api.tenants["acme"].state, other.runs) == ("ready", 1)


def test_every_link_of_the_page_points_to_something():
    targets = re.findall(r"\]\(([^)#\s]+)", (EXAMPLES / "README.md").read_text("utf-8"))
    assert [target for target in targets if not (EXAMPLES / target).is_file()] == []
    assert set(PROGRAMS) <= set(targets)


def test_it_registers_waits_and_prints(run: Run, api: Api):
    done = run("acme", "acme_db", "org_1", "ada@acme.example")
    assert (done.returncode, done.stdout, done.stderr) == (0, READY, "")
    kept = api.tenants["acme"]
    assert (kept.name, kept.database_name, kept.clerk_org_id, kept.admin_email, kept.runs) == (
        "acme",
        "acme_db",
        "org_1",
        "ada@acme.example",
        1,
    )


def test_variables_do_as_well(run: Run, api: Api):
    done = run(SLUG="acme", DATABASE_NAME="acme_db", ADMIN_EMAIL="ada@acme.example", NAME='The "Acme" & Sons')
    assert (done.returncode, done.stdout) == (0, READY)
    kept = api.tenants["acme"]
    assert (kept.name, kept.admin_email, kept.clerk_org_id) == ('The "Acme" & Sons', "ada@acme.example", None)


def test_a_tenant_that_is_ready_is_printed_at_once(run: Run, api: Api):
    api.register("acme", looks=0)
    assert run("acme", "acme_db").stdout == READY
    assert api.tenants["acme"].runs == 0


def test_an_answer_that_was_lost_starts_no_second_run(run: Run, api: Api):
    api.after += [cut(), away()]
    assert run("acme", "acme_db").stdout == READY
    assert api.tenants["acme"].runs == 1


def test_a_refusal_is_told(run: Run, api: Api):
    api.register("other", database_name="acme_db")
    done = run("acme", "acme_db")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Database is another tenant's." in done.stderr


def test_a_wrong_key_is_told(run: Run, api: Api):
    done = run("acme", "acme_db", PROVISIONING_API_KEY="wrong-key")
    assert done.returncode == 1
    assert "No API key of ours." in done.stderr
    assert "wrong-key" not in done.stderr


def test_what_is_not_ready_in_time_says_why(run: Run, api: Api):
    api.looks = None
    done = run("acme", "acme_db", TIMEOUT_SECONDS="0")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No server has room for it." in done.stderr


def test_for_a_tenant_that_is_set_aside_nobody_waits(run: Run, api: Api):
    api.register("acme", aside=True)
    done = run("acme", "acme_db")
    assert done.returncode == 1
    assert "The registry's status is suspended." in done.stderr


@pytest.mark.parametrize(
    "answer", [HTMLResponse("<html>Sign in</html>"), HTMLResponse("no", 403), JSONResponse(None), JSONResponse([])]
)
def test_something_else_at_the_address_is_told(run: Run, api: Api, answer: HTMLResponse):
    api.before += [says(answer)]
    done = run("acme", "acme_db")
    assert (done.returncode, done.stdout) == (1, "")
    assert "not the provisioning server" in done.stderr or "cannot be used" in done.stderr


@pytest.mark.slow
def test_nobody_at_the_address_is_told(run: Run):
    url = f"http://127.0.0.1:{free_port()}"
    done = run("acme", "acme_db", PROVISIONING_API_URL=url)
    assert done.returncode != 0
    assert "127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["PROVISIONING_API_URL", "PROVISIONING_API_KEY"])
def test_what_is_not_set_is_named(run: Run, api: Api, name: str):
    done = run("acme", "acme_db", **{name: ""})
    assert done.returncode == 1
    assert name in done.stderr


def test_what_is_not_given_is_named(run: Run, api: Api):
    done = run("acme")
    assert done.returncode == 1
    assert "DATABASE_NAME" in done.stderr
    assert api.tenants == {}
