"""Settings in files, one each, as Docker and Kubernetes mount secrets."""

import os
from pathlib import Path
from typing import Any

import pytest

from provisioning_pipeline.settings.variables import begins_running, unknown_variables
from provisioning_pipeline_tests.settings.complete import CANARY, faults_of

KEY = "PROVISIONING_CLERK_SECRET_KEY"


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    made = tmp_path / "secrets"
    made.mkdir()
    monkeypatch.setenv("PROVISIONING_SECRETS_DIR", str(made))
    return made


@pytest.mark.parametrize("name", [KEY, KEY.lower()])
@pytest.mark.parametrize("ending", ["", "\n", "\r\n", " \n\n"])
def test_a_file_called_like_a_variable_is_its_value_without_its_line_end(
    load: Any, folder: Path, name: str, ending: str
) -> None:
    (folder / name).write_bytes(b"\xef\xbb\xbfsk_live_1" + ending.encode())
    assert load(CLERK_SECRET_KEY=None).clerk_secret_key.get_secret_value() == "sk_live_1"


def test_a_secret_of_kubernetes_is_read_through_its_links(load: Any, folder: Path) -> None:
    (folder / "..2026_11_30").mkdir()
    (folder / "..data").symlink_to("..2026_11_30")
    (folder / "..2026_11_30" / KEY).write_text("sk_live_1\n")
    (folder / KEY).symlink_to(f"..data/{KEY}")
    assert load(CLERK_SECRET_KEY=None).clerk_secret_key.get_secret_value() == "sk_live_1"


def test_lists_and_objects_are_json_in_a_file_too(load: Any, folder: Path) -> None:
    (folder / "PROVISIONING_MEMBER_ROLES").write_text('{"org:boss": "Admin"}\n')
    assert load().member_roles == {"org:boss": "Admin"}


def test_the_environment_goes_before_dot_env_and_that_before_the_files(load: Any, folder: Path) -> None:
    Path(".env").write_text("PROVISIONING_CLERK_SECRET_KEY=sk_live_2\nPROVISIONING_SERVICE_MEMBER_NAME=two\n")
    for name in ("CLERK_SECRET_KEY", "SERVICE_MEMBER_NAME", "MEMBER_DEFAULT_ROLE"):
        (folder / f"PROVISIONING_{name}").write_text("sk_live_3")
    settings = load(CLERK_SECRET_KEY="sk_live_1")
    assert settings.clerk_secret_key.get_secret_value() == "sk_live_1"
    assert settings.service_member_name == "two"
    assert settings.member_default_role == "sk_live_3"


def test_dot_env_may_name_the_folder(load: Any, tmp_path: Path) -> None:
    (tmp_path / KEY).write_text("sk_live_1")
    Path(".env").write_text(f"PROVISIONING_SECRETS_DIR={tmp_path}\n")
    assert load(CLERK_SECRET_KEY=None).clerk_secret_key.get_secret_value() == "sk_live_1"


def test_an_empty_file_is_no_setting(load: Any, folder: Path) -> None:
    (folder / KEY).write_text("\n")
    assert faults_of(load, CLERK_SECRET_KEY=None) == ("PROVISIONING_CLERK_SECRET_KEY: is missing",)


def test_a_folder_that_cannot_be_read_is_named_with_what_to_do(
    load: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.rmdir()
    assert faults_of(load) == (
        f"PROVISIONING_SECRETS_DIR: {folder} is not there: mount the secrets there, or take the variable away",
    )
    folder.write_text(CANARY)
    assert faults_of(load) == (
        f"PROVISIONING_SECRETS_DIR: {folder} is no folder: name the folder that the secrets are in, not one of them",
    )

    def refuse(_: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(folder))

    # root, as which tests may run, may read every folder
    folder.unlink()
    folder.mkdir()
    monkeypatch.setattr(Path, "iterdir", refuse)
    assert faults_of(load) == (f"PROVISIONING_SECRETS_DIR: {folder} cannot be read: Permission denied",)


def test_a_file_that_would_be_left_out_is_a_fault(load: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(CANARY)
    (folder / KEY).symlink_to(tmp_path / "elsewhere")
    (folder / "PROVISIONING_APP_URL").write_bytes(b"https://\xff")
    (folder / "PROVISIONING_API_URL").mkdir()
    (folder / "of_another_program").write_bytes(b"\xff")
    assert faults_of(load) == (
        f"{folder}/PROVISIONING_API_URL: cannot be read: Is a directory",
        f"{folder}/PROVISIONING_APP_URL: is not in UTF-8: save it in that encoding",
        f"{folder}/{KEY}: leads out of its folder: put the file itself there",
    )


def test_a_misspelt_file_is_named(folder: Path) -> None:
    (folder / "PROVISIONING_CLERK_SECRETKEY").write_text(CANARY)
    (folder / "dagster_pg_password").write_text(CANARY)
    (told,) = unknown_variables()
    assert told == (
        f"{folder}{os.sep}PROVISIONING_CLERK_SECRETKEY is no setting, so it is ignored. "
        "Is PROVISIONING_CLERK_SECRET_KEY meant?"
    )


def test_a_file_stops_automation(folder: Path) -> None:
    (folder / "provisioning_automation").write_text("stopped\n")
    assert not begins_running()
