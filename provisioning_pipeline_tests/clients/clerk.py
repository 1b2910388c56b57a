"""Clients of Clerk, and who there is to be read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr

from provisioning_pipeline.clients.clerk.client import ClerkClient
from provisioning_pipeline.clients.transport import CallCounter
from provisioning_pipeline.sandbox.clerk import StandInClerk


@asynccontextmanager
async def client(base_url: str, key: str, *, dry_run: bool = True) -> AsyncIterator[ClerkClient]:
    """A client with this key, in a dry run unless told otherwise."""
    counter = CallCounter()
    async with ClerkClient(base_url, SecretStr(key), timeout_seconds=5, dry_run=dry_run, counter=counter) as opened:
        yield opened


@asynccontextmanager
async def of(clerk: StandInClerk, *, dry_run: bool = True) -> AsyncIterator[ClerkClient]:
    """A client of a stand-in, with its key."""
    async with client(clerk.base_url, clerk.secret_key, dry_run=dry_run) as opened:
        yield opened


def people(clerk: StandInClerk, count: int) -> list[str]:
    """New users; their ids."""
    return [clerk.add_user(f"user{number}@acme.test").id for number in range(count)]


def organization(clerk: StandInClerk, *members: str) -> str:
    """A new organization with these members; its id."""
    made = clerk.add_organization("Acme")
    for user_id in members:
        clerk.add_membership(made.id, user_id)
    return made.id


def membership(number: int, **changes: Any) -> dict[str, Any]:
    """A membership as Clerk lists it."""
    user = {"user_id": f"user_{number}", "banned": False}
    made = {"id": f"mem_{number}", "role": "org:admin", "created_at": number, "public_user_data": user}
    return made | {"organization": {"id": "org_1"}} | changes
