"""What a run will need, foretold from its plan and from how the last runs went."""

import asyncio
from datetime import UTC, datetime

from provisioning_pipeline.clients.limits import BURST
from provisioning_pipeline.decide.forecast import forecast
from provisioning_pipeline.ledger.schema import has_ledger
from provisioning_pipeline.model.forecast import Circumstances, Forecast
from provisioning_pipeline.model.tenant import Change, Plan
from provisioning_pipeline.pipeline.connections import Connections

_ACTIVATION_SECONDS = 3.0
"""Of Twenty 2.21 on two cores, until a run has measured this one."""


async def foretell(connections: Connections, plan: Plan, *, reading_seconds: float = 0.0) -> Forecast:
    """The forecast for this plan, right after it was made: the calls so far are those of observing."""
    settings = connections.settings
    allowed = max(1, int(settings.clerk_requests_per_10_seconds * settings.clerk_share))
    history = connections.history
    names = [entry.tenant.database_name for entry in plan.work]
    known = bool(names) and await has_ledger(history.database)
    seconds = await history.seconds_of_changes() if known else {}
    circumstances = Circumstances(
        now=datetime.now(UTC),
        observing_clerk_calls=connections.clerk_calls.by_name.total(),
        clerk_calls_per_10_seconds=allowed,
        clerk_calls_at_once=max(1, int(BURST * allowed)),
        twenty_concurrency=settings.twenty_concurrency,
        tenant_concurrency=settings.tenant_concurrency,
        harm_allowed=settings.harm_most,
        reading_seconds=reading_seconds,
        activation_seconds=seconds.get(Change.ACTIVATE_WORKSPACE, _ACTIVATION_SECONDS),
        seconds_of_change=seconds,
        room=plan.room,
        inhabited=frozenset(await history.inhabited_servers() if known else ()),
        members=await history.members_besides_admin(names) if known else {},
    )
    # a plan of ten thousand tenants takes a moment, and others of this process go on meanwhile
    return await asyncio.to_thread(forecast, plan, circumstances)
