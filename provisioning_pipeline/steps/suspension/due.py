"""Which workspaces are to be locked or unlocked, by where their tenants are in their lives. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pandas as pd

from provisioning_pipeline.model.access_lock import AccessLock, LockState
from provisioning_pipeline.model.approval import name_for_approval
from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, is_false, with_newer
from provisioning_pipeline.model.frames import BROKEN_RECORDS, TwentySnapshot
from provisioning_pipeline.model.lifecycle import Lifecycle
from provisioning_pipeline.model.offboarding import Offboarding
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.members.plan.tenant_members import workspace_usable
from provisioning_pipeline.steps.suspension.changes import LOCK_WORKSPACE, UNLOCK_WORKSPACE

_COMING_BACK = is_false(
    ConditionType.LOGIN_PROVED, Reason.WAITING, "Its members are locked out; this run gives them their access back."
)


@dataclass(frozen=True, slots=True)
class LockPolicy:
    """What happens to the members of a suspended tenant.

    Args:
        locks: they are locked out; else they are only reported.
        most: tenants that runs lock by themselves in an hour.
        since: an hour ago, by the clock of the ledger's database; None: locks of before are not counted.
        approved: the name of what an operator approved, or None.
    """

    locks: bool
    most: int
    approved: str | None = None
    since: datetime | None = None

    @classmethod
    def of(cls, settings: Settings, approved: str | None, now: datetime) -> "LockPolicy":
        return cls(settings.suspended == "lock", settings.suspended_most, approved, now - timedelta(hours=1))


@dataclass(frozen=True, slots=True)
class Locks:
    """The plans with their locks.

    Args:
        waiting: name of the locks beyond what a run makes by itself; None: there are none.
        tenants: how many tenants these are of.
        approved: they were approved by name.
    """

    entries: tuple[TenantPlan, ...]
    waiting: str | None = None
    tenants: int = 0
    approved: bool = False


def with_locks(
    entries: Sequence[TenantPlan],
    lives: Mapping[str, Lifecycle],
    locks: Mapping[str, AccessLock],
    offboardings: Mapping[str, Offboarding],
    twenty: TwentySnapshot,
    policy: LockPolicy,
) -> Locks:
    """The plans of these tenants with the locks that are due, and those that end.

    A tenant in doubt stays as it is. A lock that was begun once is finished, and kept whole, without another approval.
    """
    readable = _within_reach(twenty)
    come_in = _who_comes_in(twenty, locks)
    to_lock = [
        entry
        for entry in entries
        if _is_to_be_locked(entry, lives, locks, offboardings, policy)
        and (entry.server, entry.workspace_id) in readable
        and _lacks_lock(entry, locks.get(entry.tenant.database_name), come_in)
    ]
    fresh = sorted(entry.tenant.database_name for entry in to_lock if entry.tenant.database_name not in locks)
    name = name_for_approval(["locks", *fresh])
    over = len(fresh) + _lately(locks, offboardings, policy) > policy.most if fresh else False
    waiting = frozenset(fresh) if over and name != policy.approved else frozenset()
    due = {entry.tenant.database_name for entry in to_lock} - waiting
    found = tuple(_with_lock(entry, lives, locks, offboardings, due, waiting, name, policy) for entry in entries)
    return Locks(found, name if waiting else None, len(waiting), approved=over and not waiting)


def _lately(locks: Mapping[str, AccessLock], offboardings: Mapping[str, Offboarding], policy: LockPolicy) -> int:
    """Locks of the last hour, of any tenant: runs over single tenants together lock no more than one over all."""
    return sum(
        policy.since is not None
        and lock.begun_at > policy.since
        # what was archived was approved
        and not (name in offboardings and offboardings[name].is_under_way)
        for name, lock in locks.items()
    )


def as_unlocked(twenty: TwentySnapshot, locks: Collection[AccessLock]) -> TwentySnapshot:
    """The snapshot as it is once these locks are given back: who is locked out has a whole record and the old role."""
    if not locks:
        return twenty
    roles = {(lock.server, lock.workspace_id, user_id): role for lock in locks for user_id, role in lock.roles.items()}

    members, half = twenty.members.copy(), twenty.half_members
    keys = zip(members["server"], members["workspace_id"], members["user_id"], members["role"], strict=True)
    members["role"] = pd.Series([roles.get(key[:3], key[3]) for key in keys], index=members.index, dtype=object)
    places = zip(half["server"], half["workspace_id"], half["user_id"], strict=True)
    # as a column: by an empty list pandas would choose among the columns
    other = pd.Series([key not in roles for key in places], index=half.index, dtype=bool)
    return replace(twenty, members=members, half_members=half[other])


def _is_to_be_locked(
    entry: TenantPlan,
    lives: Mapping[str, Lifecycle],
    locks: Mapping[str, AccessLock],
    offboardings: Mapping[str, Offboarding],
    policy: LockPolicy,
) -> bool:
    name = entry.tenant.database_name
    if lives.get(name) is Lifecycle.SUSPENDED:
        return policy.locks
    if lives.get(name) is not Lifecycle.OFFBOARDING:
        return False
    offboarding, lock = offboardings.get(name), locks.get(name)
    if offboarding is not None and offboarding.archived_at is not None and offboarding.is_under_way:
        return True
    # the lock of a suspended customer who has left since
    return lock is not None and not _is_taken_back(lock, offboarding)


def _is_taken_back(lock: AccessLock, offboarding: Offboarding | None) -> bool:
    """An operator took the offboarding back, and nothing has asked for the lock since."""
    taken_back_at = offboarding.taken_back_at if offboarding is not None else None
    return taken_back_at is not None and taken_back_at >= lock.begun_at


def _within_reach(twenty: TwentySnapshot) -> set[tuple[str, str]]:
    """The workspaces in which a call of ours can do something now."""
    servers = set(twenty.servers[twenty.servers["reason"].isna()]["server"])
    return {
        (str(server), str(workspace_id))
        for server, workspace_id, deleted, made in twenty.workspaces[
            ["server", "workspace_id", "deleted", "has_metadata"]
        ].itertuples(index=False)
        if server in servers and not deleted and made
    }


def _who_comes_in(twenty: TwentySnapshot, locks: Mapping[str, AccessLock]) -> dict[tuple[str, str], set[str]]:
    """(server, workspace id) → the members with a record, our own account left out, of locked workspaces."""
    wanted = {(lock.server, lock.workspace_id): set(lock.roles) for lock in locks.values()}
    half = twenty.half_members[twenty.half_members["record"].isin(BROKEN_RECORDS)]
    outside = set(zip(half["server"], half["workspace_id"], half["user_id"], strict=True))
    found: dict[tuple[str, str], set[str]] = {place: set() for place in wanted}
    members = twenty.members[["server", "workspace_id", "user_id"]].itertuples(index=False, name=None)
    for server, workspace_id, user_id in members:
        place = (server, workspace_id)
        if place not in wanted or user_id in twenty.service_users.get(server, ()):
            continue
        # where our user may not read member records, the ledger says who is locked out
        known = user_id in wanted[place] and server in twenty.unreadable
        if not known and (server, workspace_id, user_id) not in outside:
            found[place].add(user_id)
    return found


def _lacks_lock(entry: TenantPlan, lock: AccessLock | None, come_in: Mapping[tuple[str, str], Collection[str]]) -> bool:
    place = (str(entry.server), str(entry.workspace_id))
    if lock is None or (lock.server, lock.workspace_id) != place or lock.state is not LockState.LOCKED:
        return True
    return bool(come_in.get(place))


def _with_lock(
    entry: TenantPlan,
    lives: Mapping[str, Lifecycle],
    locks: Mapping[str, AccessLock],
    offboardings: Mapping[str, Offboarding],
    due: Collection[str],
    waiting: Collection[str],
    name: str,
    policy: LockPolicy,
) -> TenantPlan:
    database_name, life = entry.tenant.database_name, lives.get(entry.tenant.database_name)
    lock = locks.get(database_name)
    if database_name in due:
        return replace(entry, changes=(*entry.changes, LOCK_WORKSPACE))
    if lock is not None and _is_to_be_unlocked(entry, life, lock, offboardings.get(database_name)):
        # the others follow once everyone is back
        changes = (UNLOCK_WORKSPACE, *(change for change in entry.changes if change is not PROVE_LOGIN), PROVE_LOGIN)
        if life is not Lifecycle.ACTIVE:
            return replace(entry, changes=(UNLOCK_WORKSPACE,))
        return replace(entry, changes=changes, conditions=with_newer(entry.conditions, _COMING_BACK))
    if life is Lifecycle.SUSPENDED and entry.workspace_id and lock is None:
        why = (
            f"More tenants are suspended at once than runs lock by themselves (PROVISIONING_SUSPENDED_MOST): look at "
            f"`provisioning plan`, then run `provisioning apply --approve {name}`."
            if database_name in waiting
            else "Its members can still sign in at Twenty: PROVISIONING_SUSPENDED is `report`."
            if not policy.locks
            else "Its members are not locked out yet: its workspace could not be reached."
        )
        return replace(entry, conditions=with_newer(entry.conditions, _open(why)))
    return entry


def _open(why: str) -> Condition:
    return is_false(ConditionType.ACCESS_LOCKED, Reason.ACCESS_OPEN, why)


def _is_to_be_unlocked(
    entry: TenantPlan, life: Lifecycle | None, lock: AccessLock, offboarding: Offboarding | None
) -> bool:
    if life is Lifecycle.ACTIVE:
        return workspace_usable(entry)
    leaves = life in (Lifecycle.IN_DOUBT, Lifecycle.OFFBOARDING)
    return leaves and _is_taken_back(lock, offboarding) and entry.server is not None
