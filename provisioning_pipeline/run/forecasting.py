"""What a run will need, foretold from its plan and from how the last runs went."""

import asyncio
from datetime import UTC, datetime

from provisioning_pipeline.clients.limits import BURST
from provisioning_pipeline.decide.forecast import forecast
from provisioning_pipeline.decide.forecast_pace import paces
from provisioning_pipeline.ledger.schema import has_ledger
from provisioning_pipeline.model.forecast import Circumstances, Forecast
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.steps.needs import needs_of


async def foretell(connections: Connections, plan: Plan, *, reading_seconds: float = 0.0) -> Forecast:
    """The forecast for this plan, right after it was made: the calls so far are those of observing."""
    settings = connections.settings
    allowed = max(1, int(settings.clerk_requests_per_10_seconds * settings.clerk_share))
    history = connections.history
    names = [entry.tenant.database_name for entry in plan.work]
    known = bool(names) and await has_ledger(history.database)
    timed = await history.timed_changes({server.name: server.base_url for server in settings.servers}) if known else []
    circumstances = Circumstances(
        now=datetime.now(UTC),
        observing_clerk_calls=connections.clerk_calls.by_name.total(),
        clerk_calls_per_10_seconds=allowed,
        clerk_calls_at_once=max(1, int(BURST * allowed)),
        twenty_concurrency=settings.twenty_concurrency,
        tenant_concurrency=settings.tenant_concurrency,
        harm_allowed=settings.harm_most,
        reading_seconds=reading_seconds,
        seconds_of_change=paces(
            timed, tenant_concurrency=settings.tenant_concurrency, twenty_concurrency=settings.twenty_concurrency
        ),
        room=plan.room,
        inhabited=frozenset(await history.inhabited_servers() if known else ()),
        members=await history.members_besides_admin(names) if known else {},
    )
    # a plan of ten thousand tenants takes a moment, and others of this process go on meanwhile
    return await asyncio.to_thread(lambda: forecast(plan, circumstances, needs_of(plan, circumstances)))
