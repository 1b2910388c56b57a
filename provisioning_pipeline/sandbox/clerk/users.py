"""Handlers of the Backend API's user calls."""

from collections.abc import Callable
from typing import Any

from provisioning_pipeline.sandbox.clerk.errors import ClerkRefusalError, invalid_parameter
from provisioning_pipeline.sandbox.clerk.gate import Call
from provisioning_pipeline.sandbox.clerk.query import (
    SortKey,
    included_and_excluded,
    ordered,
    page_after,
    selector,
    values,
)
from provisioning_pipeline.sandbox.clerk.records import User
from provisioning_pipeline.sandbox.clerk.texts import Text, listed

ORDER: dict[str, SortKey[User]] = {
    "created_at": lambda user: user.created_at,
    "updated_at": lambda user: user.updated_at,
    "email_address": lambda user: user.primary_email,
    "first_name": lambda user: user.first_name,
    "last_name": lambda user: user.last_name,
    "username": lambda user: user.username,
    "phone_number": lambda _: None,
    "web3wallet": lambda _: None,
    "last_active_at": lambda _: None,
    "last_sign_in_at": lambda _: None,
}
NO_LONGER_ACCEPTED = ("public_metadata", "private_metadata", "unsafe_metadata")
PLAIN_FIELDS = ("first_name", "last_name", "username")


def _found(call: Call) -> list[User]:
    """The users that the filters let through, in their order of creation."""
    users = _candidates(call)
    filters = _filters(call)
    # without filters no user is looked at: a walk over 50,000 users would look at each of them once per page
    return [user for user in users if all(passes(user) for passes in filters)] if filters else users


def _candidates(call: Call) -> list[User]:
    """Those asked for by id, or everybody: a question about five people must not take longer beside 50,000."""
    included, _ = included_and_excluded(call.query, "user_id")
    if included is None:
        return call.state.users_in_order()
    known = call.state.users
    return sorted((known[user] for user in included if user in known), key=lambda user: user.created_at)


def _filters(call: Call) -> list[Callable[[User], bool]]:
    query = call.query
    emails = {email.lower() for email in values(query, "email_address")}
    text = query.get("query", "").lower()
    banned = query.get("banned", "").lower()
    members = _members_filter(call)
    found: list[Callable[[User], bool]] = []
    if values(query, "user_id"):
        wanted_id = selector(query, "user_id")
        found.append(lambda user: wanted_id(user.id))
    if values(query, "external_id"):
        wanted_external_id = selector(query, "external_id")
        found.append(lambda user: wanted_external_id(user.external_id))
    if emails:
        found.append(lambda user: bool(emails & _addresses(user)))
    if banned in ("true", "false"):
        found.append(lambda user: user.banned is (banned == "true"))
    if text:
        found.append(lambda user: any(text in (name or "").lower() for name in _names(user)))
    if members is not None:
        found.append(lambda user: user.id in members)
    return found


def _addresses(user: User) -> set[str]:
    return {email.email.lower() for email in user.emails}


def _names(user: User) -> tuple[str | None, ...]:
    return (user.id, user.first_name, user.last_name, user.username, *_addresses(user))


def _members_filter(call: Call) -> set[str] | None:
    included, excluded = included_and_excluded(call.query, "organization_id")
    if included is None and not excluded:
        return None
    state = call.state

    def members(organizations: set[str]) -> set[str]:
        return {
            membership.user_id for organization_id in organizations for membership in state.members_of(organization_id)
        }

    return (members(included) if included is not None else set(state.users)) - members(excluded)


def list_users(call: Call) -> Text:
    """GET /users: a bare array."""
    users = ordered(_found(call), call.query, ORDER, "-created_at")
    page = page_after(users, call.query, call.state.users, "-created_at")
    return listed(call.state.texts.user(user) for user in page)


def count_users(call: Call) -> dict[str, Any]:
    """GET /users/count."""
    return {"object": "total_count", "total_count": len(_found(call))}


def get_user(call: Call) -> dict[str, Any]:
    """GET /users/{user_id}."""
    return call.state.user(call.path["user_id"]).shown()


def create_user(call: Call) -> dict[str, Any]:
    """POST /users. Addresses are verified unless `email_address_identification_status` says reserved."""
    body = call.body
    addresses = body.get("email_address") or []
    if not isinstance(addresses, list):
        raise invalid_parameter("email_address", "email_address must be an array.")
    reserved = "reserved" in (body.get("email_address_identification_status") or [])
    user = call.state.add_user(
        addresses[0] if addresses else None,
        other_emails=tuple(addresses[1:]),
        first_name=body.get("first_name"),
        last_name=body.get("last_name"),
        external_id=body.get("external_id"),
        status="unverified" if reserved else "verified",
        reserved=reserved,
        public_metadata=body.get("public_metadata"),
    )
    user.banned = bool(body.get("banned"))
    user.locked = bool(body.get("locked"))
    user.username = body.get("username")
    return user.shown()


def patch_user(call: Call) -> dict[str, Any]:
    """PATCH /users/{user_id}."""
    user = call.state.user(call.path["user_id"])
    for name in NO_LONGER_ACCEPTED:
        if name in call.body:
            raise ClerkRefusalError(
                422,
                "form_param_unknown",
                "is unknown",
                f"{name} is not a valid parameter for this request.",
                meta={"param_name": name},
            )
    primary = call.body.get("primary_email_address_id")
    if primary is not None:
        if not any(email.id == primary and email.status == "verified" for email in user.emails):
            raise invalid_parameter("primary_email_address_id", "It must be a verified address of the user.")
        user.primary_email_id = primary
    if "external_id" in call.body:
        call.state.set_external_id(user, call.body["external_id"])
    for name in PLAIN_FIELDS:
        if name in call.body:
            setattr(user, name, call.body[name] or None)
    call.state.touch(user)
    return user.shown()


def delete_user(call: Call) -> dict[str, Any]:
    """DELETE /users/{user_id}."""
    gone = call.state.delete_user(call.path["user_id"])
    answer = {"object": "user", "id": gone.id, "deleted": True}
    return answer if gone.external_id is None else {**answer, "external_id": gone.external_id}


def _set_banned(call: Call, *, banned: bool) -> dict[str, Any]:
    user = call.state.user(call.path["user_id"])
    user.banned = banned
    call.state.touch(user)
    return user.shown()


def ban_user(call: Call) -> dict[str, Any]:
    """POST /users/{user_id}/ban."""
    return _set_banned(call, banned=True)


def unban_user(call: Call) -> dict[str, Any]:
    """POST /users/{user_id}/unban."""
    return _set_banned(call, banned=False)
