"""How what a certification makes is recognised, by this run and by a later one that has to clean up after it."""

import re
import secrets

DISPLAY_NAME = "Thrown away by provisioning certify"
"""Name of every workspace that is made; no one else would call theirs so."""
EMAIL_DOMAIN = "certify.example"
"""Reserved for documentation (RFC 2606): no mail is ever delivered there."""
SUBDOMAIN = re.compile(r"certify-[0-9a-f]{8}-[a-z0-9]{1,8}(-[a-z0-9]{1,12})?")
"""Of a workspace; with a second part where a run took another subdomain because the first was taken."""
EMAIL = re.compile(r"certify-[0-9a-f]{8}-[a-z0-9]{1,8}@certify\.example")


def new_run() -> str:
    """A mark of one certification, in every subdomain and address that it makes."""
    return secrets.token_hex(4)


def subdomain(run: str, number: int | str) -> str:
    """The subdomain, and the slug, of one workspace of this run."""
    return f"certify-{run}-{number}"


def email(run: str, number: int | str) -> str:
    """The address of one account of this run."""
    return f"certify-{run}-{number}@{EMAIL_DOMAIN}"
