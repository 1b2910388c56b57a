"""What the environment says about connections for every program: proxies and certificates, read in one place.

A fault in it is a fault of the settings: HTTP libraries would raise it from the middle of the first request, in words
that quote the password of a proxy.
"""

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from provisioning_pipeline.values.texts import stripped

PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})
"""Variables that name a proxy, in lower case."""
_SCHEMES = ("http", "https")
_DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "https": 443}
_ENTRY = re.compile(r"(?:[a-z]+://)?(?:\[(?P<address>[^\]]*)\]|(?P<host>[^\[\]:]*))(?::(?P<port>[0-9]+))?")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that the environment names; the URL may hold a password."""

    variable: str
    url: str = field(repr=False)


def proxy_for(url: str) -> Proxy | None:
    """The proxy through which this URL is reached; None: directly.

    Raises:
        ValueError: when the variable cannot be used; the text names it.
    """
    parts = urlsplit(url)
    proxy = _proxy_of(parts.scheme)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    exceptions = re.split(r"[\s,;]+", _variable("no_proxy")[1].lower())
    return None if any(_covers(entry, host, port) for entry in exceptions) else proxy


def environment_faults() -> list[str]:
    """Variables about connections that cannot be used, one line each, naming the variable."""
    found: list[str] = []
    for scheme in _SCHEMES:
        try:
            _proxy_of(scheme)
        except ValueError as fault:
            found.append(str(fault))
    found += _certificate_faults()
    return list(dict.fromkeys(found))


def _proxy_of(scheme: str) -> Proxy | None:
    for name in (f"{scheme}_proxy", "all_proxy"):
        variable, text = _variable(name)
        if text:
            return Proxy(variable, _proxy_url(variable, text))
    return None


def _variable(name: str) -> tuple[str, str]:
    """The variable, in lower case or else in capitals, as curl and Python's own library go by them; and its value."""
    variable = name if name in os.environ else name.upper()
    return variable, stripped(os.environ.get(variable, ""))


def _proxy_url(variable: str, text: str) -> str:
    import httpx2

    url = text if "://" in text else f"http://{text}"
    try:
        parsed = httpx2.URL(url)
        scheme = parsed.scheme
        usable = bool(parsed.raw_host) and parsed.path == "/" and (parsed.port or 1) in range(1, 65_536)
    except (httpx2.InvalidURL, ValueError):
        scheme, usable = "", False
    if scheme.startswith("socks"):
        raise ValueError(
            f"{variable}: names a SOCKS proxy, which this program does not speak: give one that starts with http:// or "
            "https://, or take the variable away from this program"
        )
    if not usable or scheme not in _SCHEMES or " " in url:
        raise ValueError(
            f"{variable}: must be a proxy like http://proxy.example.com:3128, with @ / : ? # and % in its user and "
            "password percent-encoded"
        )
    return url


def _covers(entry: str, host: str, port: int | None) -> bool:
    """Whether an entry of NO_PROXY covers the host: by name, by a domain around it, by address, by range, or as *."""
    if entry == "*":
        return True
    if "/" in entry and "://" not in entry:
        return _is_within(host, entry)
    try:
        return ip_address(host) == ip_address(entry)
    except ValueError:
        pass
    found = _ENTRY.fullmatch(entry)
    if found is None or (found["port"] and int(found["port"]) != port):
        return False
    if found["address"]:
        return _is_within(host, found["address"])
    name = (found["host"] or "").removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _is_within(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(re.sub(r"[\[\]]", "", network), strict=False)
    except ValueError:
        return False


def _certificate_faults() -> Iterator[str]:
    if file := os.environ.get("SSL_CERT_FILE"):
        try:
            usable = _holds_certificates(file, Path(file).stat().st_mtime_ns)
        except OSError as error:
            yield f"SSL_CERT_FILE: {file} cannot be read: {error.strerror}"
        else:
            if not usable:
                yield f"SSL_CERT_FILE: {file} holds no certificate in PEM"
    if folders := os.environ.get("SSL_CERT_DIR"):
        for folder in folders.split(os.pathsep):
            if not Path(folder).is_dir():
                yield f"SSL_CERT_DIR: {folder} is no folder"
    if keys := os.environ.get("SSLKEYLOGFILE"):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).keylog_filename = keys
        except OSError as error:
            yield f"SSLKEYLOGFILE: {keys} cannot be written to: {error.strerror}"


@cache
def _holds_certificates(file: str, changed_at: int) -> bool:  # noqa: ARG001  # a file that changed is read anew
    # a whole store takes 20 ms, and sensors read the settings at each tick
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError:
        return False
    return True
