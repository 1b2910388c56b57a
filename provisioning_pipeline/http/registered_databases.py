"""How many of the tenants that a service registered have no database, by the cluster where the ledger cannot tell."""

import asyncio
import logging

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.registration import Databases, unseen
from provisioning_pipeline.ledger.serving import LedgerAccess
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.tenant_request import Caller, Registration
from provisioning_pipeline.observe.tenant_databases import database_names
from provisioning_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)
_LONGEST_SECONDS = 5.0


async def databases_of(ledger: LedgerAccess, settings: Settings, asked: Registration, caller: Caller) -> Databases:
    """What limits the caller's next tenant. The cluster is asked only once so many have no database that runs know of.

    Raises:
        LedgerAway: when the ledger cannot be asked.
        Fault: when the cluster has to be asked, and cannot be.
    """
    most = settings.key_tenants_without_database
    names = await ledger.ask(lambda database: unseen(database, asked, caller))
    if len(names) < most:
        return Databases(most)
    try:
        async with asyncio.timeout(_LONGEST_SECONDS), _cluster(settings) as cluster:
            pattern, excluded = settings.tenant_database_pattern, settings.tenant_database_excluded
            return Databases(most, await database_names(cluster, pattern, excluded, [*names, asked.database_name]))
    except (Fault, TimeoutError) as away:
        _LOG.warning("The tenant cluster could not be asked for databases: %s", str(away) or "no answer in time")
        raise Fault(
            FaultKind.TRANSIENT,
            Reason.DATABASE_UNREACHABLE,
            f"This key has registered {len(names)} tenants whose databases no run has seen yet, and we cannot check "
            "at present whether they exist.",
        ) from None


def _cluster(settings: Settings) -> Database:
    return Database(
        settings.tenant_cluster_url.get_secret_value(),
        system="The tenant cluster",
        unreachable=Reason.DATABASE_UNREACHABLE,
        read_only=True,
        most_connections=1,
        patience_seconds=1.0,
    )
