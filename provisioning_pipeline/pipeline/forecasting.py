"""What a run will need, foretold from its plan and from how the last runs went."""

from provisioning_pipeline.model.forecast import Forecast
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.pipeline.connections import Connections


async def foretell(connections: Connections, plan: Plan) -> Forecast | None:
    """The forecast for this plan."""
    return None
