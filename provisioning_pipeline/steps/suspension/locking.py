"""Ending access to a workspace, and the proof of it. Locking what is locked takes only what is new."""

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import Account, Token, WorkspaceAddress
from provisioning_pipeline.clients.twenty.client import TwentyClient
from provisioning_pipeline.model.access_lock import INVITE_LINK, ItemKind, LockedItem
from provisioning_pipeline.model.condition import ConditionType, Reason, is_true
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.names import first_few
from provisioning_pipeline.steps.last_look import must_still_be_ending
from provisioning_pipeline.steps.members.act.backfill import put_right
from provisioning_pipeline.steps.scope import Scope, workspace_address
from provisioning_pipeline.steps.suspension.changes import LOCK_WORKSPACE
from provisioning_pipeline.steps.suspension.plan import has_rights, of_kind, still_to_take, told
from provisioning_pipeline.steps.suspension.workspace import empty_role, look, members_of

_ROUNDS: Final = 6
"""The first takes roles, the second keys and records; members may join and keys be made meanwhile. What comes after the
last is the next run's."""


@dataclass(frozen=True, slots=True)
class _Proof:
    """Members who were tried, and how many of them by impersonation: their password is not ours."""

    members: int
    impersonated: int


async def lock(scope: Scope) -> None:
    """Take what gives access to the workspace, each thing written down before; prove it, and settle AccessLocked.

    Our own account keeps everything. Open invitations stay.

    Raises:
        Fault: REGISTRY_CHANGED when the tenant is not to lose access any more, and nothing was taken; LOCK_NOT_PROVED
            when a way in is still open, or it cannot be told; else what Twenty refused. What is locked stays so, and
            the next run goes on.
    """
    scope.server.must_be_usable()
    link = await scope.link()
    address = scope.address = await workspace_address(scope, link)
    await put_right(scope, link, address)
    await scope.client.access.must_be_lockable(address)
    await must_still_be_ending(scope)
    await scope.access_locks.begin(
        scope.database_name, scope.client.name, address.workspace_id, _why(scope), scope.run_id
    )
    empty = await empty_role(scope.client, address)
    items = still_to_take(await look(scope.server, address), empty)
    if items:
        async with scope.change(LOCK_WORKSPACE, _why(scope)) as learnt:
            proof = await _take_and_prove(scope, address, empty, items)
            learnt += [told(await scope.access_locks.items(scope.database_name)), _in_words(proof)]
    else:
        proof = await _prove(scope, address, {})
        known = await scope.access_locks.of(scope.database_name)
        # the run that took it all was cut off before it said so
        proved_before = known is not None and known.locked_at is not None
        await scope.access_locks.settle_locked(
            scope.database_name, None if proved_before else await _last_token(scope, address)
        )
    scope.set(is_true(ConditionType.ACCESS_LOCKED, Reason.ACCESS_LOCKED, await _message(scope, address, proof)))


def _why(scope: Scope) -> str:
    """What asks for the lock: where the tenant is in its life."""
    life = next((known for known in scope.plan.conditions if known.type is ConditionType.LIFECYCLE), None)
    return life.message if life else "The tenant is suspended."


async def _take_and_prove(scope: Scope, address: WorkspaceAddress, empty: str, items: Sequence[LockedItem]) -> _Proof:
    """The same; what one member or key meets is raised once everything else is taken."""
    tokens: dict[str, Token] = {}
    met: dict[tuple[str, str], Fault] = {}
    for _ in range(_ROUNDS):
        tokens |= await _tokens_before(scope, address, [item for item in items if item.user_id not in tokens])
        await scope.access_locks.record(scope.database_name, items)
        await take(scope.client, address, empty, items, met)
        items = [item for item in still_to_take(await look(scope.server, address), empty) if item.key not in met]
        if not items:
            break
    else:
        raise Fault(
            FaultKind.BUSY,
            Reason.LOCK_NOT_PROVED,
            f"Members join workspace {address.workspace_id}, or keys are made there, while it is being locked: "
            f"{told(items)} after {_ROUNDS} rounds. The next run goes on.",
        )
    for fault in met.values():
        raise fault
    until = await _last_token(scope, address)
    proof = await _prove(scope, address, tokens)
    await scope.access_locks.settle_locked(scope.database_name, until)
    return proof


async def _last_token(scope: Scope, address: WorkspaceAddress) -> datetime:
    """When the last access token runs out that a member got before: not later than one that our account gets now."""
    return (await scope.client.log_in(scope.client.service_account, address)).expires_at


# --- taking ----------------------------------------------------------------------------------------------------------


async def take(
    client: TwentyClient,
    address: WorkspaceAddress,
    empty: str,
    items: Sequence[LockedItem],
    met: dict[tuple[str, str], Fault],
) -> None:
    """Take of these what may be taken now: keys and records only once no member has a role that gives anything.

    Until then a member may give a role back or make a key; without a living record Twenty takes no role away. What one
    of them meets is kept in `met`.

    Raises:
        Fault: of the server.
    """

    async def taken(item: LockedItem, doing: Awaitable[None]) -> None:
        try:
            await doing
        except Fault as fault:
            if fault.kind is not FaultKind.TENANT:
                raise
            met[item.key] = fault

    for item in of_kind(items, ItemKind.SETTING):
        if item.id == INVITE_LINK:
            await client.invite_links.turn_off(address)
        else:
            await client.set_default_role(address, empty)
    members = of_kind(items, ItemKind.MEMBER)
    with_rights = [item for item in members if has_rights(item)]
    # one by one: the Admins among them come first
    for item in with_rights:
        await taken(item, client.set_role(address, item.id, empty))
    if with_rights:
        return
    await all_of(taken(key, client.revoke_api_key(address, key.id)) for key in of_kind(items, ItemKind.API_KEY))
    await all_of(taken(item, client.access.shut_out(address, item.id)) for item in members)


# --- the proof -------------------------------------------------------------------------------------------------------


async def _tokens_before(scope: Scope, address: WorkspaceAddress, items: Iterable[LockedItem]) -> dict[str, Token]:
    """User id → a token of theirs from before, of those who can be logged in as."""

    async def token(item: LockedItem) -> Token | None:
        try:
            return await scope.client.log_in(await scope.account(item.name, item.user_id), address)
        except Fault as fault:
            if fault.kind is not FaultKind.TENANT:
                raise
            return None

    members = of_kind(items, ItemKind.MEMBER)
    found = await all_of(token(item) for item in members)
    return {str(item.user_id): token for item, token in zip(members, found, strict=True) if token is not None}


async def _prove(scope: Scope, address: WorkspaceAddress, tokens: dict[str, Token]) -> _Proof:
    """Try to come in as every member, those who were locked before, too.

    Raises:
        Fault: LOCK_NOT_PROVED, with who comes in how.
    """
    accounts = [await scope.account(entry.email, entry.user_id) for entry in await members_of(scope.server, address)]

    async def tried(account: Account) -> str | None:
        way = await scope.client.access.open_way(account, address, tokens.get(account.user_id or ""))
        await scope.client.sign_out(account, address)
        return way and f"{account.email}: {way}"

    ways = [way for way in await all_of(tried(account) for account in accounts) if way is not None]
    if ways:
        raise Fault(
            FaultKind.TENANT,
            Reason.LOCK_NOT_PROVED,
            f"Workspace {address.workspace_id} is locked, and that is not proved for {len(ways)} of {len(accounts)} "
            f"members: {first_few(ways, by='; ', more='; and ')}. Look at them now; the next run tries again.",
        )
    impersonated = sum(scope.client.let_in_by_our_password(account) is False for account in accounts)
    return _Proof(len(accounts), impersonated)


def _in_words(proof: _Proof) -> str:
    by = f", {proof.impersonated} of them by impersonation, since their passwords are not ours" * bool(
        proof.impersonated
    )
    members = "1 member" if proof.members == 1 else f"{proof.members} members"
    return f"proved for {members}{by}: tokens from before read no records, no session is renewed, no login comes in"


async def _message(scope: Scope, address: WorkspaceAddress, proof: _Proof) -> str:
    """What is locked and proved, and what is still open, for how long."""
    items = await scope.access_locks.items(scope.database_name)
    known = await scope.access_locks.of(scope.database_name)
    told_of = [f"Access to workspace {address.workspace_id} is locked ({told(items)}); {_in_words(proof)}."]
    if known is not None and known.tokens_until is not None:
        told_of.append(
            "Access tokens from before can still read messages, calendar events, attachments, timelines and who is a "
            f"member until {known.tokens_until.astimezone(UTC):%Y-%m-%d %H:%M} UTC."
        )
        if await scope.client.first_taken((operations.SIGN_OUT,)):
            told_of.append("For how long the cookie of a browser can, on this version of Twenty, is not known.")
    invited = await scope.server.database.invitations([address.workspace_id])
    if invited:
        who = first_few([f"{row['email']} as {row['role'] or 'anyone who joins'}" for row in invited])
        told_of.append(
            f"{len(invited)} personal invitations are open ({who}): who accepts one comes in until the next run locks. "
            "Withdraw them in Twenty (Settings > Members) if they must not."
        )
    return " ".join(told_of)
