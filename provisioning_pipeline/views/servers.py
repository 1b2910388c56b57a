"""The Twenty servers as they are now, for all questions that are asked at once."""

from provisioning_pipeline.model.frames import TwentySnapshot
from provisioning_pipeline.observe.twenty import twenty_servers
from provisioning_pipeline.run.connections import Connections


async def every_server(connections: Connections) -> TwentySnapshot:
    """All of every server. One that cannot be read is a row with a reason."""
    settings = connections.settings
    return await twenty_servers(settings.servers, connections.twenty_databases, settings.tenant_database_pattern)
