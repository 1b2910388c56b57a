"""What a person does who sees to everything that no run can put right."""

from collections.abc import Callable

from provisioning_pipeline.sandbox.preexisting import _REMOVE
from provisioning_pipeline_tests.campaign.actions.at_clerk import ADMIN, join, newcomer, set_email, touch_user
from provisioning_pipeline_tests.campaign.actions.in_registry import create_database, new_organization, restore
from provisioning_pipeline_tests.campaign.actions.in_twenty import signed_in
from provisioning_pipeline_tests.campaign.drawing import PUT_RIGHT, Action
from provisioning_pipeline_tests.campaign.fleet import Fleet, Tenant
from provisioning_pipeline_tests.campaign.seeing import EXCLUDED, see


def put_right(fleet: Fleet, _: Action) -> str:
    """Rows, statuses, databases, organizations, admins, addresses and suspensions, of every tenant."""
    done: list[str] = []
    for tenant in fleet.tenants:
        of_tenant = _of_tenant(fleet, tenant)
        if of_tenant:
            fleet.touched.add((tenant.database, "*"))
            done.append(f"{tenant.slug}: {', '.join(of_tenant)}")
    state = fleet.sandbox.clerk.state
    for user_id, address in list(fleet.changed_emails.items()):
        del fleet.changed_emails[user_id]
        if user_id in state.users:
            set_email(fleet, user_id, address)
            touch_user(fleet, user_id)
            done.append(f"{address} has their old address")
    if fleet.script.gone != "remove":
        done += _departed_removed(fleet)
    for user in state.users_in_order():
        if user.banned:
            fleet.sandbox.clerk.ban_user(user.id, banned=False)
            touch_user(fleet, user.id)
            done.append(f"{user.primary_email} is banned no more")
    return "; ".join(done) or "nothing is to be put right"


def _of_tenant(fleet: Fleet, tenant: Tenant) -> list[str]:
    done: list[str] = []
    if tenant.kept_row is not None:
        row, tenant.kept_row = tenant.kept_row, None
        tenant.organization = row["clerk_org_id"]
        restore(fleet, [row])
        done.append("row restored")
    registered = fleet.row(tenant)
    if registered is None:
        return done
    if registered["status"].strip().lower() in EXCLUDED:
        fleet.registry("UPDATE tenant_registry SET status = 'active' WHERE database_name = %s", tenant.database)
        done.append("active again")
    if tenant.lacks == "database":
        create_database(fleet, tenant.database)
        tenant.lacks = ""
        done.append("database made")
    if tenant.organization not in fleet.sandbox.clerk.state.organizations:
        organization = new_organization(fleet, tenant, 2)
        fleet.registry(
            "UPDATE tenant_registry SET clerk_org_id = %s WHERE database_name = %s", organization, tenant.database
        )
        done.append("organization made")
    elif not any(one.role == ADMIN for one in fleet.sandbox.clerk.state.members_of(tenant.organization or "")):
        join(fleet, tenant, newcomer(fleet, tenant), ADMIN)
        done.append("admin named")
    if tenant.home is not None:
        rows = fleet.core(
            "UPDATE core.workspace SET \"activationStatus\" = 'ACTIVE' WHERE id = %s"
            " AND \"activationStatus\" = 'SUSPENDED' RETURNING 1",
            tenant.home,
        )
        done += ["workspace active again"] * len(rows)
    return done


def _departed_removed(fleet: Fleet) -> list[str]:
    """As the reason MembersGone says: who left is removed in Twenty."""
    done: list[str] = []
    seen = see(fleet)
    for tenant in seen.tenants:
        home, people = seen.home(tenant), seen.people(tenant)
        if home is None or not people or home.status != "ACTIVE":
            continue
        current = {one.email for one in people}.union(*(fleet.earlier_emails.get(one.user_id, ()) for one in people))
        inside = seen.inside(home.id, fleet.service_email)
        gone = [member for email, member in inside.items() if email in tenant.members - current and member.record]
        if gone:
            with signed_in(fleet, home.id) as place:
                for member in gone:
                    place.server.call(_REMOVE, place.service, member=place.member_id(member.user_id))
                    fleet.touched.add((tenant.database, member.email))
                    done.append(f"{member.email} is removed from {tenant.slug}")
    return done


ACTIONS: dict[str, Callable[[Fleet, Action], str]] = {PUT_RIGHT: put_right}
