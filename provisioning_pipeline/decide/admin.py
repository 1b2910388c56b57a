"""Who is to be the first admin of a tenant's workspace."""

from collections.abc import Mapping, Sequence

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.people import Membership, User
from provisioning_pipeline.model.tenant import Admin, AdminUnknown


def choose_admin(
    clerk_org_id: str | None,
    registry_email: str | None,
    registry_name: str | None,
    holders: Mapping[str, tuple[Membership, ...] | AdminUnknown],
    users: Mapping[str, User],
    role: str,
) -> Admin | AdminUnknown:
    """The Clerk organization's admin if the tenant has an organization, else the registry's admin.

    A tenant whose organization names nobody waits: the registry's word does not overrule Clerk's.
    """
    if clerk_org_id:
        members = holders.get(clerk_org_id, ())
        if isinstance(members, AdminUnknown):
            return members
        return _oldest_verified(clerk_org_id, members, users, role)
    if registry_email and "@" in registry_email:
        first, _, last = (registry_name or "").strip().partition(" ")
        return Admin(registry_email.strip().lower(), first, last.strip())
    return AdminUnknown(
        Reason.ADMIN_UNKNOWN,
        "Nobody is known as admin: the registry row has no clerk_org_id and names no admin user. "
        "Set clerk_org_id (or admin_user_id) in the registry; the next run adds the admin.",
    )


def _oldest_verified(
    organization: str, members: Sequence[Membership], users: Mapping[str, User], role: str
) -> Admin | AdminUnknown:
    active = [
        users[member.user_id]
        for member in sorted(members, key=lambda member: (member.created_at, member.user_id))
        if not member.banned and member.user_id in users and not users[member.user_id].banned
    ]
    if not active:
        return AdminUnknown(
            Reason.ADMIN_UNKNOWN,
            f"Clerk organization {organization} has no active member with role {role}. "
            "Make someone its admin at Clerk; the next run adds them.",
        )
    for user in active:
        if user.verified_email:
            return Admin(user.verified_email, user.first_name, user.last_name, user.user_id)
    return AdminUnknown(
        Reason.ADMIN_EMAIL_UNVERIFIED,
        f"The admin of Clerk organization {organization} has no verified primary e-mail. "
        "Have them verify it at Clerk; the next run adds them.",
    )
