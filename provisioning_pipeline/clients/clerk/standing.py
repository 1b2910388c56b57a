"""A member check: which two calls of Clerk's say whether a person is an active member, and what follows. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from provisioning_pipeline.clients.http import OddAnswer
from provisioning_pipeline.model.people import Departure

API_VERSION: Final = "2026-05-12"
OTHER_JSON: Final = "JSON of another shape than Clerk's"
MEMBERS: Final = "GET /organizations/{id}/memberships"
USER: Final = "GET /users/{id}"


def path_of(*parts: str) -> str:
    """A path of Clerk's API; ids are quoted."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def membership_call(organization_id: str, user_id: str) -> tuple[str, Mapping[str, Any]]:
    """Path and parameters that list the memberships of one person in one organization."""
    return path_of("organizations", organization_id, "memberships"), {"user_id": user_id, "limit": 1}


def listed(answer: Any) -> tuple[Sequence[Any], int]:
    """The entries of a list, and how many there are in all. Raises OddAnswer."""
    return data_of(answer), total_of(answer)


def standing_of(user_id: str, members: tuple[Sequence[Any], int], user: Mapping[str, Any] | None) -> Departure | bool:
    """How a member is gone, else True: an active member, or False: not certain.

    Args:
        members: what `membership_call` lists.
        user: at Clerk; None: it knows none.
    """
    entries, total = members
    if total != len(entries) or any(_user_of(entry) != user_id for entry in entries):
        return False  # the list was not narrowed to this person, so nothing follows from it
    member = bool(entries)
    if user is None:
        return False if member else Departure("deleted", None)
    if user.get("id") != user_id:
        return False
    if user.get("banned") is True:
        changed_at = user.get("updated_at")
        return Departure("banned", changed_at if isinstance(changed_at, int) else None)
    return True if member else Departure("left", None)


def total_of(answer: Any) -> int:
    """How many a list has in all. Raises OddAnswer."""
    total = answer.get("total_count") if isinstance(answer, dict) else None
    if not isinstance(total, int) or isinstance(total, bool) or total < 0:
        raise OddAnswer(OTHER_JSON)
    return total


def data_of(answer: Any) -> list[Any]:
    """The entries of a list that has a total. Raises OddAnswer."""
    return list_of(answer.get("data") if isinstance(answer, dict) else None)


def list_of(answer: Any) -> list[Any]:
    """The answer, if it is a list. Raises OddAnswer."""
    if not isinstance(answer, list):
        raise OddAnswer(OTHER_JSON)
    return answer


def object_of(answer: Any) -> dict[str, Any]:
    """The answer, if it is an object. Raises OddAnswer."""
    if not isinstance(answer, dict):
        raise OddAnswer(OTHER_JSON)
    return answer


def _user_of(membership: Any) -> str | None:
    person = membership.get("public_user_data") if isinstance(membership, dict) else None
    return person.get("user_id") if isinstance(person, dict) else None
