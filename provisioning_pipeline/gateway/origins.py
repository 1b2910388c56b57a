"""Which page opens a websocket: a browser sends its cookies along from any page, and asks no server before."""

from collections.abc import Collection, Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit

from provisioning_pipeline.model.session import Refusal, Refused

_HANDSHAKE: Final = b"sec-websocket-"
"""How the headers begin that a browser sends with every websocket, and lets no page leave out."""
_PORTS: Final = {"http": 80, "https": 443}


def must_be_of_own_page(
    headers: Sequence[tuple[bytes, bytes]], authorized: Collection[str], *, websocket: bool
) -> None:
    """Refuse a websocket that a cookie would open for the page of another origin; anything else passes.

    Args:
        headers: as ASGI has them, names in lower case.
        authorized: origins that may, besides the one whose host is in `Host`.
        websocket: it is one, also where its headers do not say so.

    Raises:
        Refused: when the origin is another's, or missing.
    """
    if not websocket and not any(name.startswith(_HANDSHAKE) for name, _ in headers):
        return
    origins, hosts = _all(headers, b"origin"), _all(headers, b"host")
    if len(origins) == 1 and (origins[0] in authorized or (len(hosts) == 1 and _is_at(origins[0], hosts[0]))):
        return
    raise Refused(
        Refusal.FOREIGN_ORIGIN,
        "A websocket is opened by the cookie of a session only from the page of the same host, or of an origin in "
        "PROVISIONING_CLERK_AUTHORIZED_PARTIES; programs send Authorization: Bearer.",
    )


def _all(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name == wanted]


def _is_at(origin: str, host: str) -> bool:
    """Whether an origin is of this host and port. TLS may end before us, so that either scheme will do."""
    try:
        page = urlsplit(origin)
        served = urlsplit(f"{page.scheme}://{host}")
        if page.scheme not in _PORTS or not page.hostname or origin != f"{page.scheme}://{page.netloc}":
            return False
        return (page.hostname, _port(page)) == (served.hostname, _port(served)) and served.netloc == host
    except ValueError:
        return False


def _port(url: SplitResult) -> int:
    return _PORTS[url.scheme] if url.port is None else url.port
