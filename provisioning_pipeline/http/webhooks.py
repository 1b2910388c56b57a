"""`POST /webhooks/clerk`: Clerk says that something changed; we request a review of the tenants concerned, no more.

Of an event we read only which organization or user it is about, and whether that user is banned.
"""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import SecretStr
from standardwebhooks import Webhook
from starlette.requests import ClientDisconnect

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.http.problems import Problem, responses
from provisioning_pipeline.ledger.pending import ClerkEvent, PendingReviews
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.ledger.serving import LedgerAccess, LedgerAway
from provisioning_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)
_MOST_BYTES = 1_000_000
_RETRY_SECONDS = 10
_PARTS = ("id", "timestamp", "signature")
_LONGEST_WORD = 200
_FIRST_IN_MILLISECONDS = 100_000_000_000
"""As seconds this is the year 5138, as milliseconds 1973: Clerk writes either."""
_SIGNED: dict[str, Any] = {
    "parameters": [
        {"name": f"svix-{part}", "in": "header", "required": True, "schema": {"type": "string"}} for part in _PARTS
    ],
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
}
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
        responses=responses(400, 413, 503),
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
        reviewed = await ledger.ask(store)
    except LedgerAway:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The ledger takes no event at present; send it again.",
            {"Retry-After": str(_RETRY_SECONDS)},
        ) from None
    if reviewed is None:
        _LOG.info("Event %s had arrived before.", event.type)
    else:
        _LOG.info("Event %s requested a review of %d tenants.", event.type, len(reviewed))


class NotAnEvent(ValueError):
    """A body that is no event of Clerk's."""


def clerk_event(event_id: str, body: object) -> ClerkEvent | None:
    """The event in this body; None for types that concern neither organizations, members nor users.

    An event of those types that does not say which person it is about is about no one: refusing it would have Clerk
    repeat it for a day.

    Args:
        event_id: `svix-id` of the delivery.
        body: the parsed JSON.

    Raises:
        NotAnEvent: when it is no event at all.
    """
    event = _mapping(body)
    type_, data = _word(event.get("type")), _mapping(event.get("data"))
    if type_ is None:
        raise NotAnEvent
    organization_id = user_id = None
    match type_.partition("."):
        case "organization", ".", _:
            organization_id = _word(data.get("id"))
        case "organizationMembership", ".", _:
            organization_id = _word(_mapping(data.get("organization")).get("id"))
            user_id = _word(_mapping(data.get("public_user_data")).get("user_id"))
        case "user", ".", _:
            user_id = _word(data.get("id"))
        case _:
            return None
    gone = type_.startswith("user.") and data.get("banned") is True
    return ClerkEvent(event_id, type_, organization_id, user_id, _time(event.get("timestamp")), gone)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _word(value: object) -> str | None:
    # what a database does not take as text (NUL, half a surrogate pair) is not printable either
    return value if isinstance(value, str) and value.isprintable() and 0 < len(value) <= _LONGEST_WORD else None


def _time(value: object) -> datetime | None:
    """A time in seconds or milliseconds since 1970; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value / 1000 if value >= _FIRST_IN_MILLISECONDS else value, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return None
