"""A workspace that is locked or unlocked: how it is now, and the role of ours that gives nothing."""

from provisioning_pipeline.clients.twenty.accounts import WorkspaceAddress
from provisioning_pipeline.clients.twenty.client import TwentyClient
from provisioning_pipeline.clients.twenty.members import RosterEntry
from provisioning_pipeline.model.access_lock import EMPTY_ROLE
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.steps.scope import Server
from provisioning_pipeline.steps.suspension.plan import SeenMember, SeenWorkspace


async def look(server: Server, address: WorkspaceAddress) -> SeenWorkspace:
    """What there is to lock in the workspace now."""
    roles = await server.client.access.roles(address)
    of_member = {member_id: role for role in roles for member_id in role.member_ids}
    members = []
    for entry in await members_of(server, address):
        role = of_member.get(entry.workspace_member_id or "")
        members.append(
            SeenMember(
                entry.user_id,
                entry.email,
                entry.workspace_member_id,
                role.id if role else None,
                role.label if role else None,
                manages=role is not None and role.manages,
            )
        )
    default = await server.database.default_role(address.workspace_id)
    return SeenWorkspace(
        tuple(members),
        {key.id: key.name for key in await server.client.api_keys(address)},
        (default.id, default.label) if default else None,
        (await server.client.invite_links.read(address)).enabled,
    )


async def members_of(server: Server, address: WorkspaceAddress) -> list[RosterEntry]:
    """All members of the workspace but our own account, without which it could not be unlocked."""
    ours = await server.service_user_ids()
    roster = await server.database.records.roster(address.workspace_id)
    return [
        entry
        for entry in roster.members
        if entry.user_id not in ours and entry.email != server.client.service_account.email
    ]


async def empty_role(client: TwentyClient, address: WorkspaceAddress) -> str:
    """The id of the role that gives nothing, made where it is not there.

    Raises:
        Fault: when a role of its label gives something: an admin of the workspace has made it, or changed ours.
    """
    found = next((role for role in await client.access.roles(address) if role.label == EMPTY_ROLE), None)
    if found is None:
        return await client.access.make_empty_role(address, EMPTY_ROLE)
    if not found.empty:
        raise Fault(
            FaultKind.TENANT,
            Reason.LOCK_NOT_PROVED,
            f"Workspace {address.workspace_id} is not locked: its role {EMPTY_ROLE} gives rights, so it is not ours or "
            "was changed. Rename it in Twenty (Settings > Roles), or take its rights away; the next run locks.",
        )
    return found.id
