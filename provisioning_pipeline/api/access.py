"""Who may read reports and timelines: they hold e-mail addresses."""

import base64
import binascii
import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address

from fastapi import Request

from provisioning_pipeline.api.limits import RateLimit
from provisioning_pipeline.api.problems import Problem
from provisioning_pipeline.settings import Settings

_ASK = {"WWW-Authenticate": 'Basic realm="Provisioning reports", charset="UTF-8"'}
_WRONG_PER_MINUTE = 60
_PROXIED = ("forwarded", "via", "x-real-ip")
_HERE_ONLY = (
    "Without a password this is for callers on this machine alone, by localhost or 127.0.0.1 and through no proxy. Set "
    "PROVISIONING_REPORT_PASSWORD to read it from elsewhere; timelines and metrics take an API key, too."
)


def reader(settings: Settings) -> Callable[[Request], Awaitable[None]]:
    """What lets a request through to reports, or ends it.

    Raises:
        Problem: from what is returned. 401 without the right password, 429 after too many wrong ones; where none is
            set, 403 for everybody who is not on this machine.
    """
    password = settings.report_password
    if password is None:
        return _must_be_here
    expected = password.get_secret_value().encode()
    wrong = RateLimit(_WRONG_PER_MINUTE, "wrong passwords from this address")

    async def must_know(request: Request) -> None:
        given = _password(request.headers.get("authorization", ""))
        if given is not None:
            # before it is looked at: who guesses learns nothing beyond the limit, not even that a guess was right
            wrong.must_have_room(address := request.client.host if request.client else "")
        if given is None or not secrets.compare_digest(given, expected):
            if given is not None:
                wrong.take(address)
            raise Problem(HTTPStatus.UNAUTHORIZED, "Give PROVISIONING_REPORT_PASSWORD, with any user name.", _ASK)

    return must_know


def _password(header: str) -> bytes | None:
    """The password of HTTP Basic; None for anything else."""
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        _, colon, password = base64.b64decode(credentials.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return password if colon else None


async def _must_be_here(request: Request) -> None:
    # behind a proxy here everybody looks local, and so does a page from elsewhere whose name was led to this machine
    proxied = any(name in _PROXIED or name.startswith("x-forwarded-") for name in request.headers)
    peer = request.client.host if request.client else ""
    if proxied or not _is_here(peer) or not _names_us(request.headers.get("host", "")):
        raise Problem(HTTPStatus.FORBIDDEN, _HERE_ONLY)


def _is_here(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return (mapped or found).is_loopback


def _names_us(host: str) -> bool:
    """Whether a `Host` header says this machine, with or without a port."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower() == "localhost" or _is_here(name)
