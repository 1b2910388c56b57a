"""The step provision_workspaces: a workspace for the tenant, active, with its admin in it.

Safe to kill between any two lines: an intent is written before the one call that is not idempotent, and what a
lost answer left behind is found by evidence and adopted.
"""

import time
from dataclasses import replace

from provisioning_pipeline.clients.transport import pause
from provisioning_pipeline.clients.twenty.accounts import Created, WorkspaceAddress
from provisioning_pipeline.clients.twenty.members import Roster
from provisioning_pipeline.ledger.ledger import Intent
from provisioning_pipeline.ledger.locks import server_lock
from provisioning_pipeline.ledger.members import MemberIntent
from provisioning_pipeline.model.condition import ConditionType, Reason, is_false
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.lifecycle import IS_ACTIVE
from provisioning_pipeline.model.people import ADMIN_ROLE, Origin
from provisioning_pipeline.model.tenant import Admin
from provisioning_pipeline.steps.account_ownership import refused, unproved
from provisioning_pipeline.steps.members.act.backfill import must_still_be_admin, put_right
from provisioning_pipeline.steps.members.act.joining import Newcomer, about_person, enter, opened, restorable, restore
from provisioning_pipeline.steps.members.changes import SET_ROLE
from provisioning_pipeline.steps.scope import Scope, living_state, workspace_address
from provisioning_pipeline.steps.workspaces.changes import (
    ACTIVATE_WORKSPACE,
    ADD_ADMIN,
    ADOPT_WORKSPACE,
    CREATE_WORKSPACE,
    REJOIN_WORKSPACE,
)
from provisioning_pipeline.steps.workspaces.plan.standing import (
    ACTIVATING_SECONDS,
    ACTIVE,
    UNFINISHED,
    demoted,
    removed,
    unpaid,
)

_MADE = frozenset({"ACTIVE", "CREATED"})
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
    address = await workspace_address(scope, link) if link.workspace_id else await _make_workspace(scope)
    status = await _activate(scope, address)
    scope.address = address
    if REJOIN_WORKSPACE in scope.plan.changes:
        await _rejoin(scope, address)
    scope.set(unpaid(address.workspace_id) if status == "CREATED" else ACTIVE)
    scope.set(IS_ACTIVE)
    if isinstance(scope.plan.admin, Admin):
        try:
            await _add_admin(scope, address, scope.plan.admin)
        except Fault as fault:
            if fault.kind is not FaultKind.TENANT:
                raise
            # the workspace goes on to its other steps; only its admin is missing
            admin = scope.plan.admin
            told = about_person(scope, fault, admin.email, admin.first_name, admin.last_name)
            scope.set(is_false(ConditionType.LOGIN_PROVED, fault.reason, told))


# --- making it --------------------------------------------------------------------------------------------------


async def _make_workspace(scope: Scope) -> WorkspaceAddress:
    if scope.plan.workspace_id:
        return await _adopt_registered(scope, scope.plan.workspace_id)
    await scope.client.get_ready_to_create()
    intent = await scope.ledger.open_intent(scope.database_name)
    if intent:
        address = await _adopt_left_behind(scope, intent) or await _create(scope, intent)
        if address:
            return address
    for subdomain in scope.plan.subdomains:
        intent = await _begin_intent(scope, subdomain)
        if intent is None:
            continue
        address = await _create(scope, intent)
        if address:
            return address
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


async def _create(scope: Scope, intent: Intent) -> WorkspaceAddress | None:
    """Create the workspace of an intent. None when its subdomain is taken, with the intent settled."""
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
                why = f"made nothing: {fault.reason}"
                await scope.ledger.drop_intent(intent, scope.database_name, why, run_id=scope.run_id)
            if fault.reason in (Reason.SUBDOMAIN_TAKEN, Reason.SUBDOMAIN_REFUSED):
                return None
            raise
        await scope.client.enter(created)
        return created.address


async def _create_once(scope: Scope, intent: Intent) -> Created:
    scope.server.must_take_workspaces()
    async with scope.change(CREATE_WORKSPACE, f"{intent.subdomain} on {intent.server}"):
        created = await scope.client.create_workspace(scope.plan.tenant.name, intent.subdomain)
        await scope.ledger.store_workspace(
            intent, scope.database_name, created.address.workspace_id, created.address.url, run_id=scope.run_id
        )
        return created


async def _adopt_left_behind(scope: Scope, intent: Intent) -> WorkspaceAddress | None:
    workspace_id = await scope.server.database.workspace_left_behind(
        intent.subdomain, scope.client.service_account.email, intent.begun_at
    )
    if workspace_id is None:
        return None
    told = f"{intent.subdomain} on {intent.server}, left by a lost answer"
    if intent.run_id != scope.run_id:
        told += f" of run {intent.run_id}, which was cut"
    async with scope.change(ADOPT_WORKSPACE, told):
        address = await scope.client.address(workspace_id)
        await scope.ledger.store_workspace(
            intent, scope.database_name, workspace_id, address.url, run_id=scope.run_id, left_behind=True
        )
    return address


async def _adopt_registered(scope: Scope, workspace_id: str) -> WorkspaceAddress:
    """Link the workspace that the registry names; the service account must be a member of it."""
    subdomain = scope.plan.subdomains[0]
    before = scope.plan.renamed_from
    told = f"{subdomain} on {scope.client.name}, named by the registry"
    async with scope.change(ADOPT_WORKSPACE, f"{told}; its database was called {before}" if before else told):
        address = await scope.client.address(workspace_id)
        await scope.ledger.adopt_workspace(
            scope.database_name, scope.client.name, subdomain, workspace_id, address.url, renamed_from=before
        )
    return address


# --- activating it ----------------------------------------------------------------------------------------------


async def _activate(scope: Scope, address: WorkspaceAddress) -> str:
    """Make sure that the workspace is made; its status then, CREATED where a subscription is still missing."""
    status = (await living_state(scope, address.workspace_id)).activation_status
    if status in _MADE:
        return status
    if status not in UNFINISHED:
        raise Fault(
            FaultKind.TENANT,
            Reason.WORKSPACE_SUSPENDED,
            f"Twenty says {status} of workspace {address.workspace_id}. Reactivate it in Twenty's admin panel.",
        )
    async with scope.change(ACTIVATE_WORKSPACE, address.workspace_id):
        try:
            answered = await scope.client.activate_workspace(address)
        except Fault as fault:
            if fault.kind is not FaultKind.BUSY:
                raise
            answered = await _await_activation(scope, address)
        if answered not in _MADE:
            raise Fault(
                FaultKind.TENANT,
                Reason.ACTIVATION_FAILED,
                f"Twenty left workspace {address.workspace_id} in {answered} after activating it. Look into Twenty's "
                "server log; the next run tries again.",
            )
    return answered


async def _await_activation(scope: Scope, address: WorkspaceAddress) -> str:
    """Another call is activating it, perhaps our own lost one: wait as long as that usually takes.

    A server that is killed at it leaves it so; then we have to make the call again, once its time has come.
    """
    patience = min(ACTIVATING_SECONDS, scope.settings.activation_timeout_seconds)
    deadline = time.monotonic() + patience
    while True:
        state = await living_state(scope, address.workspace_id)
        if state.activation_status != "ONGOING_CREATION" or not state.free_in:
            # a failed activation goes back to PENDING_CREATION, and both may be begun anew
            return await scope.client.activate_workspace(address)
        if time.monotonic() > deadline:
            raise Fault(
                FaultKind.BUSY,
                Reason.ACTIVATION_BUSY,
                f"Twenty has been activating workspace {address.workspace_id} for over {patience:g} s, or was stopped "
                f"at it. It takes the call again in {state.free_in:.0f} s; the first run after that makes it.",
                again_seconds=state.free_in,
            )
        await pause(_POLL_SECONDS)


# --- our own account ------------------------------------------------------------------------------------------------


async def _rejoin(scope: Scope, address: WorkspaceAddress) -> None:
    """Come back by the invitation of a workspace's admin: an account that has one joins by signing in."""
    account = scope.client.service_account.email
    async with scope.change(REJOIN_WORKSPACE, f"{account} in {address.workspace_id}"):
        await scope.client.current_user(scope.client.service_account, address, by_new_login=True)
        users = await scope.server.database.user_ids(account)
        rows = await scope.server.database.service_access(users, account, [address.workspace_id])
        trouble = None
        if not any(row["member"] for row in rows):
            trouble = removed(address.workspace_id, account)
        elif not rows[0]["manages"]:
            trouble = demoted(address.workspace_id, account, rows[0]["role"])
        if trouble:
            raise Fault(FaultKind.TENANT, trouble.reason, trouble.message)


# --- its admin --------------------------------------------------------------------------------------------------


async def _linked(scope: Scope, admin: Admin) -> Admin:
    """The same person by the e-mail of the account that is theirs: Clerk may have a newer address."""
    if admin.clerk_user_id is None:
        return admin
    account = await scope.members.account_of(scope.client.name, admin.clerk_user_id)
    # or of the account by which a run that was killed let them in
    theirs = (member for member in scope.plan.members if member.clerk_user_id == admin.clerk_user_id)
    account = account or next((member.twenty_user_id for member in theirs), None)
    known = await scope.server.database.users([], [account]) if account else []
    return replace(admin, email=known[0][1]) if known else admin


async def _add_admin(scope: Scope, address: WorkspaceAddress, admin: Admin) -> None:
    await must_still_be_admin(scope, admin)
    admin = await _linked(scope, admin)
    roster = await put_right(scope, await scope.link(), address)
    entry = roster.of(None, admin.email)
    if entry is not None:
        await _must_be_theirs(scope, entry.user_id, admin)
    if admin.clerk_user_id is not None:
        # from here on they can be missed, wherever this run ends
        intent = MemberIntent(admin.clerk_user_id, entry.user_id if entry else None, admin.email)
        await scope.members.begin(scope.database_name, [intent], scope.run_id)
    joined = False
    if entry is None or entry.workspace_member_id is None:
        joined = await _enter(scope, address, roster, admin)
        entry = (await scope.server.database.records.roster(address.workspace_id)).of(None, admin.email)
    account = await scope.account(admin.email, entry.user_id if entry else None)
    seen = await scope.client.current_user(account, address)
    if joined:
        made = Origin(admin.email, ours=True, clerk_user_id=admin.clerk_user_id)
        await scope.accounts.store(scope.client.name, [(seen.user_id, made)], scope.run_id)
    if seen.workspace_member_id is None:
        raise Fault(
            FaultKind.TENANT,
            Reason.WORKSPACE_INCOMPLETE,
            f"{admin.email} belongs to workspace {address.workspace_id} but has no member record there. The next run "
            "mends that.",
        )
    if entry is None or entry.role != ADMIN_ROLE:
        async with scope.change(SET_ROLE, f"{admin.email}: {ADMIN_ROLE}"):
            role = await scope.client.role_id(address, ADMIN_ROLE)
            await scope.client.set_role(address, seen.workspace_member_id, role)
            state = await scope.server.database.member_state(address.workspace_id, admin.email)
            if state is None or state.role != ADMIN_ROLE:
                raise Fault(
                    FaultKind.TENANT,
                    Reason.ROLE_DIFFERS,
                    f"{admin.email} was made Admin and is not: it was changed meanwhile. The next run sets it.",
                )
    await scope.ledger.store_admin(scope.database_name, seen.user_id, admin.email)


async def _must_be_theirs(scope: Scope, user_id: str, admin: Admin, *, is_ours: bool | None = None) -> None:
    """An account that proves nothing about its address makes no admin."""
    evidence = await unproved(scope, user_id, admin.clerk_user_id, is_ours=is_ours)
    if evidence is not None:
        raise refused(scope, evidence, "So they are not made the admin of this workspace.")


async def _enter(scope: Scope, address: WorkspaceAddress, roster: Roster, admin: Admin) -> bool:
    """Bring the admin in, or wholly in; whether they joined. They may have any default role until they are Admin."""
    entry = roster.of(None, admin.email)
    record = restorable(roster, entry)
    if record is not None:
        await restore(scope, address, admin.email, record)
        return False
    newcomer = Newcomer(
        admin.email,
        entry.user_id if entry else None,
        admin.first_name,
        admin.last_name,
        ADD_ADMIN,
        admin.email,
    )
    try:
        async with opened(scope, address) as invite_hash:
            return await enter(scope, address, roster, newcomer, invite_hash)
    except Fault as fault:
        if fault.reason is Reason.FOREIGN_PASSWORD:
            for user_id in await scope.server.database.user_ids(admin.email):
                await _must_be_theirs(scope, user_id, admin, is_ours=False)
            raise Fault(
                FaultKind.TENANT,
                Reason.FOREIGN_PASSWORD,
                f"{admin.email} already has an account on {scope.client.system} with a password of their own, so "
                "they cannot be added without an e-mail. Invite them once in Twenty (Settings > Members); the "
                "next run makes them admin.",
            ) from None
        raise
