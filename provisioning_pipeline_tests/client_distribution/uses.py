"""A program of someone else's: it registers a tenant, waits for it, and lets requests through the middleware.

It runs where the client distribution is installed and nothing else of ours.
"""

import asyncio
import importlib.util
import json
import os

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import provisioning_pipeline
from provisioning_pipeline.client import AsyncProvisioningClient, ProvisioningClient
from provisioning_pipeline.gateway import ClerkWorkspaceMiddleware, workspace_of


async def here(request: Request) -> JSONResponse:
    """Whose request it is."""
    workspace = workspace_of(request)
    return JSONResponse({"tenant": workspace.tenant, "workspace": workspace.workspace_id, "role": workspace.role})


async def through_the_middleware(token: str) -> list[tuple[int, object]]:
    """What a request with the session gets, and one without."""
    app = ClerkWorkspaceMiddleware(Starlette(routes=[Route("/here", here)]))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://app.test") as http:
        answers = [await http.get("/here", headers={"Authorization": f"Bearer {token}"}), await http.get("/here")]
    return [(answer.status_code, answer.json()) for answer in answers]


async def slugs(url: str, key: str) -> list[str]:
    """The tenants that the server knows."""
    async with AsyncProvisioningClient(url, key) as client:
        return [tenant.slug async for tenant in client.tenants()]


def main() -> None:
    """Do it, and print what came of it."""
    url, key, token = (os.environ[name] for name in ("URL", "KEY", "TOKEN"))
    facts = json.loads(os.environ["FACTS"])
    with ProvisioningClient(url, key) as client:
        client.put_tenant(**facts)
        tenant = client.wait_until_ready(facts["slug"], timeout_seconds=60)
    found = {
        "from": provisioning_pipeline.__file__,
        "version": provisioning_pipeline.__version__,
        "whole": importlib.util.find_spec("provisioning_pipeline.steps") is not None,
        "tenant": [tenant.slug, tenant.state, tenant.workspace_id],
        "slugs": asyncio.run(slugs(url, key)),
        "requests": asyncio.run(through_the_middleware(token)),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
