"""What is left in the whole fleet at the end of a run. Each Twenty server is read once for all of it."""

from dataclasses import dataclass

from provisioning_pipeline.clients.concurrency import both
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.views.health import Health, health_now
from provisioning_pipeline.views.member_tables import PeopleAfter, people_after
from provisioning_pipeline.views.onboarding_tables import OnboardingAfter, onboarding_after
from provisioning_pipeline.views.recent_events import Events, newest_events
from provisioning_pipeline.views.servers import every_server


@dataclass(frozen=True)
class FleetAfter:
    """Members, onboarding, what should be true of the fleet, and what happened lately."""

    people: PeopleAfter
    onboarding: OnboardingAfter
    health: Health
    events: Events


async def fleet_after(connections: Connections, run_id: str) -> FleetAfter:
    """What this run left."""
    twenty = await every_server(connections)
    (people, onboarding), (health, events) = await both(
        both(people_after(connections, run_id, twenty), onboarding_after(connections, twenty)),
        both(health_now(connections, twenty), newest_events(connections)),
    )
    return FleetAfter(people, onboarding, health, events)
