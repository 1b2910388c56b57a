"""A process that asks Clerk as often as it may, until it is ended: `python -m ...clerk_caller`, by its environment."""

import asyncio

from provisioning_pipeline.clients.clerk.client import ClerkClient
from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.transport import CallCounter
from provisioning_pipeline.ledger.call_budget import CallBudget, budget_of_runs
from provisioning_pipeline.settings import load_settings

_AT_ONCE = 8


async def call() -> None:
    """Ask for the instance again and again, as a run would ask."""
    settings = load_settings()
    async with (
        CallBudget(
            settings.registry_url.get_secret_value(), budget_of_runs(settings.sessions, settings.clerk_share)
        ) as budget,
        ClerkClient(
            settings.clerk_base_url,
            settings.clerk_secret_key,
            timeout_seconds=5,
            dry_run=True,
            counter=CallCounter(),
            requests_per_10_seconds=settings.clerk_requests_per_10_seconds,
            share=settings.clerk_share,
            budget=budget,
        ) as clerk,
    ):

        async def on_and_on() -> None:
            while True:
                await clerk.instance()

        await all_of(on_and_on() for _ in range(_AT_ONCE))


if __name__ == "__main__":
    asyncio.run(call())
