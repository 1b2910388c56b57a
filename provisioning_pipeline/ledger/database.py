"""The database that registry and ledger share."""

from provisioning_pipeline.clients.postgres import PATIENCE_SECONDS, Database
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.settings import GatewaySettings


def ledger_database(
    settings: GatewaySettings,
    *,
    read_only: bool,
    most_connections: int = 1,
    patience_seconds: float = PATIENCE_SECONDS,
    most_of_all: int | None = None,
) -> Database:
    """The database of registry and ledger, with what `Database` says of the rest. Opened on first use."""
    return Database(
        settings.registry_url.get_secret_value(),
        system="The tenant registry",
        unreachable=Reason.REGISTRY_UNREACHABLE,
        read_only=read_only,
        most_connections=most_connections,
        patience_seconds=patience_seconds,
        most_of_all=most_of_all,
    )
