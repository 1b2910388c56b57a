"""Handlers of the Backend API's organization and membership calls."""

from typing import Any

from provisioning_pipeline.sandbox.clerk.errors import invalid_parameter, missing_parameter
from provisioning_pipeline.sandbox.clerk.gate import Call
from provisioning_pipeline.sandbox.clerk.query import (
    SortKey,
    included_and_excluded,
    ordered,
    page,
    selector,
)
from provisioning_pipeline.sandbox.clerk.records import Membership, Organization
from provisioning_pipeline.sandbox.clerk.state import merged
from provisioning_pipeline.sandbox.clerk.texts import Text, encode, with_total


def _with_count(call: Call) -> bool:
    return call.query.get("include_members_count", "").lower() == "true"


def _shown(call: Call, organization: Organization, *, count: bool) -> dict[str, Any]:
    return organization.shown(len(call.state.members_of(organization.id)) if count else None)


def list_organizations(call: Call) -> Text:
    """GET /organizations."""
    state = call.state
    text = call.query.get("query", "").lower()
    with_users, without_users = included_and_excluded(call.query, "user_id")
    wanted_id = selector(call.query, "organization_id")

    def wanted(organization: Organization) -> bool:
        if not wanted_id(organization.id):
            return False
        if text and text != organization.id.lower():
            names = (organization.name.lower(), (organization.slug or "").lower())
            if not any(text in name for name in names):
                return False
        if with_users is None and not without_users:
            return True
        members = {membership.user_id for membership in state.members_of(organization.id)}
        return (with_users is None or bool(members & with_users)) and not members & without_users

    keys: dict[str, SortKey[Organization]] = {
        "name": lambda organization: organization.name.lower(),
        "created_at": lambda organization: organization.created_at,
        "members_count": lambda organization: len(state.members_of(organization.id)),
    }
    found = ordered(
        [organization for organization in state.organizations.values() if wanted(organization)],
        call.query,
        keys,
        "-created_at",
    )
    chosen = page(found, call.query)
    if _with_count(call):
        return with_total((encode(_shown(call, organization, count=True)) for organization in chosen), len(found))
    return with_total(map(state.texts.organization, chosen), len(found))


def get_organization(call: Call) -> dict[str, Any]:
    """GET /organizations/{organization_id}, by id or slug."""
    return _shown(call, call.state.organization(call.path["organization_id"]), count=_with_count(call))


def create_organization(call: Call) -> dict[str, Any]:
    """POST /organizations."""
    if not call.body.get("name"):
        raise missing_parameter("name")
    return call.state.add_organization(
        call.body["name"],
        slug=call.body.get("slug"),
        created_by=call.body.get("created_by"),
        public_metadata=call.body.get("public_metadata"),
        private_metadata=call.body.get("private_metadata"),
        max_allowed_memberships=call.body.get("max_allowed_memberships"),
    ).shown()


def delete_organization(call: Call) -> dict[str, Any]:
    """DELETE /organizations/{organization_id}."""
    gone = call.state.delete_organization(call.path["organization_id"])
    answer = {"object": "organization", "id": gone.id, "deleted": True}
    return answer if gone.slug is None else {**answer, "slug": gone.slug}


def patch_organization_metadata(call: Call) -> dict[str, Any]:
    """PATCH /organizations/{organization_id}/metadata."""
    organization = call.state.organization(call.path["organization_id"])
    _merge_metadata(call, organization, ("public_metadata", "private_metadata"))
    call.state.touch(organization)
    return organization.shown()


def _merge_metadata(call: Call, thing: Any, names: tuple[str, ...]) -> None:
    changes = {name: call.body[name] for name in names if call.body.get(name) is not None}
    for name, change in changes.items():
        if not isinstance(change, dict):
            raise invalid_parameter(name, f"{name} must be an object.")
    for name, change in changes.items():
        setattr(thing, name, merged(getattr(thing, name), change))


def _membership(call: Call, membership: Membership) -> dict[str, Any]:
    state = call.state
    return membership.shown(state.organizations[membership.organization_id], state.users[membership.user_id])


def _membership_page(call: Call, memberships: list[Membership], default: str) -> Text:
    texts, organizations, users = call.state.texts, call.state.organizations, call.state.users
    keys: dict[str, SortKey[Membership]] = {
        "created_at": lambda membership: membership.created_at,
        "first_name": lambda membership: users[membership.user_id].first_name,
        "last_name": lambda membership: users[membership.user_id].last_name,
        "email_address": lambda membership: users[membership.user_id].primary_email,
        "username": lambda membership: users[membership.user_id].username,
        "phone_number": lambda _: None,
    }
    found = ordered(memberships, call.query, keys, default)
    shown = (
        texts.membership(membership, organizations[membership.organization_id], users[membership.user_id])
        for membership in page(found, call.query)
    )
    return with_total(shown, len(found))


def list_memberships(call: Call) -> Text:
    """GET /organizations/{organization_id}/memberships."""
    organization = call.state.organization(call.path["organization_id"])
    wanted_user, wanted_role = selector(call.query, "user_id"), selector(call.query, "role")
    found = [
        membership
        for membership in call.state.members_of(organization.id)
        if wanted_user(membership.user_id) and wanted_role(membership.role)
    ]
    return _membership_page(call, found, "-created_at")


def list_all_memberships(call: Call) -> Text:
    """GET /organization_memberships: the whole instance."""
    return _membership_page(call, call.state.memberships_in_order(), "-created_at")


def list_memberships_of_user(call: Call) -> Text:
    """GET /users/{user_id}/organization_memberships."""
    user = call.state.user(call.path["user_id"])
    return _membership_page(call, call.state.memberships_of(user.id), "-created_at")


def create_membership(call: Call) -> dict[str, Any]:
    """POST /organizations/{organization_id}/memberships."""
    for name in ("user_id", "role"):
        if not call.body.get(name):
            raise missing_parameter(name)
    organization_id = call.path["organization_id"]
    return _membership(call, call.state.add_membership(organization_id, call.body["user_id"], call.body["role"]))


def patch_membership(call: Call) -> dict[str, Any]:
    """PATCH /organizations/{organization_id}/memberships/{user_id}: a new role."""
    if not call.body.get("role"):
        raise missing_parameter("role")
    path = call.path
    return _membership(call, call.state.set_role(path["organization_id"], path["user_id"], call.body["role"]))


def delete_membership(call: Call) -> dict[str, Any]:
    """DELETE /organizations/{organization_id}/memberships/{user_id}."""
    gone = call.state.membership(call.path["organization_id"], call.path["user_id"])
    answer = _membership(call, gone)
    call.state.remove_membership(gone.organization_id, gone.user_id)
    return answer


def patch_user_metadata(call: Call) -> dict[str, Any]:
    """PATCH /users/{user_id}/metadata."""
    user = call.state.user(call.path["user_id"])
    _merge_metadata(call, user, ("public_metadata", "private_metadata", "unsafe_metadata"))
    call.state.touch(user)
    return user.shown()
