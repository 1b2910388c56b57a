"""Records as JSON texts, each made once until the record changes.

A walk over 100,000 memberships shows each of 10,000 organizations ten times and each user twice. Making those objects
anew would take the stand-in longer than its caller takes to read them, so a benchmark would measure the stand-in.
What is answered is the same as without.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from provisioning_pipeline.sandbox.clerk.records import Membership, Organization, User

encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

_Fields = tuple[Any, ...]


class Text(str):
    """JSON that is finished and goes out as it is."""

    __slots__ = ()


def listed(texts: Iterable[str]) -> Text:
    """A JSON array of these."""
    return Text(f"[{','.join(texts)}]")


def with_total(texts: Iterable[str], total: int) -> Text:
    """A page of a list that tells how many there are in all."""
    return Text(f'{{"data":{listed(texts)},"total_count":{total}}}')


class Texts:
    """The texts of one instance's records.

    Whether a record changed is seen by comparing its fields, its e-mail addresses and its metadata, since a test may
    set them without telling anyone. Only a change deep inside metadata, in place, is not seen.
    """

    def __init__(self) -> None:
        self._organizations: dict[str, tuple[_Fields, str]] = {}
        self._users: dict[str, tuple[_Fields, str]] = {}
        self._people: dict[str, tuple[_Fields, str]] = {}
        self._memberships: dict[str, tuple[_Fields, str]] = {}

    def clear(self) -> None:
        """Forget them all."""
        for kept in (self._organizations, self._users, self._people, self._memberships):
            kept.clear()

    def organization(self, organization: Organization) -> str:
        """An organization without its number of members."""
        return _kept(self._organizations, organization.id, _fields(organization), lambda: encode(organization.shown()))

    def user(self, user: User) -> str:
        """A user in full."""
        return _kept(self._users, user.id, _fields_of_user(user), lambda: encode(user.shown()))

    def membership(self, membership: Membership, organization: Organization, user: User) -> str:
        """A membership with its organization and the public part of its user."""
        own = _kept(
            self._memberships,
            membership.id,
            _fields(membership),
            # all but the closing brace: the two others follow
            lambda: encode(membership.shown_alone())[:-1],
        )
        person = _kept(self._people, user.id, _fields_of_user(user), lambda: encode(user.shown_to_the_public()))
        return f'{own},"organization":{self.organization(organization)},"public_user_data":{person}}}'


def _kept(texts: dict[str, tuple[_Fields, str]], key: str, fields: _Fields, make: Callable[[], str]) -> str:
    known = texts.get(key)
    if known is None or known[0] != fields:
        known = texts[key] = (fields, make())
    return known[1]


def _fields(record: Organization | Membership) -> _Fields:
    return (*vars(record).values(), dict(record.public_metadata), dict(record.private_metadata))


def _fields_of_user(user: User) -> _Fields:
    return (
        *vars(user).values(),
        *(tuple(vars(email).values()) for email in user.emails),
        dict(user.public_metadata),
        dict(user.private_metadata),
        dict(user.unsafe_metadata),
    )
