"""Questions about the whole fleet: what sensors ask, and what a run left. One read of each Twenty server serves all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from provisioning_pipeline.clients.concurrency import both
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.decide.timeline import events
from provisioning_pipeline.ledger.fleet import known_and_due
from provisioning_pipeline.ledger.history import point
from provisioning_pipeline.ledger.pending import PendingReview, PendingReviews
from provisioning_pipeline.ledger.runs import CutRuns
from provisioning_pipeline.ledger.schema import in_ledger
from provisioning_pipeline.ledger.timeline import newest_rows
from provisioning_pipeline.model.frames import TwentySnapshot
from provisioning_pipeline.model.history import Event, RunPoint
from provisioning_pipeline.observe.snapshots import database_names, twenty_servers
from provisioning_pipeline.run.connections import Connections, connect
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.views.health import Health, health_now
from provisioning_pipeline.views.member_tables import MembersAfter, members_after
from provisioning_pipeline.views.onboarding_tables import LoginProofs, OnboardingNow, login_proofs, onboarding_in

Events = Mapping[str, Sequence[Event]]
"""Database name → its events, newest first."""
_MOST_EVENTS = 5000


@dataclass(frozen=True)
class FleetAfter:
    """What a run left: members, onboarding, what should be true of the fleet, and what happened lately."""

    members: MembersAfter
    onboarding: OnboardingNow
    proofs: LoginProofs
    health: Health
    events: Events


async def fleet_after(connections: Connections, run_id: str) -> FleetAfter:
    """What this run left."""
    twenty = await every_server(connections)
    (members, (onboarding, proofs)), (health, recent) = await both(
        both(
            members_after(connections, run_id, twenty),
            both(onboarding_in(twenty, connections), login_proofs(connections)),
        ),
        both(health_now(connections, twenty), recent_events(connections)),
    )
    return FleetAfter(members, onboarding, proofs, health, recent)


async def every_server(connections: Connections) -> TwentySnapshot:
    """All of every Twenty server as it is now. One that cannot be read is a row with a reason."""
    settings = connections.settings
    return await twenty_servers(settings.servers, connections.twenty_databases, settings.tenant_database_pattern)


async def recent_events(connections: Connections) -> Events:
    """The newest events of all tenants, up to 5,000 of each kind."""
    rows = await newest_rows(connections.ledger.database, _MOST_EVENTS)
    return {name: events(of_tenant) for name, of_tenant in sorted(rows.items())}


async def cut_since_last_finished(ledger: Database) -> list[RunPoint]:
    """The reconciliations that were cut since the last one that finished, oldest first; recorded as cut or not."""
    return [point(run) for run in reversed(await CutRuns(ledger).since_last_finished())]


async def due_tenants(settings: Settings) -> tuple[int, dict[str, int]]:
    """How many tenant databases there are, and those due for a run with the tries that each has had.

    Raises:
        Fault: when cluster or ledger cannot be read; a failed read is never an empty list.
    """
    async with connect(settings, dry_run=True) as connections:
        names, (known, due) = await both(
            database_names(connections.cluster, settings.tenant_database_pattern, settings.tenant_database_excluded),
            known_and_due(connections.ledger.database),
        )
    return len(names), {name: due.get(name, 0) for name in names if name in due or name not in known}


async def pending_reviews(settings: Settings) -> dict[str, PendingReview]:
    """Database name → request, for every tenant with a pending review.

    Raises:
        Fault: when the ledger cannot be read; a failed read is never an empty answer.
    """
    return await in_ledger(settings, lambda database: PendingReviews(database).pending())
