"""Which subdomains a workspace may have (source only, but for the refusals, recorded on 2.21.0)."""

import re
import secrets

from provisioning_pipeline.sandbox.twenty.errors import conflict
from provisioning_pipeline.sandbox.twenty.store import Session

_PATTERN = re.compile(r"(?!api-)[a-z0-9][a-z0-9-]{1,28}[a-z0-9]", re.ASCII)
_DEFAULT_SUBDOMAIN = "app"
_FREE_MAIL_DOMAINS = "gmail.com googlemail.com hotmail.com icloud.com live.com outlook.com proton.me yahoo.com"
_FREE_MAIL = frozenset(_FREE_MAIL_DOMAINS.split())

_RESERVED_WORDS = """
about admin africa al america api app asia assets au audio auth az ba be billing blog ca careers cdn ch
chat community companies config contact cy cz dash dashboard db de demo dev developer dk docs ee es eu
europe events favicon feedback fi files forum fr gr help hr hu image images inbound is it jobs legal login
logs london lt lv mail main me media merch metrics mk new-york news next nl no north-africa north-america
nz oceania otel-collector paris partners partnership partnerships payment pl privacy production pt
register ro rs ru san-francisco se settings shop si signin signup sk south-africa south-america staging
storage store support t telemetry terms test testing tr trust ua uk us video www za
"""
RESERVED = frozenset(_RESERVED_WORDS.split())


def is_valid(subdomain: str) -> bool:
    """Form and reserved words."""
    return _PATTERN.fullmatch(subdomain) is not None and subdomain not in RESERVED


async def is_free(db: Session, subdomain: str) -> bool:
    """A deleted workspace keeps its subdomain."""
    query = 'SELECT 1 AS taken FROM core."workspace" WHERE subdomain = %s'
    return subdomain != _DEFAULT_SUBDOMAIN and await db.one(query, subdomain) is None


async def check(db: Session, subdomain: str) -> None:
    """Raise what the server answers for one that cannot be had."""
    if not is_valid(subdomain):
        raise conflict("Subdomain is not valid", "SUBDOMAIN_NOT_VALID", "Invalid subdomain.")
    if not await is_free(db, subdomain):
        raise taken()


def taken() -> Exception:
    """The refusal that a retry after a lost answer meets."""
    return conflict("Subdomain already taken", "SUBDOMAIN_ALREADY_TAKEN", "This subdomain is already taken.")


def from_email(email: str) -> str | None:
    """The first label of a company's mail domain; None for a free mail provider."""
    domain = email.rpartition("@")[2].lower()
    return None if domain in _FREE_MAIL else domain.split(".")[0]


async def suggest(db: Session, wanted: str | None, count: int = 1) -> list[str]:
    """Free ones near the wanted one: itself, then -2, -3 …; random where nothing can be made of it."""
    base = re.sub(r"[^a-z0-9]+", "-", (wanted or "").lower()).strip("-")[:30].strip("-")
    if not is_valid(base):
        return [f"workspace-{secrets.token_hex(4)}" for _ in range(count)]
    candidates = [base] + [f"{base[: 30 - len(f'-{n}')].rstrip('-')}-{n}" for n in range(2, 51)]
    free = [name for name in candidates if is_valid(name) and await is_free(db, name)]
    return free[:count] or [f"workspace-{secrets.token_hex(4)}"]
