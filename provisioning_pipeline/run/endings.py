"""Which tenants lose their access, get it back, or leave: locks and offboardings of one run together. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from provisioning_pipeline.decide.detection import Detected
from provisioning_pipeline.model.frames import TwentySnapshot
from provisioning_pipeline.model.lifecycle import Lifecycle
from provisioning_pipeline.model.offboarding import Order, Return
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.run.seen import Seen
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps.offboarding.due import Offboarded, OffboardingPolicy, came_back, with_offboarding
from provisioning_pipeline.steps.suspension.due import LockPolicy, Locks, as_unlocked, with_locks


@dataclass(frozen=True, slots=True)
class Endings:
    """The plans with locks and offboardings.

    Args:
        came_back: the offboardings that end before their workspaces are deleted.
    """

    entries: tuple[TenantPlan, ...]
    came_back: tuple[Return, ...]
    locked: Locks
    offboarded: Offboarded


def lives_of(detected: Sequence[Detected]) -> dict[str, Lifecycle]:
    """Database name → where that tenant is in its life."""
    return {found.tenant.database_name: found.life.lifecycle for found in detected if found.life}


def twenty_unlocked(seen: Seen) -> TwentySnapshot:
    """Twenty as this run leaves it to the members of tenants that are active again."""
    lives = lives_of(seen.detected)
    return as_unlocked(seen.twenty, [lock for name, lock in seen.locks.items() if lives.get(name) is Lifecycle.ACTIVE])


def with_endings(
    entries: Sequence[TenantPlan], seen: Seen, settings: Settings, approved: str | None, order: Order | None
) -> Endings:
    """The plans with what their lives ask for, besides what was planned for each.

    Args:
        approved: the name of what an operator approved, or None.
        order: what an operator asks for these tenants.
    """
    lives, twenty = lives_of(seen.detected), seen.twenty
    back: Mapping[str, Return] = came_back(entries, lives, seen.offboardings, twenty, order)
    offboardings = {
        name: replace(known, undone_at=seen.looked_at, taken_back_at=seen.looked_at if end.by_hand else None)
        if (end := back.get(name))
        else known
        for name, known in seen.offboardings.items()
    }
    locked = with_locks(
        entries, lives, seen.locks, offboardings, twenty, LockPolicy.of(settings, approved, seen.looked_at)
    )
    offboarded = with_offboarding(
        locked.entries,
        lives,
        offboardings,
        twenty,
        OffboardingPolicy.of(settings, approved, order),
        seen.looked_at,
    )
    return Endings(offboarded.entries, tuple(back.values()), locked, offboarded)
