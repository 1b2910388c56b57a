"""What is known about members, for assets and their checks."""

from dataclasses import dataclass

from provisioning_pipeline.clients.postgres import Row
from provisioning_pipeline.ledger import fleet
from provisioning_pipeline.ledger.history import History
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.frames import TwentySnapshot
from provisioning_pipeline.model.people import ADMIN_ROLE
from provisioning_pipeline.model.tenant import ClerkRead, OutcomeStatus
from provisioning_pipeline.observe.snapshots import whole_instance
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.decide import clerk_read
from provisioning_pipeline.steps.members.changes import INVITE_MEMBER


@dataclass(frozen=True, slots=True)
class Unsynced:
    """A tenant some of whose members need a person."""

    slug: str
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class TwentyMembers:
    """Who is in Twenty: memberships of ready tenants' workspaces, and those of them that have no active admin."""

    members: int
    workspaces: int
    without_admin: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MembersAfter:
    """What a run left: memberships, links, tenants whose members need a person, addresses that it invited."""

    twenty: TwentyMembers
    links: Row
    unsynced: tuple[Unsynced, ...]
    invited: tuple[str, ...]


async def members_after(connections: Connections, run_id: str, twenty: TwentySnapshot) -> MembersAfter:
    """What this run left, by what was read of Twenty since."""
    return MembersAfter(
        await members_in(twenty, connections),
        await fleet.link_counts(connections.ledger.database),
        tuple(await unsynced(connections)),
        tuple(await invitations_of(connections.history, run_id)),
    )


async def clerk_now(connections: Connections) -> ClerkRead:
    """The whole instance as it is now."""
    return clerk_read(await whole_instance(connections.clerk))


async def members_in(twenty: TwentySnapshot, connections: Connections) -> TwentyMembers:
    """The members of all linked workspaces; an admin is a person, so the service account is none.

    A tenant whose server cannot be read is left out.
    """
    links = await connections.ledger.links()
    linked = links[links["admin_user_id"].notna()][["server", "workspace_id", "slug"]]
    ours = [user for users in twenty.service_users.values() for user in users]
    people = twenty.members[~twenty.members["user_id"].isin(ours)].merge(linked, on=["server", "workspace_id"])
    with_admin = people[people["role"] == ADMIN_ROLE]["slug"]
    living = twenty.workspaces[
        twenty.workspaces["activation_status"].isin(["ACTIVE", "CREATED"]) & ~twenty.workspaces["deleted"].astype(bool)
    ]
    slugs = linked.merge(living[["server", "workspace_id"]], on=["server", "workspace_id"])["slug"]
    without = sorted(slugs[~slugs.isin(with_admin)])
    return TwentyMembers(len(people), people["slug"].nunique(), tuple(without))


async def unsynced(connections: Connections) -> list[Unsynced]:
    """Tenants some of whose members need a person, by slug."""
    rows = await fleet.unsynced(connections.ledger.database)
    return [Unsynced(row["slug"], Reason(row["reason"]), row["message"]) for row in rows]


async def invitations_of_last_run(connections: Connections) -> list[str]:
    """The addresses that the last finished run invited."""
    runs = await connections.history.last_runs(1)
    return await invitations_of(connections.history, runs[0].run_id) if runs else []


async def invitations_of(history: History, run_id: str) -> list[str]:
    """The addresses to which a run sent invitations, the only e-mails that it can cause."""
    return [
        str(row["detail"])
        for row in await history.outcomes_of(run_id)
        if row["change"] == INVITE_MEMBER and row["status"] == OutcomeStatus.DONE
    ]
