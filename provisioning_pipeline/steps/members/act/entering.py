"""One person into a workspace, or wholly into it, by what they lack there: membership, member record or both."""

from contextlib import suppress
from dataclasses import dataclass

from provisioning_pipeline.clients.twenty.accounts import Account, Door
from provisioning_pipeline.clients.twenty.errors import TwentyFault, is_unknown_user
from provisioning_pipeline.clients.twenty.roster import MemberRecord, Roster, RosterEntry
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.steps.members.changes import MEND_MEMBER
from provisioning_pipeline.steps.scope import Scope

_MOST_RETIRED = 3
"""Joins within a day that each left a membership without a record: after so many none is tried."""
_NOTHING_MADE = frozenset({Reason.FOREIGN_PASSWORD, Reason.INVITE_LINK_DISABLED})
"""Refusals of a join before anything is written."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody who is to be a whole member.

    Args:
        email: of their account, lower case.
        twenty_user_id: their account, where it is known.
        first_name, last_name: for a record that is made by SQL; a join makes one without a name.
        change: what the join is recorded as, with what detail.
    """

    email: str
    twenty_user_id: str | None
    first_name: str
    last_name: str
    change: Change
    detail: str


def restorable(roster: Roster, entry: RosterEntry | None) -> MemberRecord | None:
    """The record that is only marked as deleted, of somebody who has a membership and no living record."""
    if entry is None or entry.workspace_member_id is not None:
        return None
    return roster.deleted_of({entry.user_id})


async def restore(scope: Scope, door: Door, email: str, record: MemberRecord) -> None:
    """Take the mark of deletion off a person's own record, so that they come in again with the role that they have."""
    async with scope.change(MEND_MEMBER, f"{email}: record {record.id} was marked as deleted, the mark is off"):
        await scope.server.database.records.restore(door.workspace_id, record)


async def enter(scope: Scope, door: Door, roster: Roster, newcomer: Newcomer, invite_hash: str) -> bool:
    """Make somebody a whole member who lacks the membership, the record or both. Nothing that must fail is tried.

    Returns:
        Whether they joined, and so have the workspace's default role; otherwise they have the role of before.

    Raises:
        Fault: HALF_MEMBER when another account's record has their e-mail; FOREIGN_PASSWORD when they have a password
            of their own and no membership; ACCOUNT_AMBIGUOUS when their account has another spelling.
    """
    records, email = scope.server.database.records, newcomer.email
    accounts = await scope.server.database.user_ids(email)
    own = {*accounts, *([newcomer.twenty_user_id] if newcomer.twenty_user_id else [])}
    _must_not_be_blocked(roster, newcomer, own)
    account = scope.account(email, newcomer.twenty_user_id)
    entry = roster.of(newcomer.twenty_user_id, email)
    if accounts:
        # somebody has this e-mail here already: a wrong password is found out before anything is sent
        try:
            await _check_password(scope, account)
        except Fault as fault:
            if fault.reason is not Reason.FOREIGN_PASSWORD or entry is None:
                raise
            await _insert(scope, door, entry, newcomer)
            return False
    await _must_not_be_tried_again(scope, door, email, own)
    deleted = roster.deleted_of(own)
    if deleted is not None:
        await restore(scope, door, email, deleted)
    if entry is not None:
        async with scope.change(MEND_MEMBER, f"{email}, who had no member record"):
            await records.retire_membership(door.workspace_id, entry.user_id)
    async with scope.server.joining(email), scope.change(newcomer.change, newcomer.detail):
        try:
            await _join_once(scope, account, door, invite_hash, known=bool(accounts))
        except Fault as fault:
            if fault.kind is FaultKind.TENANT and fault.reason not in _NOTHING_MADE:
                await _take_back(scope, door, email)
            raise
    return True


async def _join_once(scope: Scope, account: Account, door: Door, invite_hash: str, *, known: bool) -> None:
    """Join; when another process made the same new account meanwhile, join with that."""
    try:
        await scope.client.join(account, door, invite_hash)
    except Fault as fault:
        if known or fault.reason is not Reason.HALF_MEMBER or not await scope.server.database.user_ids(account.email):
            raise
        await scope.client.join(account, door, invite_hash)


async def _take_back(scope: Scope, door: Door, email: str) -> None:
    """Retire the membership without a record that a refused join has left behind."""
    # where that is not allowed, the refusal itself is what is told
    with suppress(Fault):
        for user_id in await scope.server.database.user_ids(email):
            await scope.server.database.records.retire_membership(door.workspace_id, user_id)


async def _insert(scope: Scope, door: Door, entry: RosterEntry, newcomer: Newcomer) -> None:
    """Make the record of somebody who cannot join by our password, and keeps the membership and role that they have."""
    detail = f"{newcomer.email}: the missing member record made by SQL, since their password is their own"
    async with scope.change(MEND_MEMBER, detail):
        await scope.server.database.records.insert(door.workspace_id, entry, newcomer.first_name, newcomer.last_name)


def _must_not_be_blocked(roster: Roster, newcomer: Newcomer, own: set[str]) -> None:
    """Twenty takes each e-mail once per workspace, also from a record whose account is another, or that is deleted."""
    record = roster.in_the_way(newcomer.email, own)
    if record is None:
        return
    state = "marked as deleted, which does not free the e-mail" if record.deleted else "not deleted"
    raise Fault(
        FaultKind.TENANT,
        Reason.HALF_MEMBER,
        f"{newcomer.email} cannot join: the workspace's member record {record.id} has this e-mail and belongs to "
        f"account {record.user_id}, which is another or a deleted one ({state}). Delete that record for good from "
        '"workspaceMember" in the workspace\'s schema, or give it another "userEmail"; the next run adds them.',
    )


async def _must_not_be_tried_again(scope: Scope, door: Door, email: str, own: set[str]) -> None:
    """A join that failed again and again would leave one more row each time."""
    for user_id in own:
        retired = await scope.server.database.records.retired_lately(door.workspace_id, user_id)
        if retired >= _MOST_RETIRED:
            raise Fault(
                FaultKind.TENANT,
                Reason.HALF_MEMBER,
                f"{email} does not join for now: {retired} joins of theirs within a day left a membership without a "
                "member record. Look into Twenty's server log for why it makes no record; a later run tries again.",
            )


async def _check_password(scope: Scope, account: Account) -> None:
    try:
        await scope.client.check_password(account)
    except TwentyFault as fault:
        if not is_unknown_user(fault.error):
            raise
        raise Fault(
            FaultKind.TENANT,
            Reason.ACCOUNT_AMBIGUOUS,
            f"Twenty has an account of {account.email} in another spelling. Write its e-mail in lower case in "
            'core."user"; the next run adds them.',
        ) from None
