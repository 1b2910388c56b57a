"""How far an offboarding is: each stage once, what was undone anew, and a tombstone for ever."""

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import pytest

from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.offboardings import Offboardings, bury
from provisioning_pipeline.model.offboarding import Begun, Return, Stage
from provisioning_pipeline_tests.ledger.conftest import opened

pytestmark = pytest.mark.anyio

DATABASE = "twenty_tenant_acme_1"


def begun(workspace_id: str, policy: str = "archive") -> Begun:
    return Begun(DATABASE, "acme", "org_1", "eu", workspace_id, "The registry says deleted.", policy, "run-1")


@pytest.fixture
def workspace() -> str:
    return str(uuid4())


@pytest.fixture
async def work(url: str) -> AsyncIterator[Offboardings]:
    async with opened(url) as database:
        yield Offboardings(database)


async def test_beginning_twice_is_going_on_with_another_policy(work: Offboardings, workspace: str) -> None:
    first = await work.begin(begun(workspace))
    await work.mark(DATABASE, workspace, Stage.ARCHIVED)
    second = await work.begin(replace(begun(workspace, "delete"), run_id="run-2"))
    assert (second.begun_at, second.run_id, second.policy) == (first.begun_at, "run-1", "delete")
    assert second.reached(Stage.ARCHIVED)


async def test_the_first_time_of_a_stage_counts(work: Offboardings, workspace: str) -> None:
    await work.begin(begun(workspace))
    await work.mark(DATABASE, workspace, Stage.MEMBERS_REMOVED)
    first = await work.of(DATABASE, workspace)
    await work.mark(DATABASE, workspace, Stage.MEMBERS_REMOVED)
    assert await work.of(DATABASE, workspace) == first


async def test_an_export_of_before_the_decision_is_none_for_it(work: Offboardings, workspace: str) -> None:
    await work.begin(begun(workspace))
    await work.exported(DATABASE, workspace, "s3://x/acme", {"company": 3})
    await work.mark(DATABASE, workspace, Stage.DELETE_BEGUN)
    found = await work.of(DATABASE, workspace)
    assert found is not None
    assert (found.exported_for_deletion, found.export_counts) == (False, {"company": 3})
    await work.exported(DATABASE, workspace, "s3://x/acme", {"company": 4})
    found = await work.of(DATABASE, workspace)
    assert found is not None
    assert found.exported_for_deletion


async def test_what_was_undone_begins_anew(work: Offboardings, workspace: str) -> None:
    await work.begin(begun(workspace))
    await work.mark(DATABASE, workspace, Stage.ARCHIVED)
    assert await work.undo(Return(DATABASE, workspace, by_hand=True))
    taken_back = await work.of(DATABASE, workspace)
    assert taken_back is not None
    assert taken_back.taken_back_at == taken_back.undone_at
    again = await work.begin(begun(workspace))
    assert (again.undone_at, again.taken_back_at, again.archived_at) == (None,) * 3
    assert await work.undo(Return(DATABASE, workspace, by_hand=False))
    back = await work.of(DATABASE, workspace)
    assert back is not None
    assert (back.undone_at is not None, back.taken_back_at) == (True, None)


async def test_a_deleted_workspace_cannot_be_undone(work: Offboardings, workspace: str) -> None:
    await work.begin(begun(workspace, "delete"))
    await work.mark(DATABASE, workspace, Stage.WORKSPACE_DELETED)
    assert not await work.undo(Return(DATABASE, workspace, by_hand=False))


async def test_a_tombstone_stays_whatever_comes_after_it(work: Offboardings, workspace: str) -> None:
    await work.begin(begun(workspace, "delete"))
    await bury(work, DATABASE, workspace, "run-1", "gone")
    tombstone = await work.of(DATABASE, workspace)
    assert tombstone is not None
    assert tombstone.gone_at
    await work.begin(begun(workspace))
    await work.mark(DATABASE, workspace, Stage.ARCHIVED)
    assert not await work.undo(Return(DATABASE, workspace, by_hand=False))
    assert await work.of(DATABASE, workspace) == tombstone

    # the customer comes back, and leaves again
    later = await work.begin(begun(str(uuid4())))
    assert (await work.all())[DATABASE] == later
    assert await work.of(DATABASE, workspace) == tombstone


async def test_burying_forgets_only_the_workspace_that_the_tenant_has(work: Offboardings, workspace: str) -> None:
    other = str(uuid4())
    ledger = Ledger(work.database)
    await work.database.execute(
        "INSERT INTO provisioning.tenant_link (database_name, slug, server, workspace_id, clerk_org_id) "
        "VALUES (%s, 'acme', 'eu', %s, 'org_1') "
        "ON CONFLICT (database_name) DO UPDATE SET workspace_id = EXCLUDED.workspace_id, server = 'eu'",
        [DATABASE, other],
    )
    await work.begin(begun(workspace))
    await bury(work, DATABASE, workspace, "run-1", "gone")
    assert (await ledger.link(DATABASE)).workspace_id == other
    await work.begin(begun(other))
    await bury(work, DATABASE, other, "run-1", "gone")
    link = await ledger.link(DATABASE)
    assert (link.workspace_id, link.server) == (None, None)
    await bury(work, DATABASE, other, "run-1", "gone")
