"""The units: systemd takes them, they are hardened, and only three of them hold settings and secrets."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from provisioning_pipeline_tests.deploy.files import PORTS, SYSTEMD

UNITS = sorted(SYSTEMD.glob("*.service"))
HOLDERS = {"provisioning-api", "provisioning-code-server", "provisioning-migrate"}
INSTALLED = "/opt/provisioning/bin/"
MOST_EXPOSED = "20"
"""Tenths of the figure of `systemd-analyze security`, 0 to 10; what is below 2 it calls OK."""


def settings_of(unit: Path) -> dict[str, list[str]]:
    """The settings of all sections of a unit; each may stand there several times."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text("utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_there_is_a_unit_for_each_process() -> None:
    assert {unit.stem for unit in UNITS} == {*HOLDERS, "provisioning-daemon", "provisioning-webserver"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_only_what_works_on_tenants_holds_settings_and_secrets(unit: Path) -> None:
    told = settings_of(unit)
    if unit.stem in HOLDERS:
        assert "/etc/provisioning/settings.env" in told["EnvironmentFile"]
        assert told["LoadCredential"] == ["PROVISIONING:/etc/provisioning/secrets"]
        assert told["User"] == ["provisioning"]
    else:
        assert told["EnvironmentFile"] == ["/etc/provisioning/dagster.env"]
        assert "LoadCredential" not in told
        assert told["DynamicUser"] == ["yes"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_programs_are_installed_with_ours(unit: Path) -> None:
    (command,) = settings_of(unit)["ExecStart"]
    program = command.split()[0]
    assert program.startswith(INSTALLED)
    assert (Path(sys.executable).parent / program.removeprefix(INSTALLED)).exists()


def test_ports_agree() -> None:
    commands = {unit.stem: settings_of(unit)["ExecStart"][0] for unit in UNITS}
    for name, port in PORTS.items():
        assert str(port) in commands[f"provisioning-{name}"].split()
    dagster = (SYSTEMD / "dagster.env").read_text("utf-8")
    assert f"CODE_LOCATION_PORT={PORTS['code-server']}\n" in dagster


@pytest.mark.slow
@pytest.mark.parametrize("question", [["verify"], ["security", "--offline=yes", f"--threshold={MOST_EXPOSED}"]])
def test_systemd_takes_the_units_and_finds_them_hardened(question: list[str], tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    units = tmp_path / "units"
    shutil.copytree(SYSTEMD, units)
    for unit in units.glob("*.service"):
        # verify asks for the program
        text = unit.read_text("utf-8").replace(INSTALLED, f"{Path(sys.executable).parent}/")
        unit.write_text(text, "utf-8")
    asked = subprocess.run(
        ["systemd-analyze", "--no-pager", *question, *sorted(str(unit) for unit in units.glob("*.service"))],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (asked.returncode, asked.stderr) == (0, ""), asked.stdout
