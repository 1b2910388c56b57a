"""What the processes that are killed are forked with: imported once, since each import takes longer than their work."""

# httpx2 and anyio import these only with the first call
import anyio._backends._asyncio  # noqa: F401
import httpcore2  # noqa: F401  # to have it in memory before the fork

from provisioning_pipeline.clients.http import certificates
from provisioning_pipeline.tasks.certify import killed

__all__ = ["killed"]

certificates()
