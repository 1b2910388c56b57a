"""A process that asks Clerk as often as it may, until it is ended: `python -m ...clerk_caller`, by its environment."""

import asyncio

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.transport import CallCounter
from provisioning_pipeline.run.connections import clerk_client
from provisioning_pipeline.settings import load_settings

_AT_ONCE = 8


async def call() -> None:
    """Ask for the instance again and again, as a run would ask."""
    async with clerk_client(load_settings(), dry_run=True, counter=CallCounter()) as clerk:

        async def on_and_on() -> None:
            while True:
                await clerk.instance()

        await all_of(on_and_on() for _ in range(_AT_ONCE))


if __name__ == "__main__":
    asyncio.run(call())
