"""One Twenty server over its API: sign-in of the service account and of members, and the calls of a provisioning."""

import asyncio
import base64
import hashlib
import hmac
from collections import defaultdict
from collections.abc import Coroutine, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from pydantic import SecretStr

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.transport import CallCounter, Effect, Transport
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.contract import check_config, lacking, unsupported
from provisioning_pipeline.clients.twenty.errors import (
    TwentyError,
    TwentyFault,
    classify,
    is_dead_token,
    is_duplicate,
    is_expired_token,
    is_half_member,
    is_no_member,
    is_unknown_user,
    is_without_record,
    is_wrong_password,
)
from provisioning_pipeline.clients.twenty.operations import Operation
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.settings import TwentyServer

_RENEW_BEFORE = timedelta(seconds=60)
_PATH = "/metadata"
_CONFIG_PATH = "/client-config"
CONTRACT_CHECK = "contract check"
"""Name under which the calls of `check_contract` are counted."""
_UNGATED = frozenset({CONTRACT_CHECK, operations.ACTIVATE_WORKSPACE.name})
"""One takes seconds of waiting, the other runs nothing: neither keeps anybody else waiting at the gate."""
_NO_GRAPHQL_HERE = frozenset({401, 403, 404, 405})
"""Twenty answers its GraphQL errors with HTTP 200; these come from something else at that address."""


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A bearer token; its repr shows nothing."""

    value: str
    expires_at: datetime

    def is_fresh(self) -> bool:
        """Whether it will last for another minute."""
        return datetime.now(UTC) + _RENEW_BEFORE < self.expires_at


@dataclass(frozen=True, slots=True)
class Account:
    """An account on this server: who signs in, and with which password.

    `user_id`, where it is known, lets the service account impersonate them when the password is not ours.
    """

    email: str
    password: SecretStr
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """Where one signs in to a workspace. `url` is Twenty's own subdomainUrl; its host is what Twenty checks."""

    workspace_id: str
    url: str


@dataclass(frozen=True, slots=True, repr=False)
class Created:
    """A workspace that was just made, with the login token that leads into it."""

    door: Door
    login_token: str


@dataclass(frozen=True, slots=True, repr=False)
class InviteLink:
    """What lets one join a workspace without an e-mail, and whether Twenty takes it now.

    A link that is off is refused to everybody, members included.
    """

    hash: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class SeenUser:
    """What Twenty shows a signed-in person about themselves."""

    user_id: str
    onboarding_status: str | None
    workspace_id: str | None
    workspace_member_id: str | None
    first_name: str
    last_name: str


def derived_password(key: SecretStr, email: str) -> SecretStr:
    """The password of an account that we create: HMAC of the e-mail, so creating twice is the same as once.

    43 characters of base64url, within Twenty's 8 to 50. It is never stored and nobody signs in with it by hand.
    """
    digest = hmac.new(key.get_secret_value().encode(), email.strip().lower().encode(), hashlib.sha256).digest()
    return SecretStr(base64.urlsafe_b64encode(digest).decode().rstrip("="))


class TwentyClient:
    """The API of one Twenty server.

    Nothing that changes anything is sent before `check_contract` has found everything that is needed. At most
    `concurrency` HTTP calls are under way at once; an activation takes seconds and is not counted.
    """

    def __init__(
        self,
        server: TwentyServer,
        *,
        timeout_seconds: float,
        activation_timeout_seconds: float,
        dry_run: bool,
        counter: CallCounter,
        logins: bool = False,
        concurrency: int = 8,
    ) -> None:
        self.name = server.name
        self.system = f'Twenty server "{server.name}"'
        self.service_account = Account(server.service_email.strip().lower(), server.service_password)
        self._activation_timeout = activation_timeout_seconds
        self._transport = Transport(
            server.base_url,
            system=self.system,
            unreachable=Reason.SERVER_UNREACHABLE,
            timeout_seconds=timeout_seconds,
            dry_run=dry_run,
            counter=counter,
            logins=logins,
        )
        self._tokens: dict[tuple[str, str], Token] = {}
        self._doors: dict[str, Door] = {}
        self._roles: dict[str, dict[str, str]] = {}
        self._own_members: dict[str, str | None] = {}
        self._gate = asyncio.Semaphore(concurrency)
        self._contract_met = False
        self._first = asyncio.Lock()
        self._signing_in = asyncio.Lock()
        self._entering: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._reading_roles: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    # --- what the server is -------------------------------------------------------------------------------------

    async def check_contract(self) -> None:
        """Make sure that the server has every field and argument that we use.

        Raises:
            Fault: of kind SERVER, naming what is missing, or saying that this is no Twenty at all.
        """
        async with self._first:
            if self._contract_met:
                return
            config = await self.server_config()
            found = await all_of(self._lacking(operation) for operation in operations.ALL)
            missing = dict.fromkeys(name for names in found for name in names)
            if missing:
                raise unsupported(self.system, missing)
            check_config(self.system, config)
            self._contract_met = True

    async def server_config(self) -> dict[str, Any]:
        """What the server tells everybody about itself (`/client-config`); empty when it tells nothing."""
        async with self._gate:
            response = await self._transport.send("GET", _CONFIG_PATH, name=CONTRACT_CHECK, effect=Effect.READ)
        try:
            config = response.json() if response.status_code == 200 else {}
        except ValueError:
            config = {}
        return config if isinstance(config, dict) else {}

    async def _lacking(self, operation: Operation) -> tuple[str, ...]:
        answer = await self._post(operation.probe(), operation.probe_variables(), CONTRACT_CHECK, Effect.READ, None)
        return lacking(str(error.get("message", "")) for error in answer.get("errors") or [])

    # --- the service account ------------------------------------------------------------------------------------

    async def service_token(self) -> str:
        """A token of the service account that belongs to no workspace.

        Raises:
            Fault: of kind SERVER when the account is missing or its password is wrong.
        """
        return (await self._agnostic_token()).value

    async def sign_in(self) -> None:
        """Sign the service account in, so that the first call that needs it does not wait."""
        await self._agnostic_token()

    async def sign_up_service_account(self) -> None:
        """Create the service account; on a server without any user it becomes the server's admin."""
        await self.check_contract()
        answer = await self._call(operations.SIGN_UP, _credentials(self.service_account), None)
        self._tokens[(self.service_account.email, "")] = _token(answer["tokens"]["accessOrWorkspaceAgnosticToken"])

    async def _agnostic_token(self) -> Token:
        async with self._signing_in:
            known = self._tokens.get((self.service_account.email, ""))
            if known and known.is_fresh():
                return known
            answer = await self._sign_in_service_account(operations.SIGN_IN)
            token = _token(answer["tokens"]["accessOrWorkspaceAgnosticToken"])
            self._tokens[(self.service_account.email, "")] = token
            return token

    async def _sign_in_service_account(self, operation: Operation) -> Any:
        try:
            return await self._call(operation, _credentials(self.service_account), None)
        except TwentyFault as fault:
            raise self._service_account_fault(fault) from None

    def _service_account_fault(self, fault: TwentyFault) -> Fault:
        if is_unknown_user(fault.error):
            return Fault(
                FaultKind.SERVER,
                Reason.SERVICE_ACCOUNT_MISSING,
                f"{self.system} has no account {self.service_account.email}. Sign it up there with the configured "
                'password and give it server-admin rights (canAccessFullAdminPanel and canImpersonate in core."user"). '
                "Only on a server without any user is it created by itself.",
            )
        if is_wrong_password(fault.error):
            return Fault(
                FaultKind.SERVER,
                Reason.CREDENTIALS_REFUSED,
                f"{self.system} refuses the password of the service account {self.service_account.email}. "
                "Correct PROVISIONING_TWENTY_SERVICE_PASSWORD (or its entry in PROVISIONING_TWENTY_SERVERS).",
            )
        return fault

    # --- workspaces ---------------------------------------------------------------------------------------------

    async def get_ready_to_create(self) -> None:
        """Everything that may fail before a workspace is made, so that making it is one call and nothing else."""
        await self.check_contract()
        await self._agnostic_token()

    async def create_workspace(self, display_name: str, subdomain: str) -> Created:
        """Make a workspace owned by the service account. Not idempotent: write an intent first.

        Raises:
            TwentyFault: SUBDOMAIN_TAKEN also when an earlier call of ours made it and its answer was lost.
            Fault: with `effect_unknown` when the answer was lost.
        """
        await self.check_contract()
        variables = {"displayName": display_name, "subdomain": subdomain}
        try:
            answer = await self._call(operations.SIGN_UP_IN_NEW_WORKSPACE, variables, await self._agnostic_token())
        except TwentyFault as fault:
            # a token is refused before anything is looked at, so nothing was made yet
            if not is_expired_token(fault.error):
                raise
            self._tokens.pop((self.service_account.email, ""), None)
            answer = await self._call(operations.SIGN_UP_IN_NEW_WORKSPACE, variables, await self._agnostic_token())
        door = Door(answer["workspace"]["id"], answer["workspace"]["workspaceUrls"]["subdomainUrl"])
        return Created(door, answer["loginToken"]["token"])

    async def enter(self, created: Created) -> None:
        """Use the login token of a workspace that was just made; without it, the next call signs in by password."""
        await self._exchange(self.service_account, created.door, created.login_token)

    async def door(self, workspace_id: str) -> Door:
        """Where one signs in to a workspace of the service account, as Twenty says it now.

        Raises:
            Fault: when the service account is no member of it.
        """
        if workspace_id not in self._doors:
            answer = await self._sign_in_service_account(operations.SIGN_IN_AND_LIST_WORKSPACES)
            for entry in answer["availableWorkspaces"]["availableWorkspacesForSignIn"]:
                self._doors[entry["id"]] = Door(entry["id"], entry["workspaceUrls"]["subdomainUrl"])
        if workspace_id not in self._doors:
            raise Fault(
                FaultKind.TENANT,
                Reason.WORKSPACE_INCOMPLETE,
                f"{self.system}: the service account is no member of workspace {workspace_id}, so it cannot work "
                "there. Add it as an Admin of that workspace.",
            )
        return self._doors[workspace_id]

    async def activate_workspace(self, door: Door) -> str:
        """Activate it and drop the token from before: that one knows no workspace member.

        Returns the activation status that Twenty answers, ACTIVE when all is well.
        """
        answer = await self._as(
            self.service_account,
            door,
            operations.ACTIVATE_WORKSPACE,
            timeout_seconds=self._activation_timeout,
        )
        self.forget(self.service_account, door)
        return str(answer["activationStatus"])

    async def invite_link(self, door: Door) -> InviteLink:
        """What lets one join the workspace without an e-mail, as the service account sees it."""
        answer = await self._as(self.service_account, door, operations.CURRENT_WORKSPACE)
        return InviteLink(str(answer["inviteHash"]), bool(answer["isPublicInviteLinkEnabled"]))

    async def open_invite_link(self, door: Door) -> None:
        """Let people join by the invite link, as the service account; its hash stays the same."""
        await self._set_invite_link(door, enabled=True)

    async def close_invite_link(self, door: Door) -> None:
        """Let nobody join by the invite link, as the service account; members stay members."""
        await self._set_invite_link(door, enabled=False)

    async def _set_invite_link(self, door: Door, *, enabled: bool) -> None:
        variables = {"isPublicInviteLinkEnabled": enabled}
        await self._as(self.service_account, door, operations.UPDATE_WORKSPACE, variables)

    # --- members of a workspace, as the service account ------------------------------------------------------------

    async def check_password(self, account: Account) -> None:
        """Sign in without a workspace.

        Raises:
            TwentyFault: FOREIGN_PASSWORD when the account has a password that is not ours.
        """
        await self._call(operations.SIGN_IN, _credentials(account), None)

    async def join(self, account: Account, invite_hash: str) -> None:
        """Make the account a member, creating it when it is new: two calls, after which its token is kept.

        No e-mail is sent; joining twice is joining once. Somebody who has a member record but no membership gets
        the membership, with the default role, and keeps the record.

        Raises:
            TwentyFault: FOREIGN_PASSWORD when the account exists with a password that is not ours;
                INVITE_LINK_DISABLED, also for somebody who is a member already;
                HALF_MEMBER when the account has a membership without a member record, or when another account's
                member record has this e-mail.
        """
        await self.check_contract()
        variables = {**_credentials(account), "workspaceInviteHash": invite_hash}
        try:
            answer = await self._call(operations.SIGN_UP_IN_WORKSPACE, variables, None)
        except TwentyFault as fault:
            if not is_duplicate(fault.error):
                raise
            raise TwentyFault(
                FaultKind.TENANT,
                Reason.HALF_MEMBER,
                f"{self.system}: {account.email} cannot join, because the workspace keeps a member record with this "
                "e-mail that belongs to another or a deleted account. Twenty has no call that removes it: delete it "
                'from "workspaceMember" in the workspace\'s schema by hand, together with the membership without a '
                'record that this try left in core."userWorkspace", then run again.',
                fault.error,
            ) from None
        door = Door(answer["workspace"]["id"], answer["workspace"]["workspaceUrls"]["subdomainUrl"])
        await self._exchange(account, door, answer["loginToken"]["token"])

    async def roles(self, door: Door) -> dict[str, str]:
        """The ids of the workspace's roles by label, read once by this client."""
        async with self._reading_roles[door.workspace_id]:
            if door.workspace_id not in self._roles:
                answer = await self._as(self.service_account, door, operations.GET_ROLES)
                self._roles[door.workspace_id] = {str(role["label"]): str(role["id"]) for role in answer}
        return self._roles[door.workspace_id]

    async def role_id(self, door: Door, label: str) -> str:
        """The id of the role with this label in this workspace.

        Raises:
            Fault: ROLE_UNKNOWN, naming the roles that there are.
        """
        roles = await self.roles(door)
        if label not in roles:
            raise Fault(
                FaultKind.TENANT,
                Reason.ROLE_UNKNOWN,
                f"{self.system}: workspace {door.workspace_id} has no role {label}; it has "
                f"{', '.join(sorted(roles)) or 'none'}.",
            )
        return roles[label]

    async def set_role(self, door: Door, workspace_member_id: str, role_id: str) -> None:
        """Give a member a role in place of the one they have, if any; giving the same again changes nothing.

        Raises:
            TwentyFault: LAST_ADMIN_KEPT when that would leave the workspace without an Admin.
        """
        variables = {"workspaceMemberId": workspace_member_id, "roleId": role_id}
        await self._as(self.service_account, door, operations.UPDATE_WORKSPACE_MEMBER_ROLE, variables)

    async def remove_member(self, door: Door, workspace_member_id: str) -> None:
        """Take a member out of the workspace; removing twice is removing once.

        Twenty deletes the account, too, when this was its only workspace. An open invitation survives and would let
        the person in again: see `withdraw_invitations`, and `lets_in` for the proof.

        Raises:
            Fault: LAST_ADMIN_KEPT for the last Admin and for the service account itself;
                HALF_MEMBER when the person has no membership, or no role, without which Twenty removes nobody.
        """
        await self._not_ourselves(door, workspace_member_id)
        variables = {"workspaceMemberIdToDelete": workspace_member_id}
        try:
            await self._as(self.service_account, door, operations.DELETE_USER_FROM_WORKSPACE, variables)
        except TwentyFault as fault:
            if fault.error.message.startswith("Workspace member to delete not found"):
                return
            if not is_half_member(fault.error):
                raise
            raise TwentyFault(
                FaultKind.TENANT,
                Reason.HALF_MEMBER,
                f"{self.system} cannot remove member {workspace_member_id} of workspace {door.workspace_id}, who has a "
                f"member record but no whole membership ({fault.error.message.rstrip('.')}). With a role and a "
                "membership (joining makes one) the person can be removed.",
                fault.error,
            ) from None

    async def _not_ourselves(self, door: Door, workspace_member_id: str) -> None:
        """Twenty deletes a whole workspace with its last member record, so ours must be there and stay."""
        if door.workspace_id not in self._own_members:
            seen = await self.current_user(self.service_account, door)
            self._own_members[door.workspace_id] = seen.workspace_member_id
        own = self._own_members[door.workspace_id]
        if own is None or own == workspace_member_id:
            raise Fault(
                FaultKind.TENANT,
                Reason.LAST_ADMIN_KEPT,
                f"{self.system}: nobody is removed from workspace {door.workspace_id}, because the service account "
                f"{'has no member record there' if own is None else 'is the one to be removed'}.",
            )

    async def invite(self, door: Door, email: str, role_id: str | None) -> None:
        """Send a personal invitation: an e-mail leaves Twenty. It is good for 30 days.

        It carries the role, or the workspace's default role for None.

        Nothing is sent to whoever is a member or has an invitation already.

        Raises:
            TwentyFault: REFUSED_BY_TWENTY, also at its limits: 10 to one address and 500 of a workspace in 7 days, 10
                while the workspace's step INVITE_TEAM is pending.
            Fault: REFUSED_BY_TWENTY with Twenty's own words.
        """
        # in another case Twenty would invite somebody who is a member already
        variables = {"emails": [email.strip().lower()], "roleId": role_id}
        answer = await self._as(self.service_account, door, operations.SEND_INVITATIONS, variables)
        refused = [text for text in map(str, answer["errors"]) if "already" not in text]
        if refused:
            raise Fault(
                FaultKind.TENANT,
                Reason.REFUSED_BY_TWENTY,
                f"{self.system} refused to invite {email}: {'; '.join(refused)}",
            )

    async def withdraw_invitations(self, door: Door, email: str) -> int:
        """Delete the personal invitations of this address to the workspace, and say how many there were.

        Whoever has an account and an open invitation joins by signing in.
        """
        found = await self._invitations(door, email)
        for invitation_id in found:
            await self._as(
                self.service_account, door, operations.DELETE_WORKSPACE_INVITATION, {"appTokenId": invitation_id}
            )
        return len(found)

    async def _invitations(self, door: Door, email: str) -> list[str]:
        answer = await self._as(self.service_account, door, operations.FIND_WORKSPACE_INVITATIONS)
        return [str(entry["id"]) for entry in answer if str(entry["email"]).lower() == email.strip().lower()]

    # --- proving that somebody is out ------------------------------------------------------------------------------

    async def lets_in(self, account: Account, door: Door, token: Token | None) -> str | None:
        """Try to come in as that person who was removed: with a token from before, and by a new login.

        The new login is by password; where that is not ours or the account unknown by its e-mail, by impersonation,
        for which `user_id` is needed. It is tried only when the person has no invitation to the workspace, because
        Twenty lets whoever has one join before it looks at the password.

        Args:
            account: the person, by the e-mail and the user id that they had as a member.
            door: the workspace that they must not come into.
            token: one from before the removal (`member_token`), or None when there was none.

        Returns:
            None when Twenty refused each way because there is no such member; else, as a clause, the way that is
            still open, or that was refused for another reason and so proves nothing.

        Raises:
            Fault: transient, busy or of the server; it proves nothing either way.
        """
        self.forget(account, door)
        told = None
        if token is not None:
            told = await self._refusal("an access token from before", self._look(token))
        if told is None and await self._invitations(door, account.email):
            told = f"a personal invitation lets {account.email} join again by signing in (Twenty, Settings > Members)"
        if told is None:
            told = await self._refusal("a new login", self._new_login(account, door))
        return told

    async def _refusal(self, way: str, attempt: Coroutine[Any, Any, None]) -> str | None:
        """None when the attempt is refused for want of a member, else what happened instead."""
        try:
            await attempt
        except TwentyFault as fault:
            if is_no_member(fault.error):
                return None
            if fault.kind is not FaultKind.TENANT:
                raise
            return f"{way} was refused for another reason, which proves nothing ({fault.error.message})"
        return f"{way} still lets them in"

    async def _look(self, token: Token) -> None:
        try:
            await self._call(operations.CURRENT_USER, {}, token)
        except TwentyFault as fault:
            # a token that is taken from nobody lets nobody in
            if not is_dead_token(fault.error):
                raise

    async def _new_login(self, account: Account, door: Door) -> None:
        await self._exchange(account, door, await self._login_token(account, door))
        self.forget(account, door)

    # --- as a member --------------------------------------------------------------------------------------------

    async def member_token(self, account: Account, door: Door) -> Token:
        """A token of that person in that workspace, kept until it is about to expire or is forgotten."""
        key = (account.email, door.workspace_id)
        async with self._entering[key]:
            known = self._tokens.get(key)
            if known and known.is_fresh():
                return known
            return await self._exchange(account, door, await self._login_token(account, door))

    def forget(self, account: Account, door: Door) -> None:
        """Keep no token of that person in that workspace, so that the next call signs in anew."""
        self._tokens.pop((account.email, door.workspace_id), None)

    async def current_user(self, account: Account, door: Door, *, by_new_login: bool = False) -> SeenUser:
        """Sign in as that person and read what Twenty shows them. `by_new_login` uses no token from before."""
        if by_new_login:
            self.forget(account, door)
        answer = await self._as(account, door, operations.CURRENT_USER)
        member = answer["workspaceMember"] or {}
        return SeenUser(
            user_id=answer["id"],
            onboarding_status=answer["onboardingStatus"],
            workspace_id=(answer["currentWorkspace"] or {}).get("id"),
            workspace_member_id=member.get("id"),
            first_name=(member.get("name") or {}).get("firstName") or "",
            last_name=(member.get("name") or {}).get("lastName") or "",
        )

    async def skip_sync_email(self, account: Account, door: Door) -> None:
        """Clear the step SYNC_EMAIL of that person."""
        await self._as(account, door, operations.SKIP_SYNC_EMAIL)

    async def skip_install_apps(self, account: Account, door: Door) -> None:
        """Clear the step APPS_INSTALLATION of that person without installing anything."""
        await self._as(account, door, operations.TRIGGER_INSTALL_APPS, {"universalIdentifiers": []})

    async def set_name(self, door: Door, workspace_member_id: str, first_name: str, last_name: str) -> None:
        """Set a member's name, as the service account; a non-empty one clears their step PROFILE_CREATION."""
        update = {"name": {"firstName": first_name, "lastName": last_name}}
        variables = {"workspaceMemberId": workspace_member_id, "update": update}
        await self._as(self.service_account, door, operations.UPDATE_WORKSPACE_MEMBER_SETTINGS, variables)

    async def invite_nobody(self, door: Door) -> None:
        """Clear the workspace-wide step INVITE_TEAM, as the service account; an empty list sends no e-mail."""
        await self._as(self.service_account, door, operations.SEND_INVITATIONS, {"emails": []})

    # --- how --------------------------------------------------------------------------------------------------

    async def _exchange(self, account: Account, door: Door, login_token: str) -> Token:
        variables = {"loginToken": login_token, "origin": door.url}
        try:
            answer = await self._call(operations.GET_AUTH_TOKENS_FROM_LOGIN_TOKEN, variables, None)
        except TwentyFault as fault:
            if not is_without_record(fault.error):
                raise
            raise TwentyFault(
                FaultKind.TENANT,
                Reason.HALF_MEMBER,
                f"{self.system}: {account.email} has a membership of workspace {door.workspace_id} but no member "
                "record in it, so they cannot come in. Twenty has no call that repairs or removes this: delete the "
                'person\'s row of core."userWorkspace" for this workspace by hand; the next run adds them again.',
                fault.error,
            ) from None
        token = _token(answer["tokens"]["accessOrWorkspaceAgnosticToken"])
        self._tokens[(account.email, door.workspace_id)] = token
        return token

    async def _login_token(self, account: Account, door: Door) -> str:
        """By password, or by impersonation of somebody whose password is not ours."""
        try:
            answer = await self._call(
                operations.GET_LOGIN_TOKEN_FROM_CREDENTIALS,
                {**_credentials(account), "origin": door.url},
                None,
            )
        except TwentyFault as fault:
            if account.email == self.service_account.email:
                raise self._service_account_fault(fault) from None
            # an account whose e-mail has capitals is unknown by the e-mail in lower case, and found by its id
            ours = not is_wrong_password(fault.error) and not is_unknown_user(fault.error)
            if account.user_id is None or ours:
                raise
            variables = {"userId": account.user_id, "workspaceId": door.workspace_id}
            answer = await self._as(self.service_account, door, operations.IMPERSONATE, variables)
        return str(answer["loginToken"]["token"])

    async def _as(
        self,
        account: Account,
        door: Door,
        operation: Operation,
        variables: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float | None = None,
    ) -> Any:
        if operation.effect is not Effect.READ:
            await self.check_contract()
        token = await self.member_token(account, door)
        try:
            return await self._call(operation, variables or {}, token, timeout_seconds)
        except TwentyFault as fault:
            if not is_expired_token(fault.error):
                raise
            self.forget(account, door)
            token = await self.member_token(account, door)
            return await self._call(operation, variables or {}, token, timeout_seconds)

    async def _call(
        self,
        operation: Operation,
        variables: Mapping[str, Any],
        token: Token | None,
        timeout_seconds: float | None = None,
    ) -> Any:
        answer = await self._post(
            operation.document, variables, operation.name, operation.effect, token, timeout_seconds
        )
        error = TwentyError.read(answer)
        if error:
            raise classify(error, call=operation.name, system=self.system)
        return answer["data"][operation.name]

    async def _post(
        self,
        document: str,
        variables: Mapping[str, Any],
        name: str,
        effect: Effect,
        token: Token | None,
        timeout_seconds: float | None = None,
    ) -> dict[str, Any]:
        async with nullcontext() if name in _UNGATED else self._gate:
            response = await self._transport.send(
                "POST",
                _PATH,
                name=name,
                effect=effect,
                timeout_seconds=timeout_seconds,
                json={"query": document, "variables": dict(variables)},
                headers={"authorization": f"Bearer {token.value}"} if token else {},
            )
        try:
            answer = response.json()
        except ValueError:
            answer = None
        graphql = isinstance(answer, dict) and ({"data", "errors"} & answer.keys())
        if not graphql or response.status_code in _NO_GRAPHQL_HERE:
            raise Fault(
                FaultKind.SERVER,
                Reason.UNSUPPORTED_TWENTY,
                f"{self.system}: {self._transport.base_url}{_PATH} answers HTTP {response.status_code} without "
                "GraphQL, so it is no Twenty of the 2.x line. Check the base URL in the settings.",
            )
        return dict(answer)


def _credentials(account: Account) -> dict[str, str]:
    return {"email": account.email, "password": account.password.get_secret_value()}


def _token(answer: Mapping[str, str]) -> Token:
    return Token(answer["token"], datetime.fromisoformat(answer["expiresAt"].replace("Z", "+00:00")))
