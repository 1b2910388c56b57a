"""Defects that are planted on purpose: each must raise the alarm of one invariant, else that invariant proves nothing.

Those of the world are written past the program by SQL or at Clerk after the quiet runs, and taken back. Those of the
program are patched into a process of a run.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from provisioning_pipeline.sandbox.twenty.options import Mail
from provisioning_pipeline_tests.campaign.episodes import memberships
from provisioning_pipeline_tests.campaign.fleet import Fleet, Tenant
from provisioning_pipeline_tests.campaign.invariants import Quiet
from provisioning_pipeline_tests.campaign.proxy import Call
from provisioning_pipeline_tests.campaign.seeing import Workspace, see

Planting = Callable[[Fleet], Any]


@dataclass(frozen=True)
class Planted:
    """A defect of the world: where it is planted, and the invariant that must report it."""

    invariant: str
    plant: Callable[[Fleet], "Iterator[None]"]


def _first(fleet: Fleet) -> tuple[Tenant, Workspace]:
    """A ready tenant with its workspace."""
    seen = see(fleet)
    tenant = next(tenant for tenant in seen.tenants if seen.is_ready(tenant))
    home = seen.home(tenant)
    assert home is not None
    return tenant, home


def _plain_member(fleet: Fleet, workspace_id: str) -> tuple[str, str, str]:
    """User, e-mail and membership of somebody in this workspace whose role is Member."""
    seen = see(fleet)
    inside = seen.inside(workspace_id, fleet.service_email)
    found = next(member for _, member in sorted(inside.items()) if member.role == "Member")
    return found.user_id, found.email, found.tie


def _changed(fleet: Fleet, where: str, change: str, back: str, *values: object) -> Iterator[None]:
    url = fleet.sandbox.registry_url if where == "registry" else fleet.twenty_database_url
    fleet.sql(url, change, values)
    yield
    fleet.sql(url, back, values)


def second_workspace(fleet: Fleet) -> Iterator[None]:
    tenant, home = _first(fleet)
    fleet.core(
        "INSERT INTO core.workspace (id, subdomain, \"activationStatus\") VALUES (gen_random_uuid(), %s, 'ACTIVE')",
        f"{tenant.slug}-0123abcd",
    )
    yield
    fleet.core("DELETE FROM core.workspace WHERE subdomain = %s AND id <> %s", f"{tenant.slug}-0123abcd", home.id)


def workspace_of_nobody(fleet: Fleet) -> Iterator[None]:
    fleet.core(
        'WITH made AS (INSERT INTO core.workspace (id, subdomain, "activationStatus")'
        " VALUES (gen_random_uuid(), 'nobodys', 'ACTIVE') RETURNING id)"
        ' INSERT INTO core."userWorkspace" ("userId", "workspaceId")'
        ' SELECT u.id, made.id FROM made, core."user" u WHERE u.email = %s',
        fleet.service_email,
    )
    yield
    fleet.core("DELETE FROM core.workspace WHERE subdomain = 'nobodys'")


def registry_names_another(fleet: Fleet) -> Iterator[None]:
    tenant, home = _first(fleet)
    fleet.registry(
        "UPDATE tenant_registry SET twenty_workspace_id = gen_random_uuid() WHERE database_name = %s", tenant.database
    )
    yield
    fleet.registry(
        "UPDATE tenant_registry SET twenty_workspace_id = %s WHERE database_name = %s", home.id, tenant.database
    )


def pending_status_left(fleet: Fleet) -> Iterator[None]:
    tenant, _ = _first(fleet)
    yield from _changed(
        fleet,
        "registry",
        "UPDATE tenant_registry SET status = 'PROVISIONING' WHERE database_name = %s",
        "UPDATE tenant_registry SET status = 'active' WHERE database_name = %s",
        tenant.database,
    )


def open_intent(fleet: Fleet) -> Iterator[None]:
    tenant, _ = _first(fleet)
    yield from _changed(
        fleet,
        "registry",
        "UPDATE provisioning.intent SET settled_at = NULL WHERE database_name = %s",
        "UPDATE provisioning.intent SET settled_at = now() WHERE database_name = %s",
        tenant.database,
    )


def wizard_left(fleet: Fleet) -> Iterator[None]:
    _, home = _first(fleet)
    yield from _changed(
        fleet,
        "core",
        'INSERT INTO core."keyValuePair" (key, "workspaceId", value, type)'
        " VALUES ('ONBOARDING_INVITE_TEAM_PENDING', %s, 'true'::jsonb, 'USER_VARIABLE')",
        'DELETE FROM core."keyValuePair" WHERE key = \'ONBOARDING_INVITE_TEAM_PENDING\' AND "workspaceId" = %s',
        home.id,
    )


def login_broken(fleet: Fleet) -> Iterator[None]:
    _, home = _first(fleet)
    user, _, _ = _plain_member(fleet, home.id)
    ((password,),) = fleet.core('SELECT "passwordHash" FROM core."user" WHERE id = %s', user)
    fleet.core('UPDATE core."user" SET "passwordHash" = NULL WHERE id = %s', user)
    yield
    fleet.core('UPDATE core."user" SET "passwordHash" = %s WHERE id = %s', password, user)


def mail_sent(fleet: Fleet) -> Iterator[None]:
    fleet.sandbox.twenty[0].mails.append(Mail("somebody@acme.example", "Join your team on Twenty"))
    yield
    fleet.sandbox.twenty[0].mails.pop()


def stranger_inside(fleet: Fleet) -> Iterator[None]:
    """As if the program had let somebody in whom Clerk never had."""
    _, home = _first(fleet)
    fleet.core(
        'WITH made AS (INSERT INTO core."user" (email) VALUES (%s) RETURNING id)'
        ' INSERT INTO core."userWorkspace" ("userId", "workspaceId") SELECT id, %s FROM made',
        "nobody@nowhere.example",
        home.id,
    )
    yield
    fleet.core('DELETE FROM core."user" WHERE email = %s', "nobody@nowhere.example")


def departed_member_kept(fleet: Fleet) -> Iterator[None]:
    tenant, home = _first(fleet)
    _, email, _ = _plain_member(fleet, home.id)
    user = fleet.sandbox.clerk.state.user_by_email(email)
    assert user is not None
    assert tenant.organization is not None
    fleet.sandbox.clerk.remove_membership(tenant.organization, user.id)
    yield
    fleet.sandbox.clerk.add_membership(tenant.organization, user.id)


def member_missing(fleet: Fleet) -> Iterator[None]:
    _, home = _first(fleet)
    _, _, tie = _plain_member(fleet, home.id)
    yield from _changed(
        fleet,
        "core",
        'UPDATE core."userWorkspace" SET "deletedAt" = now() WHERE id = %s',
        'UPDATE core."userWorkspace" SET "deletedAt" = NULL WHERE id = %s',
        tie,
    )


def half_member(fleet: Fleet) -> Iterator[None]:
    _, home = _first(fleet)
    user, _, _ = _plain_member(fleet, home.id)
    table = f'"{home.schema}"."workspaceMember"'
    yield from _changed(
        fleet,
        "core",
        f'UPDATE {table} SET "deletedAt" = now() WHERE "userId" = %s',
        f'UPDATE {table} SET "deletedAt" = NULL WHERE "userId" = %s',
        user,
    )


def _role_of(fleet: Fleet, tie: str, workspace_id: str, label: str) -> None:
    fleet.core(
        'UPDATE core."roleTarget" SET "roleId" = (SELECT id FROM core.role WHERE label = %s AND "workspaceId" = %s)'
        ' WHERE "userWorkspaceId" = %s',
        label,
        workspace_id,
        tie,
    )


def extra_admin(fleet: Fleet) -> Iterator[None]:
    _, home = _first(fleet)
    _, _, tie = _plain_member(fleet, home.id)
    _role_of(fleet, tie, home.id, "Admin")
    yield
    _role_of(fleet, tie, home.id, "Member")


def no_admin_of_clerk(fleet: Fleet) -> Iterator[None]:
    _, home = _first(fleet)
    inside = see(fleet).inside(home.id, fleet.service_email)
    admins = [member.tie for member in inside.values() if member.role == "Admin"]
    for tie in admins:
        _role_of(fleet, tie, home.id, "Member")
    yield
    for tie in admins:
        _role_of(fleet, tie, home.id, "Admin")


def departed_admin_stored(fleet: Fleet) -> Iterator[None]:
    tenant, home = _first(fleet)
    link = see(fleet).links[tenant.database]
    user, _, _ = _plain_member(fleet, home.id)
    for stored in (user, link["admin_user_id"]):
        fleet.registry(
            "UPDATE provisioning.tenant_link SET admin_user_id = %s WHERE database_name = %s", stored, tenant.database
        )
        if stored == user:
            yield


def deleted_row_is_back(fleet: Fleet) -> Iterator[None]:
    """As if the tenant manager had deleted the row, and a run had adopted the database anew."""
    tenant, _ = _first(fleet)
    tenant.kept_row = fleet.row(tenant)
    yield
    tenant.kept_row = None


def suspended_session_let_in(fleet: Fleet) -> Iterator[None]:
    """The API does not know which statuses exclude a tenant."""
    tenant, _ = _first(fleet)
    fleet.registry("UPDATE tenant_registry SET status = 'suspended' WHERE database_name = %s", tenant.database)
    fleet.stop_serving()
    fleet.settings["PROVISIONING_REGISTRY_EXCLUDED_STATUSES"] = '["nothing"]'
    yield
    fleet.stop_serving()
    del fleet.settings["PROVISIONING_REGISTRY_EXCLUDED_STATUSES"]
    fleet.registry("UPDATE tenant_registry SET status = 'active' WHERE database_name = %s", tenant.database)


def refused_tenant_worked_on(fleet: Fleet) -> Iterator[None]:
    tenant, home = _first(fleet)
    fleet.registry("UPDATE tenant_registry SET status = 'suspended' WHERE database_name = %s", tenant.database)
    call = Call("a", "updateWorkspaceMemberRole", True, float("inf"), workspace_id=home.id)
    fleet.twenty.calls.append(call)
    yield
    fleet.twenty.calls.remove(call)
    fleet.registry("UPDATE tenant_registry SET status = 'active' WHERE database_name = %s", tenant.database)


def session_refused(fleet: Fleet) -> Iterator[None]:
    tenant, _ = _first(fleet)
    yield from _changed(
        fleet,
        "registry",
        "UPDATE provisioning.tenant_link SET clerk_org_id = clerk_org_id || 'x' WHERE database_name = %s",
        "UPDATE provisioning.tenant_link SET clerk_org_id = trim(trailing 'x' from clerk_org_id)"
        " WHERE database_name = %s",
        tenant.database,
    )


def restless(fleet: Fleet) -> Iterator[None]:
    call = Call("a", "updateWorkspace", True, float("inf"))
    fleet.twenty.calls.append(call)
    yield
    fleet.twenty.calls.remove(call)


def secret_in_the_ledger(fleet: Fleet) -> Iterator[None]:
    tenant, _ = _first(fleet)
    key = fleet.environment("a")["PROVISIONING_CLERK_SECRET_KEY"]
    for message in (f"Clerk refuses the key {key}", "Everything is well."):
        fleet.registry(
            "UPDATE provisioning.condition SET message = %s WHERE database_name = %s AND type = 'Detected'",
            message,
            tenant.database,
        )
        if key in message:
            yield


def lock_left(fleet: Fleet) -> Iterator[None]:
    fleet.registry("SELECT pg_advisory_lock(730155, 1)")
    yield
    fleet.registry("SELECT pg_advisory_unlock(730155, 1)")


def default_role_not_given_back(fleet: Fleet) -> Iterator[None]:
    tenant, _ = _first(fleet)
    yield from _changed(
        fleet,
        "registry",
        "UPDATE provisioning.tenant_link SET invite_link_opened = true WHERE database_name = %s",
        "UPDATE provisioning.tenant_link SET invite_link_opened = false WHERE database_name = %s",
        tenant.database,
    )


def two_writers(fleet: Fleet) -> Iterator[None]:
    _, home = _first(fleet)
    calls = [Call(slot, "updateWorkspaceMemberRole", True, 1.0, workspace_id=home.id, ended=2.0) for slot in "ab"]
    fleet.twenty.calls += calls
    yield
    for call in calls:
        fleet.twenty.calls.remove(call)


def not_ready(fleet: Fleet) -> Iterator[None]:
    tenant, _ = _first(fleet)
    yield from _changed(
        fleet,
        "registry",
        "UPDATE provisioning.condition SET status = 'False', reason = 'LoginRefused'"
        " WHERE database_name = %s AND type = 'Ready'",
        "UPDATE provisioning.condition SET status = 'True', reason = 'AllTrue'"
        " WHERE database_name = %s AND type = 'Ready'",
        tenant.database,
    )


def defect_in_a_condition(fleet: Fleet) -> Iterator[None]:
    tenant, _ = _first(fleet)
    yield from _changed(
        fleet,
        "registry",
        "UPDATE provisioning.condition SET reason = 'UnexpectedError' WHERE database_name = %s AND type = 'Detected'",
        "UPDATE provisioning.condition SET reason = 'DatabasePresent' WHERE database_name = %s AND type = 'Detected'",
        tenant.database,
    )


def membership_replaced(fleet: Fleet) -> Iterator[None]:
    """Somebody was removed and added again, and nothing that happened was about them."""
    _, home = _first(fleet)
    _, _, tie = _plain_member(fleet, home.id)
    yield from _changed(
        fleet,
        "core",
        'UPDATE core."userWorkspace" SET "deletedAt" = now() WHERE id = %s',
        'UPDATE core."userWorkspace" SET "deletedAt" = NULL WHERE id = %s',
        tie,
    )


DEFECTS_OF_THE_WORLD: Mapping[str, Planted] = {
    plant.__name__: Planted(invariant, plant)
    for invariant, plants in {
        "one_workspace_per_tenant": (second_workspace, workspace_of_nobody),
        "ledger_and_registry_agree": (registry_names_another, pending_status_left),
        "no_open_intent": (open_intent,),
        "wizards_are_silent": (wizard_left, login_broken),
        "no_mail": (mail_sent,),
        "nobody_strange_is_inside": (stranger_inside, departed_member_kept),
        "every_member_is_inside": (member_missing, half_member),
        "roles_are_as_mapped": (extra_admin,),
        "an_admin_of_clerk_is_admin": (no_admin_of_clerk, departed_admin_stored),
        "refused_tenants_are_left_alone": (deleted_row_is_back, suspended_session_let_in, refused_tenant_worked_on),
        "sessions_of_ready_tenants_pass": (session_refused,),
        "rest": (restless,),
        "runs_end_well": (defect_in_a_condition,),
        "no_secret_is_shown": (secret_in_the_ledger,),
        "nothing_is_left_behind": (lock_left, default_role_not_given_back),
        "one_writer_at_a_time": (two_writers,),
        "untouched_members_stay": (membership_replaced,),
        "well_tenants_become_ready": (not_ready,),
    }.items()
    for plant in plants
}


@contextmanager
def planted(quiet: Quiet, name: str) -> Iterator[Quiet]:
    """The fleet with this defect of the world, seen anew; taken back at the end."""
    before = memberships(quiet.fleet)
    planting = contextmanager(DEFECTS_OF_THE_WORLD[name].plant)(quiet.fleet)
    with planting:
        yield replace(quiet, seen=see(quiet.fleet), before=before)


# --- of the program -------------------------------------------------------------------------------------------------


def lock_that_locks_nothing() -> None:
    """Every run believes that it is alone."""
    from provisioning_pipeline.run import work

    @asynccontextmanager
    async def free(*_: object, **__: object) -> AsyncIterator[None]:
        yield

    setattr(work, "tenant_lock", free)  # noqa: B010  # mypy knows it as a function of another type


def intent_never_settled() -> None:
    """The workspace id is stored, and the intent stays open."""
    from provisioning_pipeline.ledger.ledger import Ledger

    settle = Ledger.store_workspace

    async def unsettled(self: Ledger, *args: Any, **kwargs: Any) -> Any:
        result = await settle(self, *args, **kwargs)
        await self.database.execute("UPDATE provisioning.intent SET settled_at = NULL")
        return result

    setattr(Ledger, "store_workspace", unsettled)  # noqa: B010  # as above


def secret_in_the_output() -> None:
    """The settings are printed, passwords and all."""
    import os
    import sys

    print(os.environ["PROVISIONING_REGISTRY_URL"], file=sys.stderr)


def error_that_nobody_foresaw() -> None:
    """Planning fails with an error that no code expects."""
    from provisioning_pipeline.run import run

    async def broken(*_: object, **__: object) -> None:
        message = "planted"
        raise LookupError(message)

    setattr(run, "plan", broken)  # noqa: B010  # as above


def run_that_never_ends() -> None:
    """It waits for something that does not come."""
    from provisioning_pipeline.run import run

    async def waiting(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    setattr(run, "plan", waiting)  # noqa: B010  # as above


def creation_made_twice() -> None:
    """A lost answer is taken for no effect, and the workspace is made again at another address."""
    from provisioning_pipeline.clients.twenty.client import TwentyClient

    create = TwentyClient.create_workspace

    async def twice(self: TwentyClient, display_name: str, subdomain: str) -> Any:
        await create(self, display_name, f"{subdomain}-0badcafe")
        return await create(self, display_name, subdomain)

    setattr(TwentyClient, "create_workspace", twice)  # noqa: B010  # as above


DEFECTS_OF_THE_PROGRAM: Mapping[str, Callable[[], None]] = {
    defect.__name__: defect
    for defect in (
        lock_that_locks_nothing,
        intent_never_settled,
        secret_in_the_output,
        error_that_nobody_foresaw,
        run_that_never_ends,
        creation_made_twice,
    )
}
