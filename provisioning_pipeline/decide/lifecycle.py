"""Where each tenant is in its life, by registry, cluster and ledger. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from provisioning_pipeline.decide.detection import Detected
from provisioning_pipeline.decide.registry_loss import RegistryLoss
from provisioning_pipeline.model.condition import (
    Condition,
    ConditionType,
    Reason,
    Status,
    is_false,
    is_unknown,
    with_newer,
)
from provisioning_pipeline.model.lifecycle import IS_ACTIVE, Life, Lifecycle
from provisioning_pipeline.model.offboarding import Offboarding
from provisioning_pipeline.model.registry import registry_status
from provisioning_pipeline.settings import Settings

_TWO_WITNESSES = "Neither a registry row nor a database has its name any more"


@dataclass(frozen=True, slots=True)
class LifecyclePolicy:
    """What registry statuses stand for, and who settles what a missing row means.

    Args:
        gone_statuses: of the excluded ones, those of customers who left; the others are suspended.
        settled_after: a later reading settles it so long after the first; None: only a person does.
        settled_by_hand: an operator says of these tenants that those without a row have left.
    """

    excluded_statuses: Collection[str]
    gone_statuses: Collection[str]
    settled_after: timedelta | None
    settled_by_hand: bool = False

    @classmethod
    def of(cls, settings: Settings) -> "LifecyclePolicy":
        after = timedelta(seconds=settings.registry_row_gone_seconds)
        return cls(
            settings.excluded_statuses,
            frozenset(settings.registry_gone_statuses),
            None if settings.registry_row_gone == "person" else after,
        )


def with_lives(
    detected: Iterable[Detected],
    offboardings: Mapping[str, Offboarding],
    loss: RegistryLoss,
    policy: LifecyclePolicy,
    now: datetime,
) -> list[Detected]:
    """The same tenants with where they are in their lives; only those that are new or active may be worked on.

    Args:
        loss: what the registry has lost since a run last looked; of what is not believed nothing is concluded.
        now: by the clock of the ledger's database.
    """
    return [
        _with_life(found, _life(found, offboardings.get(found.tenant.database_name), loss, policy, now))
        for found in detected
    ]


def not_ending_any_more(planned: Lifecycle, statuses: Sequence[str | None], policy: LifecyclePolicy) -> str | None:
    """Why a tenant that was planned to lose access keeps it, by its rows of now, as a clause; None: it goes on.

    Args:
        planned: where the plan saw it in its life.
        statuses: of the rows with its database's name; none: it has no row.
    """
    known = [registry_status(status) for status in statuses]
    if not known:
        # a row that went away since says nothing by itself: the next run weighs that
        return None if planned is Lifecycle.OFFBOARDING else "its registry row is not there any more"
    ending = policy.excluded_statuses if planned is Lifecycle.SUSPENDED else policy.gone_statuses
    others = [status for status in known if status not in ending]
    if planned in (Lifecycle.SUSPENDED, Lifecycle.OFFBOARDING) and not others:
        return None
    told = ", ".join(f'"{status}"' for status in others or known)
    return f"the registry says {told} of it by now"


def _with_life(found: Detected, life: Life) -> Detected:
    conditions = (*found.conditions, life.condition)
    if not found.eligible or life.lifecycle in (Lifecycle.NEW, Lifecycle.ACTIVE):
        return replace(found, conditions=conditions, life=life)
    ended = is_false(ConditionType.REGISTERED, Reason.TENANT_GONE, life.evidence)
    return replace(found, adopt=False, eligible=False, conditions=with_newer(conditions, ended), life=life)


def _life(
    found: Detected, offboarding: Offboarding | None, loss: RegistryLoss, policy: LifecyclePolicy, now: datetime
) -> Life:
    if offboarding is not None and offboarding.is_over:
        return _after_the_end(found, offboarding)
    if _registered(found).reason is Reason.MOVE_IN_DOUBT:
        return Life(Lifecycle.IN_DOUBT, _registered(found).message)
    if _registered(found).reason is Reason.DATABASE_LEFT:
        return Life(Lifecycle.GONE, f"No tenant has this database: the one that had it has {_left_for(found)} now.")
    if found.registry is None:
        return _without_row(found, offboarding, loss, policy, now)
    if _registered(found).reason is Reason.REGISTRY_AMBIGUOUS:
        return Life(Lifecycle.IN_DOUBT, _registered(found).message)
    status = registry_status(found.registry["status"])
    if status in policy.gone_statuses:
        if _has_workspace(found):
            return Life(Lifecycle.OFFBOARDING, f'The registry says "{status}", so the customer has left.')
        return Life(Lifecycle.GONE, f'The registry says "{status}", and the tenant has no workspace.')
    if status in policy.excluded_statuses:
        return Life(Lifecycle.SUSPENDED, f'The registry says "{status}".')
    if _has_workspace(found):
        return Life(Lifecycle.ACTIVE, IS_ACTIVE.message)
    return Life(Lifecycle.NEW, "The registry has it as a customer, and it has no workspace yet.")


def _without_row(
    found: Detected, offboarding: Offboarding | None, loss: RegistryLoss, policy: LifecyclePolicy, now: datetime
) -> Life:
    name, link = found.tenant.database_name, found.link or {}
    if name in loss.kept:
        return Life(Lifecycle.IN_DOUBT, loss.doubt or "Its registry row was not there a moment ago.")
    if not (link.get("registered") or _has_workspace(found)):
        if found.is_gone:
            return Life(Lifecycle.GONE, f"{_TWO_WITNESSES}, and it never had a workspace.")
        known = _registered(found)
        if known.reason in (Reason.REGISTRY_AMBIGUOUS, Reason.REGISTRY_IN_DOUBT):
            return Life(Lifecycle.IN_DOUBT, known.message)
        return Life(Lifecycle.NEW, "There is a database without a registry row, and the tenant has no workspace yet.")
    if found.is_gone and not _has_workspace(found):
        return Life(Lifecycle.GONE, f"{_TWO_WITNESSES}, and it has no workspace.", settles=True)
    if found.is_gone:
        return Life(Lifecycle.OFFBOARDING, f"{_TWO_WITNESSES}, so the customer has left.", settles=True)
    missing_since: datetime | None = link.get("registry_row_gone_at")
    since = f"Its registry row is missing{_at(missing_since, ' since ')}; the database is there"
    if policy.settled_by_hand:
        return _settled(found, since, settles=True)
    taken_back_at = offboarding.taken_back_at if offboarding is not None else None
    # not of an earlier absence: the row was back since
    if taken_back_at is not None and missing_since is not None and taken_back_at >= missing_since:
        return Life(
            Lifecycle.IN_DOUBT,
            f"{since}. An operator took its offboarding back{_at(taken_back_at)}: so it stays until the row is "
            "back, or an operator runs `provisioning offboard` again.",
        )
    if link.get("registry_row_settled"):
        return _settled(found, since)
    if missing_since is None or policy.settled_after is None:
        what = "an operator" if policy.settled_after is None else "a reading later than this one, or an operator,"
        return Life(Lifecycle.IN_DOUBT, f"{since}. We conclude nothing until {what} settles it.")
    if now - missing_since < policy.settled_after:
        return Life(
            Lifecycle.IN_DOUBT,
            f"{since}. A reading after {_moment(missing_since + policy.settled_after)} settles it, or an operator by "
            "`provisioning offboard`.",
        )
    return _settled(found, since, settles=True)


def _settled(found: Detected, since: str, *, settles: bool = False) -> Life:
    if _has_workspace(found):
        told = f"{since}. A later reading or an operator settled that the customer has left."
        return Life(Lifecycle.OFFBOARDING, told, settles)
    return Life(Lifecycle.GONE, f"{since}, and the tenant has no workspace.", settles)


def _after_the_end(found: Detected, offboarding: Offboarding) -> Life:
    ended = f"Its workspace was deleted{_at(offboarding.gone_at)}"
    kept = f"; what it held was exported to {offboarding.export_path}" if offboarding.export_path else ""
    if _registered(found).status is Status.TRUE:
        return Life(
            Lifecycle.IN_DOUBT,
            f"{ended}{kept}, and the registry has it as a customer again. No workspace is made by itself: "
            f"`provisioning restart {found.tenant.slug}` lets the next run make a new one.",
        )
    return Life(Lifecycle.GONE, f"{ended}{kept}.")


def _left_for(found: Detected) -> str:
    return str((found.link or {}).get("left_for"))


def _has_workspace(found: Detected) -> bool:
    return bool((found.link or {}).get("workspace_id"))


def _registered(found: Detected) -> Condition:
    return next(
        (known for known in found.conditions if known.type is ConditionType.REGISTERED),
        is_unknown(ConditionType.REGISTERED, Reason.WAITING, "Not looked at yet."),
    )


def _at(moment: datetime | None, before: str = " on ") -> str:
    return "" if moment is None else f"{before}{_moment(moment)}"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
