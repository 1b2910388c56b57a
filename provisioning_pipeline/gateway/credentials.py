"""Where a request carries its session token: the Authorization header, or one of Clerk's cookies."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from provisioning_pipeline.model.session import Refusal, Refused

COOKIE = "__session"
"""Clerk also sets `__session_SUFFIX`, so that several applications on one domain do not disturb each other."""
_MOST_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request carries that may be a session token; nothing of it is verified yet.

    Args:
        bearer: the one in the header; a program put it there, while a browser sends cookies by itself.
        cookies: those in cookies of Clerk's names, in the order in which they came. A page of any sibling host may
            have set one of them, so that a name proves nothing.
    """

    bearer: str | None
    cookies: tuple[str, ...] = ()


def credentials_of(headers: Iterable[tuple[bytes, bytes]]) -> Credentials:
    """The session tokens of a request.

    Args:
        headers: as ASGI has them, names in lower case.

    Raises:
        Refused: when there is none, or the header is not one token.
    """
    bearers: list[str] = []
    cookies: list[str] = []
    for name, value in headers:
        if name == b"authorization":
            bearers.append(_bearer(value))
        elif name == b"cookie":
            cookies += _session_cookies(value)
    if len(bearers) > 1:
        raise Refused(Refusal.TOKENS_DISAGREE, "The request has more than one Authorization header.")
    if not bearers and not cookies:
        raise Refused(Refusal.NO_SESSION, "Send Clerk's session token: Authorization: Bearer, or the cookie __session.")
    return Credentials(next(iter(bearers), None), tuple(dict.fromkeys(cookies)))


def _bearer(value: bytes) -> str:
    if not _short(value).isascii():
        raise Refused(Refusal.INVALID_TOKEN, "The Authorization header is no plain text.")
    scheme, _, token = value.decode("ascii").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or " " in token:
        raise Refused(Refusal.NO_SESSION, "The Authorization header is not `Bearer` with one session token.")
    return token


def _session_cookies(value: bytes) -> Sequence[str]:
    found: list[str] = []
    # cookies of others may hold anything; a token that is no plain text is no token
    for part in _short(value).decode("latin-1").split(";"):
        name, _, token = part.strip().partition("=")
        if (name == COOKIE or name.startswith(f"{COOKIE}_")) and token.strip('" '):
            found.append(token.strip('" '))
    return found


def _short(value: bytes) -> bytes:
    if len(value) > _MOST_BYTES:
        raise Refused(Refusal.INVALID_TOKEN, "A header that may carry a session is too long.")
    return value
