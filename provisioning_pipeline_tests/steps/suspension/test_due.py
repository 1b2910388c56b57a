"""Which workspaces are locked or unlocked, beside what the sequences of `run/test_whole_life.py` try."""

from dataclasses import replace
from datetime import timedelta

from provisioning_pipeline.model import frames
from provisioning_pipeline.model.access_lock import AccessLock, LockState
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.model.lifecycle import Lifecycle
from provisioning_pipeline.model.offboarding import Offboarding
from provisioning_pipeline.steps.suspension.changes import LOCK_WORKSPACE, UNLOCK_WORKSPACE
from provisioning_pipeline.steps.suspension.due import LockPolicy, Locks, as_unlocked, with_locks
from provisioning_pipeline_tests.steps.offboarding.test_due import IDS, NAMES, NOW, entries, left, twenty

LOCKS = LockPolicy(locks=True, most=2)
LOCK = AccessLock("ant", "eu", IDS["ant"], LockState.LOCKED, "why", NOW, NOW, None, {"ada": "Admin"})


def locked(
    lifecycle: Lifecycle,
    lock: AccessLock | None = LOCK,
    offboardings: dict[str, Offboarding] | None = None,
    policy: LockPolicy = LOCKS,
) -> Locks:
    """What becomes of three tenants, the first of which may be locked already."""
    lives = dict.fromkeys(NAMES, lifecycle)
    return with_locks(entries(), lives, {} if lock is None else {"ant": lock}, offboardings or {}, twenty(), policy)


def due(found: Locks, change: Change) -> list[str]:
    return [entry.tenant.database_name for entry in found.entries if change in entry.changes]


def test_more_than_a_run_locks_by_itself_waits_and_says_so() -> None:
    found = locked(Lifecycle.SUSPENDED, None)
    assert (due(found, LOCK_WORKSPACE), found.tenants) == ([], 3)
    told = [c.message for e in found.entries for c in e.conditions if c.type is ConditionType.ACCESS_LOCKED]
    assert [f"--approve {found.waiting}`" in message for message in told] == [True] * 3
    approved = locked(Lifecycle.SUSPENDED, None, policy=replace(LOCKS, approved=found.waiting))
    assert (due(approved, LOCK_WORKSPACE), approved.waiting) == ([*NAMES], None)


def test_runs_over_single_tenants_together_lock_no_more_than_one_run_over_all() -> None:
    hour = replace(LOCKS, most=3, since=NOW - timedelta(hours=1))
    of_another = replace(LOCK, database_name="yak", workspace_id="another", begun_at=NOW)
    earlier = replace(of_another, begun_at=NOW - timedelta(hours=2))
    lives = dict.fromkeys(NAMES, Lifecycle.SUSPENDED)
    for lock, locked_now in ((of_another, []), (earlier, list(NAMES))):
        found = with_locks(entries(), lives, {"yak": lock}, {}, twenty(), hour)
        assert due(found, LOCK_WORKSPACE) == locked_now


def test_a_lock_that_is_begun_counts_against_no_budget() -> None:
    found = locked(Lifecycle.SUSPENDED, replace(LOCK, state=LockState.LOCKING))
    assert due(found, LOCK_WORKSPACE) == [*NAMES]


def test_by_the_policy_that_reports_none_is_locked() -> None:
    assert due(locked(Lifecycle.SUSPENDED, None, policy=LockPolicy(locks=False, most=9)), LOCK_WORKSPACE) == []


def test_the_lock_of_a_suspended_customer_who_leaves_stays_and_is_finished() -> None:
    found = locked(Lifecycle.OFFBOARDING, replace(LOCK, state=LockState.LOCKING))
    assert (due(found, LOCK_WORKSPACE), due(found, UNLOCK_WORKSPACE)) == (["ant"], [])


def test_only_an_operator_opens_the_workspace_of_a_customer_who_leaves() -> None:
    ended = left(archived_at=NOW, undone_at=NOW)
    for lifecycle in (Lifecycle.OFFBOARDING, Lifecycle.IN_DOUBT):
        assert due(locked(lifecycle, offboardings=ended), UNLOCK_WORKSPACE) == []
        taken_back = {"ant": replace(ended["ant"], taken_back_at=NOW)}
        assert due(locked(lifecycle, offboardings=taken_back), UNLOCK_WORKSPACE) == ["ant"]
        # another lock came since
        later = replace(LOCK, begun_at=NOW + timedelta(seconds=1))
        assert due(locked(lifecycle, later, taken_back), UNLOCK_WORKSPACE) == []


def test_a_lock_that_took_nothing_yet_leaves_the_snapshot_as_it_is() -> None:
    seen = as_unlocked(twenty(), [replace(LOCK, roles={})])
    assert [str(name) for name in seen.half_members.columns] == [*frames.HALF_MEMBERS]
