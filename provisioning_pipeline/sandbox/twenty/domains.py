"""From a URL to the workspace that lives there."""

from urllib.parse import urlsplit

from provisioning_pipeline.sandbox.twenty.errors import internal, workspace_not_found
from provisioning_pipeline.sandbox.twenty.runtime import Runtime
from provisioning_pipeline.sandbox.twenty.store import Row


async def workspace_of_origin(runtime: Runtime, origin: str) -> Row:
    """Only the host counts; scheme, port and path are ignored (recorded on 2.21.0)."""
    parts = urlsplit(origin)
    if not parts.scheme or not parts.hostname:
        raise internal("Invalid URL")
    subdomain, dot, rest = parts.hostname.partition(".")
    if not dot or rest != runtime.options.public_host:
        raise workspace_not_found()
    workspace = await runtime.db.one(
        'SELECT * FROM core."workspace" WHERE subdomain = %s AND "deletedAt" IS NULL', subdomain
    )
    if workspace is None:
        raise workspace_not_found()
    return workspace
