"""What an operator may ask for a tenant whose customer left: archive its workspace, delete it, or take that back."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from provisioning_pipeline.ledger.offboardings import Offboardings
from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.model.fault import BadInput
from provisioning_pipeline.model.lifecycle import LIFECYCLE_OF, Lifecycle
from provisioning_pipeline.model.offboarding import Offboarding, Order
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.run.connections import connect
from provisioning_pipeline.run.run import plan
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps.offboarding.changes import ARCHIVE_WORKSPACE, DELETE_WORKSPACE
from provisioning_pipeline.steps.offboarding.due import not_yet
from provisioning_pipeline.steps.suspension.changes import UNLOCK_WORKSPACE

_CHANGE_OF = {Order.ARCHIVE: ARCHIVE_WORKSPACE, Order.DELETE: DELETE_WORKSPACE, Order.UNDO: UNLOCK_WORKSPACE}


class NotLeaving(BadInput):
    """What was asked for does not fit where the tenant is in its life; the text says why, and what would."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """A tenant for which that can be done. `workspace_id` is that of the workspace that it is about."""

    database_name: str
    slug: str
    workspace_id: str
    lifecycle: Lifecycle
    evidence: str


async def leaving(settings: Settings, tenant: str, order: Order) -> Leaving:
    """The tenant for which an operator asks that, if a run would do it. Changes nothing.

    Raises:
        UnknownTenants: when no tenant has that name, or several do.
        NotLeaving: when a run would not do it.
        RunFault: when something that every plan needs cannot be read.
    """
    async with connect(settings, dry_run=True) as connections:
        planned = await plan(connections, [tenant], order=order)
        offboardings = await Offboardings(connections.ledger.database).all()
    (entry,) = planned.tenants
    name, slug = entry.tenant.database_name, entry.tenant.slug
    life = next(known for known in entry.conditions if known.type is ConditionType.LIFECYCLE)
    if _CHANGE_OF[order] in entry.changes and entry.workspace_id is not None:
        return Leaving(name, slug, entry.workspace_id, LIFECYCLE_OF[life.reason], life.message)
    lifecycle = LIFECYCLE_OF[life.reason]
    raise NotLeaving(
        f"{slug} is {lifecycle.in_words}. {life.message} "
        f"{_why_not(entry, lifecycle, order, offboardings.get(name), timedelta(days=settings.gone_grace_days))}"
    )


def _why_not(
    entry: TenantPlan, lifecycle: Lifecycle, order: Order, offboarding: Offboarding | None, grace: timedelta
) -> str:
    under_way = offboarding is not None and offboarding.is_under_way
    if order is Order.UNDO:
        return "It is not archived, so there is nothing to take back."
    if lifecycle is Lifecycle.GONE:
        return "There is nothing left to be offboarded."
    if lifecycle is not Lifecycle.OFFBOARDING:
        return (
            "Only customers who left are offboarded: have the tenant manager give the row one of the statuses in "
            "PROVISIONING_REGISTRY_GONE_STATUSES, or take the row away."
        )
    if entry.workspace_id is None:
        return "It has no workspace."
    if not under_way or offboarding is None or offboarding.archived_at is None:
        if order is Order.DELETE:
            return f"Archive it first: `provisioning offboard {entry.tenant.slug}`."
        return "Its Twenty server cannot be read at present: `provisioning preflight` says why."
    if order is Order.ARCHIVE:
        return f"It is archived already; `provisioning offboard {entry.tenant.slug} --delete` deletes it."
    return not_yet(offboarding, grace, datetime.now(UTC)) or (
        "Its Twenty server cannot be read at present: `provisioning preflight` says why."
    )
