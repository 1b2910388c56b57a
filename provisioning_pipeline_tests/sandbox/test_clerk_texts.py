"""Lists are made of texts that are kept: what changes is seen at once, however it was changed."""

from pathlib import Path

import pytest

from provisioning_pipeline.sandbox.clerk import ClerkOptions, StandInClerk
from provisioning_pipeline_tests.sandbox.conftest import Backend

OLDEST_FIRST = {"order_by": "+created_at", "limit": 500}


def test_lists_show_what_single_objects_show(clerk: StandInClerk, backend: Backend) -> None:
    acme = clerk.add_organization("Zenith Café & Söhne", public_metadata={"nested": {"a": [1, None]}})
    ann = clerk.add_user("ann@acme.example", first_name='Ann "the Ä"', other_emails=("a@acme.example",))
    added = backend(
        "POST", f"/organizations/{acme.id}/memberships", json={"user_id": ann.id, "role": "org:billing_manager"}
    )

    for _ in range(2):
        assert backend("GET", "/organizations")["data"] == [backend("GET", f"/organizations/{acme.id}")]
        assert backend("GET", "/users") == [backend("GET", f"/users/{ann.id}")]
        assert backend("GET", "/organization_memberships") == {"data": [added], "total_count": 1}


def test_a_change_that_was_made_behind_its_back_is_seen(clerk: StandInClerk, backend: Backend) -> None:
    acme, ann = clerk.add_organization("Acme"), clerk.add_user("ann@acme.example", first_name="Ann")
    membership = clerk.add_membership(acme.id, ann.id)
    for path in ("/organizations", "/users", "/organization_memberships"):
        backend("GET", path)

    acme.public_metadata["twenty_workspace_id"] = "some-id"
    ann.first_name = "Anna"
    ann.emails[0].email = "anna@acme.example"
    membership.role = "org:admin"

    (user,) = backend("GET", "/users")
    (shown,) = backend("GET", "/organization_memberships")["data"]
    assert (user["first_name"], user["email_addresses"][0]["email_address"]) == ("Anna", "anna@acme.example")
    assert shown["public_user_data"]["identifier"] == "anna@acme.example"
    assert shown["organization"]["public_metadata"] == {"twenty_workspace_id": "some-id"}
    assert (shown["role"], shown["role_name"]) == ("org:admin", "Admin")


def test_who_comes_and_goes_is_seen(clerk: StandInClerk, backend: Backend) -> None:
    acme = clerk.add_organization("Acme")
    people = [clerk.add_user(f"user{number}@acme.example").id for number in range(4)]
    for user_id in people[:3]:
        clerk.add_membership(acme.id, user_id)

    def members() -> list[str]:
        page = backend("GET", "/organization_memberships", params=OLDEST_FIRST)
        assert page["total_count"] == len(page["data"])
        return [row["public_user_data"]["user_id"] for row in page["data"]]

    assert members() == people[:3]
    clerk.remove_membership(acme.id, people[0])
    clerk.add_membership(acme.id, people[3])
    clerk.add_membership(acme.id, people[0])
    assert members() == [*people[1:], people[0]]
    clerk.delete_user(people[1])
    assert members() == [people[2], people[3], people[0]]
    assert [row["id"] for row in backend("GET", "/users", params=OLDEST_FIRST)] == [people[0], *people[2:]]


@pytest.mark.parametrize("order_by", ["+created_at", "-created_at"])
def test_a_walk_goes_on_in_either_direction(clerk: StandInClerk, backend: Backend, order_by: str) -> None:
    made = [clerk.add_user(f"user{number}@acme.example").id for number in range(5)]
    wanted = made if order_by == "+created_at" else made[::-1]

    def after(user_id: str) -> list[str]:
        params = {"order_by": order_by, "limit": 2, "starting_after": user_id}
        return [row["id"] for row in backend("GET", "/users", params=params)]

    assert after(wanted[0]) == wanted[1:3]
    assert after(wanted[-1]) == []
    gone = clerk.add_user("gone@acme.example").id
    clerk.delete_user(gone)
    params = {"order_by": order_by, "starting_after": gone}
    assert backend.code("GET", "/users", 404, params=params) == "resource_not_found"


def test_the_order_of_creation_outlives_a_restart(tmp_path: Path) -> None:
    options = ClerkOptions(state_file=tmp_path / "clerk.json")
    with StandInClerk(options) as first:
        # so many in a moment that their times of creation run ahead of the clock
        made = [first.add_user(f"user{number}@acme.example").id for number in range(2000)]

    with StandInClerk(options) as second:
        made.append(second.add_user("later@acme.example").id)
        params = {"order_by": "+created_at", "limit": 500, "starting_after": made[-3]}
        assert [row["id"] for row in Backend(second)("GET", "/users", params=params)] == made[-2:]
        assert second.state.user(made[-1]).created_at > second.state.user(made[-2]).created_at
