"""Which workspaces are to be archived or deleted, by where their tenants are in their lives. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from provisioning_pipeline.model.approval import name_for_approval
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import ConditionType, Reason, is_false, with_newer
from provisioning_pipeline.model.frames import TwentySnapshot
from provisioning_pipeline.model.lifecycle import Lifecycle
from provisioning_pipeline.model.offboarding import Offboarding, Order, Return
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps.offboarding.changes import (
    ARCHIVE_WORKSPACE,
    CLEAR_ORGANIZATION,
    DELETE_WORKSPACE,
    EXPORT_WORKSPACE,
)

_CHANGES: Final[Mapping[Order, tuple[Change, ...]]] = {
    Order.ARCHIVE: (ARCHIVE_WORKSPACE,),
    Order.DELETE: (EXPORT_WORKSPACE, DELETE_WORKSPACE, CLEAR_ORGANIZATION),
}


@dataclass(frozen=True, slots=True)
class OffboardingPolicy:
    """What happens to the workspace of a customer who left.

    Args:
        wanted: ARCHIVE, DELETE (of what was archived before), or None: it is only reported.
        grace: how long an archived workspace stays at least.
        most: tenants that one approval is for.
        approved: the name of what an operator approved, or None.
        order: what an operator asked for by hand, which is its own approval.
    """

    wanted: Order | None
    grace: timedelta
    most: int
    approved: str | None = None
    order: Order | None = None

    @classmethod
    def of(cls, settings: Settings, approved: str | None, order: Order | None) -> "OffboardingPolicy":
        wanted = None if settings.gone == "report" else Order(settings.gone)
        return cls(wanted, timedelta(days=settings.gone_grace_days), settings.gone_most, approved, order)


@dataclass(frozen=True, slots=True)
class Offboarded:
    """The plans with what their offboarding needs.

    Args:
        waiting: name of what waits for approval; None: nothing does.
        lines: what that is, one line for each tenant, as many as one approval is for.
        more: how many tenants wait besides.
        approved: something was approved by name.
    """

    entries: tuple[TenantPlan, ...]
    waiting: str | None = None
    lines: tuple[str, ...] = ()
    more: int = 0
    approved: bool = False


def with_offboarding(
    entries: Sequence[TenantPlan],
    lives: Mapping[str, Lifecycle],
    offboardings: Mapping[str, Offboarding],
    twenty: TwentySnapshot,
    policy: OffboardingPolicy,
    now: datetime,
) -> Offboarded:
    """The plans of these tenants with what is approved of their offboarding; what was begun once goes on.

    Nothing is archived or deleted of a tenant that is not offboarding. Only the books of a workspace that is deleted
    already are closed whatever the tenant has become.
    """
    readable = set(twenty.servers[twenty.servers["reason"].isna()]["server"])
    standing = _standing(twenty)
    due: dict[str, Order] = {}
    asks: dict[str, Order] = {}
    about: dict[str, str] = {}
    for entry in entries:
        name = entry.tenant.database_name
        if entry.workspace_id is None or entry.server not in readable:
            continue
        offboarding = _of_this_workspace(entry, offboardings)
        begun = _begun(offboarding)
        if begun is Order.DELETE and (entry.server, entry.workspace_id) not in standing:
            due[name] = Order.DELETE
        elif lives.get(name) is Lifecycle.OFFBOARDING and policy.order is not Order.UNDO:
            if begun is not None and not _has(offboarding, begun):
                due[name] = begun
            elif (wanted := _wanted(offboarding, policy, now)) is not None:
                asks[name] = wanted
                about[name] = _about(entry.workspace_id, offboarding)
    if policy.order is not None:
        due |= asks
        asks = {}
    chosen = sorted(asks)[: policy.most]
    lines = tuple(f"{asks[name]} {name}" for name in chosen)
    # what an operator approved once is no approval of what a tenant of that name has later
    named = [f"{line} {about[name]}" for line, name in zip(lines, chosen, strict=True)]
    waiting = name_for_approval(["offboarding", *named]) if lines else None
    approved = waiting is not None and waiting == policy.approved
    if approved:
        due |= {name: asks[name] for name in chosen}
    told = {
        name: f"`provisioning apply --approve {waiting}` does that, with all that `provisioning plan` lists under it."
        if name in chosen
        else f"An approval is for {policy.most} tenants (PROVISIONING_GONE_MOST), so this one waits for the next."
        for name in asks.keys() - due.keys()
    }
    found = tuple(_with_order(entry, due, told, offboardings) for entry in entries)
    if approved:
        return Offboarded(found, approved=True)
    return Offboarded(found, waiting, lines, len(asks) - len(chosen))


def came_back(
    entries: Sequence[TenantPlan],
    lives: Mapping[str, Lifecycle],
    offboardings: Mapping[str, Offboarding],
    twenty: TwentySnapshot,
    order: Order | None = None,
) -> dict[str, Return]:
    """Database name → the offboarding that ends before its workspace is deleted, which is seen to stand."""
    standing = _standing(twenty)
    return {
        entry.tenant.database_name: Return(
            entry.tenant.database_name, offboarding.workspace_id, by_hand=order is Order.UNDO
        )
        for entry in entries
        if (offboarding := _of_this_workspace(entry, offboardings)) is not None
        and offboarding.is_under_way
        and offboarding.workspace_deleted_at is None
        and (offboarding.server, offboarding.workspace_id) in standing
        and (order is Order.UNDO or lives.get(entry.tenant.database_name) is Lifecycle.ACTIVE)
    }


def _standing(twenty: TwentySnapshot) -> set[tuple[str, str]]:
    """(server, workspace id) of workspaces that are there by what their servers say now."""
    found = twenty.workspaces[twenty.workspaces["deleted"] == False]  # noqa: E712  # a column of objects
    return set(zip(found["server"], found["workspace_id"], strict=True))


def _of_this_workspace(entry: TenantPlan, offboardings: Mapping[str, Offboarding]) -> Offboarding | None:
    found = offboardings.get(entry.tenant.database_name)
    return found if found is not None and found.workspace_id == entry.workspace_id else None


def _about(workspace_id: str, offboarding: Offboarding | None) -> str:
    """Which workspace is to be offboarded, and after which stages of before."""
    stages = (offboarding.undone_at, offboarding.archived_at) if offboarding is not None else ()
    return " ".join([workspace_id, *(moment.astimezone(UTC).isoformat() for moment in stages if moment is not None)])


def _begun(offboarding: Offboarding | None) -> Order | None:
    """What was approved and has begun: it goes on without another approval."""
    if offboarding is None or not offboarding.is_under_way:
        return None
    return Order.DELETE if offboarding.delete_begun_at is not None else Order.ARCHIVE


def _has(offboarding: Offboarding | None, order: Order) -> bool:
    """Whether that was done; a deletion that was done leaves no workspace."""
    return order is Order.ARCHIVE and offboarding is not None and offboarding.archived_at is not None


def _wanted(offboarding: Offboarding | None, policy: OffboardingPolicy, now: datetime) -> Order | None:
    """The next stage that policy or an operator asks for; a deletion comes after the grace time alone."""
    wanted = policy.order or policy.wanted
    if wanted is None:
        return None
    archived_at = offboarding.archived_at if offboarding is not None and offboarding.is_under_way else None
    if archived_at is None:
        return None if policy.order is Order.DELETE else Order.ARCHIVE
    return Order.DELETE if wanted is Order.DELETE and archived_at + policy.grace <= now else None


def _with_order(
    entry: TenantPlan, due: Mapping[str, Order], told: Mapping[str, str], offboardings: Mapping[str, Offboarding]
) -> TenantPlan:
    name = entry.tenant.database_name
    if name in due:
        return replace(entry, changes=(*entry.changes, *_CHANGES[due[name]]))
    if name not in told:
        return entry
    offboarding = _of_this_workspace(entry, offboardings)
    archived = offboarding is not None and offboarding.archived_at is not None and offboarding.is_under_way
    what = "Its workspace is archived and can be deleted." if archived else "Its workspace can be archived."
    waits = is_false(ConditionType.OFFBOARDED, Reason.OFFBOARDING_WAITS, f"{what} {told[name]}")
    return replace(entry, conditions=with_newer(entry.conditions, waits))


def not_yet(offboarding: Offboarding, grace: timedelta, now: datetime) -> str | None:
    """Why an archived workspace is not deleted yet, in a sentence; None: it can be."""
    if offboarding.archived_at is None or offboarding.archived_at + grace <= now:
        return None
    at, until = offboarding.archived_at.astimezone(UTC), (offboarding.archived_at + grace).astimezone(UTC)
    return (
        f"Its workspace was archived on {at:%Y-%m-%d %H:%M} UTC, and stays until {until:%Y-%m-%d %H:%M} UTC "
        "(PROVISIONING_GONE_GRACE_DAYS)."
    )
