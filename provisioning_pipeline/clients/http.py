"""Connections over HTTP: proxies, certificates, odd answers, and words for what goes wrong."""

import os
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http.cookiejar import CookieJar
from math import isnan
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httpx2

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.values.environment import PROXIES, proxy_for

_CONNECT_SECONDS = 5.0
_LONGEST_LOCATION = 200
_VERIFY_WORDS: Mapping[int, str] = {
    9: "is not valid yet: compare the clocks of both machines",
    10: "has expired: have it renewed there",
    62: "is for another host name: correct the URL, or the certificate there",
    64: "is for another address: correct the URL, or the certificate there",
}
"""OpenSSL's code → what is wrong with a certificate; others depend on what this machine trusts."""
_NOT_TRUSTED = (
    "comes from no authority that this machine trusts ({}): add its certificate authority to the system's store, or "
    "name a file with it in SSL_CERT_FILE (docs/configuration.md, Certificates)"
)


def http_client(
    url: str,
    *,
    timeout_seconds: float,
    headers: Mapping[str, str] | None = None,
    limits: httpx2.Limits | None = None,
    cookies: CookieJar | None = None,
) -> httpx2.AsyncClient:
    """A client for one address. Redirects are never followed: what is behind one is not what was configured.

    The proxy of the environment is chosen here, once: httpx2 reads the same variables with each client, and fails in
    the middle of it on many values that other programs take.

    Raises:
        ValueError: when the variable that names the proxy cannot be used; `load_settings` finds that before.
    """
    proxy = proxy_for(url) if any(name.lower() in PROXIES for name in os.environ) else None
    address = proxy.url if proxy else ""
    tls = certificates() if address.startswith("https:") else None
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(timeout_seconds, connect=min(_CONNECT_SECONDS, timeout_seconds)),
        headers=dict(headers or {}),
        cookies=cookies,
        limits=limits or httpx2.Limits(max_connections=64, max_keepalive_connections=8),
        verify=certificates(),
        proxy=httpx2.Proxy(address, ssl_context=tls) if proxy else None,
        follow_redirects=False,
        trust_env=False,
    )


@cache
def certificates() -> ssl.SSLContext:
    """What this machine trusts: the system's store, or what SSL_CERT_FILE and SSL_CERT_DIR put in its place.

    Read once: each reading takes longer than a call. A machine without a store gets Mozilla's list, from
    certifi, where that is installed.
    """
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    in_folder = paths.capath is not None and any(Path(paths.capath).glob("*.[0-9]"))
    if not context.cert_store_stats()["x509"] and not in_folder:
        with suppress(ModuleNotFoundError):
            import certifi

            context.load_verify_locations(cafile=certifi.where())
    return context


def in_words(error: Exception, url: str) -> str:
    """Why no answer came from this URL, without a line break or anything secret."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            words = _VERIFY_WORDS.get(cause.verify_code) or _NOT_TRUSTED.format(cause.verify_message)
            return f"its certificate {words}"
        if isinstance(cause, ssl.SSLError) and cause.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
            return "it does not speak TLS: the URL has to start with http://, or the port is another one"
    # a header that cannot be sent is quoted whole by the HTTP library, with the key in it
    text = "" if isinstance(error, httpx2.LocalProtocolError) else str(error).split("\n")[0]
    words = f"{type(error).__name__}{': ' + text if text else ''}"
    proxy = proxy_for(url)
    return f"{words} (through the proxy that {proxy.variable} names)" if proxy else words


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        reason = getattr(cause, "reason", None)
        cause = cause.__cause__ or cause.__context__ or (reason if isinstance(reason, BaseException) else None)
    return found


def redirect_of(response: httpx2.Response) -> str | None:
    """Where a redirect leads, without user, query and fragment, which may hold secrets; None: it is no redirect."""
    if not response.has_redirect_location:
        return None
    try:
        parts = urlsplit(urljoin(str(response.request.url), response.headers["location"]))
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that cannot be read"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    shown = f"{parts.scheme}://{host}{port}{parts.path}"
    return "".join(character for character in shown if character.isprintable())[:_LONGEST_LOCATION]


def seconds_to_wait(response: httpx2.Response) -> float | None:
    """The seconds that the other side asks to wait; None: none, or nothing that can be read.

    A date counts from the answer's own, so that the two machines' clocks need not agree.
    """
    asked = response.headers.get("retry-after", "").strip()
    with suppress(ValueError):
        seconds = float(asked)
        return None if isnan(seconds) else max(0.0, seconds)
    try:
        until = _in_utc(parsedate_to_datetime(asked))
    except ValueError:
        return None
    try:
        now = _in_utc(parsedate_to_datetime(response.headers.get("date", "")))
    except ValueError:
        now = datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())


def _in_utc(moment: datetime) -> datetime:
    # a date with -0000 for its zone is read without one
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


MOST_BYTES: Final = 64 * 1024 * 1024
"""A page of 500 users with all the metadata that Clerk allows is a quarter of that."""
_NOT_IN_A_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]+")
_LONGEST_TEXT = 1000


class OddAnswer(Exception):
    """An answer that cannot be used; `why` goes on from "no usable answer to …:" and quotes nothing of it."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class OddAnswerFault(Fault):
    """No usable answer came, although something answered.

    Args:
        why: what came last.
        redirected: that was a redirect, and `message` says where to.
    """

    def __init__(
        self, reason: Reason, message: str, *, why: str, effect_unknown: bool, redirected: bool = False
    ) -> None:
        super().__init__(FaultKind.TRANSIENT, reason, message, effect_unknown=effect_unknown)
        self.why = why
        self.redirected = redirected


def answer_in_words(response: httpx2.Response) -> str:
    """What came instead of an answer: its status and what it looks like, never what it says."""
    return f"HTTP {response.status_code} with {looks_of(response)}"


def looks_of(response: httpx2.Response) -> str:
    """The same without the status."""
    body = response.content[:512].lstrip()
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not body:
        return "an empty body"
    if body.startswith(b"<") or "html" in kind:
        return "an HTML page"
    if body[:1] in (b"{", b"["):
        return "other JSON than was asked for, or a part of it"
    return "a body that is no JSON"


def plain_text(text: str) -> str:
    """A text of another system as a condition, a log and PostgreSQL can hold it: no control characters, not endless."""
    return _NOT_IN_A_TEXT.sub(" ", text)[:_LONGEST_TEXT]


async def read_whole(http: httpx2.AsyncClient, method: str, url: str, arguments: dict[str, Any]) -> httpx2.Response:
    """Send a request and read its answer, up to as much as any answer may have.

    Raises:
        OddAnswer: when it goes on for longer.
    """
    async with http.stream(method, url, **arguments) as response:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MOST_BYTES:
                raise OddAnswer(f"HTTP {response.status_code} with a body of over {MOST_BYTES // (1024 * 1024)} MiB")
    # it is decompressed by now
    headers = [(name, value) for name, value in response.headers.multi_items() if name not in _OF_THE_WIRE]
    return httpx2.Response(response.status_code, headers=headers, content=bytes(body), request=response.request)


_OF_THE_WIRE = frozenset({"content-encoding", "content-length", "transfer-encoding"})
