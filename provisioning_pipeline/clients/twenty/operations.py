"""The GraphQL operations that this project sends to Twenty, nothing else, and what it answers to each.

Names, arguments and answers as recorded on Twenty 2.21.0; those that it has not, from the schemas of later versions.
Each operation has one root field, because Twenty allows a root field once per document. Which fields may be null is as
in Twenty's own schema (2.21.0).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from provisioning_pipeline.clients.transport import Effect
from provisioning_pipeline.clients.twenty.objects import ObjectConnection
from provisioning_pipeline.clients.twenty.operation import TEXT, Answer, Id, Operation, Text, Time, TokenText, Url
from provisioning_pipeline.model.onboarding import BOOK_CALL, CONNECT_ACCOUNT, INSTALL_APPS


class IssuedToken(Answer):
    token: TokenText
    expires_at: Time


class RefreshToken(Answer):
    token: TokenText


class TokenPair(Answer):
    access: IssuedToken = Field(alias="accessOrWorkspaceAgnosticToken")
    refresh_token: RefreshToken


class SignedIn(Answer):
    tokens: TokenPair


class WorkspaceUrls(Answer):
    subdomain_url: Url


class SeenWorkspace(Answer):
    id: Id
    workspace_urls: WorkspaceUrls


class AvailableWorkspaces(Answer):
    available_workspaces_for_sign_in: list[SeenWorkspace]


class SignedInWithWorkspaces(SignedIn):
    """A login, and where it can go."""

    available_workspaces: AvailableWorkspaces


class LoginToken(Answer):
    """What is exchanged for a login."""

    login_token: IssuedToken


class Joined(LoginToken):
    """A workspace that was made or joined, and what leads into it."""

    workspace: SeenWorkspace


class Activated(Answer):
    id: Id
    activation_status: Text


class WithId(Answer):
    id: Id


class FullName(Answer):
    first_name: Text | None
    last_name: Text | None


class SeenMember(Answer):
    """The caller's member record."""

    id: Id
    name: FullName | None


class CurrentUser(Answer):
    """The caller, as Twenty shows them to themselves."""

    id: Id
    email: Text
    onboarding_status: Text | None
    current_workspace: WithId | None
    workspace_member: SeenMember | None


class CurrentWorkspace(Answer):
    id: Id
    invite_hash: Text | None
    is_public_invite_link_enabled: bool


class SeenRole(Answer):
    id: Id
    label: Text
    can_update_all_settings: bool


class HeldRole(SeenRole):
    """A role with all that it gives, and the member records of those who have it: living records alone (2.21.0)."""

    can_access_all_tools: bool
    can_read_all_object_records: bool
    can_update_all_object_records: bool
    can_soft_delete_all_object_records: bool
    can_destroy_all_object_records: bool
    permission_flags: list[Answer] | None
    object_permissions: list[Answer] | None
    workspace_members: list[WithId]


class Counted(Answer):
    """Records of one kind."""

    total_count: int | None


class Success(Answer):
    """A step of the wizard that was cleared."""

    success: bool


class Invited(Success):
    """Invitations that were sent, and why others were not."""

    errors: list[Text]


class SeenInvitation(Answer):
    id: Id
    email: Text


class SeenApiKey(Answer):
    """An API key that is not revoked."""

    id: Id
    name: Text
    created_at: Time
    expires_at: Time


_PAIR_OF_TOKENS = "tokens { accessOrWorkspaceAgnosticToken { token expiresAt } refreshToken { token } }"
_TOKENS = f"{{ {_PAIR_OF_TOKENS} }}"
_FOR_LOGIN = "{ loginToken { token expiresAt } }"
_LOGIN_AND_WORKSPACE = "{ loginToken { token expiresAt } workspace { id workspaceUrls { subdomainUrl } } }"
_CREDENTIALS: Mapping[str, str] = {"email": "String!", "password": "String!"}
_SIGNED_IN = TypeAdapter(SignedIn)
_LOGIN = TypeAdapter(LoginToken)
_JOINED = TypeAdapter(Joined)
_WITH_ID = TypeAdapter(WithId)

SIGN_UP = Operation("signUp", Effect.WRITE, _CREDENTIALS, selection=_TOKENS, needed=False, answer=_SIGNED_IN)
SIGN_IN = Operation("signIn", Effect.LOGIN, _CREDENTIALS, selection=_TOKENS, answer=_SIGNED_IN)
SIGN_IN_AND_LIST_WORKSPACES = Operation(
    "signIn",
    Effect.LOGIN,
    _CREDENTIALS,
    selection=f"{{ {_PAIR_OF_TOKENS} "
    "availableWorkspaces { availableWorkspacesForSignIn { id workspaceUrls { subdomainUrl } } } }",
    answer=TypeAdapter(SignedInWithWorkspaces),
)
SIGN_UP_IN_NEW_WORKSPACE = Operation(
    "signUpInNewWorkspace",
    Effect.CREATE,
    {"displayName": "String", "subdomain": "String"},
    "input: {displayName: $displayName, subdomain: $subdomain}",
    _LOGIN_AND_WORKSPACE,
    answer=_JOINED,
)
SIGN_UP_IN_WORKSPACE = Operation(
    "signUpInWorkspace",
    Effect.WRITE,
    {**_CREDENTIALS, "workspaceInviteHash": "String"},
    selection=_LOGIN_AND_WORKSPACE,
    answer=_JOINED,
)
GET_LOGIN_TOKEN_FROM_CREDENTIALS = Operation(
    "getLoginTokenFromCredentials",
    Effect.LOGIN,
    {**_CREDENTIALS, "origin": "String!"},
    selection=_FOR_LOGIN,
    answer=_LOGIN,
)
GET_AUTH_TOKENS_FROM_LOGIN_TOKEN = Operation(
    "getAuthTokensFromLoginToken",
    Effect.EXCHANGE,
    {"loginToken": "String!", "origin": "String!"},
    selection=_TOKENS,
    answer=_SIGNED_IN,
)
ACTIVATE_WORKSPACE = Operation(
    "activateWorkspace",
    Effect.WRITE,
    arguments="data: {}",
    selection="{ id activationStatus }",
    answer=TypeAdapter(Activated),
)
CURRENT_USER = Operation(
    "currentUser",
    Effect.READ,
    kind="query",
    selection="""{ id email onboardingStatus currentWorkspace { id }
         workspaceMember { id name { firstName lastName } } }""",
    answer=TypeAdapter(CurrentUser),
)
CURRENT_WORKSPACE = Operation(
    "currentWorkspace",
    Effect.READ,
    kind="query",
    selection="{ id inviteHash isPublicInviteLinkEnabled }",
    answer=TypeAdapter(CurrentWorkspace),
)
UPDATE_WORKSPACE = Operation(
    "updateWorkspace",
    Effect.WRITE,
    {"isPublicInviteLinkEnabled": "Boolean!"},
    "data: {isPublicInviteLinkEnabled: $isPublicInviteLinkEnabled}",
    "{ id isPublicInviteLinkEnabled }",
    needed=False,
    answer=_WITH_ID,
)
RENEW_INVITE_LINK = Operation(
    "updateWorkspace",
    Effect.WRITE,
    {"inviteHash": "String!"},
    "data: {inviteHash: $inviteHash}",
    "{ id }",
    needed=False,
    answer=_WITH_ID,
)
SET_DEFAULT_ROLE = Operation(
    "updateWorkspace",
    Effect.WRITE,
    {"defaultRoleId": "UUID!"},
    "data: {defaultRoleId: $defaultRoleId}",
    "{ id defaultRole { id } }",
    answer=_WITH_ID,
)
IMPERSONATE = Operation(
    "impersonate",
    Effect.LOGIN,
    {"userId": "UUID!", "workspaceId": "UUID!"},
    selection=_FOR_LOGIN,
    needed=False,
    answer=_LOGIN,
)
GET_ROLES = Operation(
    "getRoles",
    Effect.READ,
    kind="query",
    selection="{ id label canUpdateAllSettings }",
    answer=TypeAdapter(list[SeenRole]),
)
UPDATE_WORKSPACE_MEMBER_ROLE = Operation(
    "updateWorkspaceMemberRole",
    Effect.WRITE,
    {"workspaceMemberId": "UUID!", "roleId": "UUID!"},
    selection="{ id }",
    answer=_WITH_ID,
)
UPDATE_WORKSPACE_MEMBER_SETTINGS = Operation(
    "updateWorkspaceMemberSettings",
    Effect.WRITE,
    {"workspaceMemberId": "UUID!", "update": "JSON!"},
    "input: {workspaceMemberId: $workspaceMemberId, update: $update}",
    needed=False,
    answer=TypeAdapter(Annotated[bool, Field(strict=True)]),
)
DELETE_USER_FROM_WORKSPACE = Operation(
    "deleteUserFromWorkspace",
    Effect.WRITE,
    {"workspaceMemberIdToDelete": "String!"},
    selection="{ id }",
    needed=False,
    answer=_WITH_ID,
)
SKIP_SYNC_EMAIL = Operation(
    "skipSyncEmailOnboardingStep",
    Effect.WRITE,
    selection="{ success }",
    needed=False,
    answer=TypeAdapter(Success),
)
SKIP_SYNC_EMAIL_UNRECORDED = replace(SKIP_SYNC_EMAIL, arguments="isAutoSkipped: true")
INSTALL_NO_APPS = replace(
    SKIP_SYNC_EMAIL, name="triggerInstallAppsOnboardingStep", arguments="universalIdentifiers: []"
)
INSTALL_NO_APPS_UNRECORDED = replace(INSTALL_NO_APPS, arguments="universalIdentifiers: [], isAutoSkipped: true")
COMPLETE_BOOK_CALL_UNRECORDED = replace(
    SKIP_SYNC_EMAIL,
    name="completeBookCallOnboardingStep",
    arguments="hasBookedCall: false, isAutoSkipped: true",
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
    "sendInvitations",
    Effect.WRITE,
    {"emails": "[String!]!", "roleId": "UUID"},
    selection="{ success errors }",
    needed=False,
    answer=TypeAdapter(Invited),
)
FIND_WORKSPACE_INVITATIONS = Operation(
    "findWorkspaceInvitations",
    Effect.READ,
    kind="query",
    selection="{ id email }",
    needed=False,
    answer=TypeAdapter(list[SeenInvitation]),
)
DELETE_WORKSPACE_INVITATION = Operation(
    "deleteWorkspaceInvitation", Effect.WRITE, {"appTokenId": "String!"}, needed=False, answer=TEXT
)
SIGN_OUT = Operation("signOut", Effect.LOGIN, {"refreshToken": "String"}, needed=False, answer=TypeAdapter(object))
"""Read in the source of 2.38: ends the refresh token, and the session whose cookie comes along; 2.33 and later.

Nothing of its answer is used, which may be null."""

RENEW_TOKEN = Operation(
    "renewToken", Effect.EXCHANGE, {"appToken": "String!"}, selection=_TOKENS, needed=False, answer=_SIGNED_IN
)
UPDATE_USER_EMAIL = Operation(
    "updateUserEmail",
    Effect.WRITE,
    {"newEmail": "String!"},
    needed=False,
    answer=TypeAdapter(Annotated[bool, Field(strict=True)]),
)
"""Changes the e-mail of the caller's own account; where a mailbox must be verified first, Twenty sends an e-mail.

`verifyEmailRedirectPath` belongs to that e-mail alone, and we refuse servers that send it.
"""
API_KEYS = Operation(
    "apiKeys",
    Effect.READ,
    kind="query",
    selection="{ id name createdAt expiresAt }",
    needed=False,
    answer=TypeAdapter(list[SeenApiKey]),
)
REVOKE_API_KEY = Operation(
    "revokeApiKey",
    Effect.WRITE,
    {"id": "UUID!"},
    "input: { id: $id }",
    "{ id }",
    needed=False,
    answer=TypeAdapter(WithId | None),
)

RESTORE_API_KEY = Operation(
    "updateApiKey",
    Effect.WRITE,
    {"id": "UUID!"},
    "input: { id: $id, revokedAt: null }",
    "{ id }",
    needed=False,
    answer=TypeAdapter(WithId | None),
)
GET_ROLES_IN_FULL = Operation(
    "getRoles",
    Effect.READ,
    kind="query",
    selection="""{ id label canUpdateAllSettings canAccessAllTools canReadAllObjectRecords canUpdateAllObjectRecords
         canSoftDeleteAllObjectRecords canDestroyAllObjectRecords permissionFlags { id }
         objectPermissions { objectMetadataId } workspaceMembers { id } }""",
    needed=False,
    answer=TypeAdapter(list[HeldRole]),
)
CREATE_EMPTY_ROLE = Operation(
    "createOneRole",
    # a second role of the same label is refused (2.21.0)
    Effect.WRITE,
    {"label": "String!", "description": "String"},
    """createRoleInput: { label: $label, description: $description, canUpdateAllSettings: false,
         canAccessAllTools: false, canReadAllObjectRecords: false, canUpdateAllObjectRecords: false,
         canSoftDeleteAllObjectRecords: false, canDestroyAllObjectRecords: false, canBeAssignedToUsers: true,
         canBeAssignedToAgents: false, canBeAssignedToApiKeys: false }""",
    "{ id }",
    needed=False,
    answer=_WITH_ID,
)
DELETE_ROLE = Operation("deleteOneRole", Effect.WRITE, {"roleId": "UUID!"}, needed=False, answer=TEXT)
MARK_MEMBER_RECORD = Operation(
    "updateWorkspaceMember",
    Effect.WRITE,
    {"id": "UUID!", "deletedAt": "DateTime"},
    "id: $id, data: { deletedAt: $deletedAt }",
    "{ id }",
    needed=False,
    records=True,
    answer=_WITH_ID,
)
COUNT_COMPANIES = Operation(
    "companies",
    Effect.READ,
    kind="query",
    arguments="first: 1",
    selection="{ totalCount }",
    needed=False,
    records=True,
    answer=TypeAdapter(Counted),
)
RECORD_READS = (
    COUNT_COMPANIES,
    *(replace(COUNT_COMPANIES, name=name) for name in ("people", "opportunities", "tasks", "notes")),
)
"""Reads of records that only a role gives, best first: a customer may have switched any of these objects off."""
DELETE_CURRENT_WORKSPACE = Operation(
    "deleteCurrentWorkspace",
    # sent again it is refused, as everything is in a workspace that was deleted
    Effect.WRITE,
    selection="{ id }",
    needed=False,
    answer=_WITH_ID,
)
OBJECTS = Operation(
    "objects",
    Effect.READ,
    kind="query",
    # both are required and have defaults, which not every released schema says
    arguments="paging: {first: 1000}, filter: {}",
    selection="{ pageInfo { hasNextPage } edges { node { nameSingular namePlural isActive "
    "fieldsList { name type settings morphRelations { targetObjectMetadata { nameSingular } } } } } }",
    needed=False,
    answer=TypeAdapter(ObjectConnection),
)

_DECLARED = [found for found in globals().values() if isinstance(found, Operation)]
ALL: tuple[Operation[Any], ...] = tuple(found for found in _DECLARED if not found.records)
"""Everything that is ever sent to `/metadata`; a server must take all that is `needed` before we write to it."""
ON_RECORDS: tuple[Operation[Any], ...] = (*(found for found in _DECLARED if found.records), *RECORD_READS[1:])
"""Everything that is ever sent to `/graphql`, but for the reads of an export, which are made for each object. It is
never probed: there Twenty runs a root field that is skipped, too (run on 2.21.0)."""
