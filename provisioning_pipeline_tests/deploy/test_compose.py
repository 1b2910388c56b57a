"""compose.yaml, read as an engine reads it: what it names exists, and only what needs secrets can see them."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from provisioning_pipeline.cli.main import app
from provisioning_pipeline.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("provisioning-pipeline:")}
HOLDERS = {"migrate", "code-server", "api", "worker"}
ONE_SHOT = {"storage-password", "migrate"}
ENTRYPOINT = (ROOT / "deploy" / "image" / "entrypoint").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
each_service = pytest.mark.parametrize("name", SERVICES)
each_of_ours = pytest.mark.parametrize("name", OURS)


def commands_of(function: str) -> set[str]:
    """The words that the entrypoint tells apart: in its last `case`, or in that of a function."""
    body = ENTRYPOINT.partition(f"{function}() {{")[2].partition("\n}")[0] if function else ENTRYPOINT
    return {word.strip("*") for line in re.findall(r"(?m)^ +([a-z*| -]+)\) ", body) for word in line.split(" | ")}


def variables_of(name: str) -> dict[str, str]:
    return dict(SERVICES[name].get("environment", {}))


@each_service
def test_each_is_contained(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    # as the image's own user, or another that is not root
    assert name in OURS or service["user"] not in ("root", "0")


@each_service
def test_each_is_started_again_and_has_a_health_check_unless_it_ends_by_itself(name: str) -> None:
    service = SERVICES[name]
    assert (service["restart"] == "unless-stopped") == ("healthcheck" in service) == (name not in ONE_SHOT)


@each_of_ours
def test_each_command_is_one_of_the_image(name: str) -> None:
    service = SERVICES[name]
    if "entrypoint" in service:
        return
    command = service["command"][0]
    assert command in commands_of("") or command in get_command(app).commands
    if name not in (*ONE_SHOT, "sandbox"):
        assert service["healthcheck"]["test"] == ["CMD", "entrypoint", "health", command]
        assert command in commands_of("health")


def test_the_options_of_the_sandbox_exist() -> None:
    up = get_command(app).commands["sandbox"].commands["up"]
    _, action, *options = SERVICES["sandbox"]["command"]
    assert action == "up"
    assert {option.split("=")[0] for option in options} <= {name for one in up.params for name in one.opts}


@each_of_ours
def test_each_variable_is_a_setting_or_one_of_the_image(name: str) -> None:
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    in_image = {*re.findall(r"[A-Z_]{4,}(?==)", DOCKERFILE), *re.findall(r"\$\{?([A-Z_]+)", ENTRYPOINT)}
    assert set(variables_of(name)) <= known | in_image


@each_service
def test_only_what_holds_settings_can_see_them(name: str) -> None:
    service = SERVICES[name]
    sources = {volume.split(":")[0] for volume in service.get("volumes", ())}
    if name in HOLDERS:
        assert {"./secrets", "sandbox-settings"} <= sources
        assert service["env_file"] == [{"path": ".env", "required": False}]
        assert all(volume.endswith(":ro") for volume in service["volumes"] if not volume.startswith("data:"))
        return
    assert not [variable for variable in variables_of(name) if variable.startswith(PREFIX)]
    assert "env_file" not in service
    assert "./secrets" not in sources
    assert name == "sandbox" or "sandbox-settings" not in sources


@each_service
def test_what_it_waits_for_can_come_about(name: str) -> None:
    for other, awaited in SERVICES[name].get("depends_on", {}).items():
        service = SERVICES[other]
        ends = awaited["condition"] == "service_completed_successfully"
        assert ends == (other in ONE_SHOT)
        assert ends or "healthcheck" in service
        # one of a profile may be missing, unless the other is of the same
        same = service.get("profiles") in (None, SERVICES[name].get("profiles"))
        assert same or awaited["required"] is False


@each_service
def test_each_reaches_what_it_talks_to_and_the_daemon_nothing_outside(name: str) -> None:
    networks = {other: set(service.get("networks", ())) for other, service in SERVICES.items()}
    for value in variables_of(name).values():
        for other in SERVICES:
            if re.search(rf"(^|//|@){other}(:|$)", value):
                assert networks[name] & networks[other], (name, other)
    assert networks["daemon"] == {"control", "storage"}
    assert networks["daemon"] & networks["code-server"] == {"control", "storage"}
    assert {net for net, how in COMPOSE["networks"].items() if not how.get("internal")} == {"outside"}


def test_nothing_listens_beyond_this_machine() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_each_volume_is_declared_and_each_path_in_the_image_is_its_users() -> None:
    named = {volume.split(":")[0] for one in SERVICES.values() for volume in one.get("volumes", ())}
    assert {name for name in named if not name.startswith(".")} == set(COMPOSE["volumes"])
    # a volume takes the owner of the folder that it is mounted on
    made = next(line for line in DOCKERFILE.splitlines() if "/run/storage" in line)
    assert "--owner=10001" in made
    assert {"/run/sandbox", "/run/secrets", "/run/storage"} <= set(shlex.split(made))


def test_the_readme_has_it_as_its_third_command() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "docker compose --profile sandbox up" in readme
