"""The GraphQL operations that this project sends to Twenty's `/metadata`, and nothing else.

Names, arguments and answers as recorded on Twenty 2.21.0; those that it has not, from the schemas of later versions.
Each operation has one root field, because Twenty allows a root field once per document.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar

from pydantic import TypeAdapter

from provisioning_pipeline.clients.transport import Effect
from provisioning_pipeline.clients.twenty.answers import (
    NOTHING,
    TEXT,
    YES_OR_NO,
    Activated,
    CurrentUser,
    CurrentWorkspace,
    Invited,
    Joined,
    LoginToken,
    SeenApiKey,
    SeenInvitation,
    SeenRole,
    SignedIn,
    SignedInWithWorkspaces,
    Success,
    WithId,
)
from provisioning_pipeline.model.onboarding import BOOK_CALL, CONNECT_ACCOUNT, INSTALL_APPS

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Operation(Generic[T_co]):
    """One root field with its arguments, what is asked back, and what an answer to that is.

    Without a `needed` one no workspace can be made, activated, joined, signed in to or read, so a server that lacks it
    is refused. What another one does is done otherwise where it is lacking, or reported.
    """

    kind: Literal["query", "mutation"]
    name: str
    effect: Effect
    variables: Mapping[str, str] = field(default_factory=dict)
    arguments: str = ""
    selection: str = ""
    needed: bool = True
    answer: TypeAdapter[T_co] = field(kw_only=True, compare=False, repr=False)

    @property
    def document(self) -> str:
        """The document to send."""
        declared = ", ".join(f"${name}: {type_}" for name, type_ in self.variables.items())
        head = f"{self.kind} {self.name[0].upper()}{self.name[1:]}" + (f"({declared})" if declared else "")
        return f"{head} {{ {self._root('')} }}"

    def probe(self) -> str:
        """The same document with its root field skipped: a server validates all of it and runs none of it.

        `__typename` stands beside it, because Twenty's executor fails on a mutation that has nothing to run (2.21.0).
        """
        declared = ", ".join(f"${name}: {type_}" for name, type_ in self.variables.items())
        head = f"{self.kind} Probe" + (f"({declared})" if declared else "")
        return f"{head} {{ __typename {self._root(' @skip(if: true)')} }}"

    def probe_variables(self) -> dict[str, object]:
        """Values of the right types for the probe; it runs nothing, so they mean nothing."""
        return {name: _PROBE_VALUES[type_] for name, type_ in self.variables.items()}

    def _root(self, directive: str) -> str:
        arguments = f"({self.arguments})" if self.arguments else ""
        return re.sub(r"\s+", " ", f"{self.name}{arguments}{directive} {self.selection}").strip()


_PROBE_VALUES: Mapping[str, object] = {
    "String": "",
    "String!": "",
    "Boolean!": False,
    "UUID": None,
    "UUID!": "00000000-0000-4000-8000-000000000000",
    "JSON!": {},
    "[String!]!": [],
}

_TOKENS = "{ tokens { accessOrWorkspaceAgnosticToken { token expiresAt } refreshToken { token } } }"
_LOGIN_AND_WORKSPACE = "{ loginToken { token expiresAt } workspace { id workspaceUrls { subdomainUrl } } }"

SIGN_UP = Operation(
    "mutation",
    "signUp",
    Effect.WRITE,
    {"email": "String!", "password": "String!"},
    "email: $email, password: $password",
    _TOKENS,
    needed=False,
    answer=TypeAdapter(SignedIn),
)
SIGN_IN = Operation(
    "mutation",
    "signIn",
    Effect.LOGIN,
    {"email": "String!", "password": "String!"},
    "email: $email, password: $password",
    _TOKENS,
    answer=TypeAdapter(SignedIn),
)
SIGN_IN_AND_LIST_WORKSPACES = Operation(
    "mutation",
    "signIn",
    Effect.LOGIN,
    {"email": "String!", "password": "String!"},
    "email: $email, password: $password",
    "{ tokens { accessOrWorkspaceAgnosticToken { token expiresAt } refreshToken { token } } "
    "availableWorkspaces { availableWorkspacesForSignIn { id workspaceUrls { subdomainUrl } } } }",
    answer=TypeAdapter(SignedInWithWorkspaces),
)
SIGN_UP_IN_NEW_WORKSPACE = Operation(
    "mutation",
    "signUpInNewWorkspace",
    Effect.CREATE,
    {"displayName": "String", "subdomain": "String"},
    "input: {displayName: $displayName, subdomain: $subdomain}",
    _LOGIN_AND_WORKSPACE,
    answer=TypeAdapter(Joined),
)
SIGN_UP_IN_WORKSPACE = Operation(
    "mutation",
    "signUpInWorkspace",
    Effect.WRITE,
    {"email": "String!", "password": "String!", "workspaceInviteHash": "String"},
    "email: $email, password: $password, workspaceInviteHash: $workspaceInviteHash",
    _LOGIN_AND_WORKSPACE,
    answer=TypeAdapter(Joined),
)
GET_LOGIN_TOKEN_FROM_CREDENTIALS = Operation(
    "mutation",
    "getLoginTokenFromCredentials",
    Effect.LOGIN,
    {"email": "String!", "password": "String!", "origin": "String!"},
    "email: $email, password: $password, origin: $origin",
    "{ loginToken { token expiresAt } }",
    answer=TypeAdapter(LoginToken),
)
GET_AUTH_TOKENS_FROM_LOGIN_TOKEN = Operation(
    "mutation",
    "getAuthTokensFromLoginToken",
    Effect.EXCHANGE,
    {"loginToken": "String!", "origin": "String!"},
    "loginToken: $loginToken, origin: $origin",
    _TOKENS,
    answer=TypeAdapter(SignedIn),
)
ACTIVATE_WORKSPACE = Operation(
    "mutation",
    "activateWorkspace",
    Effect.WRITE,
    {},
    "data: {}",
    "{ id activationStatus }",
    answer=TypeAdapter(Activated),
)
CURRENT_USER = Operation(
    "query",
    "currentUser",
    Effect.READ,
    selection="""{ id email onboardingStatus currentWorkspace { id }
         workspaceMember { id name { firstName lastName } } }""",
    answer=TypeAdapter(CurrentUser),
)
CURRENT_WORKSPACE = Operation(
    "query",
    "currentWorkspace",
    Effect.READ,
    selection="{ id inviteHash isPublicInviteLinkEnabled }",
    answer=TypeAdapter(CurrentWorkspace),
)
UPDATE_WORKSPACE = Operation(
    "mutation",
    "updateWorkspace",
    Effect.WRITE,
    {"isPublicInviteLinkEnabled": "Boolean!"},
    "data: {isPublicInviteLinkEnabled: $isPublicInviteLinkEnabled}",
    "{ id isPublicInviteLinkEnabled }",
    needed=False,
    answer=TypeAdapter(WithId),
)
RENEW_INVITE_LINK = Operation(
    "mutation",
    "updateWorkspace",
    Effect.WRITE,
    {"inviteHash": "String!"},
    "data: {inviteHash: $inviteHash}",
    "{ id }",
    needed=False,
    answer=TypeAdapter(WithId),
)
SET_DEFAULT_ROLE = Operation(
    "mutation",
    "updateWorkspace",
    Effect.WRITE,
    {"defaultRoleId": "UUID!"},
    "data: {defaultRoleId: $defaultRoleId}",
    "{ id defaultRole { id } }",
    answer=TypeAdapter(WithId),
)
IMPERSONATE = Operation(
    "mutation",
    "impersonate",
    Effect.LOGIN,
    {"userId": "UUID!", "workspaceId": "UUID!"},
    "userId: $userId, workspaceId: $workspaceId",
    "{ loginToken { token expiresAt } }",
    needed=False,
    answer=TypeAdapter(LoginToken),
)
GET_ROLES = Operation(
    "query", "getRoles", Effect.READ, selection="{ id label canUpdateAllSettings }", answer=TypeAdapter(list[SeenRole])
)
UPDATE_WORKSPACE_MEMBER_ROLE = Operation(
    "mutation",
    "updateWorkspaceMemberRole",
    Effect.WRITE,
    {"workspaceMemberId": "UUID!", "roleId": "UUID!"},
    "workspaceMemberId: $workspaceMemberId, roleId: $roleId",
    "{ id }",
    answer=TypeAdapter(WithId),
)
UPDATE_WORKSPACE_MEMBER_SETTINGS = Operation(
    "mutation",
    "updateWorkspaceMemberSettings",
    Effect.WRITE,
    {"workspaceMemberId": "UUID!", "update": "JSON!"},
    "input: {workspaceMemberId: $workspaceMemberId, update: $update}",
    needed=False,
    answer=YES_OR_NO,
)
DELETE_USER_FROM_WORKSPACE = Operation(
    "mutation",
    "deleteUserFromWorkspace",
    Effect.WRITE,
    {"workspaceMemberIdToDelete": "String!"},
    "workspaceMemberIdToDelete: $workspaceMemberIdToDelete",
    "{ id }",
    needed=False,
    answer=TypeAdapter(WithId),
)
_SUCCESS = "{ success }"
SKIP_SYNC_EMAIL = Operation(
    "mutation", "skipSyncEmailOnboardingStep", Effect.WRITE, {}, "", _SUCCESS, needed=False, answer=TypeAdapter(Success)
)
SKIP_SYNC_EMAIL_UNRECORDED = replace(SKIP_SYNC_EMAIL, arguments="isAutoSkipped: true")
INSTALL_NO_APPS = Operation(
    "mutation",
    "triggerInstallAppsOnboardingStep",
    Effect.WRITE,
    {},
    "universalIdentifiers: []",
    _SUCCESS,
    needed=False,
    answer=TypeAdapter(Success),
)
INSTALL_NO_APPS_UNRECORDED = replace(INSTALL_NO_APPS, arguments="universalIdentifiers: [], isAutoSkipped: true")
COMPLETE_BOOK_CALL_UNRECORDED = Operation(
    "mutation",
    "completeBookCallOnboardingStep",
    Effect.WRITE,
    {},
    "hasBookedCall: false, isAutoSkipped: true",
    _SUCCESS,
    needed=False,
    answer=TypeAdapter(Success),
)
STEP_CALLS: Mapping[str, tuple[Operation[Success], ...]] = {
    CONNECT_ACCOUNT: (SKIP_SYNC_EMAIL_UNRECORDED, SKIP_SYNC_EMAIL),
    INSTALL_APPS: (INSTALL_NO_APPS_UNRECORDED, INSTALL_NO_APPS),
    BOOK_CALL: (COMPLETE_BOOK_CALL_UNRECORDED,),
}
"""Onboarding key → what clears that step for the person who calls, best first.

With `isAutoSkipped` (2.33 and later) the step leaves no trace in the history by which the wizard goes back.
`goBackToPreviousOnboardingStep` ends like them and sets a step again: it is never called."""
SEND_INVITATIONS = Operation(
    "mutation",
    "sendInvitations",
    Effect.WRITE,
    {"emails": "[String!]!", "roleId": "UUID"},
    "emails: $emails, roleId: $roleId",
    "{ success errors }",
    needed=False,
    answer=TypeAdapter(Invited),
)
FIND_WORKSPACE_INVITATIONS = Operation(
    "query",
    "findWorkspaceInvitations",
    Effect.READ,
    selection="{ id email }",
    needed=False,
    answer=TypeAdapter(list[SeenInvitation]),
)
DELETE_WORKSPACE_INVITATION = Operation(
    "mutation",
    "deleteWorkspaceInvitation",
    Effect.WRITE,
    {"appTokenId": "String!"},
    "appTokenId: $appTokenId",
    needed=False,
    answer=TEXT,
)
SIGN_OUT = Operation(
    "mutation",
    "signOut",
    Effect.LOGIN,
    {"refreshToken": "String"},
    "refreshToken: $refreshToken",
    needed=False,
    answer=NOTHING,
)
"""Read in the source of 2.38: ends the refresh token, and the session whose cookie comes along; 2.33 and later."""

API_KEYS = Operation(
    "query",
    "apiKeys",
    Effect.READ,
    selection="{ id name createdAt expiresAt }",
    needed=False,
    answer=TypeAdapter(list[SeenApiKey]),
)
REVOKE_API_KEY = Operation(
    "mutation",
    "revokeApiKey",
    Effect.WRITE,
    {"id": "UUID!"},
    "input: { id: $id }",
    "{ id }",
    needed=False,
    answer=TypeAdapter(WithId | None),
)

ALL: tuple[Operation[Any], ...] = (
    SIGN_UP,
    SIGN_IN,
    SIGN_IN_AND_LIST_WORKSPACES,
    SIGN_UP_IN_NEW_WORKSPACE,
    SIGN_UP_IN_WORKSPACE,
    GET_LOGIN_TOKEN_FROM_CREDENTIALS,
    GET_AUTH_TOKENS_FROM_LOGIN_TOKEN,
    ACTIVATE_WORKSPACE,
    CURRENT_USER,
    CURRENT_WORKSPACE,
    UPDATE_WORKSPACE,
    RENEW_INVITE_LINK,
    SET_DEFAULT_ROLE,
    IMPERSONATE,
    GET_ROLES,
    UPDATE_WORKSPACE_MEMBER_ROLE,
    UPDATE_WORKSPACE_MEMBER_SETTINGS,
    DELETE_USER_FROM_WORKSPACE,
    SKIP_SYNC_EMAIL,
    SKIP_SYNC_EMAIL_UNRECORDED,
    INSTALL_NO_APPS,
    INSTALL_NO_APPS_UNRECORDED,
    COMPLETE_BOOK_CALL_UNRECORDED,
    SEND_INVITATIONS,
    FIND_WORKSPACE_INVITATIONS,
    DELETE_WORKSPACE_INVITATION,
    SIGN_OUT,
    API_KEYS,
    REVOKE_API_KEY,
)
"""Everything that is ever sent; a server must take all that is `needed` before anything is written to it."""
