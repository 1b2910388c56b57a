"""Verifies Clerk's session tokens, after what Clerk documents of them (2026-08): versions 1 and 2, RS256.

The same key also signs machine tokens, tokens of JWT templates and OAuth tokens; none of them is a session.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

import jwt
from jwt.algorithms import RSAAlgorithm

from provisioning_pipeline.clients.clerk.jwks import KeysAway, PublicKeys
from provisioning_pipeline.clients.remembered import Remembered
from provisioning_pipeline.model.session import CannotTell, Refusal, Refused, Session

MOST_CHARACTERS = 8192
"""Clerk keeps a session token in a cookie, which browsers cut at 4,096."""
LEEWAY_SECONDS: Final = 5
LATELY_SECONDS: Final = 300
"""A token that ran out so lately still says whose browser it came from: a page at rest renews its own late."""
_REMEMBERED = 20_000
_ID = re.compile(r"[!-~]{1,200}")
"""Clerk's ids are words of plain letters; no other form of theirs is documented, so no more is taken for granted."""
_WORKSPACE_CLAIM = "twenty_workspace_id"
_RS256: Final = RSAAlgorithm(RSAAlgorithm.SHA256)
_INVALID = "The session token is not valid."
_KEYS_AWAY = "Clerk's public keys cannot be read at present, so no session can be verified."
_Times = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class _Holder:
    """Whose session a token is of, and in which organization and role; None: in none."""

    issuer: str
    user_id: str
    session_id: str
    organization_id: str | None
    role: str


@dataclass(frozen=True, slots=True)
class _Verified:
    """What a token says whose signature fits, by which keys, of which generation; `holder` of a user's session."""

    keys: PublicKeys
    generation: int
    said: Session | Refused
    holder: _Holder | None
    times: _Times


class SessionVerifier:
    """Reads what a session token says, or why it is refused.

    A token that was verified is remembered until it expires or the keys change: its signature is checked once, its
    times at every request.

    Args:
        issuers: Frontend API URL → the keys that sign for it.
        authorized_parties: values of `azp` that are accepted; empty: any, and none.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        issuers: Mapping[str, PublicKeys],
        authorized_parties: Sequence[str] = (),
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.keys: Mapping[str, PublicKeys] = dict(issuers)
        self._parties = frozenset(authorized_parties)
        self._clock = clock
        self._verified: Remembered[str, _Verified] = Remembered(_REMEMBERED)

    async def verify(self, token: str) -> Session:
        """What a token says.

        Raises:
            Refused: with 401 words, or NO_ORGANIZATION.
            CannotTell: when no public key is known.
        """
        known = self._verified.get(token)
        if known is None or not known.keys.fresh or known.keys.generation != known.generation:
            known = await self._verified_now(token, known)
        said, (issued, begins, expires) = known.said, known.times
        now = self._clock()
        if now >= expires + LEEWAY_SECONDS:
            raise Refused(Refusal.TOKEN_EXPIRED, "The session token has expired; get a new one from Clerk.")
        if now < max(issued, begins) - LEEWAY_SECONDS:
            raise Refused(Refusal.TOKEN_NOT_YET_VALID, "The session token is not valid yet; compare the clocks.")
        if isinstance(said, Refused):
            # a new object: one that is raised twice keeps the frames of both
            raise Refused(said.why, said.detail)
        return said

    async def contradicts(self, token: str, session: Session) -> bool:
        """Whether another token that came along was signed for another user, or for another organization.

        It counts while it is good, and a little longer (`LATELY_SECONDS`). What Clerk has not signed as the session of
        a user, and what ran out long ago, contradicts nothing: an attacker may have planted it.

        Raises:
            CannotTell: when no public key is known.
        """
        try:
            known = await self._verified_now(token, self._verified.get(token))
        except Refused:
            return False
        other, (_, _, expires) = known.holder, known.times
        if other is None or self._clock() >= expires + LATELY_SECONDS:
            return False
        same_user = (other.issuer, other.user_id) == (session.issuer, session.user_id)
        return not same_user or other.organization_id not in (None, session.organization_id)

    async def _verified_now(self, token: str, known: _Verified | None) -> _Verified:
        """A token as the keys of now verify it, which may be as it is remembered."""
        if known is not None:
            try:
                await known.keys.warm()
            except KeysAway:
                raise CannotTell(_KEYS_AWAY) from None
            if known.keys.generation == known.generation:
                return known
        found = await self._read(token)
        self._verified.keep(token, found)
        return found

    async def _read(self, token: str) -> _Verified:
        kid, claims, signature = _unverified(token)
        issuer = claims.get("iss")
        keys = self.keys.get(issuer) if isinstance(issuer, str) else None
        if keys is None:
            raise Refused(Refusal.INVALID_TOKEN, _INVALID)
        try:
            await _check_signature(token, signature, kid, keys)
        except KeysAway:
            raise CannotTell(_KEYS_AWAY) from None
        times = _times(claims)
        holder: _Holder | None = None
        try:
            holder = _holder(claims)
            said: Session | Refused = self._session(claims, holder)
        except Refused as refused:
            said = refused
        return _Verified(keys, keys.generation, said, holder, times)

    def _session(self, claims: Mapping[str, Any], holder: _Holder) -> Session:
        party = claims.get("azp")
        if self._parties and not (isinstance(party, str) and party in self._parties):
            raise Refused(Refusal.WRONG_PARTY, "The session token was made for another application.")
        if claims.get("sts", "active") != "active":
            raise Refused(Refusal.SESSION_PENDING, "The session is pending: its user has something to do at Clerk.")
        if holder.organization_id is None:
            raise Refused(Refusal.NO_ORGANIZATION, "The session has no active organization.")
        workspace_id = claims.get(_WORKSPACE_CLAIM)
        return Session(
            user_id=holder.user_id,
            session_id=holder.session_id,
            organization_id=holder.organization_id,
            role=holder.role,
            issuer=holder.issuer,
            expires_at=int(claims["exp"]),
            workspace_id=None if workspace_id is None else str(workspace_id),
            impersonator=_impersonator(claims),
        )


def _unverified(token: str) -> tuple[str, Mapping[str, Any], bytes]:
    """Key id, claims and signature of what has the form of an RS256 token; nothing of it may be believed yet."""
    if len(token) > MOST_CHARACTERS or not token.isascii():
        raise Refused(Refusal.INVALID_TOKEN, _INVALID)
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise Refused(Refusal.INVALID_TOKEN, _INVALID) from None
    header, claims = parts["header"], parts["payload"]
    kid = header.get("kid")
    # an OAuth access token is `at+jwt`; a critical extension is one that we would have to understand
    if header.get("alg") != "RS256" or header.get("typ", "JWT") != "JWT" or "crit" in header or not _is_word(kid):
        raise Refused(Refusal.INVALID_TOKEN, _INVALID)
    return kid, claims, parts["signature"]


async def _check_signature(token: str, signature: bytes, kid: str, keys: PublicKeys) -> None:
    """Refuse a token that none of the keys signed; a rotation may have reused the key id."""
    # read once: taking a token apart again costs more than the check of its signature
    signed = token.rpartition(".")[0].encode()
    key = await keys.get(kid)
    if key is not None and _RS256.verify(signed, key, signature):
        return
    if key is not None and await keys.doubted():
        key = await keys.get(kid)
        if key is not None and _RS256.verify(signed, key, signature):
            return
    raise Refused(Refusal.INVALID_TOKEN, _INVALID)


def _times(claims: Mapping[str, Any]) -> _Times:
    """When it was issued, begins and expires, in seconds since 1970. A token without one of the three is refused."""
    found = [claims.get(name) for name in ("iat", "nbf", "exp")]
    issued, begins, expires = (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12 else None
        for value in found
    )
    if issued is None or begins is None or expires is None:
        raise Refused(Refusal.INVALID_TOKEN, "The session token does not say from when and until when it is valid.")
    return issued, begins, expires


def _holder(claims: Mapping[str, Any]) -> _Holder:
    """Whose session it is.

    Raises:
        Refused: when it is none of a user's, or of a version that is not known.
    """
    user_id, session_id = claims.get("sub"), claims.get("sid")
    if not (_is_id(user_id) and user_id.startswith("user_") and _is_id(session_id)):
        raise Refused(Refusal.NOT_A_SESSION, "The token is not one of a user's session.")
    organization_id, role = _organization(claims)
    return _Holder(claims["iss"], user_id, session_id, organization_id, role)


def _organization(claims: Mapping[str, Any]) -> tuple[str | None, str]:
    """The active organization and the role in it. Version 2 has them in `o`, version 1 in claims of their own."""
    match claims.get("v"):
        case 2:
            compact = claims.get("o")
            compact = compact if isinstance(compact, dict) else {}
            found, role = compact.get("id"), compact.get("rol")
        case None | 1:
            found, role = claims.get("org_id"), claims.get("org_role")
        case _:
            raise Refused(Refusal.INVALID_TOKEN, "The session token is of a version that is not known here.")
    name = role if _is_word(role) else ""
    return (found if _is_id(found) else None), name if not name or name.startswith("org:") else f"org:{name}"


def _impersonator(claims: Mapping[str, Any]) -> str | None:
    if "act" not in claims:
        return None
    act = claims["act"]
    subject = act.get("sub") if isinstance(act, dict) else None
    # another person acts, though we do not know who
    return subject if _is_word(subject) else "unknown"


def _is_word(value: Any) -> TypeGuard[str]:
    # what a database does not take as text (NUL, half a surrogate pair) is not printable either
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()


def _is_id(value: Any) -> TypeGuard[str]:
    # a blank at its end would be another id for us and the same one for Clerk
    return isinstance(value, str) and _ID.fullmatch(value) is not None
