"""Who signs in to a Twenty server and with what, where they come in, and what they are shown."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import jwt
from pydantic import SecretStr

_RENEW_BEFORE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A bearer token; its repr shows nothing.

    `refresh` and `cookie` (name and value, as sent) are what ends the login on servers with sessions (2.33 and later).
    """

    value: str
    expires_at: datetime
    refresh: str | None = None
    cookie: str | None = None

    @property
    def workspace_id(self) -> str | None:
        """The workspace that the token says it is for, whatever was asked for; None: it says none."""
        try:
            claims = jwt.decode(self.value, options={"verify_signature": False})
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            return None
        workspace_id = claims.get("workspaceId")
        return workspace_id if isinstance(workspace_id, str) else None

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

    def credentials(self) -> dict[str, str]:
        """E-mail and password as variables of an operation: the password stands in the open."""
        return {"email": self.email, "password": self.password.get_secret_value()}


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
class ApiKey:
    """An API key of a workspace that is not revoked. Twenty does not record who made it (2.21 to 2.43)."""

    id: str
    name: str
    created_at: datetime
    expires_at: datetime


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

    43 characters of base64url, within Twenty's 8 to 50. It is never stored, and no one signs in with it by hand.
    """
    digest = hmac.new(key.get_secret_value().encode(), email.strip().lower().encode(), hashlib.sha256).digest()
    return SecretStr(base64.urlsafe_b64encode(digest).decode().rstrip("="))
