"""What killed processes are forked with can be imported: a fork server says nothing where it cannot, and is slow."""

import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "provisioning_pipeline_tests.campaign.preloaded",
        "provisioning_pipeline_tests.steps.killed",
        "provisioning_pipeline.tasks.certify.preloaded",
    ],
)
def test_it_can_be_imported(name: str) -> None:
    assert importlib.import_module(name)
