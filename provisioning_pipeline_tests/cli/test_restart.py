"""`provisioning restart`: asks Twenty first, then the operator, and says what comes next."""

import json
from collections.abc import Iterator

import pytest

from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.cli.test_cli import provisioning
from provisioning_pipeline_tests.customers import Customer
from provisioning_pipeline_tests.world import World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One ready tenant, and one whose customer deleted its workspace."""
    options = SandboxOptions(tenants=0, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as sandbox:
        made = World(sandbox)
        for slug in ("stays", "goes"):
            sandbox.add_tenant(slug)
        made.apply()
        Customer(made, "goes").delete_workspace()
        yield made


def test_a_tenant_that_stands_is_refused_in_words(world: World) -> None:
    done = provisioning("restart", "stays", "--yes", environment=world.sandbox.environment())
    assert done.returncode == 2
    assert "The workspace of stays stands" in done.stderr
    assert "Nothing was changed." in done.stderr


def test_an_unknown_tenant_is_refused_in_words(world: World) -> None:
    done = provisioning("restart", "nobody", "--yes", environment=world.sandbox.environment())
    assert (done.returncode, "`provisioning status` lists them" in done.stderr) == (2, True)


def test_without_a_terminal_and_without_yes_nothing_is_changed(world: World) -> None:
    before = world.link("goes")
    done = provisioning("restart", "goes", environment=world.sandbox.environment())
    assert (done.returncode, "Give --yes to agree" in done.stderr) == (2, True)
    assert "member links, the admin and the proofs of logins will be forgotten" in done.stdout
    assert world.link("goes") == before


def test_who_agrees_gets_a_new_workspace_with_the_next_run(world: World) -> None:
    old = world.link("goes")["workspace_id"]
    done = provisioning("restart", "goes", "--yes", "--json", environment=world.sandbox.environment())
    told = json.loads(done.stdout)
    assert (done.returncode, told["restarted"], told["workspace_id"]) == (0, True, old)
    assert "was deleted in Twenty" in done.stderr
    assert world.link("goes")["workspace_id"] is None

    world.apply()
    assert world.conditions("goes")["Ready"] == ("True", "AllTrue")
    assert world.link("goes")["workspace_id"] not in (None, old)

    again = provisioning("restart", "goes", "--yes", environment=world.sandbox.environment())
    assert (again.returncode, "stands" in again.stderr) == (2, True)
