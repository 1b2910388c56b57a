"""Paging, ordering and filters of the stand-in Clerk, with the limits that the real one has."""

import pytest

from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline_tests.sandbox.conftest import Backend


def test_organizations_come_ten_at_a_time_newest_first(clerk: StandInClerk, backend: Backend) -> None:
    made = [clerk.add_organization(f"Company {number:02}").id for number in range(12)]

    first = backend("GET", "/organizations")

    assert first["total_count"] == 12
    assert [row["id"] for row in first["data"]] == made[::-1][:10]
    second = backend("GET", "/organizations", params={"offset": 10})
    assert [row["id"] for row in second["data"]] == [made[1], made[0]]


@pytest.mark.parametrize(("limit", "rows"), [(500, 12), (501, 10), (5000, 10), (3, 3)])
def test_a_limit_over_500_silently_becomes_10(clerk: StandInClerk, backend: Backend, limit: int, rows: int) -> None:
    for number in range(12):
        clerk.add_organization(f"Company {number}")

    assert len(backend("GET", "/organizations", params={"limit": limit})["data"]) == rows


@pytest.mark.parametrize("path", ["/organizations", "/users", "/organization_memberships"])
@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": "x"}, {"offset": -1}, {"order_by": "shoe_size"}])
def test_what_cannot_be_a_page_is_refused(backend: Backend, path: str, params: dict[str, str]) -> None:
    assert backend.code("GET", path, 422, params=params) == "form_param_value_invalid"


@pytest.mark.parametrize(
    ("order_by", "names"),
    [
        ("name", ["Ant", "bee", "Cat"]),
        ("-name", ["Cat", "bee", "Ant"]),
        ("+created_at", ["Cat", "Ant", "bee"]),
        ("-created_at", ["bee", "Ant", "Cat"]),
        ("-members_count", ["Ant", "Cat", "bee"]),
    ],
)
def test_organizations_are_ordered(clerk: StandInClerk, backend: Backend, order_by: str, names: list[str]) -> None:
    for name in ("Cat", "Ant", "bee"):
        clerk.add_organization(name)
    ann, bob = clerk.add_user("ann@acme.example").id, clerk.add_user("bob@acme.example").id
    by_name = {organization.name: organization.id for organization in clerk.state.organizations.values()}
    for name, user_id in (("Ant", ann), ("Ant", bob), ("Cat", ann)):
        clerk.add_membership(by_name[name], user_id)

    rows = backend("GET", "/organizations", params={"order_by": order_by, "include_members_count": "true"})

    assert [row["name"] for row in rows["data"]] == names
    assert {row["name"]: row["members_count"] for row in rows["data"]} == {"Ant": 2, "Cat": 1, "bee": 0}


def test_organizations_are_filtered(clerk: StandInClerk, backend: Backend) -> None:
    acme = clerk.add_organization("Acme", slug="acme")
    zenith = clerk.add_organization("Zenith", slug="zenith-ltd")

    def ids(**params: object) -> list[str]:
        return [row["id"] for row in backend("GET", "/organizations", params=params)["data"]]

    assert ids(query="ZEN") == [zenith.id]
    assert ids(query="-ltd") == [zenith.id]
    assert ids(query=acme.id) == [acme.id]
    assert ids(organization_id=[acme.id]) == [acme.id]
    assert ids(**{"organization_id[]": [acme.id, zenith.id]}) == [zenith.id, acme.id]
    assert ids(organization_id=f"-{acme.id}") == [zenith.id]
    assert backend("GET", "/organizations/zenith-ltd")["id"] == zenith.id
    assert backend("GET", f"/organizations/{acme.id}")["slug"] == "acme"


def test_at_most_100_ids(backend: Backend) -> None:
    ids = [f"user_{number}" for number in range(101)]

    assert backend("GET", "/users", params={"user_id": ids[:100]}) == []
    assert backend.code("GET", "/users", 422, params={"user_id": ids}) == "form_param_exceeds_allowed_size"


def test_users_are_walked_with_starting_after(clerk: StandInClerk, backend: Backend) -> None:
    made = [clerk.add_user(f"user{number}@acme.example").id for number in range(7)]
    seen: list[str] = []
    params: dict[str, str | int] = {"limit": 3, "order_by": "+created_at"}

    while True:
        page = backend("GET", "/users", params=params)
        seen += [row["id"] for row in page]
        if len(page) < 3:
            break
        params["starting_after"] = page[-1]["id"]

    assert seen == made
    assert backend("GET", "/users/count") == {"object": "total_count", "total_count": 7}


@pytest.mark.parametrize("extra", [{"order_by": "-email_address"}, {"offset": 1}])
def test_starting_after_needs_the_order_of_creation_and_no_offset(
    clerk: StandInClerk, backend: Backend, extra: dict[str, str]
) -> None:
    user = clerk.add_user("ann@acme.example")

    assert backend.code("GET", "/users", 422, params={"starting_after": user.id, **extra})


def test_users_are_filtered(clerk: StandInClerk, backend: Backend) -> None:
    acme = clerk.add_organization("Acme")
    ann = clerk.add_user("Ann@acme.example", first_name="Ann", external_id="ext-1")
    bob = clerk.add_user("bob@acme.example", other_emails=("robert@acme.example",))
    clerk.add_membership(acme.id, bob.id)
    clerk.ban_user(bob.id)

    def ids(**params: object) -> list[str]:
        return [row["id"] for row in backend("GET", "/users", params=params)]

    assert ids() == [bob.id, ann.id]
    assert ids(email_address="ann@ACME.example") == [ann.id]
    assert ids(email_address="robert@acme.example") == [bob.id]
    assert ids(external_id="ext-1") == [ann.id]
    assert ids(organization_id=acme.id) == [bob.id]
    assert ids(organization_id=f"-{acme.id}") == [ann.id]
    assert ids(banned="true") == [bob.id]
    assert ids(query="robert") == [bob.id]
    assert ids(user_id=["user_unknown"]) == []
    assert backend("GET", "/users/count", params={"organization_id": acme.id})["total_count"] == 1


def test_memberships_of_the_instance_an_organization_and_a_user(clerk: StandInClerk, backend: Backend) -> None:
    acme, zenith = clerk.add_organization("Acme"), clerk.add_organization("Zenith")
    ann, bob = clerk.add_user("ann@acme.example", first_name="Ann"), clerk.add_user("bob@acme.example")
    clerk.add_membership(acme.id, ann.id, "org:admin")
    clerk.add_membership(acme.id, bob.id)
    clerk.add_membership(zenith.id, ann.id, "org:billing_manager")

    everything = backend("GET", "/organization_memberships", params={"order_by": "+created_at"})
    admins = backend("GET", f"/organizations/{acme.id}/memberships", params={"role": "org:admin"})
    bobs = backend("GET", f"/organizations/{acme.id}/memberships", params={"user_id": [bob.id]})
    anns = backend("GET", f"/users/{ann.id}/organization_memberships")

    assert everything["total_count"] == 3
    assert [(row["organization"]["id"], row["role"]) for row in everything["data"]] == [
        (acme.id, "org:admin"),
        (acme.id, "org:member"),
        (zenith.id, "org:billing_manager"),
    ]
    (admin,) = admins["data"]
    assert admin["public_user_data"]["identifier"] == "ann@acme.example"
    assert admin["public_user_data"]["first_name"] == "Ann"
    assert [row["public_user_data"]["user_id"] for row in bobs["data"]] == [bob.id]
    assert [row["organization"]["name"] for row in anns["data"]] == ["Zenith", "Acme"]


def test_slugs_may_be_off() -> None:
    from provisioning_pipeline.sandbox.clerk import ClerkOptions

    with StandInClerk(ClerkOptions(organization_slugs=False)) as clerk:
        acme = clerk.add_organization("Acme", slug="acme")
        client = Backend(clerk)

        assert "slug" not in client("GET", f"/organizations/{acme.id}")
        assert client.code("GET", "/organizations/acme", 404) == "resource_not_found"
