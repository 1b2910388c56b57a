"""Twenty's tokens: real JWTs, signed with a secret that outlives a restart."""

import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt

from provisioning_pipeline.sandbox.twenty.errors import TwentyError, forbidden, token_refused, unauthenticated
from provisioning_pipeline.sandbox.twenty.options import TwentyOptions

AuthToken = dict[str, Any]

IMPERSONATION_REFRESH_SECONDS = 24 * 3600


KEY_ID = "stand-in"
"""The real one signs with a key pair, whose id stands in the header; older tokens have none."""


def _check_kind(claims: dict[str, Any]) -> None:
    """Of a token without a key id the server asks first whose it is: a workspace's or a user's (recorded on 2.21.0)."""
    if "workspaceId" not in claims and "userId" not in claims:
        raise forbidden(
            "Invalid token type", {"id": "XyOToQ", "message": "An error occurred."}, "INVALID_JWT_TOKEN_TYPE"
        )


@dataclass
class Tokens:
    """Signs and reads tokens. Lifetimes as recorded on 2.21.0."""

    secret: str
    options: TwentyOptions = field(repr=False)

    def sign(self, claims: dict[str, Any], seconds: float) -> AuthToken:
        """A token as GraphQL's AuthToken."""
        now = time.time()
        payload = {key: str(value) if isinstance(value, UUID) else value for key, value in claims.items()}
        # Fractions are lawful in a NumericDate; they let a test use lifetimes below a second.
        payload |= {"iat": int(now), "exp": now + seconds}
        token = jwt.encode(payload, self.secret, algorithm="HS256", headers={"kid": KEY_ID})
        return {"token": token, "expiresAt": datetime.now(UTC) + timedelta(seconds=seconds)}

    def read(self, token: str) -> dict[str, Any]:
        """The claims of a token of ours that has not expired."""
        try:
            if "kid" not in jwt.get_unverified_header(token):
                _check_kind(jwt.decode(token, options={"verify_signature": False}))
            claims: dict[str, Any] = jwt.decode(
                token, self.secret, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False}
            )
        except jwt.InvalidTokenError:
            raise token_refused("Token invalid.") from None
        if float(claims["exp"]) <= time.time():
            raise token_refused("Token has expired.")
        return claims

    def read_argument(self, token: str, kind: str, wrong_kind: TwentyError) -> dict[str, Any]:
        """The claims of a token given as an argument; errors as a resolver gives them."""
        try:
            claims = self.read(token)
        except TwentyError as error:
            friendly = "You must be authenticated to perform this action."
            raise unauthenticated(error.message, "UNAUTHENTICATED", friendly) from None
        if claims.get("type") != kind:
            raise wrong_kind
        return claims

    def agnostic(self, user_id: UUID, provider: str = "password") -> AuthToken:
        """A session without a workspace."""
        claims = {
            "type": "WORKSPACE_AGNOSTIC",
            "sub": user_id,
            "userId": user_id,
            "authProvider": provider,
        }
        return self.sign(claims, self.options.access_token_seconds)

    def login(self, email: str, workspace_id: UUID, provider: str = "password", **more: Any) -> AuthToken:
        """What is exchanged for a session in one workspace."""
        claims = {
            "type": "LOGIN",
            "sub": email,
            "workspaceId": workspace_id,
            "authProvider": provider,
            "jti": secrets.token_hex(16),
        }
        return self.sign(claims | more, self.options.login_token_seconds)

    def api_key(self, key_id: UUID, workspace_id: UUID, expires_at: datetime) -> str:
        """The token of an API key: its lifetime is the key's."""
        claims = {"type": "API_KEY", "sub": workspace_id, "workspaceId": workspace_id, "jti": key_id}
        return str(self.sign(claims, (expires_at - datetime.now(UTC)).total_seconds())["token"])
