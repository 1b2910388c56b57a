"""Where a request carries its session token: the Authorization header, or Clerk's cookie."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from provisioning_pipeline.model.session import Refusal, Refused

COOKIE = "__session"
"""Clerk also sets `__session_SUFFIX`, so that several applications on one domain do not disturb each other."""
_MOST_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Credentials:
    """The token to verify, and others that came along: they must be of the same session.

    One in the header goes first: a program put it there, while a browser sends cookies by itself.
    """

    token: str
    others: tuple[str, ...] = ()


def credentials_of(headers: Iterable[tuple[bytes, bytes]]) -> Credentials:
    """The session token of a request.

    Args:
        headers: as ASGI has them, names in lower case.

    Raises:
        Refused: when there is none, or no telling which one is meant.
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
    found = tuple(dict.fromkeys([*bearers, *cookies]))
    if not found:
        raise Refused(Refusal.NO_SESSION, "Send Clerk's session token: Authorization: Bearer, or the cookie __session.")
    return Credentials(found[0], found[1:])


def _bearer(value: bytes) -> str:
    scheme, _, token = _text(value).strip().partition(" ")
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


def _text(value: bytes) -> str:
    if not _short(value).isascii():
        raise Refused(Refusal.INVALID_TOKEN, "The Authorization header is no plain text.")
    return value.decode("ascii")


def _short(value: bytes) -> bytes:
    if len(value) > _MOST_BYTES:
        raise Refused(Refusal.INVALID_TOKEN, "A header that may carry a session is too long.")
    return value
