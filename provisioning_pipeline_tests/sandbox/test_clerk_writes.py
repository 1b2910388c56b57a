"""What changes in the stand-in Clerk, and what it refuses to change."""

from typing import Any

import pytest

from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.clerk.state import merged
from provisioning_pipeline_tests.sandbox.conftest import Backend

NOT_FOUND = "resource_not_found"


@pytest.mark.parametrize(
    ("current", "change", "after"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": 3}}, {"a": {"c": 2, "d": 3}}),
        ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({}, {"a": {"b": None}}, {"a": {}}),
    ],
)
def test_metadata_is_merged_at_every_depth(
    current: dict[str, Any], change: dict[str, Any], after: dict[str, Any]
) -> None:
    assert merged(current, change) == after


def test_metadata_of_organizations_and_users(clerk: StandInClerk, backend: Backend) -> None:
    acme = clerk.add_organization("Acme", public_metadata={"plan": "gold"})
    ann = clerk.add_user("ann@acme.example")

    changed = backend(
        "PATCH",
        f"/organizations/{acme.id}/metadata",
        json={"public_metadata": {"twenty_workspace_id": "w1"}, "private_metadata": {"note": {"a": 1}}},
    )
    backend("PATCH", f"/users/{ann.id}/metadata", json={"public_metadata": {"seen": True}})
    backend("PATCH", f"/users/{ann.id}/metadata", json={"public_metadata": {"seen": None}})

    assert changed["public_metadata"] == {"plan": "gold", "twenty_workspace_id": "w1"}
    assert changed["private_metadata"] == {"note": {"a": 1}}
    assert changed["updated_at"] > changed["created_at"]
    assert backend("GET", f"/users/{ann.id}")["public_metadata"] == {}


def test_metadata_that_is_no_object_changes_nothing(clerk: StandInClerk, backend: Backend) -> None:
    acme = clerk.add_organization("Acme")

    body = {"public_metadata": {"a": 1}, "private_metadata": "no"}
    assert backend.code("PATCH", f"/organizations/{acme.id}/metadata", 422, json=body)

    assert backend("GET", f"/organizations/{acme.id}")["public_metadata"] == {}


def test_external_ids_are_unique(clerk: StandInClerk, backend: Backend) -> None:
    ann, bob = clerk.add_user("ann@acme.example"), clerk.add_user("bob@acme.example")
    path = f"/users/{ann.id}"

    assert backend("PATCH", path, json={"external_id": "twenty-1"})["external_id"] == "twenty-1"
    assert backend("PATCH", path, json={"external_id": "twenty-1"})["external_id"] == "twenty-1"
    taken = backend.code("PATCH", f"/users/{bob.id}", 422, json={"external_id": "twenty-1"})
    backend("PATCH", path, json={"external_id": None})

    assert taken == "form_identifier_exists"
    assert backend("PATCH", f"/users/{bob.id}", json={"external_id": "twenty-1"})["id"] == bob.id


def test_this_api_version_takes_no_metadata_on_the_user_itself(clerk: StandInClerk, backend: Backend) -> None:
    ann = clerk.add_user("ann@acme.example")

    code = backend.code("PATCH", f"/users/{ann.id}", 422, json={"public_metadata": {}})

    assert code == "form_param_unknown"


def test_a_tenant_made_over_http(backend: Backend) -> None:
    ann = backend("POST", "/users", json={"email_address": ["ann@acme.example"], "first_name": "Ann"})
    bob = backend("POST", "/users", json={"email_address": ["bob@acme.example"]})
    acme = backend("POST", "/organizations", json={"name": "Acme & Co", "created_by": ann["id"]})
    members = f"/organizations/{acme['id']}/memberships"

    joined = backend("POST", members, json={"user_id": bob["id"], "role": "org:member"})
    again = backend.code("POST", members, 400, json={"user_id": bob["id"], "role": "org:member"})
    promoted = backend("PATCH", f"{members}/{bob['id']}", json={"role": "org:admin"})

    assert ann["email_addresses"][0]["verification"]["status"] == "verified"
    assert ann["primary_email_address_id"] == ann["email_addresses"][0]["id"]
    assert acme["slug"] == "acme-co"
    assert joined["role"] == "org:member"
    assert again == "already_a_member_in_organization"
    assert promoted["role"] == "org:admin"
    assert {row["role"] for row in backend("GET", members)["data"]} == {"org:admin"}


def test_a_reserved_address_is_not_verified(backend: Backend) -> None:
    body = {"email_address": ["ann@acme.example"], "email_address_identification_status": ["reserved"]}

    (email,) = backend("POST", "/users", json=body)["email_addresses"]

    assert email["reserved"]
    assert email["verification"]["status"] == "unverified"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/organizations", {}, 422, "form_param_missing"),
        ("POST", "/organizations", {"name": "A", "slug": "Not A Slug"}, 422, "form_param_value_invalid"),
        ("POST", "/organizations", {"name": "A", "slug": "acme"}, 422, "form_identifier_exists"),
        ("POST", "/organizations", {"name": "A", "created_by": "user_0"}, 404, NOT_FOUND),
        ("POST", "/users", {"email_address": ["ANN@acme.example"]}, 422, "form_identifier_exists"),
        ("POST", "/users", {"email_address": "ann"}, 422, "form_param_value_invalid"),
        ("POST", "/organizations/acme/memberships", {"role": "org:member"}, 422, "form_param_missing"),
        ("POST", "/organizations/org_0/memberships", {"user_id": "u", "role": "r"}, 404, NOT_FOUND),
        ("DELETE", "/users/user_0", None, 404, NOT_FOUND),
        ("GET", "/users/user_0", None, 404, NOT_FOUND),
        ("GET", "/organizations/org_0", None, 404, NOT_FOUND),
        ("GET", "/nowhere", None, 404, NOT_FOUND),
        ("PUT", "/users", {}, 404, NOT_FOUND),
    ],
)
def test_refusals(
    clerk: StandInClerk, backend: Backend, method: str, path: str, body: Any, status: int, code: str
) -> None:
    clerk.add_organization("Acme", slug="acme")
    clerk.add_user("ann@acme.example")

    assert backend.code(method, path, status, json=body) == code


def test_a_body_that_is_no_json_object_is_refused(backend: Backend) -> None:
    assert backend.code("POST", "/users", 400, content=b"{") == "request_body_invalid"
    assert backend.code("POST", "/users", 400, content=b"[]") == "request_body_invalid"


def test_leaving_and_deleting(clerk: StandInClerk, backend: Backend) -> None:
    acme = clerk.add_organization("Acme", slug="acme")
    ann, bob = clerk.add_user("ann@acme.example"), clerk.add_user("bob@acme.example", external_id="ext")
    for user in (ann, bob):
        clerk.add_membership(acme.id, user.id)

    gone = backend("DELETE", f"/organizations/{acme.id}/memberships/{ann.id}")
    deleted = backend("DELETE", f"/users/{bob.id}")

    assert gone["public_user_data"]["user_id"] == ann.id
    assert deleted == {"object": "user", "id": bob.id, "deleted": True, "external_id": "ext"}
    assert backend("GET", "/organization_memberships") == {"data": [], "total_count": 0}
    assert backend.code("DELETE", f"/organizations/{acme.id}/memberships/{ann.id}", 404)
    assert backend("GET", f"/users/{ann.id}")["id"] == ann.id
    assert clerk.add_user("bob@acme.example", external_id="ext").id != bob.id
    assert backend("DELETE", f"/organizations/{acme.id}")["deleted"]
    assert backend.code("GET", "/organizations/acme", 404) == "resource_not_found"


def test_banned_people_stay_listed(clerk: StandInClerk, backend: Backend) -> None:
    acme, ann = clerk.add_organization("Acme"), clerk.add_user("ann@acme.example")
    clerk.add_membership(acme.id, ann.id)

    assert backend("POST", f"/users/{ann.id}/ban")["banned"]
    (membership,) = backend("GET", f"/organizations/{acme.id}/memberships")["data"]
    assert membership["public_user_data"]["banned"]
    assert not backend("POST", f"/users/{ann.id}/unban")["banned"]


def test_an_organization_holds_so_many(backend: Backend) -> None:
    acme = backend("POST", "/organizations", json={"name": "Acme", "max_allowed_memberships": 1})
    users = [backend("POST", "/users", json={"email_address": [f"u{n}@a.example"]})["id"] for n in (1, 2)]
    path = f"/organizations/{acme['id']}/memberships"

    backend("POST", path, json={"user_id": users[0], "role": "org:member"})

    refused = backend.code("POST", path, 403, json={"user_id": users[1], "role": "org:member"})
    assert refused == "organization_membership_quota_exceeded"
