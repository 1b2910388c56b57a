"""What happened lately to the whole fleet."""

from collections.abc import Mapping, Sequence

from provisioning_pipeline.model.history import Event
from provisioning_pipeline.pipeline.connections import Connections

Events = Mapping[str, Sequence[Event]]
"""Database name → its events, oldest first."""


async def newest_events(connections: Connections) -> Events:
    """The newest events of the whole fleet."""
    return {}
