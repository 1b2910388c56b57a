"""What a shell asks of the command line: its version, its completion."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from provisioning_pipeline.cli.main import app

CANARY = "canary-5ecret-value"
SHELLS = {"bash": "complete -o default -F", "zsh": "#compdef provisioning", "fish": "complete --command provisioning"}


def test_the_version_is_that_of_the_installed_distribution() -> None:
    done = CliRunner().invoke(app, ["--version"])

    assert (done.exit_code, done.stdout) == (0, f"provisioning {version('provisioning-pipeline')}\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script_that_completes_commands(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shellingham.detect_shell", lambda: (shell, f"/bin/{shell}"))

    done = CliRunner().invoke(app, ["--show-completion"])

    assert done.exit_code == 0, done.stderr
    assert SHELLS[shell] in done.stdout
    assert "_PROVISIONING_COMPLETE" in done.stdout


def test_completion_names_commands_imports_nothing_heavy_and_reads_no_setting(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"PROVISIONING_CLERK_SECRET_KEY={CANARY}\n", "utf-8")
    code = (
        "import atexit, json, sys; from provisioning_pipeline.cli.main import app\n"
        "heavy = ('dagster', 'fastapi', 'httpx2', 'pandas', 'psycopg', 'dotenv', 'provisioning_pipeline.settings')\n"
        "atexit.register(lambda: print(json.dumps([name for name in heavy if name in sys.modules]), file=sys.stderr))\n"
        "app(prog_name='provisioning')"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PROVISIONING_")}
    asked = {"_PROVISIONING_COMPLETE": "complete_bash", "COMP_WORDS": "provisioning keys re", "COMP_CWORD": "2"}

    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean | asked | {"PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert sorted(done.stdout.split()) == ["refusals", "revoke"]
    assert json.loads(done.stderr) == []
