"""An operator's word for an account that proves nothing about its address: given, listed, taken back."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from provisioning_pipeline.ledger import schema
from provisioning_pipeline.ledger.members import Vouched
from provisioning_pipeline.model.fault import RunFault
from provisioning_pipeline.run.connections import connect
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.views.shut_out import ShutOut, shut_out


class NoSuchAccount(RunFault):
    """There is no one to vouch for: no account has that address, or it is not clear which is meant."""


@dataclass(frozen=True, slots=True)
class Given:
    """A vouch that was given.

    Args:
        server, twenty_user_id, email: the account.
        created_at: when it was signed up.
        verified: Twenty says that its mailbox was verified, so that it needs no vouch.
    """

    server: str
    twenty_user_id: str
    email: str
    created_at: datetime
    verified: bool


async def vouch(settings: Settings, email: str, *, server: str | None, by: str, why: str) -> Given:
    """Record that the account with this address is its owner's. The next run gives that person their role.

    It holds for this account alone, while it has this address: another one under the same address proves nothing, nor
    does this one under another.

    Raises:
        NoSuchAccount: when no server, or more than one, has such an account; with what to do.
        Fault: when a server's database or the ledger cannot be reached.
    """
    address = email.strip().lower()
    if server is not None and server not in {known.name for known in settings.servers}:
        names = ", ".join(known.name for known in settings.servers)
        raise NoSuchAccount(f"No Twenty server is called {server!r}; the settings have {names}.")
    await asyncio.to_thread(schema.migrate, settings.registry_url.get_secret_value())
    async with connect(settings, dry_run=False) as connections:
        found: list[Given] = []
        for name, database in connections.twenty_databases.items():
            if server not in (None, name):
                continue
            ids = [user for user, _ in await database.users([address])]
            found += [
                Given(name, row["user_id"], row["email"], row["created_at"], row["verified"])
                for row in await database.account_facts(ids)
            ]
        if not found:
            where = f"Twenty server {server!r}" if server else "Any Twenty server"
            raise NoSuchAccount(f"{where} has no account {address}, so there is nothing to vouch for.")
        if len(found) > 1:
            places = ", ".join(f"{each.server} ({each.twenty_user_id})" for each in found)
            raise NoSuchAccount(
                f"Several accounts have the address {address}: {places}. Name one server with --server; of several on "
                "one server delete or rename all but one there."
            )
        (given,) = found
        await connections.accounts.vouch(given.server, given.twenty_user_id, given.email, by=by, why=why)
    return given


async def shut_out_of(settings: Settings, tenant: str) -> list[ShutOut]:
    """The members of a tenant (slug or database name) whose account proves nothing.

    Raises:
        NoSuchAccount: when the ledger knows no such tenant.
        Fault: when the ledger or a server's database cannot be reached.
    """
    async with connect(settings, dry_run=True) as connections:
        found = await shut_out(connections, tenant)
        if not found and not await connections.ledger.tenant_rows(tenant):
            raise NoSuchAccount(f"The ledger knows no tenant called {tenant!r}. `provisioning status` lists them.")
        return found


async def vouch_for_all(settings: Settings, members: Sequence[ShutOut], *, by: str, why: str) -> None:
    """Record that each of these accounts is its owner's, while it has the address that it had when it was listed."""
    async with connect(settings, dry_run=False) as connections:
        for member in members:
            await connections.accounts.vouch(member.server, member.twenty_user_id, member.email, by=by, why=why)


async def vouched(settings: Settings) -> list[Vouched]:
    """Every account for which an operator vouched, oldest first."""
    async with connect(settings, dry_run=True) as connections:
        return await connections.accounts.vouched()


async def take_back(settings: Settings, email: str, *, server: str | None) -> list[Vouched]:
    """Forget the vouches for this address; what was forgotten. Who got a role meanwhile keeps it."""
    await asyncio.to_thread(schema.migrate, settings.registry_url.get_secret_value())
    async with connect(settings, dry_run=False) as connections:
        return await connections.accounts.take_back(email.strip().lower(), server)
