"""An odd answer in the middle of a run is one tenant's trouble for the moment, and never the server's or the run's."""

from collections import Counter
from collections.abc import Iterator

import pytest
from tenacity import wait_none

from provisioning_pipeline.clients import transport
from provisioning_pipeline.sandbox.faults import ScriptedFault
from provisioning_pipeline_tests.world import World

pytestmark = pytest.mark.slow
TWENTY = [
    ("activateWorkspace", "forbidden page"),
    ("signUpInNewWorkspace", "html"),
    ("signUpInWorkspace", "field null"),
    ("getAuthTokensFromLoginToken", "broken"),
    ("getLoginTokenFromCredentials", "data null"),
    ("currentUser", "field of wrong types"),
    ("currentWorkspace", "list"),
    ("getRoles", "errors text"),
    ("updateWorkspaceMemberRole", "proxy sign-in page"),
    ("sendInvitations", "redirect"),
    ("impersonate", "empty"),
]
_SLUGS = iter(range(1000))


@pytest.fixture
def world(shared_world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(transport, "_wait", wait_none())
    faults = shared_world.sandbox.twenty[0].faults
    faults.scripted.clear()
    shared_world.sandbox.clerk.faults.scripted.clear()
    yield shared_world
    faults.scripted.clear()
    shared_world.sandbox.clerk.faults.scripted.clear()


def three(world: World) -> list[str]:
    slugs = [f"odd-{next(_SLUGS)}" for _ in range(3)]
    for slug in slugs:
        world.sandbox.add_tenant(slug, members=2)
    return slugs


def ready(world: World, slugs: list[str]) -> list[str]:
    return [slug for slug in slugs if world.conditions(slug)["Ready"][0] == "True"]


def one_workspace_each(world: World, slugs: list[str]) -> bool:
    found = Counter(workspace.subdomain for workspace in world.workspaces() if not workspace.deleted)
    return all(found[slug] == 1 for slug in slugs)


@pytest.mark.parametrize(("operation", "answer"), TWENTY)
@pytest.mark.parametrize("kind", ["odd", "odd after"])
def test_one_odd_answer_of_twenty_keeps_nobody_from_being_ready(
    world: World, operation: str, answer: str, kind: str
) -> None:
    slugs = three(world)
    world.sandbox.twenty[0].faults.scripted = [ScriptedFault(operation, kind, answer=answer)]
    world.apply(*slugs)
    assert ready(world, slugs) == slugs
    assert one_workspace_each(world, slugs)


@pytest.mark.parametrize(("operation", "answer"), TWENTY[:1] + TWENTY[5:9])
def test_odd_answers_that_stay_are_one_tenants_and_gone_with_the_next_run(
    world: World, operation: str, answer: str
) -> None:
    slugs = three(world)
    scripted = [ScriptedFault(operation, "odd", times=4, answer=answer)]
    world.sandbox.twenty[0].faults.scripted = scripted
    applied = world.apply(*slugs, tenant_concurrency=1)
    assert scripted[0].times == 0
    assert not applied.summary.refusals
    unwell = sorted(set(slugs) - set(ready(world, slugs)))
    assert len(unwell) == 1
    conditions = world.conditions(unwell[0])
    assert ("Unknown", "ServerUnreachable") in conditions.values(), conditions
    assert not {"UnsupportedTwenty", "UnexpectedError"} & {reason for _, reason in conditions.values()}
    told = world.registry(
        "SELECT c.message FROM provisioning.condition c JOIN provisioning.tenant_link l USING (database_name) "
        "WHERE l.slug = %s AND c.reason = 'ServerUnreachable'",
        unwell[0],
    )[0][0]
    assert operation in told
    assert "c4nary" not in told
    world.apply(*slugs)
    assert ready(world, slugs) == slugs
    assert one_workspace_each(world, slugs)
