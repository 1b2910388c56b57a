"""The GraphQL operations that this project sends to Twenty's `/metadata`, and nothing else.

Names, arguments and answers as recorded on Twenty 2.21.0. Each operation has one root field, because Twenty
allows a root field once per document.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from provisioning_pipeline.clients.transport import Effect


@dataclass(frozen=True)
class Operation:
    """One root field with its arguments and what is asked back."""

    kind: Literal["query", "mutation"]
    name: str
    effect: Effect
    variables: Mapping[str, str] = field(default_factory=dict)
    arguments: str = ""
    selection: str = ""

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

_TOKENS = "{ tokens { accessOrWorkspaceAgnosticToken { token expiresAt } } }"
_LOGIN_AND_WORKSPACE = "{ loginToken { token expiresAt } workspace { id workspaceUrls { subdomainUrl } } }"

SIGN_UP = Operation(
    "mutation",
    "signUp",
    Effect.WRITE,
    {"email": "String!", "password": "String!"},
    "email: $email, password: $password",
    _TOKENS,
)
SIGN_IN = Operation(
    "mutation",
    "signIn",
    Effect.LOGIN,
    {"email": "String!", "password": "String!"},
    "email: $email, password: $password",
    _TOKENS,
)
SIGN_IN_AND_LIST_WORKSPACES = Operation(
    "mutation",
    "signIn",
    Effect.LOGIN,
    {"email": "String!", "password": "String!"},
    "email: $email, password: $password",
    "{ availableWorkspaces { availableWorkspacesForSignIn { id workspaceUrls { subdomainUrl } } } }",
)
SIGN_UP_IN_NEW_WORKSPACE = Operation(
    "mutation",
    "signUpInNewWorkspace",
    Effect.CREATE,
    {"displayName": "String", "subdomain": "String"},
    "input: {displayName: $displayName, subdomain: $subdomain}",
    _LOGIN_AND_WORKSPACE,
)
SIGN_UP_IN_WORKSPACE = Operation(
    "mutation",
    "signUpInWorkspace",
    Effect.WRITE,
    {"email": "String!", "password": "String!", "workspaceInviteHash": "String"},
    "email: $email, password: $password, workspaceInviteHash: $workspaceInviteHash",
    _LOGIN_AND_WORKSPACE,
)
GET_LOGIN_TOKEN_FROM_CREDENTIALS = Operation(
    "mutation",
    "getLoginTokenFromCredentials",
    Effect.LOGIN,
    {"email": "String!", "password": "String!", "origin": "String!"},
    "email: $email, password: $password, origin: $origin",
    "{ loginToken { token expiresAt } }",
)
GET_AUTH_TOKENS_FROM_LOGIN_TOKEN = Operation(
    "mutation",
    "getAuthTokensFromLoginToken",
    Effect.LOGIN,
    {"loginToken": "String!", "origin": "String!"},
    "loginToken: $loginToken, origin: $origin",
    _TOKENS,
)
ACTIVATE_WORKSPACE = Operation("mutation", "activateWorkspace", Effect.WRITE, {}, "data: {}", "{ id activationStatus }")
CURRENT_USER = Operation(
    "query",
    "currentUser",
    Effect.READ,
    selection="""{ id email onboardingStatus currentWorkspace { id }
         workspaceMember { id name { firstName lastName } } }""",
)
CURRENT_WORKSPACE = Operation(
    "query", "currentWorkspace", Effect.READ, selection="{ id inviteHash isPublicInviteLinkEnabled }"
)
UPDATE_WORKSPACE = Operation(
    "mutation",
    "updateWorkspace",
    Effect.WRITE,
    {"isPublicInviteLinkEnabled": "Boolean!"},
    "data: {isPublicInviteLinkEnabled: $isPublicInviteLinkEnabled}",
    "{ id isPublicInviteLinkEnabled }",
)
IMPERSONATE = Operation(
    "mutation",
    "impersonate",
    Effect.LOGIN,
    {"userId": "UUID!", "workspaceId": "UUID!"},
    "userId: $userId, workspaceId: $workspaceId",
    "{ loginToken { token expiresAt } }",
)
GET_ROLES = Operation("query", "getRoles", Effect.READ, selection="{ id label canUpdateAllSettings }")
UPDATE_WORKSPACE_MEMBER_ROLE = Operation(
    "mutation",
    "updateWorkspaceMemberRole",
    Effect.WRITE,
    {"workspaceMemberId": "UUID!", "roleId": "UUID!"},
    "workspaceMemberId: $workspaceMemberId, roleId: $roleId",
    "{ id }",
)
UPDATE_WORKSPACE_MEMBER_SETTINGS = Operation(
    "mutation",
    "updateWorkspaceMemberSettings",
    Effect.WRITE,
    {"workspaceMemberId": "UUID!", "update": "JSON!"},
    "input: {workspaceMemberId: $workspaceMemberId, update: $update}",
)
DELETE_USER_FROM_WORKSPACE = Operation(
    "mutation",
    "deleteUserFromWorkspace",
    Effect.WRITE,
    {"workspaceMemberIdToDelete": "String!"},
    "workspaceMemberIdToDelete: $workspaceMemberIdToDelete",
    "{ id }",
)
SKIP_SYNC_EMAIL = Operation("mutation", "skipSyncEmailOnboardingStep", Effect.WRITE, selection="{ success }")
TRIGGER_INSTALL_APPS = Operation(
    "mutation",
    "triggerInstallAppsOnboardingStep",
    Effect.WRITE,
    {"universalIdentifiers": "[String!]!"},
    "universalIdentifiers: $universalIdentifiers",
    "{ success }",
)
SEND_INVITATIONS = Operation(
    "mutation",
    "sendInvitations",
    Effect.WRITE,
    {"emails": "[String!]!", "roleId": "UUID"},
    "emails: $emails, roleId: $roleId",
    "{ success errors }",
)
FIND_WORKSPACE_INVITATIONS = Operation("query", "findWorkspaceInvitations", Effect.READ, selection="{ id email }")
DELETE_WORKSPACE_INVITATION = Operation(
    "mutation",
    "deleteWorkspaceInvitation",
    Effect.WRITE,
    {"appTokenId": "String!"},
    "appTokenId: $appTokenId",
)

ALL: tuple[Operation, ...] = (
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
    IMPERSONATE,
    GET_ROLES,
    UPDATE_WORKSPACE_MEMBER_ROLE,
    UPDATE_WORKSPACE_MEMBER_SETTINGS,
    DELETE_USER_FROM_WORKSPACE,
    SKIP_SYNC_EMAIL,
    TRIGGER_INSTALL_APPS,
    SEND_INVITATIONS,
    FIND_WORKSPACE_INVITATIONS,
    DELETE_WORKSPACE_INVITATION,
)
"""Everything a server must have before anything is written to it."""
