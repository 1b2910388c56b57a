"""What people do at Clerk."""

from collections.abc import Callable

from provisioning_pipeline.sandbox.clerk.records import EmailAddress, Membership
from provisioning_pipeline_tests.campaign.drawing import Action
from provisioning_pipeline_tests.campaign.fleet import UNKNOWN_ID, Fleet, Tenant

ADMIN, MEMBER = "org:admin", "org:member"


def organized(fleet: Fleet, action: Action) -> Tenant | None:
    """The tenant of the action, among those whose organization is at Clerk."""
    known = fleet.sandbox.clerk.state.organizations
    return fleet.pick([tenant for tenant in fleet.tenants if tenant.organization in known], action.tenant)


def somebody(fleet: Fleet, action: Action, *, role: str | None = None) -> tuple[Tenant, Membership] | None:
    """A member of the tenant's organization; with `role`, one who has it."""
    tenant = organized(fleet, action)
    if tenant is None or tenant.organization is None:
        return None
    members = fleet.sandbox.clerk.state.members_of(tenant.organization)
    found = fleet.pick([one for one in members if role in (None, one.role)], action.person)
    return (tenant, found) if found else None


def email_of(fleet: Fleet, user_id: str) -> str:
    """Their address at Clerk."""
    return (fleet.sandbox.clerk.state.user(user_id).primary_email or "").lower()


def touch_user(fleet: Fleet, user_id: str) -> None:
    """This person's memberships are changed on purpose, wherever they are one."""
    state = fleet.sandbox.clerk.state
    organizations = {one.organization_id for one in state.memberships_of(user_id)}
    for tenant in fleet.tenants:
        if tenant.organization in organizations:
            fleet.touched.update((tenant.database, email) for email in addresses_of(fleet, user_id))


def addresses_of(fleet: Fleet, user_id: str) -> set[str]:
    """The addresses that their account at Twenty may have."""
    return {email_of(fleet, user_id), *fleet.earlier_emails.get(user_id, ())}


def newcomer(fleet: Fleet, tenant: Tenant) -> str:
    """A new person of this tenant's at Clerk; the user id."""
    number = fleet.next_number()
    user = fleet.sandbox.clerk.add_user(
        f"person-{number}@{tenant.slug}.example", first_name=f"Person {number}", last_name=tenant.slug.title()
    )
    return user.id


def join(fleet: Fleet, tenant: Tenant, user_id: str, role: str) -> None:
    """Make somebody a member, and remember that they ever were."""
    assert tenant.organization is not None
    fleet.sandbox.clerk.add_membership(tenant.organization, user_id, role)
    tenant.members.add(email_of(fleet, user_id))


def member_added(fleet: Fleet, action: Action) -> str:
    tenant = organized(fleet, action)
    if tenant is None:
        return UNKNOWN_ID
    user, role = newcomer(fleet, tenant), ADMIN if action.choice < 0.25 else MEMBER
    join(fleet, tenant, user, role)
    return f"{email_of(fleet, user)} joins {tenant.slug} as {role}"


def member_of_another_added(fleet: Fleet, action: Action) -> str:
    found, state = somebody(fleet, action), fleet.sandbox.clerk.state
    if found is None:
        return UNKNOWN_ID
    tenant, member = found
    others = [
        other
        for other in fleet.tenants
        if other.organization in state.organizations and (other.organization, member.user_id) not in state.memberships
    ]
    other = fleet.pick(others, action.choice)
    if other is None:
        return UNKNOWN_ID
    join(fleet, other, member.user_id, MEMBER)
    return f"{email_of(fleet, member.user_id)} of {tenant.slug} joins {other.slug} too"


def member_removed(fleet: Fleet, action: Action) -> str:
    found = somebody(fleet, action)
    if found is None:
        return UNKNOWN_ID
    tenant, member = found
    touch_user(fleet, member.user_id)
    fleet.sandbox.clerk.remove_membership(member.organization_id, member.user_id)
    return f"{email_of(fleet, member.user_id)} leaves {tenant.slug}"


def member_flaps(fleet: Fleet, action: Action) -> str:
    """Somebody is removed, and back a moment later: a run that is at work may see either."""
    import time

    found = somebody(fleet, action)
    if found is None:
        return UNKNOWN_ID
    tenant, member = found
    touch_user(fleet, member.user_id)
    fleet.sandbox.clerk.remove_membership(member.organization_id, member.user_id)
    time.sleep(action.choice * 0.5)
    join(fleet, tenant, member.user_id, member.role)
    return f"{email_of(fleet, member.user_id)} leaves {tenant.slug} and is back {action.choice * 0.5:.2f} s later"


def member_back(fleet: Fleet, action: Action) -> str:
    tenant, state = organized(fleet, action), fleet.sandbox.clerk.state
    if tenant is None:
        return UNKNOWN_ID
    gone = [
        user.id
        for user in state.users_in_order()
        if (user.primary_email or "").lower() in tenant.members
        and (tenant.organization, user.id) not in state.memberships
    ]
    user = fleet.pick(gone, action.person)
    if user is None:
        return UNKNOWN_ID
    touch_user(fleet, user)
    join(fleet, tenant, user, ADMIN if action.choice < 0.3 else MEMBER)
    return f"{email_of(fleet, user)} is back in {tenant.slug}"


def role_changed(fleet: Fleet, action: Action) -> str:
    found = somebody(fleet, action)
    if found is None:
        return UNKNOWN_ID
    tenant, member = found
    role = MEMBER if member.role == ADMIN else ADMIN
    fleet.sandbox.clerk.set_role(member.organization_id, member.user_id, role)
    return f"{email_of(fleet, member.user_id)} of {tenant.slug} becomes {role}"


def admin_replaced(fleet: Fleet, action: Action) -> str:
    """An admin is deleted at Clerk, or leaves, and another one is named."""
    found = somebody(fleet, action, role=ADMIN)
    if found is None:
        return UNKNOWN_ID
    tenant, member = found
    email = email_of(fleet, member.user_id)
    touch_user(fleet, member.user_id)
    if action.choice < 0.5:
        fleet.sandbox.clerk.delete_user(member.user_id)
    else:
        fleet.sandbox.clerk.remove_membership(member.organization_id, member.user_id)
    others = fleet.sandbox.clerk.state.members_of(member.organization_id)
    other = fleet.pick(others, action.choice)
    if other is None:
        user = newcomer(fleet, tenant)
        join(fleet, tenant, user, ADMIN)
    else:
        user = other.user_id
        fleet.sandbox.clerk.set_role(member.organization_id, user, ADMIN)
    return f"{email}, admin of {tenant.slug}, is gone, and {email_of(fleet, user)} is admin"


def email_changed(fleet: Fleet, action: Action) -> str:
    found = somebody(fleet, action)
    if found is None or found[1].user_id in fleet.changed_emails:
        return UNKNOWN_ID
    tenant, member = found
    before = email_of(fleet, member.user_id)
    touch_user(fleet, member.user_id)
    set_email(fleet, member.user_id, f"moved-{fleet.next_number()}@{tenant.slug}.example")
    fleet.changed_emails[member.user_id] = before
    return f"{before} of {tenant.slug} becomes {email_of(fleet, member.user_id)}"


def email_changed_back(fleet: Fleet, action: Action) -> str:
    changed = [user for user in fleet.changed_emails if user in fleet.sandbox.clerk.state.users]
    user = fleet.pick(changed, action.person)
    if user is None:
        return UNKNOWN_ID
    touch_user(fleet, user)
    set_email(fleet, user, fleet.changed_emails.pop(user))
    return f"{email_of(fleet, user)} has their old address again"


def set_email(fleet: Fleet, user_id: str, address: str) -> None:
    """Give somebody another primary address; the old one goes."""
    fleet.earlier_emails.setdefault(user_id, set()).add(email_of(fleet, user_id))
    state = fleet.sandbox.clerk.state
    with state.lock:
        user = state.user(user_id)
        for email in user.emails:
            state._by_email.pop(email.email.lower(), None)
        made = EmailAddress(state.new_id("idn"), address, state.now(), "verified")
        user.emails, user.primary_email_id = [made], made.id
        state._by_email[address.lower()] = user.id
        state.touch(user)


def user_banned(fleet: Fleet, action: Action) -> str:
    found = somebody(fleet, action)
    if found is None:
        return UNKNOWN_ID
    tenant, member = found
    touch_user(fleet, member.user_id)
    fleet.sandbox.clerk.ban_user(member.user_id)
    return f"{email_of(fleet, member.user_id)} of {tenant.slug} is banned"


def user_unbanned(fleet: Fleet, action: Action) -> str:
    banned = [user.id for user in fleet.sandbox.clerk.state.users_in_order() if user.banned]
    user = fleet.pick(banned, action.person)
    if user is None:
        return UNKNOWN_ID
    touch_user(fleet, user)
    fleet.sandbox.clerk.ban_user(user, banned=False)
    return f"{email_of(fleet, user)} is banned no more"


def user_deleted(fleet: Fleet, action: Action) -> str:
    found = somebody(fleet, action)
    if found is None:
        return UNKNOWN_ID
    tenant, member = found
    email = email_of(fleet, member.user_id)
    touch_user(fleet, member.user_id)
    fleet.changed_emails.pop(member.user_id, None)
    fleet.sandbox.clerk.delete_user(member.user_id)
    return f"{email} of {tenant.slug} is deleted"


def organization_renamed(fleet: Fleet, action: Action) -> str:
    tenant = organized(fleet, action)
    if tenant is None or tenant.organization is None:
        return UNKNOWN_ID
    state = fleet.sandbox.clerk.state
    with state.lock:
        organization = state.organization(tenant.organization)
        organization.name = f"{organization.name[:60]} & Co {fleet.next_number()}"
        state.touch(organization)
    return f"the organization of {tenant.slug} is called {organization.name}"


def organization_deleted(fleet: Fleet, action: Action) -> str:
    tenant = organized(fleet, action)
    if tenant is None or tenant.organization is None:
        return UNKNOWN_ID
    fleet.touched.add((tenant.database, "*"))
    fleet.sandbox.clerk.delete_organization(tenant.organization)
    return f"the organization of {tenant.slug} is deleted"


ACTIONS: dict[str, Callable[[Fleet, Action], str]] = {
    "member added": member_added,
    "member of another tenant added": member_of_another_added,
    "member removed": member_removed,
    "member removed and back": member_flaps,
    "member back": member_back,
    "role changed": role_changed,
    "admin replaced": admin_replaced,
    "e-mail changed": email_changed,
    "e-mail changed back": email_changed_back,
    "user banned": user_banned,
    "user unbanned": user_unbanned,
    "user deleted": user_deleted,
    "organization renamed": organization_renamed,
    "organization deleted": organization_deleted,
}
