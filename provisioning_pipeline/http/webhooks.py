"""`POST /webhooks/clerk`: Clerk says that something changed; the tenants concerned are marked, and that is all."""

import json
import logging
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import SecretStr
from standardwebhooks import Webhook
from starlette.requests import ClientDisconnect

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.http.clerk_events import clerk_event
from provisioning_pipeline.http.problems import Problem, responses
from provisioning_pipeline.ledger.pending import ClerkEvent, PendingReviews
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.ledger.serving import LedgerAccess, LedgerAway
from provisioning_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)
_MOST_BYTES = 1_000_000
_RETRY_SECONDS = 10
_SIGNED: dict[str, Any] = {
    "parameters": [
        {"name": f"svix-{part}", "in": "header", "required": True, "schema": {"type": "string"}}
        for part in ("id", "timestamp", "signature")
    ],
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
}
_PARTS = ("id", "timestamp", "signature")
_CLOSED = (
    "No webhook is accepted: PROVISIONING_CLERK_WEBHOOK_SECRET is not set, or not to the signing secret (whsec_...) of "
    "the endpoint at Clerk."
)


def webhook_router(settings: Settings, ledger: LedgerAccess) -> APIRouter:
    """The route that Clerk calls."""
    router = APIRouter()
    verifier = _verifier(settings.clerk_webhook_secret)
    if verifier is None:
        _LOG.warning(_CLOSED)

    @router.post(
        "/webhooks/clerk",
        status_code=HTTPStatus.NO_CONTENT,
        responses=responses(
            HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.SERVICE_UNAVAILABLE
        ),
        openapi_extra=_SIGNED,
        tags=["webhooks"],
    )
    async def take_clerk_event(request: Request) -> Response:
        """Take one event: 204 once it is stored, also for one that came before or concerns no tenant."""
        if verifier is None:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, _CLOSED)
        raw = await _body(request)
        event = _event(verifier, request, raw)
        if event is not None:
            await _receive(event, settings, ledger)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return router


def _verifier(secret: SecretStr | None) -> Webhook | None:
    """None without a secret, and for one that nothing could be signed with."""
    if secret is None:
        return None
    try:
        return Webhook(secret.get_secret_value().strip())
    except Exception:  # noqa: BLE001  # it raises whatever its decoding raises
        return None


async def _body(request: Request) -> bytes:
    """The body as it was sent: the signature is over these bytes."""
    too_large = Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body has more than {_MOST_BYTES} bytes.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > _MOST_BYTES:
        raise too_large
    raw = bytearray()
    try:
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > _MOST_BYTES:
                raise too_large
    except ClientDisconnect:
        raise Problem(HTTPStatus.BAD_REQUEST, "The body ended early.") from None
    return bytes(raw)


def _event(verifier: Webhook, request: Request, raw: bytes) -> ClerkEvent | None:
    # Clerk sends under Svix's own names what the package looks for under those of the standard
    headers = {f"webhook-{part}": request.headers.get(f"svix-{part}", "") for part in _PARTS}
    try:
        verifier.verify(raw, headers, json_parse=False)
    except Exception:  # noqa: BLE001  # it raises whatever its decoding raises, and all of it means "not Clerk's"
        raise Problem(
            HTTPStatus.BAD_REQUEST, "The signature does not fit, or it is more than five minutes old or early."
        ) from None
    try:
        return clerk_event(headers["webhook-id"], json.loads(raw))
    except (ValueError, RecursionError):
        raise Problem(HTTPStatus.BAD_REQUEST, "The body is no event of Clerk's.") from None


async def _receive(event: ClerkEvent, settings: Settings, ledger: LedgerAccess) -> None:
    async def store(database: Database) -> tuple[str, ...] | None:
        # a new registry each time: it remembers columns, and the tenant manager may change its table meanwhile
        return await PendingReviews(database, Registry(database, settings.registry_table)).receive(event)

    try:
        marked = await ledger.ask(store)
    except LedgerAway:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The ledger takes no event at present; send it again.",
            {"Retry-After": str(_RETRY_SECONDS)},
        ) from None
    if marked is None:
        _LOG.info("Event %s had arrived before.", event.type)
    else:
        _LOG.info("Event %s marked %d tenants.", event.type, len(marked))
