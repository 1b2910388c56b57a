"""The client for programs that run on an asyncio event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

import httpx2

from provisioning_pipeline.client import calls, conversation, wire
from provisioning_pipeline.client.answers import Answer
from provisioning_pipeline.client.calls import Call
from provisioning_pipeline.client.conversation import Conversation, NoAnswer, Page, Pause
from provisioning_pipeline.client.tenant import Event, ManyAsked, Tenant

T = TypeVar("T")


class AsyncProvisioningClient:
    """`ProvisioningClient` for asyncio: the same arguments, methods, results and errors.

    async with AsyncProvisioningClient("https://provisioning.example.com", api_key) as client:
        tenant = await client.wait_until_ready("acme")
        async for event in client.timeline("acme"): ...
    """

    def __init__(self, base_url: str, api_key: str, *, timeout_seconds: float = 30.0) -> None:
        self._http = wire.connected(httpx2.AsyncClient, base_url, api_key, timeout_seconds)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._http.base_url)!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its connections; it cannot be used any more."""
        await self._http.aclose()

    async def put_tenant(
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
        """As `ProvisioningClient.put_tenant`."""
        facts = {"name": name, "database_name": database_name, "clerk_org_id": clerk_org_id, "admin_email": admin_email}
        return await self._held(conversation.tenant_from(calls.put_tenant(slug, wait, idempotency_key, **facts)))

    async def tenant(self, slug: str) -> Tenant:
        """As `ProvisioningClient.tenant`."""
        return await self._held(conversation.tenant_from(calls.tenant(slug)))

    def tenants(
        self, state: str | None = None, clerk_org_id: str | None = None, lifecycle: str | None = None
    ) -> AsyncIterator[Tenant]:
        """As `ProvisioningClient.tenants`, for `async for`."""
        return self._each(conversation.tenants(state, clerk_org_id, lifecycle))

    def timeline(self, slug: str) -> AsyncIterator[Event]:
        """As `ProvisioningClient.timeline`, for `async for`."""
        return self._each(conversation.timeline(slug))

    async def reconcile(self, slug: str, *, wait: int = 0, idempotency_key: str | None = None) -> Tenant:
        """As `ProvisioningClient.reconcile`."""
        return await self._held(conversation.tenant_from(calls.reconcile(slug, wait, idempotency_key)))

    async def reconcile_many(self, names: Sequence[str], *, idempotency_key: str | None = None) -> ManyAsked:
        """As `ProvisioningClient.reconcile_many`."""
        return await self._held(conversation.many_asked(calls.reconcile_many(names, idempotency_key)))

    async def reconcile_all(self, *, idempotency_key: str | None = None) -> ManyAsked:
        """As `ProvisioningClient.reconcile_all`."""
        return await self._held(conversation.many_asked(calls.reconcile_many(None, idempotency_key)))

    async def wait_until_ready(self, slug: str, *, timeout_seconds: float = 300.0) -> Tenant:
        """As `ProvisioningClient.wait_until_ready`."""
        return await self._held(conversation.until_ready(slug, timeout_seconds, time.monotonic))

    async def _each(self, first: Conversation[Page[T]]) -> AsyncIterator[T]:
        following: Conversation[Page[T]] | None = first
        while following is not None:
            page = await self._held(following)
            for item in page.items:
                yield item
            following = page.following

    async def _held(self, talk: Conversation[T]) -> T:
        outcome: Answer | NoAnswer | None = None
        while True:
            try:
                step = talk.send(outcome)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # what a generator returns is not typed
            outcome = None
            if isinstance(step, Pause):
                await pause(step.seconds)
            else:
                outcome = await self._sent(step)

    async def _sent(self, call: Call) -> Answer | NoAnswer:
        try:
            return wire.answer(await self._http.request(**wire.arguments(call, self._http.timeout)))
        except httpx2.RequestError as error:
            return wire.no_answer(error, self._http.base_url)


async def pause(seconds: float) -> None:
    """Wait between two calls; one place, so that tests can shorten it."""
    await asyncio.sleep(seconds)
