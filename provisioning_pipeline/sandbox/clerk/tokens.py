"""Session tokens as Clerk signs them, and the public keys that verify them."""

import secrets
import time
from functools import cached_property
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from provisioning_pipeline.sandbox.clerk.records import Membership, Organization

REMOVED = object()


class SigningKey:
    """An RSA key with its key id. In Clerk the key id is the instance id."""

    def __init__(self, kid: str, pem: str | None = None) -> None:
        self.kid = kid
        self._pem = pem

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        # On first use: making one takes a good part of a second, and most sandboxes sign nothing.
        if self._pem is None:
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        loaded = serialization.load_pem_private_key(self._pem.encode(), password=None)
        if not isinstance(loaded, rsa.RSAPrivateKey):
            message = "the kept signing key is not an RSA key"
            raise TypeError(message)
        return loaded

    def pem(self) -> str:
        """The private key, to keep it across restarts."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    def jwks(self) -> dict[str, Any]:
        """The public part as a JSON Web Key Set."""
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        key = {name: value for name, value in public.items() if name != "key_ops"}
        return {"keys": [{**key, "use": "sig", "alg": "RS256", "kid": self.kid}]}

    def sign(self, claims: dict[str, Any], headers: dict[str, Any] | None = None) -> str:
        """A signed token; `headers` override the usual ones."""
        return jwt.encode(
            claims,
            self._key,
            algorithm="RS256",
            headers={"cat": "cl_B7d4PD111AAA", "kid": self.kid, **(headers or {})},
        )


def session_claims(
    *,
    version: Literal[1, 2],
    issuer: str,
    user_id: str,
    seconds: int,
    active: tuple[Organization, Membership, list[str]] | None,
    overrides: dict[str, Any],
) -> dict[str, Any]:
    """The claims of a session token. An override of `REMOVED` takes a claim away."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "azp": "http://localhost:3000",
        "exp": now + seconds,
        "fva": [7, -1],
        "iat": now,
        "iss": issuer,
        "jti": secrets.token_hex(10),
        "nbf": now - 10,
        "sid": f"sess_{secrets.token_hex(13)}",
        "sts": "active",
        "sub": user_id,
    }
    if version == 2:
        claims["v"] = 2
    if active is not None:
        claims |= _organization_claims(version, *active)
    claims |= overrides
    return {name: value for name, value in claims.items() if value is not REMOVED}


def _organization_claims(
    version: int, organization: Organization, membership: Membership, permissions: list[str]
) -> dict[str, Any]:
    if version == 1:
        return {
            "org_id": organization.id,
            "org_permissions": permissions,
            "org_role": membership.role,
            "org_slug": organization.slug,
        }
    compact: dict[str, Any] = {"id": organization.id, "rol": membership.role.removeprefix("org:")}
    if organization.slug is not None:
        compact["slg"] = organization.slug
    return {"o": compact}
