"""What tests of Dagster's definitions share."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from provisioning_pipeline.sandbox.sandbox import Sandbox
from provisioning_pipeline_tests.world import World


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def world_of(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> World:
    """The sandbox as this process's settings have it, which is where definitions read them."""
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)
    return World(sandbox)


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Settings that name a folder of this test."""
    nowhere = "postgresql://nobody@127.0.0.1:9/none"
    for name, value in {
        "REGISTRY_URL": nowhere,
        "TENANT_CLUSTER_URL": nowhere,
        "TWENTY_BASE_URL": "http://127.0.0.1:9",
        "TWENTY_DATABASE_URL": nowhere,
        "TWENTY_SERVICE_EMAIL": "service@platform.test",
        "TWENTY_SERVICE_PASSWORD": "a password of the service",
        "CLERK_SECRET_KEY": "sk_test_0",
        "MEMBER_PASSWORD_KEY": "sixteen characters",
        "TABLES_PATH": str(tmp_path / "tables"),
    }.items():
        monkeypatch.setenv(f"PROVISIONING_{name}", value)
    return str(tmp_path / "tables")
