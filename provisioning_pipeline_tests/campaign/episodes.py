"""Plays an episode: its script, then quiet runs until the fleet is at rest, then the invariants."""

import time
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psycopg

from provisioning_pipeline.sandbox.clerk.errors import ClerkRefusalError
from provisioning_pipeline_tests.campaign.actions import ACTIONS
from provisioning_pipeline_tests.campaign.drawing import Action, Episode
from provisioning_pipeline_tests.campaign.fleet import Fleet
from provisioning_pipeline_tests.campaign.invariants import (
    Quiet,
    Violation,
    excuse,
    violations,
    well_tenants_become_ready,
)
from provisioning_pipeline_tests.campaign.seeing import see

MOST_QUIET_RUNS = 5
"""A succession takes two runs, a budget one more; a fleet that is not at rest then never is."""

_CANNOT = (psycopg.Error, httpx2.HTTPError, RuntimeError, ClerkRefusalError, AssertionError, OSError)
"""An action may meet the faults of others: a database that is away, an answer that is refused."""


@dataclass(frozen=True)
class Played:
    """An episode that was played."""

    episode: Episode
    log: tuple[str, ...]
    violations: tuple[Violation, ...]
    seconds: float
    kills: int
    quiet_runs: int
    ready: int
    tenants: int
    excuses: tuple[str, ...]
    """Why tenants are not ready that need not be."""


def play(fleet: Fleet, episode: Episode) -> Played:
    """Play one episode in this fleet."""
    begun = time.monotonic()
    fleet.begin_episode()
    before = memberships(fleet)
    for action in episode.actions:
        time.sleep(action.pause)
        said = attempt(fleet, action)
        fleet.log.append(f"{time.monotonic() - begun:6.2f} s  {action}: {said}")
    fleet.calm()
    disturbed = len(fleet.runs)
    quiet = settle(fleet, before)
    found = [Violation(*text.split(": ", 1)) for text in fleet.violations] + violations(quiet)
    (fleet.folder / "script.txt").write_text("\n".join(fleet.log) + "\n", "utf-8")
    return Played(
        episode,
        tuple(fleet.log),
        tuple(found),
        time.monotonic() - begun,
        sum((run.code or 0) < 0 for run in fleet.runs[:disturbed]),
        len(quiet.runs),
        sum(quiet.seen.is_ready(tenant) for tenant in quiet.seen.tenants),
        len(quiet.seen.tenants),
        tuple(
            why for tenant in quiet.seen.tenants if not quiet.seen.is_ready(tenant) and (why := excuse(quiet, tenant))
        ),
    )


def attempt(fleet: Fleet, action: Action) -> str:
    """Let an action happen; one that meets a fault of another says so."""
    try:
        return ACTIONS[action.kind](fleet, action)
    except _CANNOT as error:
        return f"could not: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def settle(fleet: Fleet, before: dict[tuple[str, str], str] | None = None) -> Quiet:
    """Quiet runs until one does nothing and leaves nobody who should be ready, then the state that they left."""
    since, runs = time.monotonic(), []
    while True:
        last = time.monotonic()
        run = fleet.run("apply", "--json")
        run.wait()
        runs.append(run)
        quiet = Quiet(fleet, see(fleet), before or {}, tuple(runs), since, last)
        at_rest = run.document.get("actions") == 0 and not list(well_tenants_become_ready(quiet))
        if at_rest or len(runs) == MOST_QUIET_RUNS:
            return quiet


def memberships(fleet: Fleet) -> dict[tuple[str, str], str]:
    """Who is a member at Clerk and in Twenty at this moment: database and e-mail → membership."""
    seen = see(fleet)
    found: dict[tuple[str, str], str] = {}
    for tenant in seen.tenants:
        home, people = seen.home(tenant), seen.people(tenant)
        if home is None or people is None or not seen.is_ready(tenant):
            continue
        current = {person.email for person in people if person.countable}
        for email, member in seen.inside(home.id, fleet.service_email).items():
            if email in current and member.record:
                found[tenant.database, email] = member.tie
    return found


def keep_evidence(fleet: Fleet, played: Played, folder: Path) -> Path:
    """Copy what the episode left into a folder of its own."""
    import shutil

    target = folder / f"episode-{played.episode.number}"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(fleet.folder, target)
    lines = [str(violation) for violation in played.violations]
    (target / "violations.txt").write_text("\n".join(lines) + "\n", "utf-8")
    (target / "ledger.json").write_text(fleet.dump(), "utf-8")
    calls = sorted([*fleet.twenty.since(0), *fleet.clerk.since(0)], key=lambda call: call.begun)
    (target / "calls.txt").write_text("\n".join(map(str, calls)) + "\n", "utf-8")
    return target
