"""A sign-in of somebody who is half a member, or in whose workspace Admin is the default role."""

from collections.abc import Iterator

import pytest

from provisioning_pipeline_tests.http.services import serving, small_world
from provisioning_pipeline_tests.http.sign_ins import SignIns, follow, signed_in
from provisioning_pipeline_tests.steps.test_default_role import default, roles_ever, set_default, watch_roles
from provisioning_pipeline_tests.steps.test_half_members import BREAK

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def people() -> Iterator[SignIns]:
    with (
        small_world(tenants=1, members=2, sign_ins_per_minute=1000, clerk_look_share=1.0) as world,
        serving(world.settings) as url,
    ):
        yield SignIns(world, url)


@pytest.mark.parametrize("broken", BREAK)
def test_a_half_member_is_mended_by_signing_in(people: SignIns, broken: str) -> None:
    somebody = people.newcomer()
    before = signed_in(people.sign_in(somebody.user_id))
    BREAK[broken](people.world, people.tenant, somebody.email)

    document = signed_in(people.sign_in(somebody.user_id))

    assert document["twenty_user_id"] == before["twenty_user_id"]
    assert follow(people, document)["onboardingStatus"] == "COMPLETED"
    assert people.world.members(people.tenant)[somebody.email] == ("Member", somebody.name)


def test_a_newcomer_is_never_admin_because_the_customer_made_that_the_default(people: SignIns) -> None:
    set_default(people.world, people.tenant, "Admin")
    watch_roles(people.world, people.tenant)
    somebody = people.newcomer()

    document = signed_in(people.sign_in(somebody.user_id))

    assert follow(people, document)["onboardingStatus"] == "COMPLETED"
    assert roles_ever(people.world, somebody.email) == ["Member"]
    assert default(people.world, people.tenant) == "Admin"
