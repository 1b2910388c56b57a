"""What Twenty answers to each operation, as types: nothing of an answer is used that does not pass through here.

Which fields may be null is as in Twenty's own schema (2.21.0). What is odd in an answer is named by its place, never by
its value, which may be a token.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from provisioning_pipeline.clients.http import OddAnswer

T = TypeVar("T")
_NOT_IN_A_HEADER = re.compile(r"[^\x21-\x7e]")


def _text(text: str) -> str:
    # PostgreSQL and UTF-8 hold all but these
    if re.search(r"[\x00\ud800-\udfff]", text):
        message = "a character that cannot be stored"
        raise ValueError(message)
    return text


def _sent_back(text: str) -> str:
    if not text or _NOT_IN_A_HEADER.search(text):
        message = "no token"
        raise ValueError(message)
    return text


def _id(text: str) -> str:
    UUID(text)
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or _NOT_IN_A_HEADER.search(text):
        message = "no address"
        raise ValueError(message)
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
    """A token, and when it runs out."""

    token: TokenText
    expires_at: Time


class RefreshToken(Answer):
    """What ends a login on servers with sessions."""

    token: TokenText


class TokenPair(Answer):
    """What a login is."""

    access: IssuedToken = Field(alias="accessOrWorkspaceAgnosticToken")
    refresh_token: RefreshToken


class SignedIn(Answer):
    """A login."""

    tokens: TokenPair


class WorkspaceUrls(Answer):
    """Where a workspace is reached."""

    subdomain_url: Url


class SeenWorkspace(Answer):
    """A workspace and where it is reached."""

    id: Id
    workspace_urls: WorkspaceUrls


class AvailableWorkspaces(Answer):
    """The workspaces that a person is a member of."""

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
    """How an activation went."""

    id: Id
    activation_status: Text


class WithId(Answer):
    """Something that was changed."""

    id: Id


class FullName(Answer):
    """A person's name."""

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
    """The caller's workspace."""

    id: Id
    invite_hash: Text | None
    is_public_invite_link_enabled: bool


class SeenRole(Answer):
    """A role of a workspace."""

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
    """An open invitation."""

    id: Id
    email: Text


class SeenApiKey(Answer):
    """An API key that is not revoked."""

    id: Id
    name: Text
    created_at: Time
    expires_at: Time


NOTHING: Final[TypeAdapter[object]] = TypeAdapter(object)
"""An answer of which nothing is used, null too."""
TEXT: Final[TypeAdapter[str]] = TypeAdapter(Text)
YES_OR_NO: Final[TypeAdapter[bool]] = TypeAdapter(Annotated[bool, Field(strict=True)])


def field_of(body: Mapping[str, Any], name: str, shape: TypeAdapter[T]) -> T:
    """What the root field of an answer without errors holds.

    Raises:
        OddAnswer: when it is not there, or is not what this field answers.
    """
    data = body.get("data")
    if not isinstance(data, dict) or name not in data:
        why = f"its answer has no `data.{name}`"
        raise OddAnswer(why)
    try:
        return shape.validate_python(data[name])
    except (ValidationError, RecursionError) as error:
        first = (
            error.errors(include_input=False, include_context=False)[0] if isinstance(error, ValidationError) else None
        )
        place = ".".join(["data", name, *(str(part) for part in (first["loc"] if first else ()))])
        why = f"`{place}` in its answer is missing or is not what Twenty answers there"
        raise OddAnswer(why) from None


def complaints_of(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The errors of a GraphQL answer; empty when there are none.

    Raises:
        OddAnswer: when they are no list of GraphQL errors.
    """
    errors = body.get("errors")
    if errors is None or errors == []:
        return []
    if not isinstance(errors, list) or not all(
        isinstance(error, dict) and isinstance(error.get("message"), str) for error in errors
    ):
        why = "`errors` in its answer is no list of GraphQL errors"
        raise OddAnswer(why)
    return errors
