"""An operator's word for an account that proves nothing about its address: who needs one; given, listed, taken back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import Error

from provisioning_pipeline.decide.ownership import ownership_of
from provisioning_pipeline.ledger.members import Vouched
from provisioning_pipeline.ledger.schema import bring_up_to_date
from provisioning_pipeline.model.fault import BadInput, Fault
from provisioning_pipeline.model.people import Evidence, Origin, Ownership
from provisioning_pipeline.run.connections import Connections, connect
from provisioning_pipeline.run.notes import shut_out_in_words
from provisioning_pipeline.settings import Settings


class NoSuchAccount(BadInput):
    """There is no account to vouch for: none has that address, or it is not clear which is meant."""


@dataclass(frozen=True, slots=True)
class Given:
    """A vouch that was given. An account whose mailbox Twenty verified (`verified`) needs none."""

    server: str
    twenty_user_id: str
    email: str
    created_at: datetime
    verified: bool


@dataclass(frozen=True, slots=True)
class ShutOut:
    """A member that the sign-in refuses until an operator vouches for the account, or deletes it.

    `email` is the address that the account has now, `name` the one at Clerk; it may be empty. `created_at` is when the
    account was signed up.
    """

    slug: str
    database_name: str
    server: str
    twenty_user_id: str
    email: str
    name: str
    created_at: datetime


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
    async with connect(settings, dry_run=False) as connections:
        await bring_up_to_date(connections.ledger.database, settings)
        found = [
            Given(name, row["user_id"], row["email"], row["created_at"], row["verified"])
            for name, database in connections.twenty_databases.items()
            if server in (None, name)
            for row in await database.account_facts([user for user, _ in await database.users([address])])
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
    """Forget the vouches for this address; what was forgotten. A member who got a role meanwhile keeps it."""
    async with connect(settings, dry_run=False) as connections:
        await bring_up_to_date(connections.ledger.database, settings)
        return await connections.accounts.take_back(email.strip().lower(), server)


async def shut_out(connections: Connections, tenant: str | None = None) -> list[ShutOut]:
    """Those of one tenant (slug or database name) or of all, by tenant and address.

    An account that was not checked yet is not among them: the first sign-in, or the next proof of logins, shows it.

    Raises:
        Fault: when the ledger or a server's database cannot be read.
    """
    settings = connections.settings
    if settings.members_unproven == "trust":
        return []
    rows = await connections.accounts.members_of_others_accounts(tenant)
    found: list[ShutOut] = []
    for server, database in connections.twenty_databases.items():
        theirs = [row for row in rows if row["server"] == server]
        ids = sorted({row["twenty_user_id"] for row in theirs})
        if not ids:
            continue
        facts = {fact["user_id"]: fact for fact in await database.account_facts(ids)}
        vouched = {known.twenty_user_id: known.email for known in await connections.accounts.vouched(server, ids)}
        moves = await connections.accounts.moves(server, ids)
        for row in theirs:
            user = row["twenty_user_id"]
            fact = facts.get(user)
            if fact is None:
                continue
            origin = Origin(row["origin_email"], row["ours"], row["made_for"])
            move = moves.get((user, fact["email"]))
            evidence = Evidence(fact["email"], fact["verified"], fact["created_at"], origin, vouched.get(user), move)
            believed = settings.members_unproven == "trust-mailbox"
            if ownership_of(evidence, row["clerk_user_id"], trusts_mailboxes=believed) is Ownership.UNPROVED:
                name = f"{row['first_name']} {row['last_name']}".strip()
                found.append(
                    ShutOut(row["slug"], row["database_name"], server, user, fact["email"], name, fact["created_at"])
                )
    return sorted(found, key=lambda member: (member.slug, member.database_name, member.email))


async def shut_out_summary(connections: Connections) -> str:
    """How many there are in all tenants, and what to do; empty where there is none, or a system cannot be asked."""
    try:
        found = await shut_out(connections)
    except (Fault, Error):
        # the part that needs the system says so
        return ""
    tenants = len({member.database_name for member in found})
    return shut_out_in_words(len(found), tenants, refused=not connections.settings.unproven_sign_in) if found else ""
