"""A sign-in to a tenant that is active again, before its members have their access back."""

from collections.abc import Iterator

import pytest

from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline_tests.http.services import serving, small_world
from provisioning_pipeline_tests.http.sign_ins import SignIns, follow, signed_in

pytestmark = pytest.mark.slow


@pytest.fixture
def people() -> Iterator[SignIns]:
    door = {"sign_ins_per_minute": 1000, "clerk_look_share": 1.0, "session_cache_seconds": 0}
    with small_world(suspended="lock", **door) as world, serving(world.settings) as url:
        yield SignIns(world, url)


def test_no_member_is_signed_in_until_a_run_has_unlocked(people: SignIns) -> None:
    somebody = people.newcomer()
    signed_in(people.sign_in(somebody.user_id))
    people.world.registry("UPDATE tenant_registry SET status = 'suspended' RETURNING 1")
    people.world.apply()
    people.world.registry("UPDATE tenant_registry SET status = 'active' RETURNING 1")
    assert people.sign_in(somebody.user_id).status_code == 403

    faults = people.world.sandbox.twenty[0].faults.scripted
    faults.append(ScriptedFault("updateWorkspaceMember", "error", times=100))
    people.world.apply()
    for user in (somebody, people.newcomer()):
        answer = people.sign_in(user.user_id)
        assert answer.status_code == 503, answer.text
        assert "their access back" in answer.text

    faults.clear()
    people.world.apply()
    document = signed_in(people.sign_in(somebody.user_id))
    assert follow(people, document)["onboardingStatus"] == "COMPLETED"
