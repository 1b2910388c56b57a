"""The step offboard_tenants: a workspace is archived, exported, deleted, and forgotten, each stage with its proof.

Each stage is written down once it is proved, and asks what is there before it does anything, so that a run that was
killed in between is followed by one that goes on.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from provisioning_pipeline.clients.twenty.accounts import Token, WorkspaceAddress
from provisioning_pipeline.clients.twenty.errors import TwentyFault
from provisioning_pipeline.clients.twenty.export import WorkspaceReader
from provisioning_pipeline.clients.twenty.members import Roster, RosterEntry
from provisioning_pipeline.ledger.offboardings import Offboardings, bury
from provisioning_pipeline.model.condition import ConditionType, Reason, is_true
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.lifecycle import Life, Lifecycle
from provisioning_pipeline.model.names import first_few
from provisioning_pipeline.model.offboarding import Begun, Offboarding, Stage
from provisioning_pipeline.steps.last_look import must_still_be_ending
from provisioning_pipeline.steps.members.act.leaving import prove_out, token_before
from provisioning_pipeline.steps.members.changes import REMOVE_MEMBER
from provisioning_pipeline.steps.offboarding.changes import (
    ARCHIVE_WORKSPACE,
    CLEAR_ORGANIZATION,
    DELETE_WORKSPACE,
    EXPORT_WORKSPACE,
)
from provisioning_pipeline.steps.offboarding.export import Destination, export_workspace
from provisioning_pipeline.steps.offboarding.manifest import Manifest
from provisioning_pipeline.steps.offboarding.plan import clean_up_after, folder_of
from provisioning_pipeline.steps.scope import Scope, workspace_address

Lock = Callable[[Scope], Awaitable[None]]
"""Ends access to the tenant's workspace, with proof; every record stays."""

_ARCHIVE: Final = "archive"
_EXPORT: Final = "export"
_DELETE: Final = "delete"


async def offboard(scope: Scope, lock: Lock) -> None:
    """Do what the plan says of archiving, exporting and deleting the tenant's workspace; settle Offboarded.

    Raises:
        Fault: when a stage fails or is not proved. Those before it stay done, and the next run goes on.
    """
    scope.server.must_be_usable()
    link = await scope.ledger.link(scope.database_name)
    if link.workspace_id is None:
        # buried by a run whose last words were lost
        scope.set(is_true(ConditionType.OFFBOARDED, Reason.WORKSPACE_DELETED, "The tenant has no workspace any more."))
        scope.set(Life(Lifecycle.GONE, "The tenant has no workspace any more.").condition)
        return
    changes = scope.plan.changes
    stands = await _stands(scope, link.workspace_id)
    if stands and {ARCHIVE_WORKSPACE, DELETE_WORKSPACE} & set(changes):
        # before anything is written down of it, too
        await must_still_be_ending(scope)
    deleting = {DELETE_WORKSPACE, CLEAR_ORGANIZATION} & set(changes)
    policy = _DELETE if deleting else _ARCHIVE if ARCHIVE_WORKSPACE in changes else _EXPORT
    work = Offboardings(scope.ledger.database)
    tenant = scope.plan.tenant
    begun = await work.begin(
        Begun(
            tenant.database_name,
            tenant.slug,
            tenant.clerk_org_id,
            scope.client.name,
            link.workspace_id,
            _why(scope),
            policy,
            scope.run_id,
        )
    )
    if deleting:
        if stands and DELETE_WORKSPACE not in changes:
            raise Fault(
                FaultKind.TENANT,
                Reason.OFFBOARDING_WAITS,
                f"Workspace {link.workspace_id} stands, so its id stays at Clerk and in the registry.",
            )
        await _delete(scope, work, begun, stands=stands)
        return
    if ARCHIVE_WORKSPACE in changes:
        await _archive(scope, work, begun, lock)
    if EXPORT_WORKSPACE in changes:
        manifest = await _export(scope, work, await workspace_address(scope, await scope.link()))
        if ARCHIVE_WORKSPACE not in changes:
            scope.set(is_true(ConditionType.OFFBOARDED, Reason.EXPORTED, f"Exported: {_told_of(scope, manifest)}."))


def _why(scope: Scope) -> str:
    life = next((known for known in scope.plan.conditions if known.type is ConditionType.LIFECYCLE), None)
    return life.message if life else "An operator asked for it."


# --- archiving --------------------------------------------------------------------------------------------------------


async def _archive(scope: Scope, work: Offboardings, begun: Offboarding, lock: Lock) -> None:
    async with scope.change(ARCHIVE_WORKSPACE, f"workspace {begun.workspace_id}"):
        await lock(scope)
        await work.mark(begun.database_name, begun.workspace_id, Stage.ARCHIVED)
    scope.set(
        is_true(
            ConditionType.OFFBOARDED,
            Reason.ARCHIVED,
            f"Workspace {begun.workspace_id} is archived: no member comes in, and every record stays.",
        )
    )


# --- exporting --------------------------------------------------------------------------------------------------------


async def _export(scope: Scope, work: Offboardings, address: WorkspaceAddress) -> Manifest:
    """Export the workspace, and store where to and how much.

    Raises:
        Fault: OFFBOARDING_WAITS where no place is set.
    """
    tenant, settings = scope.plan.tenant, scope.settings
    to = _destination(scope, address.workspace_id)
    about = Manifest(
        tenant.slug,
        tenant.database_name,
        scope.client.name,
        scope.client.known.version,
        address.workspace_id,
        settings.export_format,
        datetime.now(UTC),
        complete=False,
        objects={},
    )
    async with scope.change(EXPORT_WORKSPACE, f"workspace {address.workspace_id}") as learnt:
        manifest = await export_workspace(WorkspaceReader(scope.client, address), to, about, scope.tell)
        await work.exported(tenant.database_name, address.workspace_id, str(to.folder), manifest.counts)
        learnt.append(_told_of(scope, manifest))
    return manifest


def _destination(scope: Scope, workspace_id: str) -> Destination:
    from upath import UPath

    tenant, settings = scope.plan.tenant, scope.settings
    if settings.export_path is None:
        raise Fault(
            FaultKind.TENANT,
            Reason.OFFBOARDING_WAITS,
            f"Workspace {workspace_id} is not exported, and so not deleted: PROVISIONING_EXPORT_PATH names no place "
            "for its data. Set it; the next run goes on.",
        )
    folder = UPath(settings.export_path) / folder_of(tenant.slug, tenant.database_name) / workspace_id
    return Destination(folder, settings.export_format, settings.files_readable_by)


def _told_of(scope: Scope, manifest: Manifest) -> str:
    missing = manifest.missing_files
    lost = f"; Twenty itself has no file any more for {len(missing)} of them: {first_few(missing)}" if missing else ""
    where = _destination(scope, manifest.workspace_id).folder
    return f"{manifest.rows} records of {len(manifest.objects)} objects and {manifest.files} files, in {where}{lost}"


# --- deleting ---------------------------------------------------------------------------------------------------------


async def _delete(scope: Scope, work: Offboardings, begun: Offboarding, *, stands: bool) -> None:
    """Export, remove the members, delete the workspace, and forget it: what is done already is not done again."""
    name, workspace_id = begun.database_name, begun.workspace_id
    await work.mark(name, workspace_id, Stage.DELETE_BEGUN)
    if stands:
        address = await workspace_address(scope, await scope.link())
        await _empty(scope, work, address)
        # exporting and removing take their time
        await must_still_be_ending(scope)
        async with scope.change(DELETE_WORKSPACE, f"workspace {workspace_id}") as learnt:
            token = await scope.client.member_token(scope.client.service_account, address)
            await _deleted(scope, address)
            await _prove_deleted(scope, address, token)
            learnt.append(f"an old token and a new login are refused; {clean_up_after(datetime.now(UTC))}")
    elif (link := await scope.link()).workspace_url and not begun.reached(Stage.WORKSPACE_DELETED):
        # by a run that was killed before it could say so, or by an admin in Twenty
        await _prove_deleted(scope, WorkspaceAddress(workspace_id, link.workspace_url), None)
    await work.mark(name, workspace_id, Stage.WORKSPACE_DELETED)
    await _forget(scope, work, workspace_id)


async def _stands(scope: Scope, workspace_id: str) -> bool:
    """Whether Twenty has the workspace, and has not deleted it."""
    state = await scope.server.database.workspace_state(workspace_id)
    return state is not None and not state.deleted


async def _empty(scope: Scope, work: Offboardings, address: WorkspaceAddress) -> None:
    """Export what there is, then take out its members: in this order, since records name the members."""
    known = await work.of(scope.database_name, address.workspace_id)
    assert known is not None
    if not known.exported_for_deletion:
        await _export(scope, work, address)
    if not known.reached(Stage.MEMBERS_REMOVED):
        await _remove_members(scope, address)
        await work.mark(scope.database_name, address.workspace_id, Stage.MEMBERS_REMOVED)


async def _remove_members(scope: Scope, address: WorkspaceAddress) -> None:
    """Take out everyone but our own account, with proof."""
    roster = await scope.server.database.records.roster(address.workspace_id)
    ours = set(await scope.server.service_user_ids())
    for entry in roster.members:
        if entry.user_id not in ours:
            await must_still_be_ending(scope)
            async with scope.change(
                REMOVE_MEMBER, f"{entry.email}, before workspace {address.workspace_id} is deleted"
            ):
                await _remove(scope, address, roster, entry)


async def _remove(scope: Scope, address: WorkspaceAddress, roster: Roster, entry: RosterEntry) -> None:
    client, account = scope.client, await scope.account(entry.email, entry.user_id)
    token = await token_before(scope, account, address)
    # Twenty would let them join again by it at their next login
    await client.withdraw_invitations(address, entry.email)
    record_id = entry.workspace_member_id
    marked = roster.deleted_of([entry.user_id])
    if record_id is None and marked is not None:
        # Twenty does not find a locked member; the role of the lock stays, and reads nothing
        await client.access.let_back(address, marked.id)
        record_id = marked.id
    if record_id is None:
        await scope.server.database.records.retire_membership(address.workspace_id, entry.user_id)
    else:
        if entry.role is None:
            # Twenty does not remove a member without a role
            role = await client.role_id(address, scope.settings.member_default_role)
            await client.set_role(address, record_id, role)
        await client.remove_member(address, record_id)
    await prove_out(scope, account, address, token)


async def _deleted(scope: Scope, address: WorkspaceAddress) -> None:
    """Delete the workspace, or find that it is deleted: the answer to an earlier try may have been lost."""
    try:
        await scope.client.delete_workspace(address)
    except TwentyFault:
        if await _stands(scope, address.workspace_id):
            raise


async def _prove_deleted(scope: Scope, address: WorkspaceAddress, token: Token | None) -> None:
    """Prove that no one comes in any more.

    Raises:
        Fault: DELETION_NOT_PROVED.
    """
    still = await scope.client.still_open(address, token)
    if still is None and await _stands(scope, address.workspace_id):
        still = "Twenty's database still has it"
    if still is not None:
        raise Fault(
            FaultKind.TENANT,
            Reason.DELETION_NOT_PROVED,
            f"Workspace {address.workspace_id} was deleted, but {still}. Look at it now; the next run asks again.",
        )


async def _forget(scope: Scope, work: Offboardings, workspace_id: str) -> None:
    """Take the workspace's id out of Clerk and the registry, then forget it: the ledger keeps the tombstone."""
    known = await work.of(scope.database_name, workspace_id)
    assert known is not None
    if not known.reached(Stage.ORGANIZATION_CLEARED):
        async with scope.change(CLEAR_ORGANIZATION, f"workspace {workspace_id}") as learnt:
            learnt += await _cleared(scope, known.clerk_org_id, workspace_id)
            await work.mark(scope.database_name, workspace_id, Stage.ORGANIZATION_CLEARED)
    gone = _told_of_gone(known)
    scope.set(Life(Lifecycle.GONE, gone).condition)
    await bury(work, scope.database_name, workspace_id, scope.run_id, gone)
    scope.set(is_true(ConditionType.OFFBOARDED, Reason.WORKSPACE_DELETED, gone))


async def _cleared(scope: Scope, organization: str | None, workspace_id: str) -> list[str]:
    """Where the id of the workspace stood, and does not any more."""
    found = []
    if organization is not None and await scope.clerk.clear_workspace_id(organization, workspace_id):
        found.append(f"organization {organization} at Clerk named it")
    if await scope.registry.clear_workspace(scope.database_name, workspace_id):
        found.append(f"{scope.registry.table} named it")
    return found


def _told_of_gone(known: Offboarding) -> str:
    export = (
        f"Its export of {known.exported_at:%Y-%m-%d} is in {known.export_path}."
        if known.exported_at
        else "It was deleted in Twenty before we exported anything."
    )
    deleted_at = known.workspace_deleted_at or datetime.now(UTC)
    return f"Workspace {known.workspace_id} is deleted; {clean_up_after(deleted_at)}. {export}"
