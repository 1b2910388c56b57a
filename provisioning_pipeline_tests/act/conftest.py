"""A sandbox per test module; each test adds tenants of its own."""

from collections.abc import Iterator

import pytest

from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.world import World


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    """One sandbox without tenants; what a test leaves in it must not matter to the next."""
    with Sandbox(SandboxOptions(tenants=0, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        yield World(sandbox)
