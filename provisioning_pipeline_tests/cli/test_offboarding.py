"""`provisioning offboard`: what it refuses and why, what it asks, and what is then shown of the tenant everywhere."""

import asyncio
import json
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline.tasks.verify import verify
from provisioning_pipeline_tests.cli.test_cli import Done, provisioning
from provisioning_pipeline_tests.world import World

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Customers who stay, who left, and whose row is missing."""
    with Sandbox(SandboxOptions(tenants=0, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        made = World(sandbox, suspended="lock")
        for slug in ("stays", "left", "missing", "namesake"):
            sandbox.add_tenant(slug, members=2)
        made.apply()
        made.registry("UPDATE tenant_registry SET status = 'deleted' WHERE slug = 'left' RETURNING 1")
        made.registry("DELETE FROM tenant_registry WHERE slug = 'missing' RETURNING 1")
        made.apply()
        exports = tmp_path_factory.mktemp("exports")
        sandbox_environment = sandbox.environment
        sandbox.environment = lambda: (
            sandbox_environment()
            | {
                "PROVISIONING_EXPORT_PATH": str(exports),
                "PROVISIONING_GONE_GRACE_DAYS": "1",
                "PROVISIONING_SUSPENDED": "lock",
            }
        )
        yield made


def offboard(world: World, *arguments: str) -> Done:
    return provisioning("offboard", *arguments, environment=world.sandbox.environment())


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("stays",), "stays is active. The registry has it as a customer, and it has a workspace. Only customers who "),
        (("stays", "--undo"), "It is not archived, so there is nothing to take back."),
        (("left", "--delete"), "Archive it first: `provisioning offboard left`."),
        (("nobody",), "`provisioning status` lists them"),
        (("left", "--delete", "--undo"), "exclude each other"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(world: World, arguments: tuple[str, ...], why: str) -> None:
    done = offboard(world, *arguments, "--yes")
    assert done.returncode == 2
    assert why in " ".join(done.stderr.replace("│", " ").split())


def test_without_a_terminal_and_without_yes_nothing_is_changed(world: World) -> None:
    done = offboard(world, "left")
    assert (done.returncode, "Give --yes to agree" in done.stderr) == (2, True)
    assert "Its members are locked out of workspace" in done.stdout
    assert world.sees("left")["status"] == "COMPLETED"


def test_an_order_is_for_the_tenant_of_that_database_whatever_others_are_called(world: World) -> None:
    database = world.link("missing")["database_name"]
    world.registry("UPDATE tenant_registry SET slug = %s WHERE slug = 'namesake' RETURNING 1", database)
    try:
        done = offboard(world, database, "--yes")
        assert done.returncode == 0, done
        assert "missing is offboarding. Its registry row is missing since" in done.stdout
    finally:
        world.registry("UPDATE tenant_registry SET slug = 'namesake' WHERE slug = %s RETURNING 1", database)
    world.apply()
    assert world.conditions("missing")["Offboarded"] == ("True", "Archived")
    assert "Offboarded" not in world.conditions("namesake")
    assert world.sees("namesake")["status"] == "COMPLETED"


def test_what_is_archived_stays_for_the_grace_time_and_is_shown_everywhere(world: World) -> None:
    assert offboard(world, "left", "--yes").returncode == 0
    with pytest.raises(AssertionError, match="not a member"):
        world.sees("left")
    assert "It is archived already" in offboard(world, "left", "--yes").stderr
    assert "(PROVISIONING_GONE_GRACE_DAYS)" in offboard(world, "left", "--delete", "--yes").stderr

    environment = world.sandbox.environment()
    evidence = 'The registry says "deleted", so the customer has left.'
    shown = " ".join(provisioning("status", "left", environment=environment).stdout.split())
    assert f"offboarding: {evidence}" in shown
    assert f"The tenant is offboarding. {evidence}" in shown
    (line,) = json.loads(provisioning("status", "left", "--json", environment=environment).stdout)
    assert (line["lifecycle"], line["lifecycle_evidence"]) == ("offboarding", evidence)
    report = world.apply().report
    assert report is not None
    assert evidence in unescape(Path(report).read_text("utf-8"))
    # none of its logins is tried: that they fail is right
    verified = asyncio.run(verify(world.settings))
    proved = {proof.database_name for proof in verified.proofs}
    assert world.link("namesake")["database_name"] in proved
    assert world.link("left")["database_name"] not in proved
    assert not verified.failures


def test_an_undone_archive_gives_everything_back_and_later_it_is_gone(world: World) -> None:
    members = world.members("stays")
    world.registry("UPDATE tenant_registry SET status = 'deleted' WHERE slug = 'stays' RETURNING 1")
    assert offboard(world, "stays", "--yes").returncode == 0
    assert offboard(world, "stays", "--undo", "--yes").returncode == 0
    assert world.members("stays") == members
    assert world.sees("stays")["status"] == "COMPLETED"
    assert "nothing to take back" in offboard(world, "stays", "--undo", "--yes").stderr
    assert offboard(world, "stays", "--yes").returncode == 0
    world.registry("UPDATE provisioning.offboarding SET archived_at = archived_at - interval '2 days' RETURNING 1")
    done = offboard(world, "stays", "--delete", "--yes", "--json")
    assert done.returncode == 0, done
    assert "No call of Twenty's brings it back." in done.stderr
    assert world.link("stays")["workspace_id"] is None
    assert "There is nothing left to be offboarded." in offboard(world, "stays", "--yes").stderr
