"""What is deployed: the files below deploy/, compose.yaml and Dockerfile, read once."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
SYSTEMD = DEPLOY / "systemd"
ENTRYPOINT = DEPLOY / "image" / "entrypoint"
VALUES = KUBERNETES / "dagster-values.yaml"

IMAGE = "registry.example.com/provisioning-pipeline"
PORTS = {"code-server": 4000, "webserver": 3000, "api": 8000}
USER = 10001

Manifest = dict[str, Any]


def deployed() -> list[Path]:
    """Every file that says how something is deployed."""
    return [ROOT / "Dockerfile", ROOT / "compose.yaml", *sorted(path for path in DEPLOY.rglob("*") if path.is_file())]


@cache
def documents(path: Path) -> tuple[Manifest, ...]:
    """The documents of a YAML file."""
    return tuple(one for one in yaml.safe_load_all(path.read_text("utf-8")) if one)


@cache
def manifests() -> tuple[tuple[Path, Manifest], ...]:
    """Every object for Kubernetes below deploy/."""
    return tuple(
        (path, one)
        for path in sorted(DEPLOY.rglob("*.yaml"))
        for one in documents(path)
        if isinstance(one, dict) and {"apiVersion", "kind", "metadata"} <= one.keys()
    )


def of_kind(kind: str) -> dict[str, Manifest]:
    """The objects of a kind, by name."""
    return {one["metadata"]["name"]: one for _, one in manifests() if one["kind"] == kind}


@cache
def values() -> Manifest:
    """What we tell Dagster's chart."""
    (found,) = documents(VALUES)
    return found


def user_deployment() -> Manifest:
    """The code server, as the chart is told."""
    (one,) = values()["dagster-user-deployments"]["deployments"]
    found: Manifest = one
    return found


def variables(path: Path) -> dict[str, str]:
    """The variables of an env file, as they stand there."""
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: value.strip("'") for name, value in pairs}


def pod_templates() -> Iterator[tuple[str, Manifest]]:
    """The specs of the pods that our own objects make."""
    for _, one in manifests():
        if one["kind"] in {"Deployment", "Job", "StatefulSet", "DaemonSet"}:
            yield one["metadata"]["name"], one["spec"]["template"]
