"""What a workspace is called, and its subdomain: valid at Twenty, and the same each time for the same tenant."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from anyascii import anyascii

from provisioning_pipeline.model.names import shows_nothing

LONGEST_NAME: Final = 100
_MORE: Final = "…"
_JOINER: Final = "\u200d"
_NO_TEXT: Final = frozenset({"Cc", "Cs"})
_CONTINUES: Final = frozenset({"Mn", "Me", "Mc"})


@dataclass(frozen=True, slots=True)
class DisplayName:
    """The name of a workspace that is to be made.

    Args:
        text: as Twenty gets it.
        why: why it is not the wanted one, as a clause for a person; empty where it is.
    """

    text: str
    why: str = ""


def display_name(wanted: str, slug: str, database_name: str) -> DisplayName:
    """The name for a workspace; `slug` and then `database_name` stand in for a name that shows nothing."""
    cleaned = _cleaned(wanted)
    if not cleaned:
        instead = _cleaned(slug) or database_name
        return DisplayName(_cut(instead), "the registry's name is blank, so that the slug stands in for it")
    if len(cleaned) > LONGEST_NAME:
        return DisplayName(
            _cut(cleaned),
            f"the registry's name has {len(cleaned)} characters and Twenty takes {LONGEST_NAME}, so it is cut",
        )
    if cleaned != wanted.strip():
        return DisplayName(cleaned, "the registry's name holds control characters, which are left out")
    return DisplayName(cleaned)


def _cleaned(name: str) -> str:
    """The name without what is no text, and nothing at all where nothing of it can be seen."""
    text = "".join(" " if unicodedata.category(letter) in _NO_TEXT else letter for letter in name).strip(" \t\ufeff")
    text = text.strip()
    return "" if shows_nothing(text) else text


def _cut(name: str) -> str:
    """At most as long as Twenty takes, and not in the middle of what is shown as one character."""
    if len(name) <= LONGEST_NAME:
        return name
    end = LONGEST_NAME - len(_MORE)
    while end > 1 and (unicodedata.category(name[end]) in _CONTINUES or _JOINER in name[end - 1 : end + 1]):
        end -= 1
    return name[:end].rstrip() + _MORE


SHORTEST: Final = 3
LONGEST_SUBDOMAIN: Final = 30
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
    wished = base[:LONGEST_SUBDOMAIN].strip("-")
    room = LONGEST_SUBDOMAIN - _HASH_LENGTH - 1
    short = base[:room].strip("-")
    if f"{short}-".startswith("api-"):
        short = "x" + short[: room - 1].strip("-")
    own = f"{short}-{digest[:_HASH_LENGTH]}"
    longer = f"{short[: LONGEST_SUBDOMAIN - 13].strip('-')}-{digest[:12]}"
    return tuple(dict.fromkeys(subdomain for subdomain in (wished, own, longer) if is_valid(subdomain)))


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", folded).strip("-")
