"""What customers, their admins and operators do in Twenty, by its API or by SQL."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from provisioning_pipeline.sandbox import hand_made
from provisioning_pipeline.sandbox.preexisting import _REMOVE, _SET_ROLE, FOREIGN_PASSWORD, Workspace
from provisioning_pipeline_tests.campaign.drawing import Action
from provisioning_pipeline_tests.campaign.fleet import UNKNOWN_ID, Fleet, Tenant

STEPS = (hand_made.INSTALL_APPS, hand_made.CONNECT_ACCOUNT, hand_made.CREATE_PROFILE, hand_made.INVITE_TEAM)
_SET_WORKSPACE = "mutation($data: UpdateWorkspaceInput!) { updateWorkspace(data: $data) { id } }"
_INVITE = "mutation($emails: [String!]!) { sendInvitations(emails: $emails) { success } }"


def housed(fleet: Fleet, action: Action, *, status: str = "ACTIVE") -> tuple[Tenant, str] | None:
    """The tenant of the action, among those whose workspace has this status, with that workspace's id."""
    workspaces = {
        subdomain: (id_, said)
        for id_, subdomain, said in fleet.core(
            'SELECT id::text, subdomain, "activationStatus"::text FROM core.workspace WHERE "deletedAt" IS NULL'
        )
    }
    found = [
        (tenant, id_)
        for tenant in fleet.tenants
        for subdomain, (id_, said) in sorted(workspaces.items())
        if said == status and (id_ == tenant.home or tenant.owns(subdomain))
    ]
    return fleet.pick(found, action.tenant)


def member(fleet: Fleet, action: Action) -> tuple[Tenant, str, str, str, str] | None:
    """Somebody in the tenant's workspace: tenant, workspace, user, e-mail, membership."""
    place = housed(fleet, action)
    if place is None:
        return None
    tenant, workspace = place
    people = fleet.core(
        'SELECT u.id::text, u.email, uw.id::text FROM core."userWorkspace" uw JOIN core."user" u ON u.id = uw."userId"'
        ' WHERE uw."workspaceId" = %s AND uw."deletedAt" IS NULL AND u.email <> %s ORDER BY u.email',
        workspace,
        fleet.service_email,
    )
    found = fleet.pick(people, action.person)
    return (tenant, workspace, *found) if found else None


@contextmanager
def signed_in(fleet: Fleet, workspace_id: str) -> Iterator[Workspace]:
    """The workspace as its service account steers it."""
    server = fleet.service()
    try:
        yield Workspace(server, workspace_id)
    finally:
        server.close()


def account_removed(fleet: Fleet, action: Action) -> str:
    """A customer's admin removes somebody; an account without another workspace is deleted with that."""
    found = member(fleet, action)
    if found is None:
        return UNKNOWN_ID
    tenant, workspace, user, email, _ = found
    fleet.touched.add((tenant.database, email))
    with signed_in(fleet, workspace) as place:
        place.server.call(_REMOVE, place.service, member=place.member_id(user))
    tenant.strangers.discard(email)
    return f"{email} is removed from the workspace of {tenant.slug}"


def role_changed(fleet: Fleet, action: Action) -> str:
    found = member(fleet, action)
    if found is None:
        return UNKNOWN_ID
    tenant, workspace, user, email, _ = found
    label = "Admin" if action.choice < 0.5 else "Member"
    with signed_in(fleet, workspace) as place:
        place.server.call(_SET_ROLE, place.service, member=place.member_id(user), role=place.roles[label])
    return f"{email} becomes {label} in the workspace of {tenant.slug}"


def record_deleted(fleet: Fleet, action: Action) -> str:
    found = member(fleet, action)
    if found is None:
        return UNKNOWN_ID
    tenant, workspace, user, email, _ = found
    fleet.touched.add((tenant.database, email))
    ((schema,),) = fleet.core('SELECT "databaseSchema" FROM core.workspace WHERE id = %s', workspace)
    if action.choice < 0.5:
        fleet.core(f'DELETE FROM "{schema}"."workspaceMember" WHERE "userId" = %s', user)
        return f"the member record of {email} in {tenant.slug} is deleted"
    fleet.core(f'UPDATE "{schema}"."workspaceMember" SET "deletedAt" = now() WHERE "userId" = %s', user)
    return f"the member record of {email} in {tenant.slug} is marked as deleted"


def default_role_changed(fleet: Fleet, action: Action) -> str:
    found = housed(fleet, action)
    if found is None:
        return UNKNOWN_ID
    tenant, workspace = found
    label = "Admin" if action.choice < 0.5 else "Member"
    with signed_in(fleet, workspace) as place:
        place.server.call(_SET_WORKSPACE, place.service, data={"defaultRoleId": place.roles[label]})
    return f"the default role of {tenant.slug} becomes {label}"


def suspended(fleet: Fleet, action: Action) -> str:
    found = housed(fleet, action)
    if found is None:
        return UNKNOWN_ID
    fleet.core("UPDATE core.workspace SET \"activationStatus\" = 'SUSPENDED' WHERE id = %s", found[1])
    return f"the workspace of {found[0].slug} is suspended"


def active_again(fleet: Fleet, action: Action) -> str:
    found = housed(fleet, action, status="SUSPENDED")
    if found is None:
        return UNKNOWN_ID
    fleet.core("UPDATE core.workspace SET \"activationStatus\" = 'ACTIVE' WHERE id = %s", found[1])
    return f"the workspace of {found[0].slug} is active again"


def wizard_set(fleet: Fleet, action: Action) -> str:
    """A step of the wizard is pending again: for somebody here, for somebody everywhere, or for the workspace."""
    found = member(fleet, action)
    if found is None:
        return UNKNOWN_ID
    tenant, workspace, user, email, _ = found
    key = STEPS[int(action.choice * 997) % len(STEPS)]
    place = (workspace, None) if action.choice > 0.66 else (None, user) if action.choice > 0.4 else (workspace, user)
    fleet.core(
        'INSERT INTO core."keyValuePair" (key, "workspaceId", "userId", value, type)'
        " VALUES (%s, %s, %s, 'true'::jsonb, 'USER_VARIABLE') ON CONFLICT DO NOTHING",
        key,
        *place,
    )
    return f"{key} is set in {tenant.slug} for workspace {bool(place[0])}, for {email} {bool(place[1])}"


def stranger_joins(fleet: Fleet, action: Action) -> str:
    found = housed(fleet, action)
    if found is None:
        return UNKNOWN_ID
    tenant, workspace = found
    ((link,),) = fleet.core('SELECT "isPublicInviteLinkEnabled" FROM core.workspace WHERE id = %s', workspace)
    if not link:
        return f"the invite link of {tenant.slug} is closed"
    email = f"stranger-{fleet.next_number()}@elsewhere.example"
    tenant.strangers.add(email)
    with signed_in(fleet, workspace) as place:
        place.join(email, FOREIGN_PASSWORD)
    return f"{email} joins {tenant.slug} by its link"


def invitation_sent(fleet: Fleet, action: Action) -> str:
    found = housed(fleet, action)
    if found is None:
        return UNKNOWN_ID
    tenant, workspace = found
    email = f"guest-{fleet.next_number()}@elsewhere.example"
    fleet.mails_expected += 1
    with signed_in(fleet, workspace) as place:
        place.server.call(_INVITE, place.service, emails=[email])
    return f"{email} is invited to {tenant.slug} by its admin"


def invite_link_closed(fleet: Fleet, action: Action) -> str:
    found = housed(fleet, action)
    if found is None:
        return UNKNOWN_ID
    tenant, workspace = found
    with signed_in(fleet, workspace) as place:
        place.server.call(_SET_WORKSPACE, place.service, data={"isPublicInviteLinkEnabled": False})
    return f"the invite link of {tenant.slug} is closed"


def address_changed(fleet: Fleet, action: Action) -> str:
    found = housed(fleet, action)
    if found is None:
        return UNKNOWN_ID
    tenant, workspace = found
    tenant.home = workspace
    address = f"moved-{fleet.next_number()}-{tenant.slug}"[:30].strip("-")
    fleet.core("UPDATE core.workspace SET subdomain = %s WHERE id = %s", address, workspace)
    return f"the workspace of {tenant.slug} moves to {address}"


ACTIONS: dict[str, Callable[[Fleet, Action], str]] = {
    "account removed in Twenty": account_removed,
    "role changed in Twenty": role_changed,
    "member record deleted": record_deleted,
    "default role changed": default_role_changed,
    "workspace suspended": suspended,
    "workspace active again": active_again,
    "wizard set again": wizard_set,
    "stranger joins": stranger_joins,
    "invitation sent": invitation_sent,
    "invite link closed": invite_link_closed,
    "address changed in Twenty": address_changed,
}
