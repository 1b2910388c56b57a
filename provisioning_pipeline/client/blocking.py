"""The client for programs that wait for each answer."""

import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

import httpx2

from provisioning_pipeline.client import calls, conversation, wire
from provisioning_pipeline.client.answers import Answer
from provisioning_pipeline.client.calls import Call
from provisioning_pipeline.client.conversation import Conversation, NoAnswer, Page, Pause
from provisioning_pipeline.client.tenant import Event, ManyAsked, Tenant

T = TypeVar("T")


class ProvisioningClient:
    """Registers tenants at the provisioning server and reads how they are.

        with ProvisioningClient("https://provisioning.example.com", api_key) as client:
            client.put_tenant("acme", name="Acme", database_name="acme_db", admin_email="ada@acme.example")
            tenant = client.wait_until_ready("acme")

    One client may be used by many threads. A call whose connection failed, or that was answered with 429 or 503, is
    sent again up to three times, as `Retry-After` says, under one idempotency key, so that it counts once.

    Args:
        base_url: where `provisioning serve` is reached; a path in it stays.
        api_key: as `provisioning keys create NAME` showed it.
        timeout_seconds: how long one answer may take, on top of a call's `wait`.

    Raises:
        ValueError: `base_url` or `api_key` cannot be one, or the environment names a proxy that cannot be used.

    Every method raises:
        ProvisioningError: the server refused.
        Unreachable: no answer came.
        UnexpectedAnswer: the answer lacks something mandatory.
    """

    def __init__(self, base_url: str, api_key: str, *, timeout_seconds: float = 30.0) -> None:
        self._http = wire.connected(httpx2.Client, base_url, api_key, timeout_seconds)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._http.base_url)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections; it cannot be used any more."""
        self._http.close()

    def put_tenant(
        self,
        slug: str,
        *,
        name: str | None = None,
        database_name: str | None = None,
        clerk_org_id: str | None = None,
        admin_email: str | None = None,
        wait: int = 0,
        idempotency_key: str | None = None,
    ) -> Tenant:
        """Register the tenant if it is new, and have it made ready; asking twice is the same as once.

        Args:
            slug: a registered tenant may also be named by its database.
            name: what people call the customer. A new tenant needs it, and `database_name`.
            database_name: the tenant's own database.
            clerk_org_id: its organization at Clerk.
            admin_email: who becomes admin, where no organization says so.
            wait: seconds, 0 to 60, for which the server may hold the answer back until the tenant is ready.
            idempotency_key: a name for this request, to send it again from another process; made where none is given.

        Returns:
            The tenant as it is now: mostly not ready yet, see `wait_until_ready`.

        Raises:
            ProvisioningError: 409 when slug, database or organization is another tenant's, or the key is another
                request's; 422 for what cannot be.
        """
        facts = {"name": name, "database_name": database_name, "clerk_org_id": clerk_org_id, "admin_email": admin_email}
        return self._held(conversation.tenant_from(calls.put_tenant(slug, wait, idempotency_key, **facts)))

    def tenant(self, slug: str) -> Tenant:
        """The tenant as it is now. Raises ProvisioningError with 404 for one that is not registered."""
        return self._held(conversation.tenant_from(calls.tenant(slug)))

    def tenants(
        self, state: str | None = None, clerk_org_id: str | None = None, lifecycle: str | None = None
    ) -> Iterator[Tenant]:
        """All tenants, or those in this state, part of their life or organization; read page by page as taken."""
        return self._each(conversation.tenants(state, clerk_org_id, lifecycle))

    def timeline(self, slug: str) -> Iterator[Event]:
        """What happened to the tenant, in the server's order; read page by page as it is taken."""
        return self._each(conversation.timeline(slug))

    def reconcile(self, slug: str, *, wait: int = 0, idempotency_key: str | None = None) -> Tenant:
        """Have the server look at the tenant now; `wait` and `idempotency_key` as for `put_tenant`."""
        return self._held(conversation.tenant_from(calls.reconcile(slug, wait, idempotency_key)))

    def reconcile_many(self, names: Sequence[str], *, idempotency_key: str | None = None) -> ManyAsked:
        """Have the server look at up to 500 tenants now, by slug or database name; the items say what became of it.

        Raises:
            ValueError: there is no name, or there are more than 500.
        """
        return self._held(conversation.many_asked(calls.reconcile_many(names, idempotency_key)))

    def reconcile_all(self, *, idempotency_key: str | None = None) -> ManyAsked:
        """The same for every tenant that the key is for; those that are suspended or gone are left out."""
        return self._held(conversation.many_asked(calls.reconcile_many(None, idempotency_key)))

    def wait_until_ready(self, slug: str, *, timeout_seconds: float = 300.0) -> Tenant:
        """Look at the tenant until it is ready, as often as `Retry-After` says.

        Raises:
            NotReady: it did not become ready in time, or was excluded; the text has the conditions that are not met.
            ProvisioningError, Unreachable: the server was away when the time was over.
        """
        return self._held(conversation.until_ready(slug, timeout_seconds, time.monotonic))

    def _each(self, first: Conversation[Page[T]]) -> Iterator[T]:
        following: Conversation[Page[T]] | None = first
        while following is not None:
            page = self._held(following)
            yield from page.items
            following = page.following

    def _held(self, talk: Conversation[T]) -> T:
        outcome: Answer | NoAnswer | None = None
        while True:
            try:
                step = talk.send(outcome)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # what a generator returns is not typed
            outcome = None
            if isinstance(step, Pause):
                pause(step.seconds)
            else:
                outcome = self._sent(step)

    def _sent(self, call: Call) -> Answer | NoAnswer:
        try:
            return wire.answer(self._http.request(**wire.arguments(call, self._http.timeout)))
        except httpx2.RequestError as error:
            return wire.no_answer(error, self._http.base_url)


def pause(seconds: float) -> None:
    """Wait between two calls; one place, so that tests can shorten it."""
    time.sleep(seconds)
