"""The step provision_workspaces: a workspace for the tenant, active, with its admin in it.

Safe to kill between any two lines: an intent is written before the one call that is not idempotent, and what a
lost answer left behind is found by evidence and adopted.
"""

import time
from dataclasses import replace

from provisioning_pipeline.act.members.entering import Newcomer, enter, restorable, restore
from provisioning_pipeline.act.members.joining import opened
from provisioning_pipeline.act.members.left_over import put_right
from provisioning_pipeline.act.members.work import about_person
from provisioning_pipeline.act.scope import Scope, open_door
from provisioning_pipeline.clients.transport import pause
from provisioning_pipeline.clients.twenty.accounts import Created, Door
from provisioning_pipeline.clients.twenty.roster import Roster
from provisioning_pipeline.ledger.ledger import Intent
from provisioning_pipeline.ledger.locks import server_lock
from provisioning_pipeline.model.condition import ConditionType, Reason, is_false, is_true
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.people import ADMIN_ROLE
from provisioning_pipeline.model.tenant import Admin, Change

_UNFINISHED = frozenset({"PENDING_CREATION", "ONGOING_CREATION"})
_LOST_ANSWERS = 3
_NOTHING_MADE = frozenset(
    {Reason.SUBDOMAIN_TAKEN, Reason.SUBDOMAIN_REFUSED, Reason.SERVER_FULL, Reason.CREATION_RESTRICTED}
)
"""Refusals that prove that no workspace was made; after any other the intent stays open."""
_POLL_SECONDS = 0.5


async def provision_workspace(scope: Scope) -> None:
    """Make sure that the tenant has an active workspace with its admin.

    Raises:
        Fault: classified, when that cannot be done now.
    """
    scope.server.must_be_usable()
    link = await scope.link()
    door = await open_door(scope, link) if link.workspace_id else await _make_workspace(scope)
    await _activate(scope, door)
    scope.door = door
    scope.set(is_true(ConditionType.WORKSPACE_READY, Reason.WORKSPACE_ACTIVE, "The workspace is active."))
    if isinstance(scope.plan.admin, Admin):
        try:
            await _add_admin(scope, door, scope.plan.admin)
        except Fault as fault:
            if fault.kind is not FaultKind.TENANT:
                raise
            # the workspace goes on to its other steps; only its admin is missing
            admin = scope.plan.admin
            told = about_person(scope, admin.email, f"{admin.first_name} {admin.last_name}".strip(), fault)
            scope.set(is_false(ConditionType.LOGIN_PROVED, fault.reason, told))


# --- making it --------------------------------------------------------------------------------------------------


async def _make_workspace(scope: Scope) -> Door:
    if scope.plan.workspace_id:
        return await _adopt_registered(scope, scope.plan.workspace_id)
    await scope.client.get_ready_to_create()
    intent = await scope.ledger.open_intent(scope.database_name)
    if intent:
        door = await _adopt_left_behind(scope, intent) or await _create(scope, intent)
        if door:
            return door
    for subdomain in scope.plan.subdomains:
        intent = await _begin_intent(scope, subdomain)
        if intent is None:
            continue
        door = await _create(scope, intent)
        if door:
            return door
    raise Fault(
        FaultKind.TENANT,
        Reason.SUBDOMAIN_TAKEN,
        f"{scope.client.system}: every subdomain for this tenant is taken ({', '.join(scope.plan.subdomains)}). "
        "Rename one of the workspaces that hold them.",
    )


async def _begin_intent(scope: Scope, subdomain: str) -> Intent | None:
    """Claim the subdomain, and a place on the server where places are limited."""
    scope.server.must_take_workspaces()
    server = scope.client.name
    begun_at = await scope.server.database.now()
    if scope.server.capacity is None:
        return await scope.ledger.begin_intent(scope.database_name, server, subdomain, scope.run_id, begun_at=begun_at)
    async with server_lock(scope.ledger.database, server, wait_seconds=scope.lock_wait_seconds):
        # counted now and not at planning: another run may have taken the last place since
        taken = await scope.server.database.places_taken(await scope.ledger.open_subdomains(server))
        if taken >= scope.server.capacity:
            raise Fault(
                FaultKind.TENANT,
                Reason.SERVER_FULL,
                f"{scope.client.system} is full: {taken} of {scope.server.capacity} workspaces. The next run looks for "
                "another server; raise its capacity or add one to PROVISIONING_TWENTY_SERVERS.",
            )
        return await scope.ledger.begin_intent(scope.database_name, server, subdomain, scope.run_id, begun_at=begun_at)


async def _create(scope: Scope, intent: Intent) -> Door | None:
    """Create the workspace of an intent. None when its subdomain is somebody else's, with the intent settled."""
    lost = 0
    while True:
        try:
            created = await _create_once(scope, intent)
        except Fault as fault:
            if fault.effect_unknown or fault.reason is Reason.SUBDOMAIN_TAKEN:
                found = await _adopt_left_behind(scope, intent)
                if found:
                    return found
            lost += 1
            if fault.effect_unknown and lost < _LOST_ANSWERS:
                continue
            if fault.reason in _NOTHING_MADE:
                await scope.ledger.drop_intent(intent, scope.database_name, f"made nothing: {fault.reason}")
            if fault.reason in (Reason.SUBDOMAIN_TAKEN, Reason.SUBDOMAIN_REFUSED):
                return None
            raise
        await scope.client.enter(created)
        return created.door


async def _create_once(scope: Scope, intent: Intent) -> Created:
    scope.server.must_take_workspaces()
    async with scope.change(Change.CREATE_WORKSPACE, f"{intent.subdomain} on {intent.server}"):
        created = await scope.client.create_workspace(scope.plan.tenant.name, intent.subdomain)
        await scope.ledger.store_workspace(
            intent, scope.database_name, created.door.workspace_id, created.door.url, "created"
        )
        return created


async def _adopt_left_behind(scope: Scope, intent: Intent) -> Door | None:
    workspace_id = await scope.server.database.workspace_left_behind(
        intent.subdomain, scope.client.service_account.email, intent.begun_at
    )
    if workspace_id is None:
        return None
    async with scope.change(Change.ADOPT_WORKSPACE, f"{intent.subdomain} on {intent.server}, left by a lost answer"):
        door = await scope.client.door(workspace_id)
        await scope.ledger.store_workspace(intent, scope.database_name, workspace_id, door.url, "adopted")
    return door


async def _adopt_registered(scope: Scope, workspace_id: str) -> Door:
    """Link the workspace that the registry names; the service account must be a member of it."""
    subdomain = scope.plan.subdomains[0]
    async with scope.change(Change.ADOPT_WORKSPACE, f"{subdomain} on {scope.client.name}, named by the registry"):
        door = await scope.client.door(workspace_id)
        await scope.ledger.adopt_workspace(scope.database_name, scope.client.name, subdomain, workspace_id, door.url)
    return door


# --- activating it ----------------------------------------------------------------------------------------------


async def _activate(scope: Scope, door: Door) -> None:
    status = await _status(scope, door)
    if status == "ACTIVE":
        return
    if status not in _UNFINISHED:
        raise Fault(
            FaultKind.TENANT,
            Reason.WORKSPACE_SUSPENDED,
            f"Twenty says {status} of workspace {door.workspace_id}. Reactivate it in Twenty's admin panel.",
        )
    async with scope.change(Change.ACTIVATE_WORKSPACE, door.workspace_id):
        try:
            answered = await scope.client.activate_workspace(door)
        except Fault as fault:
            if fault.kind is not FaultKind.BUSY:
                raise
            answered = await _await_activation(scope, door)
        if answered != "ACTIVE":
            raise Fault(
                FaultKind.TENANT,
                Reason.ACTIVATION_FAILED,
                f"Twenty left workspace {door.workspace_id} in {answered} after activating it. Look into Twenty's "
                "server log; the next run tries again.",
            )


async def _await_activation(scope: Scope, door: Door) -> str:
    """Somebody else is activating it, perhaps our own lost call: wait for the end."""
    deadline = time.monotonic() + scope.activation_timeout_seconds
    while True:
        status = await _status(scope, door)
        if status != "ONGOING_CREATION":
            # a failed activation goes back to PENDING_CREATION and may be begun anew
            return await scope.client.activate_workspace(door)
        if time.monotonic() > deadline:
            raise Fault(
                FaultKind.BUSY,
                Reason.ACTIVATION_BUSY,
                f"Twenty has been activating workspace {door.workspace_id} for over "
                f"{scope.activation_timeout_seconds:g} s. It frees a crashed activation after 5 minutes; a later "
                "run goes on.",
            )
        await pause(_POLL_SECONDS)


async def _status(scope: Scope, door: Door) -> str:
    state = await scope.server.database.workspace_state(door.workspace_id)
    if state is None or state.deleted:
        raise Fault(
            FaultKind.TENANT,
            Reason.WORKSPACE_GONE,
            f"Workspace {door.workspace_id} was deleted in Twenty. Nothing is made in its place by itself.",
        )
    return state.activation_status


# --- its admin --------------------------------------------------------------------------------------------------


async def _linked(scope: Scope, admin: Admin) -> Admin:
    """The same person by the e-mail of the account that they are linked to: Clerk may have a newer address."""
    account = await scope.members.account_of(scope.client.name, admin.clerk_user_id) if admin.clerk_user_id else None
    known = await scope.server.database.users([], [account]) if account else []
    return replace(admin, email=known[0][1]) if known else admin


async def _add_admin(scope: Scope, door: Door, admin: Admin) -> None:
    admin = await _linked(scope, admin)
    roster = await put_right(scope, await scope.link(), door)
    entry = roster.of(None, admin.email)
    if entry is None or entry.workspace_member_id is None:
        await _enter(scope, door, roster, admin)
        entry = (await scope.server.database.records.roster(door.workspace_id)).of(None, admin.email)
    account = scope.account(admin.email, entry.user_id if entry else None)
    seen = await scope.client.current_user(account, door)
    if seen.workspace_member_id is None:
        raise Fault(
            FaultKind.TENANT,
            Reason.WORKSPACE_INCOMPLETE,
            f"{admin.email} belongs to workspace {door.workspace_id} but has no member record there. The next run "
            "mends that.",
        )
    if entry is None or entry.role != ADMIN_ROLE:
        async with scope.change(Change.SET_ROLE, f"{admin.email}: {ADMIN_ROLE}"):
            role = await scope.client.role_id(door, ADMIN_ROLE)
            await scope.client.set_role(door, seen.workspace_member_id, role)
            state = await scope.server.database.member_state(door.workspace_id, admin.email)
            if state is None or state.role != ADMIN_ROLE:
                raise Fault(
                    FaultKind.TENANT,
                    Reason.ROLE_DIFFERS,
                    f"{admin.email} was made Admin and is not: somebody changed it meanwhile. The next run sets it.",
                )
    await scope.ledger.store_admin(scope.database_name, seen.user_id, admin.email)


async def _enter(scope: Scope, door: Door, roster: Roster, admin: Admin) -> None:
    """Bring the admin in, or wholly in. Who is to be Admin may have any default role until then."""
    entry = roster.of(None, admin.email)
    record = restorable(roster, entry)
    if record is not None:
        await restore(scope, door, admin.email, record)
        return
    newcomer = Newcomer(
        admin.email,
        entry.user_id if entry else None,
        admin.first_name,
        admin.last_name,
        Change.ADD_ADMIN,
        admin.email,
    )
    try:
        invite_link = await scope.client.invite_link(door)
        async with opened(scope, door, enabled=invite_link.enabled):
            await enter(scope, door, roster, newcomer, invite_link.hash)
    except Fault as fault:
        if fault.reason is Reason.FOREIGN_PASSWORD:
            raise Fault(
                FaultKind.TENANT,
                Reason.FOREIGN_PASSWORD,
                f"{admin.email} already has an account on {scope.client.system} with a password of their own, so "
                "they cannot be added without an e-mail. Invite them once in Twenty (Settings > Members); the "
                "next run makes them admin.",
            ) from None
        raise
