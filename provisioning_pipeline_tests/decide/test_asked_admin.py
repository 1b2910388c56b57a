"""Whether somebody who was asked for becomes a tenant's admin."""

import pytest

from provisioning_pipeline.decide.organizations import choose_admin
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.people import Membership, User
from provisioning_pipeline.model.tenant import Admin, AdminUnknown

ANN = User("user_ann", "ann@acme.test", "Ann", "A", banned=False)
BOB = User("user_bob", "bob@acme.test", "Bob", "B", banned=False)
UNVERIFIED = User("user_eve", None, "Eve", "E", banned=False)
OLD_ANN, NEW_BOB, EVE = (
    Membership("user_ann", "org:admin", False, 1),
    Membership("user_bob", "org:admin", False, 2),
    Membership("user_eve", "org:admin", False, 0),
)
"""Ann has been an admin for longer than Bob, and Eve for longest."""


def chosen(*members: Membership, asked: str | None, organization: str | None = "org_1") -> Admin | AdminUnknown:
    people = {user.user_id: user for user in (ANN, BOB, UNVERIFIED)}
    return choose_admin(organization, "carol@acme.test", "Carol C", {"org_1": members}, people, "org:admin", asked)


@pytest.mark.parametrize(
    ("asked", "email"),
    [
        (None, "ann@acme.test"),
        ("ann@acme.test", "ann@acme.test"),
        ("bob@acme.test", "bob@acme.test"),
        ("nobody@acme.test", "ann@acme.test"),
        ("carol@acme.test", "ann@acme.test"),
    ],
)
def test_of_an_organizations_admins_the_one_who_was_asked_for_comes_first(asked: str | None, email: str) -> None:
    for members in ((OLD_ANN, NEW_BOB, EVE), (EVE, NEW_BOB, OLD_ANN)):
        found = chosen(*members, asked=asked)

        assert isinstance(found, Admin)
        assert found.email == email
        assert found.clerk_user_id is not None


def test_somebody_who_is_no_admin_there_does_not_become_one_by_being_asked_for() -> None:
    found = chosen(asked="mallory@elsewhere.test")

    assert isinstance(found, AdminUnknown)
    assert found.reason is Reason.ADMIN_UNKNOWN


def test_an_unverified_address_is_nobody() -> None:
    assert isinstance(chosen(EVE, asked=None), AdminUnknown)


@pytest.mark.parametrize(
    ("asked", "admin"),
    [
        (None, ("carol@acme.test", "Carol", "C")),
        ("carol@acme.test", ("carol@acme.test", "Carol", "C")),
        ("ada@acme.test", ("ada@acme.test", "", "")),
    ],
)
def test_without_an_organization_it_is_whoever_was_asked_for(asked: str | None, admin: tuple[str, str, str]) -> None:
    found = chosen(asked=asked, organization=None)

    assert isinstance(found, Admin)
    assert (found.email, found.first_name, found.last_name) == admin
