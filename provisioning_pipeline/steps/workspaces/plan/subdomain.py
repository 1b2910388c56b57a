"""Subdomains for workspaces: valid under Twenty's rules, and the same every time for the same tenant.

Rules as read in Twenty 2.21's source: 3 to 30 of `a-z 0-9 -`, no hyphen at either end, not starting `api-`, and
not one of a reserved list. The list below may lag behind a server's; a refused name only moves to the next one.
"""

import hashlib
import re
import unicodedata
from typing import Final

from anyascii import anyascii

SHORTEST: Final = 3
LONGEST: Final = 30
_HASH_LENGTH: Final = 8
_VALID = re.compile(r"[a-z0-9][a-z0-9-]{1,28}[a-z0-9]")

RESERVED: Final = frozenset(
    """
    about admin africa al america api app asia assets au audio auth az ba be bg billing blog ca careers cdn ch chat
    community companies config contact cy cz dash dashboard db de demo dev developer dk docs ee es eu europe events
    favicon feedback fi files forum fr gr help hr hu image images inbound is it jobs legal login logs london lt lv
    mail main me media merch metrics mk new-york news next nl no north-africa north-america nz oceania
    otel-collector paris partners partnership partnerships payment pl privacy production pt register ro rs ru
    san-francisco se settings shop si signin signup sk south-africa south-america staging storage store support t
    telemetry terms test testing tr trust ua uk us video www za
    """.split()
)


def is_valid(subdomain: str) -> bool:
    """Whether Twenty accepts it."""
    return _VALID.fullmatch(subdomain) is not None and not subdomain.startswith("api-") and subdomain not in RESERVED


def candidates(slug: str, name: str, database_name: str, *, restarts: int = 0) -> tuple[str, ...]:
    """Subdomains for a tenant, best first; the last one holds a hash of the database name and so is its own.

    The slug is used if it says anything in Latin letters or digits, else the name put into Latin letters. Twenty keeps
    the subdomain of a deleted workspace, so after each of the tenant's `restarts` the hash is another one.
    """
    again = f" {restarts}" if restarts else ""
    digest = hashlib.sha256(f"{database_name}{again}".encode()).hexdigest()
    base = _plain(slug) or _plain(anyascii(slug)) or _plain(anyascii(name)) or "tenant"
    wished = base[:LONGEST].strip("-")
    room = LONGEST - _HASH_LENGTH - 1
    short = base[:room].strip("-")
    if f"{short}-".startswith("api-"):
        short = "x" + short[: room - 1].strip("-")
    own = f"{short}-{digest[:_HASH_LENGTH]}"
    longer = f"{short[: LONGEST - 13].strip('-')}-{digest[:12]}"
    return tuple(dict.fromkeys(subdomain for subdomain in (wished, own, longer) if is_valid(subdomain)))


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", folded).strip("-")
