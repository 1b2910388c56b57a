"""Variables as they stand: unknown ones, and what Dagster asks for as it loads the code."""

from pathlib import Path

import pytest
import typer

from provisioning_pipeline.cli.exits import configured
from provisioning_pipeline.settings.variables import begins_running, report_fresh_hours, unknown_variables

SECRET = "c4nary-s3cret"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PROVISIONING_MEMBERS_GON", "PROVISIONING_MEMBERS_GONE"),
        ("PROVISIONING_REGISTRY_EXCLUDED_STATUS", "PROVISIONING_REGISTRY_EXCLUDED_STATUSES"),
        ("PROVISIONING_CLERK_SECRETKEY", "PROVISIONING_CLERK_SECRET_KEY"),
        ("provisioning_adopt_database", "PROVISIONING_ADOPT_DATABASES"),
        ("PROVISIONING_SERVICE_MEMBER_NAM", "PROVISIONING_SERVICE_MEMBER_NAME"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_setting_that_is_meant(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, SECRET)
    assert unknown_variables() == [f"{name} is no setting, so it is ignored. Is {meant} meant?"]


@pytest.mark.parametrize(
    "name",
    [
        "PROVISIONING_MEMBERS_GONE",
        "PROVISIONING_SERVICE_HOST",
        "PROVISIONING_SERVICE_PORT_HTTP",
        "PROVISIONING_PORT",
        "PROVISIONING_PORT_8000_TCP_ADDR",
        "PROVISIONING_API_SERVICE_HOST",
        "PROVISIONING_API_PORT_80_TCP",
        "XPROVISIONING_MEMBERS_GON",
    ],
)
def test_settings_and_what_kubernetes_adds_are_no_news(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "report")
    assert unknown_variables() == []


def test_a_command_says_it_first_also_where_the_settings_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(".env").write_text(f"PROVISIONING_CLERK_SECRET_KEYS={SECRET}\n# a word\n", encoding="utf-8-sig")
    monkeypatch.setenv("PROVISIONING_WHATEVER", SECRET)
    with pytest.raises(typer.Exit), configured():
        pass
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == [
        "PROVISIONING_WHATEVER is no setting, so it is ignored. docs/configuration.md has them all.",
        ".env: PROVISIONING_CLERK_SECRET_KEYS is no setting, so it is ignored. Is PROVISIONING_CLERK_SECRET_KEY meant?",
    ]
    assert "PROVISIONING_CLERK_SECRET_KEY: is missing" in said
    assert SECRET not in "".join(said)


@pytest.mark.parametrize(
    ("in_environment", "in_file", "expected"),
    [
        (None, None, True),
        (None, "PROVISIONING_AUTOMATION=stopped", False),
        (None, "PROVISIONING_AUTOMATION=\n", True),
        (" running ", "PROVISIONING_AUTOMATION=stopped", True),
        ("", "PROVISIONING_AUTOMATION=stopped", False),
        ("stopped", None, False),
        ("a word of another version", None, False),
        (None, b"PROVISIONING_AUTOMATION=stopped\n\xff", True),
    ],
)
def test_whether_automation_begins_is_read_whatever_state_the_settings_are_in(
    in_environment: str | None, in_file: str | bytes | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_environment is not None:
        monkeypatch.setenv("PROVISIONING_AUTOMATION", in_environment)
    if in_file is not None:
        Path(".env").write_bytes(in_file if isinstance(in_file, bytes) else in_file.encode())
    assert begins_running() is expected


@pytest.mark.parametrize(
    ("text", "hours"), [(None, 3), ("", 3), (" 12 ", 12), ("0.5", 0.5), ("0", 3), ("-1", 3), ("soon", 3), ("1e9", 3)]
)
def test_when_a_report_is_old_is_read_whatever_state_the_settings_are_in(
    text: str | None, hours: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        monkeypatch.setenv("PROVISIONING_REPORT_FRESH_HOURS", text)
    assert report_fresh_hours() == hours
