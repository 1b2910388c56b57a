"""Ending the access of a workspace's members and giving it back, as our account; and the proof that it ended."""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import Account, Token, WorkspaceAddress
from provisioning_pipeline.clients.twenty.errors import (
    TwentyFault,
    is_dead_token,
    is_no_member,
    is_no_object,
    is_not_permitted,
    is_record_unknown,
)
from provisioning_pipeline.clients.twenty.operations import HeldRole
from provisioning_pipeline.clients.twenty.session import TwentySession
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

_MARK: Final = "2999-01-01T00:00:00Z"
"""Twenty removes for good what was marked as deleted for some days, counted from this date."""
_NO_RECORD: Final = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class RoleInUse:
    """A role, and the living member records that have it.

    Args:
        empty: it gives nothing at all.
        manages: it may give roles.
    """

    id: str
    label: str
    empty: bool
    manages: bool
    member_ids: frozenset[str]


class WorkspaceAccess:
    """Who may do what in one server's workspaces, as the service account sees and sets it."""

    def __init__(self, session: TwentySession) -> None:
        self._session = session

    async def must_be_lockable(self, address: WorkspaceAddress) -> None:
        """Make sure, before anything is taken, that this server has every call that a lock and its end need.

        Records are no part of the schema that a probe is validated against, so a record that there is not is updated.

        Raises:
            Fault: UNSUPPORTED_TWENTY when it lacks one.
        """
        taken = (await self._session.surface()).operations
        lacks = [operation.name for operation in _NEEDED if operation.document not in taken]
        try:
            await self._mark(address, _NO_RECORD, _MARK)
        except TwentyFault as fault:
            if not is_record_unknown(fault.error):
                if not is_no_object(fault.error):
                    raise
                lacks.append(operations.MARK_MEMBER_RECORD.name)
        if lacks:
            raise Fault(
                FaultKind.TENANT,
                Reason.UNSUPPORTED_TWENTY,
                f"{self._session.system} lacks what a workspace cannot be locked without: {', '.join(lacks)}. Nothing "
                "was changed in it. Look for a newer release of this program.",
            )

    # --- roles -------------------------------------------------------------------------------------------------------

    async def roles(self, address: WorkspaceAddress) -> list[RoleInUse]:
        """The workspace's roles, and which living member records have them."""
        return [_in_use(role) for role in await self._session.call_in(address, operations.GET_ROLES_IN_FULL)]

    async def make_empty_role(self, address: WorkspaceAddress, label: str) -> str:
        """Make a role that gives nothing; its id.

        Raises:
            TwentyFault: when the workspace has a role of this label.
        """
        variables = {"label": label, "description": "Of members whose workspace is suspended. It gives nothing."}
        made = await self._session.call_in(address, operations.CREATE_EMPTY_ROLE, variables)
        self._session.known.roles.pop(address.workspace_id, None)
        return made.id

    async def delete_role(self, address: WorkspaceAddress, role_id: str) -> None:
        """Delete a role that no one has: Twenty gives the default role to those who have it."""
        await self._session.call_in(address, operations.DELETE_ROLE, {"roleId": role_id})
        self._session.known.roles.pop(address.workspace_id, None)

    # --- member records and keys -------------------------------------------------------------------------------------

    async def shut_out(self, address: WorkspaceAddress, member_id: str) -> None:
        """Mark a member record as deleted: that person logs in no more and renews no session. Twice is once."""
        await self._mark(address, member_id, _MARK)

    async def let_back(self, address: WorkspaceAddress, member_id: str) -> bool:
        """Take that mark off; False when the record is not there any more."""
        try:
            await self._mark(address, member_id, None)
        except TwentyFault as fault:
            if not is_record_unknown(fault.error):
                raise
            return False
        return True

    async def _mark(self, address: WorkspaceAddress, member_id: str, deleted_at: str | None) -> None:
        variables = {"id": member_id, "deletedAt": deleted_at}
        await self._session.call_in(address, operations.MARK_MEMBER_RECORD, variables)

    async def restore_api_key(self, address: WorkspaceAddress, key_id: str) -> bool:
        """Let a revoked API key be good again; False when the workspace has none with this id."""
        return await self._session.call_in(address, operations.RESTORE_API_KEY, {"id": key_id}) is not None

    # --- the proof ---------------------------------------------------------------------------------------------------

    async def open_way(self, account: Account, address: WorkspaceAddress, token: Token | None) -> str | None:
        """Try to come in as a member who is locked out: with a token from before, and by a new login.

        The new login is by password, or by impersonation where that is not ours.

        Args:
            token: one from before the lock, or None when there was none.

        Returns:
            None when Twenty refuses records to the token, its renewal and the login; else, as a clause, the way that
            is still open, or that was refused for another reason and so proves nothing.

        Raises:
            Fault: transient, busy or of the server; it proves nothing either way.
        """
        if token is not None:
            open_way = await _refusal("an access token from before", "reads records", self._read(token))
            if open_way is None and token.refresh is not None:
                open_way = await _refusal("the session of before", "is renewed", self._renew(token.refresh))
            if open_way is not None:
                return open_way
        return await _refusal("a new login", "lets them in", self._log_in(account, address))

    async def _read(self, token: Token) -> None:
        for read in operations.RECORD_READS:
            try:
                await self._session.call_with(token, read)
            except TwentyFault as fault:
                if is_not_permitted(fault.error):
                    raise _Refused from None
                if not is_no_object(fault.error):
                    raise
            else:
                return
        raise Fault(
            FaultKind.TENANT,
            Reason.LOCK_NOT_PROVED,
            f"{self._session.system}: the workspace has none of the objects by which we see whether a role reads "
            f"records ({', '.join(read.name for read in operations.RECORD_READS)}). Switch one of them on in Twenty.",
        )

    async def _renew(self, refresh_token: str) -> None:
        await self._session.call(operations.RENEW_TOKEN, {"appToken": refresh_token})

    async def _log_in(self, account: Account, address: WorkspaceAddress) -> None:
        await self._session.log_in(account, address)
        await self._session.sign_out(account, address)


_NEEDED: Final = (
    operations.GET_ROLES_IN_FULL,
    operations.CREATE_EMPTY_ROLE,
    operations.SET_DEFAULT_ROLE,
    operations.UPDATE_WORKSPACE,
    operations.REVOKE_API_KEY,
    operations.RESTORE_API_KEY,
)


def _in_use(role: HeldRole) -> RoleInUse:
    gives = (
        role.can_update_all_settings,
        role.can_access_all_tools,
        role.can_read_all_object_records,
        role.can_update_all_object_records,
        role.can_soft_delete_all_object_records,
        role.can_destroy_all_object_records,
        bool(role.permission_flags),
        bool(role.object_permissions),
    )
    holders = frozenset(member.id for member in role.workspace_members)
    return RoleInUse(role.id, role.label, not any(gives), role.can_update_all_settings, holders)


class _Refused(Exception):
    """Twenty refused records to the role of this token."""


async def _refusal(way: str, does: str, attempt: Coroutine[Any, Any, None]) -> str | None:
    """None when the attempt is refused as it is to those who are locked out, else what happened instead."""
    try:
        await attempt
    except _Refused:
        return None
    except TwentyFault as fault:
        # a token that Twenty accepts from no one lets no one in
        if is_no_member(fault.error) or is_dead_token(fault.error):
            return None
        if fault.kind is not FaultKind.TENANT:
            raise
        return f"of {way} it cannot be told, since Twenty refused it for another reason ({fault.error.message})"
    return f"{way} still {does}"
