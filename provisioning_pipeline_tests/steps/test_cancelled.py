"""A run that is told to stop at any boundary ends as cut, with everything that it did, and the next one finishes."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from provisioning_pipeline.run.run import apply
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.steps.killed import When, at_boundaries
from provisioning_pipeline_tests.world import World

MATTER_MOST = [
    ("ledger store_outcomes", "after"),
    ("signUpInNewWorkspace", "before"),
    ("signUpInNewWorkspace", "after"),
    ("ledger store_workspace", "after"),
    ("activateWorkspace", "after"),
]
MOST_BOUNDARIES = 150


@pytest.fixture
def world() -> Iterator[World]:
    options = SandboxOptions(tenants=0, members=1, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as sandbox:
        made = World(sandbox)
        # makes the service account and the ledger, so that every later run has the same boundaries
        sandbox.add_tenant("first", members=1)
        made.apply()
        yield made


def cancelled_at(world: World, boundary: int | str, when: When) -> tuple[str, str | None]:
    """Add a tenant, and reconcile it until a boundary, where it is cancelled; its slug, and the boundary's name."""
    slug = f"cut-{uuid.uuid4().hex[:8]}"
    world.sandbox.add_tenant(slug, members=1)
    reached: list[str] = []

    async def run() -> None:
        main = asyncio.current_task()
        assert main is not None

        def cancel(label: str) -> None:
            if not reached:
                reached.append(label)
                main.cancel()

        with pytest.MonkeyPatch.context() as patch:
            at_boundaries(boundary, when, cancel, patch.setattr)
            await apply(world.settings, [slug], run_id=slug)

    try:
        asyncio.run(run())
    except asyncio.CancelledError:
        assert reached
    return slug, reached[0] if reached else None


def assert_recorded(world: World, run_id: str) -> bool:
    """The run has an end, and everything that it did an outcome; whether it was cut."""
    rows = world.registry(
        "SELECT ended_as, finished_at, cut_why, actions FROM provisioning.run WHERE run_id = %s", run_id
    )
    if not rows:
        # cancelled before it had begun: nothing was done
        assert not outcomes(world, run_id)
        return True
    ((ended_as, finished_at, why, actions),) = rows
    assert ended_as == ("done" if finished_at else "cut")
    assert (why is None) == (finished_at is not None)
    found = outcomes(world, run_id)
    assert "begun" not in {status for _, status, _ in found}
    assert actions == sum(status == "done" and change != "prove login" for change, status, _ in found)
    made = [workspace for workspace in world.workspaces() if workspace.subdomain == run_id]
    assert len(made) <= sum(change == "create workspace" and status in ("done", "cut") for change, status, _ in found)
    return ended_as == "cut"


def outcomes(world: World, run_id: str) -> list[tuple[str, str, str]]:
    rows = world.registry(
        "SELECT change, status, detail FROM provisioning.outcome WHERE run_id = %s ORDER BY id", run_id
    )
    return [tuple(row) for row in rows]


def assert_next_run_finishes(world: World, slugs: list[str]) -> None:
    applied = world.apply()

    assert applied.summary.unwell == []
    assert sorted(workspace.subdomain for workspace in world.workspaces()) == sorted(["first", *slugs])
    creations: list[Any] = world.registry(
        "SELECT l.slug, o.status, o.detail FROM provisioning.outcome o JOIN provisioning.tenant_link l "
        "USING (database_name) WHERE o.change = 'create workspace' AND o.status <> 'failed'"
    )
    # one for each workspace, and of each it is known by now that it was made
    assert sorted((slug, status) for slug, status, _ in creations) == sorted(
        (slug, "done") for slug in ["first", *slugs]
    )
    assert world.sandbox.twenty[0].mails == []
    assert world.apply().summary.actions == 0


@pytest.mark.slow
def test_a_run_that_is_told_to_stop_records_what_it_did(world: World) -> None:
    cut = {}
    for boundary, when in MATTER_MOST:
        slug, reached = cancelled_at(world, boundary, when)
        assert reached == boundary
        assert assert_recorded(world, slug)
        cut[boundary, when] = slug

    # before anything is sent, nothing can have been made; after that nobody knows until somebody looks
    assert status_of_creation(world, cut["signUpInNewWorkspace", "before"]) == ["failed"]
    assert status_of_creation(world, cut["signUpInNewWorkspace", "after"]) == ["cut"]
    assert status_of_creation(world, cut["ledger store_workspace", "after"]) == ["done"]
    assert_next_run_finishes(world, list(cut.values()))
    assert status_of_creation(world, cut["signUpInNewWorkspace", "after"]) == ["done"]


def status_of_creation(world: World, run_id: str) -> list[str]:
    return [status for change, status, _ in outcomes(world, run_id) if change == "create workspace"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_that_is_told_to_stop_at_any_boundary_records_what_it_did(world: World, when: When) -> None:
    slugs: list[str] = []
    reached: str | None = ""
    while reached is not None:
        assert len(slugs) < MOST_BOUNDARIES, "a run has more boundaries than this test tries"
        slug, reached = cancelled_at(world, len(slugs), when)
        assert_recorded(world, slug)
        slugs.append(slug)
    assert_next_run_finishes(world, slugs)
