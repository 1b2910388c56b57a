"""Whether the server runs, and whether it can answer requests."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from provisioning_pipeline.clients.clerk.jwks import KeysAway
from provisioning_pipeline.gateway.resolver import Resolver
from provisioning_pipeline.http.documents import Alive, Checks
from provisioning_pipeline.http.problems import RETRY_SECONDS
from provisioning_pipeline.ledger import revisions
from provisioning_pipeline.ledger.serving import LedgerAccess, LedgerAway

_OK = "ok"
_SOON_SECONDS = 2.0
"""Probes wait for a second or two."""


def health_router(ledger: LedgerAccess, resolver: Resolver, stopping: Callable[[], bool]) -> APIRouter:
    """The routes that a supervisor or load balancer asks."""
    router = APIRouter(tags=["operations"])

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz")
    async def healthz() -> Alive:
        """The server runs; whether anything behind it does is not asked."""
        return Alive(status="ok")

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz", response_model=Checks, responses={503: {"model": Checks, "description": "Not ready"}})
    async def readyz() -> Response:
        """Whether requests can be answered now: the ledger is there, and so are Clerk's keys where sessions are taken.

        Dagster, Twenty and Clerk's Backend API are not asked: without them most requests are still answered.
        """
        checks = {"ledger": await _ledger(ledger), "clerk_keys": await _keys(resolver)}
        if stopping():
            checks["server"] = "stopping"
        ready = all(found in (_OK, "not configured") for found in checks.values())
        document = Checks(status="ready" if ready else "not ready", checks=checks).model_dump()
        headers = {"Cache-Control": "no-store"}
        if ready:
            return JSONResponse(document, headers=headers)
        return JSONResponse(document, HTTPStatus.SERVICE_UNAVAILABLE, {**headers, "Retry-After": str(RETRY_SECONDS)})

    return router


async def _ledger(ledger: LedgerAccess) -> str:
    try:
        found = await ledger.ask(revisions.revision, within=_SOON_SECONDS)
    except LedgerAway:
        return "cannot be read"
    # a later version may have updated it meanwhile, which this one goes on with
    return _OK if found is not None and found >= revisions.HEAD else "is missing or older than this program"


async def _keys(resolver: Resolver) -> str:
    keys = resolver.verifier.keys.values()
    if not keys:
        return "not configured"
    with suppress(KeysAway, TimeoutError):
        async with asyncio.timeout(_SOON_SECONDS):
            for found in keys:
                await found.warm()
    return _OK if all(found.known for found in keys) else "cannot be read"
