"""What both clients pass to httpx2, and how they read what comes back."""

import os
from typing import Any, TypeVar

import httpx2

from provisioning_pipeline.client.answers import Answer
from provisioning_pipeline.client.calls import Call, header_text
from provisioning_pipeline.client.conversation import NoAnswer

_CONNECT_SECONDS = 5.0
_BEARER = "Bearer "
_NEVER_SENT = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)
_OF_CONNECTIONS = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"}
)
C = TypeVar("C", httpx2.Client, httpx2.AsyncClient)


def connected(kind: type[C], base_url: str, api_key: str, timeout_seconds: float) -> C:
    """One of httpx2's clients, for the server at `base_url`.

    Raises:
        ValueError: the URL or the key cannot be one, or the environment names a proxy or certificates that httpx2
            cannot use.
    """
    url = _checked_url(base_url)
    headers = {
        "Authorization": _BEARER + header_text("api_key", api_key),
        "Accept": "application/json",
        "User-Agent": "provisioning-client",
    }
    timeout = httpx2.Timeout(timeout_seconds, connect=min(_CONNECT_SECONDS, timeout_seconds))
    try:
        return kind(base_url=url, headers=headers, timeout=timeout)
    except (httpx2.InvalidURL, ValueError, ImportError, OSError) as error:
        why = type(error).__name__
    # not in the handler: the words of the error may hold the password of a proxy
    variables = ", ".join(sorted(name for name in os.environ if name.upper() in _OF_CONNECTIONS))
    raise ValueError(f"httpx2 cannot use what the environment says about proxies or certificates ({why}): {variables}")


def arguments(call: Call, timeout: httpx2.Timeout) -> dict[str, Any]:
    """The call as arguments of httpx2's `request`; it reads for as long as the server may hold the answer back."""
    patience = httpx2.Timeout(
        connect=timeout.connect,
        read=None if timeout.read is None else timeout.read + max(0, call.wait),
        write=timeout.write,
        pool=timeout.pool,
    )
    found = {
        "method": call.method,
        "url": call.path,
        "params": dict(call.query),
        "headers": dict(call.headers),
        "timeout": patience,
    }
    return found if call.body is None else found | {"json": dict(call.body)}


def answer(response: httpx2.Response) -> Answer:
    """The answer, with its body read. One that is no success may repeat the request: the key is taken out of it."""
    body = response.content
    if not response.is_success:
        key = response.request.headers["Authorization"].removeprefix(_BEARER)
        body = body.replace(key.encode(), b"[the API key]")
    return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)


def no_answer(error: httpx2.RequestError, base_url: httpx2.URL) -> NoAnswer:
    """Why there was none. What takes too long is not asked for again by itself: the server is busy with it."""
    if isinstance(error, httpx2.TimeoutException) and not isinstance(error, httpx2.ConnectTimeout):
        why = (
            f"{base_url} took longer than timeout_seconds. The request may have taken effect; asking again is safe: "
            "give a longer timeout_seconds if it happens again."
        )
        return NoAnswer(why, connection_failed=False)
    # a header that cannot be sent is quoted whole by the HTTP library, with the key in it
    words = "" if isinstance(error, httpx2.LocalProtocolError) else str(error).split("\n")[0]
    kind = f"{type(error).__name__}: {words}" if words else type(error).__name__
    why = f"{base_url}: {kind}. Check that `provisioning serve` is up and reachable from here, and base_url."
    failed = isinstance(error, httpx2.TransportError) and not isinstance(error, _NEVER_SENT)
    return NoAnswer(why, connection_failed=failed)


def _checked_url(base_url: str) -> httpx2.URL:
    try:
        url = httpx2.URL(base_url.rstrip("/"))
    except (httpx2.InvalidURL, TypeError):
        raise ValueError("base_url is no URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("base_url must begin with http:// or https:// and name a host")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("base_url must have no user, password, ? or #; the key belongs into api_key")
    return url
