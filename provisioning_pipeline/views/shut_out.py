"""Members whom `POST /v1/session/twenty` refuses, since their account at Twenty proves nothing about its address."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import Error

from provisioning_pipeline.decide.ownership import ownership_of
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.people import Evidence, Origin, Ownership
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.decide import shut_out_in_words


@dataclass(frozen=True, slots=True)
class ShutOut:
    """A member who is refused until somebody vouches for the account, or deletes it.

    Args:
        slug, database_name: the tenant.
        server, twenty_user_id, email: the account, by the address that it has now.
        name: at Clerk; may be empty.
        created_at: when somebody signed it up.
    """

    slug: str
    database_name: str
    server: str
    twenty_user_id: str
    email: str
    name: str
    created_at: datetime


async def shut_out(connections: Connections, tenant: str | None = None) -> list[ShutOut]:
    """Those of one tenant (slug or database name) or of all, by tenant and address.

    An account that nobody has checked yet is not among them: the first sign-in, or the next proof of logins, tells.

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
        for row in theirs:
            user = row["twenty_user_id"]
            fact = facts.get(user)
            if fact is None:
                continue
            origin = Origin(row["origin_email"], row["ours"], row["made_for"])
            evidence = Evidence(fact["email"], fact["verified"], fact["created_at"], origin, vouched.get(user))
            believed = settings.members_unproven == "trust-mailbox"
            if ownership_of(evidence, row["clerk_user_id"], trusts_mailboxes=believed) is Ownership.UNPROVED:
                name = f"{row['first_name']} {row['last_name']}".strip()
                found.append(
                    ShutOut(row["slug"], row["database_name"], server, user, fact["email"], name, fact["created_at"])
                )
    return sorted(found, key=lambda member: (member.slug, member.database_name, member.email))


async def told_shut_out(connections: Connections) -> str:
    """How many there are in all tenants, and what to do; empty where there is nobody, or a system cannot be asked."""
    try:
        found = await shut_out(connections)
    except (Fault, Error):
        # what is away is told by what needs it
        return ""
    tenants = len({member.database_name for member in found})
    return shut_out_in_words(len(found), tenants, refused=not connections.settings.unproven_sign_in) if found else ""
