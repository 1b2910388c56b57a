"""The GraphQL operations that this project sends to Twenty's `/metadata`, nothing else, and what it answers to each.

Names, arguments and answers as recorded on Twenty 2.21.0; those that it has not, from the schemas of later versions.
Each operation has one root field, because Twenty allows a root field once per document.

Nothing of an answer is used that does not pass through the types here. Which fields may be null is as in Twenty's own
schema (2.21.0). What is odd in an answer is named by its place, never by its value, which may be a token.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, Literal, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from provisioning_pipeline.clients.http import OddAnswer
from provisioning_pipeline.clients.transport import Effect
from provisioning_pipeline.model.onboarding import BOOK_CALL, CONNECT_ACCOUNT, INSTALL_APPS

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_NOT_IN_A_HEADER = re.compile(r"[^\x21-\x7e]")


def _text(text: str) -> str:
    # PostgreSQL and UTF-8 hold all but these
    if re.search(r"[\x00\ud800-\udfff]", text):
        raise ValueError("a character that cannot be stored")
    return text


def _sent_back(text: str) -> str:
    if not text or _NOT_IN_A_HEADER.search(text):
        raise ValueError("no token")
    return text


def _id(text: str) -> str:
    UUID(text)
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or _NOT_IN_A_HEADER.search(text):
        raise ValueError("no address")
    return text


def _time(text: object) -> object:
    if not isinstance(text, str):
        return text
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


Text = Annotated[str, AfterValidator(_text)]
Id = Annotated[str, AfterValidator(_text), AfterValidator(_id)]
Url = Annotated[str, AfterValidator(_url)]
TokenText = Annotated[str, AfterValidator(_sent_back)]
Time = Annotated[datetime, BeforeValidator(_time)]


class Answer(BaseModel):
    """An object in an answer, its fields in snake case; what else Twenty sends is left out."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", alias_generator=to_camel, hide_input_in_errors=True
    )


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


TEXT: Final[TypeAdapter[str]] = TypeAdapter(Text)


def field_of(body: Mapping[str, Any], name: str, shape: TypeAdapter[T]) -> T:
    """What the root field of an answer without errors holds.

    Raises:
        OddAnswer: when it is not there, or is not what this field answers.
    """
    data = body.get("data")
    if not isinstance(data, dict) or name not in data:
        raise OddAnswer(f"its answer has no `data.{name}`")
    try:
        return shape.validate_python(data[name])
    except (ValidationError, RecursionError) as error:
        first = (
            error.errors(include_input=False, include_context=False)[0] if isinstance(error, ValidationError) else None
        )
        place = ".".join(["data", name, *(str(part) for part in (first["loc"] if first else ()))])
        raise OddAnswer(f"`{place}` in its answer is missing or is not what Twenty answers there") from None


@dataclass(frozen=True)
class Operation(Generic[T_co]):
    """One root field with its arguments, what is asked back, and what an answer to that is.

    Without `arguments` each variable is the argument of its own name.

    Without a `needed` one no workspace can be made, activated, joined, signed in to or read, so a server that lacks it
    is refused. What another one does is done otherwise where it is lacking, or reported.
    """

    name: str
    effect: Effect
    variables: Mapping[str, str] = field(default_factory=dict)
    arguments: str = ""
    selection: str = ""
    needed: bool = True
    kind: Literal["query", "mutation"] = field(kw_only=True, default="mutation")
    answer: TypeAdapter[T_co] = field(kw_only=True, compare=False, repr=False)

    @property
    def document(self) -> str:
        """The document to send."""
        return f"{self._head(self.name[0].upper() + self.name[1:])} {{ {self._root('')} }}"

    def probe(self) -> str:
        """The same document with its root field skipped: a server validates all of it and runs none of it.

        `__typename` stands beside it, because Twenty's executor fails on a mutation that has nothing to run (2.21.0).
        """
        return f"{self._head('Probe')} {{ __typename {self._root(' @skip(if: true)')} }}"

    def probe_variables(self) -> dict[str, object]:
        """Values of the right types for the probe; it runs nothing, so they mean nothing."""
        return {name: _PROBE_VALUES[type_] for name, type_ in self.variables.items()}

    def _head(self, name: str) -> str:
        declared = ", ".join(f"${name}: {type_}" for name, type_ in self.variables.items())
        return f"{self.kind} {name}" + (f"({declared})" if declared else "")

    def _root(self, directive: str) -> str:
        arguments = self.arguments or ", ".join(f"{name}: ${name}" for name in self.variables)
        arguments = f"({arguments})" if arguments else ""
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

ALL: tuple[Operation[Any], ...] = tuple(found for found in list(globals().values()) if isinstance(found, Operation))
"""Everything that is ever sent; a server must take all that is `needed` before anything is written to it."""
