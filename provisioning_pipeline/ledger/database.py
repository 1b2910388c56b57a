"""The database that registry and ledger share."""

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.settings import GatewaySettings


def ledger_database(settings: GatewaySettings, *, read_only: bool, most_connections: int = 1) -> Database:
    """The database of registry and ledger. Opened on first use."""
    return Database(
        settings.registry_url.get_secret_value(),
        system="The tenant registry",
        unreachable=Reason.REGISTRY_UNREACHABLE,
        read_only=read_only,
        most_connections=most_connections,
    )
