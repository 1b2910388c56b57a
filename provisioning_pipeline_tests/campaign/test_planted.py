"""Planted defects raise alarms: without these, a campaign that finds nothing would prove nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning_pipeline_tests.campaign.drawing import FleetScript
from provisioning_pipeline_tests.campaign.episodes import settle
from provisioning_pipeline_tests.campaign.fleet import Fleet
from provisioning_pipeline_tests.campaign.invariants import INVARIANTS, Quiet, violations
from provisioning_pipeline_tests.campaign.planted import DEFECTS_OF_THE_WORLD, planted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
BY_NAME = {invariant.__name__: invariant for invariant in INVARIANTS}
SMALL = FleetScript(0, tenants=2, members=3, gone="remove", everyone=False)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quiet]:
    """A fleet of which nothing is violated."""
    with Fleet(SMALL, tmp_path_factory.mktemp("fleet")) as fleet:
        fleet.begin_episode()
        quiet = settle(fleet)
        assert violations(quiet) == []
        yield quiet
        assert violations(settle(fleet)) == [], "a planted defect was not taken back"


@pytest.mark.parametrize("name", DEFECTS_OF_THE_WORLD)
def test_a_defect_of_the_world_is_reported(quiet: Quiet, name: str) -> None:
    invariant = BY_NAME[DEFECTS_OF_THE_WORLD[name].invariant]
    assert list(invariant(quiet)) == []

    with planted(quiet, name) as spoilt:
        assert list(invariant(spoilt)) != []


def test_every_invariant_has_a_defect_that_it_reports() -> None:
    assert {defect.invariant for defect in DEFECTS_OF_THE_WORLD.values()} == set(BY_NAME)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A fleet that no run has seen."""
    with Fleet(SMALL, tmp_path) as fleet:
        fleet.begin_episode()
        yield fleet


def reported(fleet: Fleet) -> set[str]:
    """The invariants that do not hold after quiet runs."""
    return {violation.invariant for violation in violations(settle(fleet))}


def test_a_lock_that_locks_nothing_is_reported(fleet: Fleet) -> None:
    fleet.sandbox.twenty[0].faults.latency_seconds = 0.05
    for slot in "ab":
        fleet.run("apply", "--json", slot=slot, defect="lock_that_locks_nothing")
    fleet.wait_for_runs()
    fleet.sandbox.twenty[0].faults.latency_seconds = 0.0

    assert "one_writer_at_a_time" in reported(fleet)


def test_an_intent_that_is_never_settled_is_reported(fleet: Fleet) -> None:
    fleet.run("apply", "--json", defect="intent_never_settled").wait()

    assert "no_open_intent" in reported(fleet)


def test_a_secret_in_the_output_is_reported(fleet: Fleet) -> None:
    fleet.run("apply", "--json", defect="secret_in_the_output").wait()

    assert reported(fleet) == {"no_secret_is_shown"}


def test_an_error_that_nobody_foresaw_is_reported(fleet: Fleet) -> None:
    fleet.run("apply", "--json", defect="error_that_nobody_foresaw").wait()

    assert reported(fleet) == {"runs_end_well"}


def test_a_run_that_never_ends_is_reported(fleet: Fleet) -> None:
    fleet.run("apply", "--json", defect="run_that_never_ends").wait(3)

    assert reported(fleet) == {"runs_end_well"}


def test_a_creation_that_is_made_twice_is_reported(fleet: Fleet) -> None:
    fleet.run("apply", "--json", defect="creation_made_twice").wait()

    assert "one_workspace_per_tenant" in reported(fleet)
