"""What happened lately to the whole fleet."""

from collections.abc import Mapping, Sequence

from provisioning_pipeline.decide.timeline import events
from provisioning_pipeline.ledger.timeline import newest_rows
from provisioning_pipeline.model.history import Event
from provisioning_pipeline.run.connections import Connections

Events = Mapping[str, Sequence[Event]]
"""Database name → its events, newest first."""
_MOST = 5000


async def newest_events(connections: Connections) -> Events:
    """The newest events of all tenants, up to 5,000 of each kind."""
    rows = await newest_rows(connections.ledger.database, _MOST)
    return {name: events(of_tenant) for name, of_tenant in sorted(rows.items())}
