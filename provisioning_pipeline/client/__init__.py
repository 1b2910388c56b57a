"""A typed client of the HTTP API that `provisioning serve` answers; it uses nothing else of ours.

`ProvisioningClient` waits for each answer, `AsyncProvisioningClient` is for asyncio; docs/examples shows both in use.
"""

from provisioning_pipeline.client.asynchronous import AsyncProvisioningClient
from provisioning_pipeline.client.blocking import ProvisioningClient
from provisioning_pipeline.client.errors import NotAllowed, NotReady, ProvisioningError, UnexpectedAnswer, Unreachable
from provisioning_pipeline.client.tenant import Asked, Condition, Event, ManyAsked, Tenant

__all__ = [
    "Asked",
    "AsyncProvisioningClient",
    "Condition",
    "Event",
    "ManyAsked",
    "NotAllowed",
    "NotReady",
    "ProvisioningClient",
    "ProvisioningError",
    "Tenant",
    "UnexpectedAnswer",
    "Unreachable",
]
