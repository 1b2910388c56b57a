"""What may be asked of one Twenty server: workspaces, members and their roles, invitations, onboarding."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

from provisioning_pipeline.clients.http import plain_text
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.access import WorkspaceAccess
from provisioning_pipeline.clients.twenty.accounts import (
    Account,
    ApiKey,
    Created,
    Renewal,
    SeenUser,
    Token,
    WorkspaceAddress,
)
from provisioning_pipeline.clients.twenty.errors import (
    TwentyError,
    TwentyFault,
    is_dead_token,
    is_duplicate,
    is_gone,
    is_half_member,
    is_no_member,
    record_in_the_way,
    without_membership,
)
from provisioning_pipeline.clients.twenty.members import InviteLinks
from provisioning_pipeline.clients.twenty.operation import Operation
from provisioning_pipeline.clients.twenty.operations import SeenWorkspace, Success
from provisioning_pipeline.clients.twenty.session import KnownServer, TwentySession
from provisioning_pipeline.clients.twenty.wire import TwentyWire, issued
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.settings import TwentyServer

T = TypeVar("T")


class TwentyClient(TwentySession):
    """The API of one Twenty server.

    Nothing that changes anything is sent before `check_contract` has found everything that is needed. With `known`,
    what another client of the same server learnt holds here too, and who is signed in stays so.
    """

    def __init__(
        self,
        server: TwentyServer,
        wire: TwentyWire,
        *,
        activation_timeout_seconds: float,
        known: KnownServer | None = None,
    ) -> None:
        super().__init__(server, wire, known)
        self.name = server.name
        self.invite_links = InviteLinks(self)
        self.access = WorkspaceAccess(self)
        self._activation_timeout = activation_timeout_seconds
        self._reading_roles: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    # --- workspaces ---------------------------------------------------------------------------------------------

    async def get_ready_to_create(self) -> None:
        """Everything that may fail before a workspace is made, so that making it is one call and nothing else."""
        await self.check_contract()
        await self.service_token()

    async def create_workspace(self, display_name: str, subdomain: str) -> Created:
        """Make a workspace owned by the service account. Not idempotent: write an intent first.

        Raises:
            TwentyFault: SUBDOMAIN_TAKEN also when an earlier call of ours made it and its answer was lost.
            Fault: with `effect_unknown` when the answer was lost.
        """
        variables = {"displayName": display_name, "subdomain": subdomain}
        answer = await self.call_in_no_workspace(operations.SIGN_UP_IN_NEW_WORKSPACE, variables)
        return Created(_address(answer.workspace), answer.login_token.token)

    async def enter(self, created: Created) -> None:
        """Use the login token of a workspace that was just made; without it, the next call signs in by password."""
        await self.enter_by_gift(self.service_account, created.address, created.login_token)

    async def address(self, workspace_id: str) -> WorkspaceAddress:
        """Where one signs in to a workspace of the service account, as Twenty says it now.

        Raises:
            Fault: when the service account is no member of it.
        """
        if workspace_id not in self.known.addresses:
            _, answer = await self.sign_in_service_account(operations.SIGN_IN_AND_LIST_WORKSPACES)
            for entry in answer.available_workspaces.available_workspaces_for_sign_in:
                self.known.addresses[entry.id] = _address(entry)
        if workspace_id not in self.known.addresses:
            raise Fault(
                FaultKind.TENANT,
                Reason.WORKSPACE_INCOMPLETE,
                f"{self.system}: the service account is no member of workspace {workspace_id}, so it cannot work "
                "there. Add it as an Admin of that workspace.",
            )
        return self.known.addresses[workspace_id]

    async def activate_workspace(self, address: WorkspaceAddress) -> str:
        """Activate it and drop the token from before: that one knows no workspace member.

        Returns the activation status that Twenty answers, ACTIVE when all is well.
        """
        answer = await self.call_as(
            self.service_account,
            address,
            operations.ACTIVATE_WORKSPACE,
            timeout_seconds=self._activation_timeout,
        )
        await self.sign_out(self.service_account, address)
        return answer.activation_status

    async def delete_workspace(self, address: WorkspaceAddress) -> None:
        """Delete the workspace, as the service account: at once no token, key or login of it works any more.

        Its rows stay until Twenty's own clean-up destroys them. Twenty deletes the accounts that were in no other
        workspace, too: also ours.

        Raises:
            TwentyFault: whatever Twenty refuses, also where it was deleted before: ask its database.
        """
        await self.call_in(address, operations.DELETE_CURRENT_WORKSPACE)

    async def still_open(self, address: WorkspaceAddress, token: Token | None) -> str | None:
        """Try to come into a workspace that was deleted, by our token from before and by a new login of ours.

        Returns:
            None when Twenty refused each way, because there is no such workspace or no such account; else a clause.
        """
        self.forget(self.service_account, address)
        self.known.addresses.pop(address.workspace_id, None)
        open_way = None if token is None else await _refusal("an access token from before", self._look(token), is_gone)
        return open_way or await _refusal("a new login", self._log_in_where(address), is_gone)

    async def _log_in_where(self, address: WorkspaceAddress) -> None:
        """Ask for a login at this address, which may be another workspace's by now: then it leads into that one."""
        credentials = {**self.service_account.credentials(), "origin": address.url}
        answer = await self.call(operations.GET_LOGIN_TOKEN_FROM_CREDENTIALS, credentials)
        if issued(answer.login_token).workspace_id not in (None, address.workspace_id):
            raise TwentyFault(
                FaultKind.TENANT,
                Reason.WORKSPACE_GONE,
                f"{self.system}: {address.url} is another workspace's by now.",
                TwentyError("Workspace not found", "", ""),
            )

    async def set_default_role(self, address: WorkspaceAddress, role_id: str) -> None:
        """Give everyone who joins the workspace from now on this role, as the service account; members keep theirs."""
        await self.call_in(address, operations.SET_DEFAULT_ROLE, {"defaultRoleId": role_id})

    # --- members of a workspace, as the service account ------------------------------------------------------------

    async def join(self, account: Account, address: WorkspaceAddress, invite_hash: str) -> None:
        """Make the account a member, creating it when it is new: two calls, after which its token is stored.

        No e-mail is sent; joining twice is joining once. A person who has a member record but no membership gets
        the membership, with the default role, and keeps the record.

        Raises:
            TwentyFault: FOREIGN_PASSWORD when the account exists with a password that is not ours;
                INVITE_LINK_DISABLED, also for a person who is a member already;
                HALF_MEMBER when the account has a membership without a member record, or when another account's
                member record has this e-mail.
            Fault: WRONG_WORKSPACE when the link led into another workspace, of which they are a member now.
        """
        await self.check_contract()
        variables = {**account.credentials(), "workspaceInviteHash": invite_hash}
        try:
            answer = await self.call(operations.SIGN_UP_IN_WORKSPACE, variables)
        except TwentyFault as fault:
            if not is_duplicate(fault.error):
                raise
            raise record_in_the_way(self.system, account.email, fault) from None
        if answer.workspace.id != address.workspace_id:
            raise Fault(
                FaultKind.TENANT,
                Reason.WRONG_WORKSPACE,
                f"{self.system}: the invite link of workspace {address.workspace_id} led {account.email} into "
                f"workspace {answer.workspace.id}: an admin there has given it the same link. Remove them from there; "
                "the next run gives this one another link, and adds them.",
            )
        await self.enter_by_gift(account, _address(answer.workspace), answer.login_token.token)

    async def roles(self, address: WorkspaceAddress) -> dict[str, str]:
        """The ids of the workspace's roles by label, read once by this client."""
        async with self._reading_roles[address.workspace_id]:
            if address.workspace_id not in self.known.roles:
                answer = await self.call_in(address, operations.GET_ROLES)
                self.known.roles[address.workspace_id] = {role.label: role.id for role in answer}
        return self.known.roles[address.workspace_id]

    async def role_id(self, address: WorkspaceAddress, label: str) -> str:
        """The id of the role with this label in this workspace.

        Raises:
            Fault: ROLE_UNKNOWN, naming the roles that there are.
        """
        roles = await self.roles(address)
        if label not in roles:
            raise Fault(
                FaultKind.TENANT,
                Reason.ROLE_UNKNOWN,
                f"{self.system}: workspace {address.workspace_id} has no role {label}; it has "
                f"{', '.join(sorted(roles)) or 'none'}. Make that role there (Settings > Roles), or correct "
                "PROVISIONING_MEMBER_ROLES or PROVISIONING_MEMBER_DEFAULT_ROLE; the next run gives it.",
            )
        return roles[label]

    async def set_role(self, address: WorkspaceAddress, workspace_member_id: str, role_id: str) -> None:
        """Give a member a role in place of the one they have, if any; giving the same again changes nothing.

        Raises:
            TwentyFault: LAST_ADMIN_KEPT when that would leave the workspace without an Admin.
        """
        variables = {"workspaceMemberId": workspace_member_id, "roleId": role_id}
        await self.call_in(address, operations.UPDATE_WORKSPACE_MEMBER_ROLE, variables)

    async def remove_member(self, address: WorkspaceAddress, workspace_member_id: str) -> None:
        """Take a member out of the workspace; removing twice is removing once.

        Twenty deletes the account, too, when this was its only workspace. An open invitation survives and would let
        the person in again: see `withdraw_invitations`, and `lets_in` for the proof.

        Raises:
            Fault: LAST_ADMIN_KEPT for the last Admin and for the service account itself;
                HALF_MEMBER when the person has no membership, or no role, without which Twenty removes no one.
        """
        await self._not_ourselves(address, workspace_member_id)
        variables = {"workspaceMemberIdToDelete": workspace_member_id}
        try:
            await self.call_in(address, operations.DELETE_USER_FROM_WORKSPACE, variables)
        except TwentyFault as fault:
            if fault.error.message.startswith("Workspace member to delete not found"):
                return
            if not is_half_member(fault.error):
                raise
            raise without_membership(self.system, workspace_member_id, address.workspace_id, fault) from None

    async def _not_ourselves(self, address: WorkspaceAddress, workspace_member_id: str) -> None:
        """Twenty deletes a whole workspace with its last member record, so ours must be there and stay."""
        if address.workspace_id not in self.known.own_members:
            seen = await self.current_user(self.service_account, address)
            self.known.own_members[address.workspace_id] = seen.workspace_member_id
        own = self.known.own_members[address.workspace_id]
        if own is None or own == workspace_member_id:
            raise Fault(
                FaultKind.TENANT,
                Reason.LAST_ADMIN_KEPT,
                f"{self.system}: no one is removed from workspace {address.workspace_id}, because the service account "
                f"{'has no member record there' if own is None else 'is the one to be removed'}.",
            )

    async def invite(self, address: WorkspaceAddress, email: str, role_id: str | None) -> None:
        """Send a personal invitation: an e-mail leaves Twenty. It is good for 30 days.

        It carries the role, or the workspace's default role for None.

        Twenty sends nothing to a person who is a member or has an invitation already.

        Raises:
            TwentyFault: REFUSED_BY_TWENTY, also at its limits: 10 to one address and 500 of a workspace in 7 days, 10
                while the workspace's step INVITE_TEAM is pending.
            Fault: REFUSED_BY_TWENTY with Twenty's own words.
        """
        # in another case Twenty would invite a person who is a member already
        variables = {"emails": [email.strip().lower()], "roleId": role_id}
        answer = await self.call_in(address, operations.SEND_INVITATIONS, variables)
        refused = [plain_text(text) for text in answer.errors if "already" not in text]
        if refused:
            raise Fault(
                FaultKind.TENANT,
                Reason.REFUSED_BY_TWENTY,
                f"{self.system} refused to invite {email}: {'; '.join(refused)}",
            )

    async def withdraw_invitations(self, address: WorkspaceAddress, email: str) -> int:
        """Delete the personal invitations of this address to the workspace, and say how many there were.

        A person with an account and an open invitation joins by signing in.
        """
        found = await self._invitations(address, email)
        for invitation_id in found:
            await self.call_in(address, operations.DELETE_WORKSPACE_INVITATION, {"appTokenId": invitation_id})
        return len(found)

    async def _invitations(self, address: WorkspaceAddress, email: str) -> list[str]:
        answer = await self.call_in(address, operations.FIND_WORKSPACE_INVITATIONS)
        return [entry.id for entry in answer if entry.email.lower() == email.strip().lower()]

    # --- API keys, as the service account -----------------------------------------------------------------------------

    async def api_keys(self, address: WorkspaceAddress) -> list[ApiKey]:
        """The workspace's API keys that still work, oldest first."""
        answer = await self.call_in(address, operations.API_KEYS)
        keys = [ApiKey(key.id, key.name, key.created_at, key.expires_at) for key in answer]
        now = datetime.now(UTC)
        return sorted((key for key in keys if key.expires_at > now), key=lambda key: (key.created_at, key.id))

    async def revoke_api_key(self, address: WorkspaceAddress, key_id: str) -> None:
        """Let an API key be refused from now on; revoking twice is revoking once."""
        await self.call_in(address, operations.REVOKE_API_KEY, {"id": key_id})

    # --- proving that a person is out ------------------------------------------------------------------------------

    async def lets_in(self, account: Account, address: WorkspaceAddress, token: Token | None) -> str | None:
        """Try to come in as that person who was removed: with a token from before, and by a new login.

        The new login is by password; where that is not ours or the account unknown by its e-mail, by impersonation,
        for which `user_id` is needed. It is tried only when the person has no invitation to the workspace, because
        Twenty lets a person with one join before it looks at the password.

        Args:
            account: the person, by the e-mail and the user id that they had as a member.
            address: the workspace that they must not come into.
            token: one from before the removal (`member_token`), or None when there was none.

        Returns:
            None when Twenty refused each way because there is no such member; else, as a clause, the way that is
            still open, or that was refused for another reason and so proves nothing.

        Raises:
            Fault: transient, busy or of the server; it proves nothing either way.
        """
        self.forget(account, address)
        open_way = None
        if token is not None:
            open_way = await _refusal("an access token from before", self._look(token))
        if open_way is None and await self._invitations(address, account.email):
            open_way = (
                f"a personal invitation lets {account.email} join again by signing in (Twenty, Settings > Members)"
            )
        if open_way is None:
            open_way = await _refusal("a new login", self._new_login(account, address))
        return open_way

    async def _look(self, token: Token) -> None:
        try:
            await self.call_with(token, operations.CURRENT_USER)
        except TwentyFault as fault:
            # a token that Twenty accepts from no one lets no one in
            if not is_dead_token(fault.error):
                raise

    async def _new_login(self, account: Account, address: WorkspaceAddress) -> None:
        await self.log_in(account, address)
        await self.sign_out(account, address)

    async def renewal(self, token: Token | None) -> Renewal:
        """Try to renew a login that a member who was removed had before.

        A browser does that with its refresh token, so that a session may outlast the access token by weeks.

        Raises:
            Fault: transient, busy or of the server; it proves nothing either way.
        """
        if token is None or token.refresh is None:
            return Renewal(None, "no login of theirs could be opened before")
        if await self.first_taken((operations.RENEW_TOKEN,)) is None:
            return Renewal(None, "this server has no call for it")
        try:
            answer = await self.call(operations.RENEW_TOKEN, {"appToken": token.refresh})
        except TwentyFault as fault:
            if fault.kind is not FaultKind.TENANT:
                raise
            if is_no_member(fault.error):
                return Renewal(True, "refused")
            return Renewal(None, f"it was refused for another reason ({fault.error.message})")
        still = await _refusal(
            "a login renewed by a refresh token from before", self._look(issued(answer.tokens.access))
        )
        return Renewal(still is None, still or "what it gives is refused")

    # --- as a member --------------------------------------------------------------------------------------------

    async def change_email(self, account: Account, address: WorkspaceAddress, email: str) -> None:
        """Give this member's own account another e-mail, as them; the same again changes nothing.

        Their password and their logins stay. Twenty's worker writes it into their member record a moment later.

        Raises:
            TwentyFault: also when another account has it, when they belong to several workspaces, or when their role
                or the workspace does not let them change it (`why_email_stays` says which).
        """
        try:
            await self.call_as(account, address, operations.UPDATE_USER_EMAIL, {"newEmail": email})
        except TwentyFault as fault:
            if fault.error.sub_code != "EMAIL_UNCHANGED":
                raise

    def let_in_by_our_password(self, account: Account) -> bool | None:
        """Whether the last login of that person was by the password that we derive; None when there was none."""
        return self.known.by_our_password.get(account.email)

    async def current_user(
        self, account: Account, address: WorkspaceAddress, *, by_new_login: bool = False
    ) -> SeenUser:
        """Sign in as that person and read what Twenty shows them. `by_new_login` uses no token from before."""
        if by_new_login:
            await self.sign_out(account, address)
        answer = await self.call_as(account, address, operations.CURRENT_USER)
        member = answer.workspace_member
        name = member.name if member else None
        return SeenUser(
            user_id=answer.id,
            onboarding_status=answer.onboarding_status,
            workspace_id=answer.current_workspace.id if answer.current_workspace else None,
            workspace_member_id=member.id if member else None,
            first_name=(name.first_name if name else None) or "",
            last_name=(name.last_name if name else None) or "",
        )

    async def step_call(self, key: str) -> Operation[Success] | None:
        """What this server has to clear the onboarding step of this key for the person who calls; None: nothing."""
        return await self.first_taken(operations.STEP_CALLS.get(key, ()))

    async def clear_step(self, account: Account, address: WorkspaceAddress, call: Operation[Success]) -> None:
        """Clear a step of that person by a call that `step_call` named; nothing is installed or booked."""
        await self.call_as(account, address, call)

    async def set_name(
        self, address: WorkspaceAddress, workspace_member_id: str, first_name: str, last_name: str
    ) -> None:
        """Set a member's name, as the service account; a non-empty one clears their step PROFILE_CREATION."""
        update = {"name": {"firstName": first_name, "lastName": last_name}}
        variables = {"workspaceMemberId": workspace_member_id, "update": update}
        await self.call_in(address, operations.UPDATE_WORKSPACE_MEMBER_SETTINGS, variables)

    async def skip_team_invitations(self, address: WorkspaceAddress) -> None:
        """Clear the workspace-wide step INVITE_TEAM, as the service account; an empty list sends no e-mail."""
        await self.call_in(address, operations.SEND_INVITATIONS, {"emails": []})


def _address(workspace: SeenWorkspace) -> WorkspaceAddress:
    return WorkspaceAddress(workspace.id, workspace.workspace_urls.subdomain_url)


async def _refusal(
    way: str, attempt: Coroutine[Any, Any, None], expected: Callable[[TwentyError], bool] = is_no_member
) -> str | None:
    """None when the attempt is refused for want of a member, or as expected; else what happened instead."""
    try:
        await attempt
    except TwentyFault as fault:
        if expected(fault.error):
            return None
        if fault.kind is not FaultKind.TENANT:
            raise
        return f"{way} was refused for another reason, which proves nothing ({fault.error.message})"
    return f"{way} still lets them in"
