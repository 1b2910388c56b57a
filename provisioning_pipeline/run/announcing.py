"""Sends what is told of tenants by webhook: signed, in order for each tenant, and again until it arrives."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from pydantic import SecretStr
from standardwebhooks import Webhook

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.webhook import NotPosted, post_signed
from provisioning_pipeline.ledger.announcements import Deliveries
from provisioning_pipeline.model.announcement import Delivery, wait_after
from provisioning_pipeline.settings import Settings

_AT_ONCE = 16
_TIMEOUT_SECONDS = 10.0
_LEASE_SECONDS = 60.0
"""Longer than a try takes: so long no other process begins one of the same delivery."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """How many deliveries arrived, will be tried again, and were given up."""

    arrived: int = 0
    to_retry: int = 0
    given_up: int = 0

    def __str__(self) -> str:
        return f"{self.arrived} webhooks arrived, {self.to_retry} will be tried again, {self.given_up} were given up."


async def deliver(settings: Settings, database: Database, *, seconds: float) -> Delivered:
    """Send what is due, for about so many seconds. An endpoint that takes nothing is left alone until the next time.

    Raises:
        Fault: when the ledger cannot be asked. What was sent and not recorded goes out again, under the same id.
    """
    endpoints = dict(settings.webhook_endpoints)
    if not endpoints or settings.webhook_secret is None:
        return Delivered()
    signer, deliveries = Webhook(settings.webhook_secret.get_secret_value()), Deliveries(database)
    end = time.monotonic() + seconds
    found: list[int | None] = []
    while endpoints and time.monotonic() < end:
        due = await deliveries.claim(endpoints, most=_AT_ONCE, lease_seconds=_LEASE_SECONDS)
        if not due:
            break
        waits = await all_of(_try(deliveries, delivery, endpoints, signer) for delivery in due)
        found += waits
        for endpoint in {delivery.endpoint for delivery in due}:
            tries = [wait for delivery, wait in zip(due, waits, strict=True) if delivery.endpoint == endpoint]
            if all(wait != 0 for wait in tries):
                del endpoints[endpoint]
    return Delivered(found.count(0), sum(1 for wait in found if wait), found.count(None))


async def _try(
    deliveries: Deliveries, delivery: Delivery, endpoints: Mapping[str, SecretStr], signer: Webhook
) -> int | None:
    """One try: 0 when it arrived, else seconds until the next one; None: it is given up."""
    body, headers = signed(delivery, signer, datetime.now(UTC))
    try:
        await asyncio.to_thread(
            post_signed, endpoints[delivery.endpoint], body, headers, timeout_seconds=_TIMEOUT_SECONDS
        )
    except NotPosted as refusal:
        # 410: it wants no more of them
        wait = None if refusal.status == HTTPStatus.GONE else wait_after(delivery.attempts)
        await deliveries.failed(delivery, str(refusal), again_in=wait)
        return wait
    await deliveries.arrived(delivery)
    return 0


def signed(delivery: Delivery, signer: Webhook, now: datetime) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a try, by Standard Webhooks. The body is the same at each try."""
    body = json.dumps(delivery.payload, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    message_id = f"msg_{delivery.message_id}"
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signer.sign(message_id, now, body),
    }
    return body.encode(), headers
