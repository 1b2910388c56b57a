"""URLs, origins and host names as settings take them. A fault names what is wanted, never the value."""

import re
from collections.abc import Collection, Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit


def http_url(value: str) -> str:
    """A URL that paths are added to.

    Raises:
        ValueError: when it is none, or holds more.
    """
    must_be_http(value)
    # a password with a raw / in it moves the @ into the path
    if "@" in value:
        raise ValueError("must not hold a user or password: it is shown in reports")
    if "?" in value or "#" in value:
        raise ValueError("must end before any ? or #: paths are added to it")
    return value.rstrip("/")


def must_be_http(value: str) -> None:
    """Refuse what is no URL of http:// or https:// that names a host."""
    import httpx2

    try:
        url = httpx2.URL(value)
        # as the connection will have it; encoding the host is what fails for names that cannot be looked up
        usable = url.scheme in ("http", "https") and bool(url.raw_host) and (url.port or 1) in range(1, 65_536)
    except (httpx2.InvalidURL, ValueError):
        usable = False
    if not usable or not value.isprintable() or " " in value:
        raise ValueError("must be a URL that starts with http:// or https:// and names a host")


def issuer_url(value: str) -> str:
    """A URL of which it matters who answers there.

    Raises:
        ValueError: when it is none, or off this machine without encryption.
    """
    url = http_url(value)
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        raise ValueError("must start with https://: what answers there says which keys sign sessions")
    return url


def encrypted(url: str, *, but_for: Collection[str]) -> None:
    """Refuse a URL of http:// off this machine: keys, passwords and tokens would cross the network readable.

    Args:
        but_for: host names in lower case that may be spoken to all the same.

    Raises:
        ValueError: what to do, without the URL.
    """
    import httpx2

    parts = httpx2.URL(url)
    if parts.scheme == "https" or _is_loopback(parts.host) or _host(parts.host) in but_for:
        return
    raise ValueError(
        "must start with https://: over http:// our keys and passwords cross the network readable. If that network is "
        "yours alone, name the host in PROVISIONING_ALLOW_HTTP_HOSTS"
    )


def origin(value: str) -> str:
    """An origin as a browser writes it, and so Clerk's claim `azp`."""
    return value.rstrip("/")


def host_names(values: Iterable[str]) -> tuple[str, ...]:
    """Names of hosts, each once.

    Raises:
        ValueError: when one is more than a name.
    """
    if any(not value or re.search(r"[/@*,\s]|^\[|[^:]:\d+$", value) for value in values):
        raise ValueError('must be names of hosts alone, without http://, port or *, such as ["twenty.internal"]')
    return tuple(dict.fromkeys(_host(value) for value in values))


def _is_loopback(host: str) -> bool:
    name = _host(host)
    try:
        return name == "localhost" or name.endswith(".localhost") or ip_address(name).is_loopback
    except ValueError:
        return False


def _host(name: str) -> str:
    return name.lower().rstrip(".")
