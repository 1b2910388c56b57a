"""The database of registry and ledger."""

from provisioning_pipeline.clients.postgres import PATIENCE_SECONDS, Database
from provisioning_pipeline.model.condition import Reason


def ledger_at(
    registry_url: str,
    *,
    read_only: bool,
    most_connections: int = 1,
    patience_seconds: float = PATIENCE_SECONDS,
    most_of_all: int | None = None,
) -> Database:
    """The database of registry and ledger, with what `Database` says of the rest. Opened on first use."""
    return Database(
        registry_url,
        system="The tenant registry",
        unreachable=Reason.REGISTRY_UNREACHABLE,
        read_only=read_only,
        most_connections=most_connections,
        patience_seconds=patience_seconds,
        most_of_all=most_of_all,
    )
