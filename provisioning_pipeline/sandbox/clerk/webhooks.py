"""The stand-in's webhooks: every change becomes an event, signed as Svix signs for Clerk and sent from a thread."""

import contextlib
import json
import queue
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2
from standardwebhooks import Webhook

from provisioning_pipeline.sandbox.clerk.options import ClerkOptions
from provisioning_pipeline.sandbox.clerk.records import Membership, Organization, User
from provisioning_pipeline.sandbox.clerk.state import ClerkState

TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True)
class Endpoint:
    """Where events go, and what signs them."""

    url: str
    signer: Webhook


@dataclass(frozen=True)
class Delivery:
    """One event on its way."""

    endpoint: Endpoint
    event_id: str
    body: str


class Webhooks:
    """Sends events in the order in which things happened, each once; what fails is counted and not sent again."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._endpoint: Endpoint | None = None
        self._waiting: queue.Queue[Delivery | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._number = 0

    @property
    def delivered(self) -> int:
        """Events that the endpoint answered with 2xx."""
        return self.counts["delivered"]

    @property
    def failed(self) -> int:
        """Events that it answered otherwise or not at all."""
        return self.counts["failed"]

    @property
    def url(self) -> str | None:
        """Where events go now."""
        return self._endpoint.url if self._endpoint else None

    def set_endpoint(self, url: str, secret: str) -> None:
        """Send every later event there. Raises ValueError for what is no URL or no signing secret."""
        try:
            signer = Webhook(secret)
        except Exception:  # noqa: BLE001  # it raises whatever its decoding raises
            message = "the secret must be whsec_ and base64"
            raise ValueError(message) from None
        if not url.startswith(("http://", "https://")):
            message = "the URL must start with http:// or https://"
            raise ValueError(message)
        self._endpoint = Endpoint(url, signer)

    def forget_endpoint(self) -> None:
        """Send no more events."""
        self._endpoint = None

    def send(self, type_: str, data: dict[str, Any], instance_id: str) -> None:
        """Put one event on its way; nothing without an endpoint."""
        if self._endpoint is None:
            return
        self._number += 1
        now = int(time.time() * 1000)
        body = {"data": data, "object": "event", "type": type_, "timestamp": now, "instance_id": instance_id}
        delivery = Delivery(self._endpoint, f"msg_{instance_id[4:]}_{now}_{self._number}", json.dumps(body))
        self._waiting.put(delivery)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="stand-in Clerk's webhooks", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Return once every event so far was sent."""
        self._waiting.join()

    def stop(self) -> None:
        """Send what waits, then end the thread. Safe to call twice; a later event begins a new one."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            thread.join()

    def _work(self) -> None:
        # plain HTTP on this machine needs no certificates, and reading them takes longer than the call
        with httpx2.Client(timeout=TIMEOUT_SECONDS, verify=False, trust_env=False) as http:
            while True:
                delivery = self._waiting.get()
                try:
                    if delivery is None:
                        return
                    self.counts["delivered" if _deliver(http, delivery) else "failed"] += 1
                finally:
                    self._waiting.task_done()


def signed_headers(signer: Webhook, event_id: str, body: str, at: datetime) -> dict[str, str]:
    """The headers with which Svix sends for Clerk. `at` has its time zone."""
    return {
        "content-type": "application/json",
        "svix-id": event_id,
        "svix-timestamp": str(int(at.timestamp())),
        "svix-signature": signer.sign(event_id, at.astimezone(UTC), body),
    }


def _deliver(http: httpx2.Client, delivery: Delivery) -> bool:
    headers = signed_headers(delivery.endpoint.signer, delivery.event_id, delivery.body, datetime.now(UTC))
    with contextlib.suppress(httpx2.HTTPError):
        return http.post(delivery.endpoint.url, content=delivery.body, headers=headers).is_success
    return False


class TellingState(ClerkState):
    """The state of an instance that sends an event for every change."""

    def __init__(self, options: ClerkOptions, webhooks: Webhooks) -> None:
        super().__init__(options)
        self._webhooks = webhooks

    def add_organization(self, *args: Any, **kwargs: Any) -> Organization:
        with self.lock:
            made = super().add_organization(*args, **kwargs)
            self._tell("organization.created", made.shown())
            return made

    def delete_organization(self, organization_id: str) -> Organization:
        with self.lock:
            gone = super().delete_organization(organization_id)
            self._tell("organization.deleted", _deleted("organization", gone.id, slug=gone.slug))
            return gone

    def add_user(self, *args: Any, **kwargs: Any) -> User:
        with self.lock:
            made = super().add_user(*args, **kwargs)
            self._tell("user.created", made.shown())
            return made

    def delete_user(self, user_id: str) -> User:
        with self.lock:
            gone = super().delete_user(user_id)
            self._tell("user.deleted", _deleted("user", gone.id, external_id=gone.external_id))
            return gone

    def add_membership(self, *args: Any, **kwargs: Any) -> Membership:
        with self.lock:
            made = super().add_membership(*args, **kwargs)
            self._tell("organizationMembership.created", self._shown(made))
            return made

    def remove_membership(self, organization_id: str, user_id: str) -> Membership:
        with self.lock:
            shown = self._shown(self.membership(organization_id, user_id))
            gone = super().remove_membership(organization_id, user_id)
            self._tell("organizationMembership.deleted", shown)
            return gone

    def touch(self, thing: User | Organization | Membership) -> None:
        super().touch(thing)
        match thing:
            case User():
                self._tell("user.updated", thing.shown())
            case Organization():
                self._tell("organization.updated", thing.shown())
            case Membership():
                self._tell("organizationMembership.updated", self._shown(thing))

    def _shown(self, membership: Membership) -> dict[str, Any]:
        return membership.shown(self.organizations[membership.organization_id], self.users[membership.user_id])

    def _tell(self, type_: str, data: dict[str, Any]) -> None:
        self._webhooks.send(type_, data, self.instance_id)


def _deleted(kind: str, id_: str, **more: str | None) -> dict[str, Any]:
    return {"object": kind, "id": id_, "deleted": True} | {name: value for name, value in more.items() if value}
