"""What tests of Dagster's definitions share."""

from collections.abc import Iterator

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
