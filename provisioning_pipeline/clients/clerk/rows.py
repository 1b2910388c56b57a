"""Clerk's objects as rows in the column order of `model.frames`.

A row of which a needed key is missing or odd raises KeyError, TypeError, ValueError or AttributeError.
"""

from collections.abc import Mapping
from typing import Any

from provisioning_pipeline.clients.clerk.walk import Row
from provisioning_pipeline.model.names import person_name

WORKSPACE_ID_KEY = "twenty_workspace_id"
"""Where an organization's public metadata keeps its workspace; a session token can carry it from there."""
_KELVIN = "\N{KELVIN SIGN}"
"""The one letter beyond ASCII whose lower case is a letter of ASCII: a plain k."""


def organization_row(entry: Mapping[str, Any]) -> Row:
    """ORGANIZATIONS: organization_id, name, slug, workspace_id."""
    workspace_id = (entry.get("public_metadata") or {}).get(WORKSPACE_ID_KEY)
    return (
        _text(entry["id"]),
        _text(entry["name"]),
        _text_or_none(entry.get("slug")),
        None if workspace_id is None else _storable(str(workspace_id)),
    )


def membership_row(entry: Mapping[str, Any]) -> Row | None:
    """MEMBERSHIPS: organization_id, user_id, role, created_at; None for a membership without a person."""
    _text(entry["id"])
    person = entry.get("public_user_data")
    if not person or not person.get("user_id"):
        return None
    created_at = entry["created_at"]
    if not isinstance(created_at, int) or isinstance(created_at, bool):
        raise TypeError(created_at)
    return _text(entry["organization"]["id"]), _text(person["user_id"]), _text(entry["role"]), created_at


def user_row(entry: Mapping[str, Any]) -> Row:
    """CLERK_USERS: user_id, email, first_name, last_name, banned, external_id."""
    return (
        _text(entry["id"]),
        _text_or_none(verified_email(entry)),
        person_name(entry.get("first_name") or ""),
        person_name(entry.get("last_name") or ""),
        bool(entry.get("banned")),
        _text_or_none(entry.get("external_id")),
    )


def verified_email(user: Mapping[str, Any]) -> str | None:
    """The primary e-mail in lower case if Clerk verified it.

    None also for one that is somebody else's in lower case.
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


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(value)
    return _storable(value)


def _text_or_none(value: Any) -> str | None:
    return _text(value) if value else None


def _storable(text: str) -> str:
    if "\x00" in text:
        # PostgreSQL holds all but this
        raise ValueError(text)
    return text
