"""Who may read reports and timelines, which hold e-mail addresses; and what keys and passwords are both read with."""

import base64
import binascii
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from math import ceil
from time import time

from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from provisioning_pipeline.http.problems import Problem
from provisioning_pipeline.ledger.request_windows import take_request
from provisioning_pipeline.ledger.serving import LedgerAccess, LedgerAway
from provisioning_pipeline.model.api_key import KeyRefusal
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.settings import Settings

_ASK = {"WWW-Authenticate": 'Basic realm="Provisioning reports", charset="UTF-8"'}
_WRONG_PER_MINUTE = 60
_SHARED_SECONDS = 1.0
_PROXIED = ("forwarded", "via", "x-real-ip")
_HOST = re.compile(
    r"(?:(?P<name>localhost)|(?P<v4>[0-9.]+)|\[(?P<v6>[0-9a-f]*:[0-9a-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?", re.I | re.A
)
"""`Host` as RFC 9110 has it, of names and addresses that this machine may have; what is odd is another machine's."""
_HERE_ONLY = (
    "Without a password this is for callers on this machine alone, by localhost or 127.0.0.1 and through no proxy. Set "
    "PROVISIONING_REPORT_PASSWORD to read it from elsewhere; timelines and metrics take an API key, too."
)


def authorization_of(request: Request, challenge: Mapping[str, str]) -> str:
    """The `Authorization` header of a request; empty where there is none.

    Args:
        challenge: `WWW-Authenticate`, for the refusal.

    Raises:
        Problem: 401 when there are several, also where they say the same: a proxy before us may have read another one
            than we would.
    """
    found = request.headers.getlist("authorization")
    if len(found) > 1:
        raise Problem(HTTPStatus.UNAUTHORIZED, "The request has more than one Authorization header.", challenge)
    return found[0] if found else ""


class RateLimit:
    """At most so many requests of one caller in any minute, in this process.

    Args:
        what: what is limited, for the refusal.
        why: the word under which the refusal of a service is recorded, if at all.
    """

    def __init__(self, per_minute: int, what: str, why: KeyRefusal | None = None) -> None:
        self._item = RateLimitItemPerMinute(per_minute)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._what = what
        self._why = why

    def take(self, caller: str) -> None:
        """Count one request.

        Raises:
            Problem: 429 with `Retry-After` when it is one too many.
        """
        if not self._limiter.hit(self._item, caller):
            raise self.too_many(self._seconds_until_room(caller))

    def must_have_room(self, caller: str) -> None:
        """Count nothing; refuse a caller who has used up everything.

        Raises:
            Problem: as `take`.
        """
        if not self.has_room(caller):
            raise self.too_many(self._seconds_until_room(caller))

    def has_room(self, caller: str) -> bool:
        """Whether one more of this caller's would be let through; nothing is counted."""
        return bool(self._limiter.test(self._item, caller))

    def _seconds_until_room(self, caller: str) -> float:
        return self._limiter.get_window_stats(self._item, caller).reset_time - time()

    def too_many(self, seconds: float) -> Problem:
        """The refusal of one too many, for a caller who may come again in so many seconds."""
        return Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"Too many {self._what}: {self._item.amount} in a minute are allowed. Come again later.",
            {"Retry-After": str(max(1, ceil(seconds)))},
            why=self._why,
        )


class LimitOfAll:
    """At most so many requests of one caller in any minute, in all processes that have the same ledger.

    A flood is refused by this process alone, so that it costs the ledger nothing. While the ledger is away, each
    process counts by itself.

    Args:
        per_minute: most requests.
        what: as `RateLimit`; also what sets this limit apart from others.
        why: as `RateLimit`.
    """

    def __init__(self, ledger: LedgerAccess, per_minute: int, what: str, why: KeyRefusal | None = None) -> None:
        self._ledger = ledger
        self._per_minute = per_minute
        self._what = what
        self._here = RateLimit(per_minute, what, why)

    async def take(self, caller: str) -> None:
        """Count one request.

        Raises:
            Problem: 429 with `Retry-After` when it is one too many.
        """
        self._here.must_have_room(caller)
        try:
            wait = await self._ledger.ask(
                lambda database: take_request(database, f"{self._what} {caller}", self._per_minute),
                within=_SHARED_SECONDS,
            )
        except (LedgerAway, Fault):
            # the log has it; what needs the ledger says so itself
            wait = 0.0
        if wait:
            raise self._here.too_many(wait)
        self._here.take(caller)


def reader(settings: Settings) -> Callable[[Request], Awaitable[None]]:
    """What lets a request through to reports, or ends it.

    Raises:
        Problem: from what is returned. 401 without the right password, or with two `Authorization` headers, 429 after
            too many wrong ones; where none is set, 403 for every caller that is not on this machine.
    """
    password = settings.report_password
    if password is None:
        return _must_be_here
    expected = password.get_secret_value().encode()
    wrong = RateLimit(_WRONG_PER_MINUTE, "wrong passwords from this address")

    async def must_know(request: Request) -> None:
        given = _password(authorization_of(request, _ASK))
        if given is not None:
            # before it is compared: a guesser learns nothing beyond the limit, not even that a guess was right
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
    # behind a proxy here every caller looks local, and so does a page from elsewhere whose name was led to this machine
    proxied = any(name in _PROXIED or name.startswith("x-forwarded-") for name in request.headers)
    peer = request.client.host if request.client else ""
    if proxied or not _is_here(peer) or not _names_us(request.headers.getlist("host")):
        raise Problem(HTTPStatus.FORBIDDEN, _HERE_ONLY)


def _is_here(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return (mapped or found).is_loopback


def _names_us(hosts: Sequence[str]) -> bool:
    """Whether the request has one `Host`, well formed, that says this machine, with or without a port."""
    found = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if found is None or int(found["port"] or 1) not in range(1, 65_536):
        return False
    return found["name"] is not None or _is_here(found["v4"] or found["v6"])
