"""What a line of a log is: a JSON document for machines, text for people, and never what steers a terminal."""

import json
import logging
from pathlib import Path

import pytest

from provisioning_pipeline.cli.logs import LogFormat, log_as
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.cli.test_cli import program
from provisioning_pipeline_tests.http.logs import restored

LOG = logging.getLogger("provisioning_pipeline.here")
STEERS = "\x1b[2J\u202e"


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_line_says_when_how_bad_what_and_for_which_request(
    log_format: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    with restored():
        log_as(log_format, request_id=lambda: "4711")
        LOG.info("acme %s", STEERS, extra={"tenant": "acme"})
        logging.getLogger("httpx2").info("https://hooks.example.com/canary")

    (line,) = capsys.readouterr().err.splitlines()
    assert STEERS not in line
    assert "canary" not in line
    if log_format is LogFormat.TEXT:
        assert line.endswith(r"INFO    acme \x1b[2J\u202e [4711]")
        return
    document = json.loads(line)
    assert document.pop("time")
    assert document == {
        "level": "INFO",
        "logger": LOG.name,
        "message": f"acme {STEERS}",
        "request_id": "4711",
        "tenant": "acme",
    }


@pytest.mark.slow
def test_a_run_from_the_command_line_logs_each_tenant_as_it_is_done(tmp_path: Path) -> None:
    options = SandboxOptions(tenants=2, members=1, broken=True, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as sandbox:
        environment = sandbox.environment()
        made = program("apply", "--json", "--log-format", "json", folder=tmp_path, environment=environment)
        proved = program("verify", "--log-format", "text", folder=tmp_path, environment=environment)

    assert json.loads(made.stdout)["tenants"]["ready"] == 2
    lines = [json.loads(line) for line in made.stderr.splitlines()]
    assert {line["tenant"]: line["message"].split(" ", 1)[1] for line in lines if "tenant" in line} == {
        "acme": "got through.",
        "brightwave": "got through.",
    }
    assert proved.returncode == 0
    assert "INFO    acme lets everyone in." in proved.stderr
