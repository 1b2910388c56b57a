"""Clerk's objects as rows in the column order of `model.frames`.

A row of which a needed key is missing or odd raises KeyError, TypeError, ValueError or AttributeError. Customers and
their members write the names, so that no name makes a row odd: an odd row puts the whole list in doubt.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from provisioning_pipeline.clients.clerk.walk import Row
from provisioning_pipeline.model.names import LONGEST, person_name, plain_name

WORKSPACE_ID_KEY = "twenty_workspace_id"
"""Where an organization's public metadata keeps its workspace; a session token can carry it from there."""
_KELVIN = "\N{KELVIN SIGN}"
"""The one letter beyond ASCII whose lower case is a letter of ASCII: a plain k."""
_REPLACED = "\N{REPLACEMENT CHARACTER}"
_LAST_MILLISECOND = 253_402_300_799_999
"""Of the year 9999."""
_LONGEST_EMAIL = 254
"""Of an address that mail can be sent to (RFC 5321)."""


def organization_row(entry: Mapping[str, Any]) -> Row:
    """ORGANIZATIONS: organization_id, name, slug, workspace_id."""
    workspace_id = (entry.get("public_metadata") or {}).get(WORKSPACE_ID_KEY)
    return (
        _id(entry["id"]),
        plain_name(_text(entry["name"])),
        _word_or_none(entry.get("slug"), LONGEST),
        None if workspace_id is None else plain_name(str(workspace_id)),
    )


def membership_row(entry: Mapping[str, Any]) -> Row | None:
    """MEMBERSHIPS: organization_id, user_id, role, created_at; None for a membership without a person."""
    _id(entry["id"])
    person = entry.get("public_user_data")
    if not person or not person.get("user_id"):
        return None
    created_at = entry["created_at"]
    if not isinstance(created_at, int) or isinstance(created_at, bool) or abs(created_at) > _LAST_MILLISECOND:
        raise TypeError(created_at)
    return _id(entry["organization"]["id"]), _id(person["user_id"]), _role(_text(entry["role"])), created_at


@lru_cache(maxsize=256)
def _role(name: str) -> str:
    """An instance has a few roles: each is one text in memory, however many members have it."""
    return plain_name(name)


def user_row(entry: Mapping[str, Any]) -> Row:
    """CLERK_USERS: user_id, email, first_name, last_name, banned, external_id."""
    return (
        _id(entry["id"]),
        _word_or_none(verified_email(entry), _LONGEST_EMAIL),
        person_name(entry.get("first_name") or ""),
        person_name(entry.get("last_name") or ""),
        bool(entry.get("banned")),
        plain_name(_text(entry["external_id"])) if entry.get("external_id") else None,
    )


def verified_email(user: Mapping[str, Any]) -> str | None:
    """The primary e-mail in lower case if Clerk verified it.

    None also for one that is another person's in lower case.
    """
    primary = user.get("primary_email_address_id")
    for address in (user.get("email_addresses") or []) if primary else []:
        if address.get("id") == primary:
            status = (address.get("verification") or {}).get("status")
            email = address["email_address"].strip() if status == "verified" else ""
            return None if _KELVIN in email else email.lower() or None
    return None


def all_emails(user: Mapping[str, Any]) -> list[str]:
    """Every e-mail of a user in lower case, verified or not."""
    return [str(address["email_address"]).strip().lower() for address in user.get("email_addresses") or []]


def _id(value: Any) -> str:
    # not by `_text`: three of them in each membership
    if not isinstance(value, str) or not value:
        raise TypeError(value)
    if "\x00" in value or len(value) > LONGEST:
        # PostgreSQL would hold the one not, and the other is of no use
        raise ValueError(value)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(value)
    return value


def _word_or_none(value: Any, most: int) -> str | None:
    """A text that stands for one thing; None for none, and for what stands for nothing as it is: it is never cut."""
    if not value:
        return None
    text = _text(value)
    return text if text.isprintable() and _REPLACED not in text and len(text) <= most else None
