"""Every setting, command and program that a deployed file names exists."""

import re
from pathlib import Path

import pytest
import typer
import yaml

from provisioning_pipeline import __version__
from provisioning_pipeline.cli.main import app
from provisioning_pipeline.settings import PREFIX, Settings
from provisioning_pipeline_tests.deploy.files import (
    ENTRYPOINT,
    ROOT,
    USER,
    deployed,
    documents,
    pod_templates,
    user_deployment,
    values,
)

FIVE = {"code-server", "webserver", "daemon", "api", "migrate"}
EVERY_FILE = pytest.mark.parametrize("path", deployed(), ids=lambda path: str(path.relative_to(ROOT)))


@EVERY_FILE
def test_every_variable_is_a_setting(path: Path) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    named = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]*[A-Z0-9]\b", path.read_text("utf-8")))
    assert named <= known


def _commands() -> set[str]:
    """The first words that the image takes: its own, and the commands of `provisioning`."""
    command = typer.main.get_command(app)
    ours = set(getattr(command, "commands", {}))
    labels = re.findall(r"^  ([\w| *-]+)\)", ENTRYPOINT.read_text("utf-8"), re.MULTILINE)
    return {word.strip() for label in labels for word in label.split("|")} | ours


def test_the_image_takes_the_five_commands() -> None:
    # `migrate` is one of our own commands
    assert _commands() >= FIVE


def test_every_container_is_given_a_command_that_the_image_takes() -> None:
    for name, template in pod_templates():
        for container in template["spec"]["containers"]:
            assert container["args"][0] in _commands(), name
    for name, service in documents(ROOT / "compose.yaml")[0]["services"].items():
        # a service with an entrypoint of its own has no command of the image's
        if "entrypoint" not in service and ("build" in service or "provisioning" in str(service.get("image"))):
            command = service.get("command", [])
            words = command.split() if isinstance(command, str) else command
            assert not words or words[0] in _commands(), name


def test_the_image_and_the_manifests_agree_on_the_user_and_the_home_of_dagster() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert re.search(rf"^USER {USER}:{USER}$", text, re.MULTILINE)
    assert f"DAGSTER_HOME={values()['global']['dagsterHome']}" in text


def test_the_code_server_of_the_chart_is_the_one_of_the_image() -> None:
    code = user_deployment()
    assert code["codeServerArgs"] == ["--module-name", "provisioning_pipeline.definitions"]
    assert "-m provisioning_pipeline.definitions" in ENTRYPOINT.read_text("utf-8")


def test_yaml_below_deploy_can_be_read() -> None:
    for path in deployed():
        if path.suffix in {".yaml", ".yml"}:
            assert list(yaml.safe_load_all(path.read_text("utf-8")))


def test_the_image_is_labelled_with_the_version_of_the_program() -> None:
    assert f"ARG VERSION={__version__}\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
