"""What should be true of a fleet, read now: the questions behind the checks of reconciliation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from provisioning_pipeline.clients.concurrency import both
from provisioning_pipeline.decide.placement import near_clean_up, unactivated
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.forecast import AgingWorkspace
from provisioning_pipeline.model.frames import TwentySnapshot
from provisioning_pipeline.model.history import Drift
from provisioning_pipeline.report.summary import TenantLine
from provisioning_pipeline.run.conclude import tenants
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.observe import registry_loss


@dataclass(frozen=True, slots=True)
class Leftover:
    """A difference that a run found, of a tenant that is still not ready, and why it is not."""

    slug: str
    cause: str
    detail: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class HarmDone:
    """Removals and demotions of a run: done, allowed without approval, whether they were approved, and how many wait.

    `registry_doubt` is why registry rows that are gone now are not believed to be taken away, or None.
    """

    done: int
    allowed: int
    approved: bool
    waiting: int
    waiting_name: str | None
    registry_doubt: str | None = None


@dataclass(frozen=True, slots=True)
class CleanUp:
    """Workspaces that Twenty deletes soon, and the servers that cannot be read."""

    near: tuple[AgingWorkspace, ...]
    unread: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Freshness:
    """When the last run over all tenants finished; None: never."""

    finished_at: datetime | None
    now: datetime
    most_hours: float


@dataclass(frozen=True, slots=True)
class Health:
    """All of it: drift that is left, harm, workspaces near the clean-up, and how fresh the report is."""

    left: list[Leftover] | None
    harm: HarmDone | None
    clean_up: CleanUp
    fresh: Freshness


async def health_now(connections: Connections, twenty: TwentySnapshot) -> Health:
    """All of it, by what was just read of Twenty."""
    (left, harm), (clean_up, fresh) = await both(
        both(leftover_now(connections), harm_now(connections)),
        both(clean_up_in(twenty, connections), freshness_now(connections)),
    )
    return Health(left, harm, clean_up, fresh)


def leftover(drift: Sequence[Drift], lines: Sequence[TenantLine]) -> list[Leftover]:
    """What of this drift is about tenants that are not ready."""
    unwell = {line.database_name: line for line in lines if line.state == "unwell"}
    return [
        Leftover(unwell[found.database_name].slug, found.cause, found.detail, unwell[found.database_name].reason)
        for found in drift
        if found.database_name in unwell
    ]


async def leftover_now(connections: Connections) -> list[Leftover] | None:
    """The last difference that was found of each tenant that is not ready; None when no whole run has finished."""
    if await connections.history.last_whole_run() is None:
        return None
    lines = await tenants(connections.ledger)
    names = [line.database_name for line in lines if line.state == "unwell"]
    return leftover(await connections.history.last_drift(names), lines)


async def harm_now(connections: Connections) -> HarmDone | None:
    """What the last run over all tenants took away from people, beside what it may; None when there was none."""
    run = await connections.history.last_whole_run()
    if run is None:
        return None
    waiting, harmful = run.record.waiting, [change for change in Change.all_declared() if change.harmful]
    return HarmDone(
        done=await connections.history.count_done(run.run_id, harmful),
        allowed=connections.settings.harm_most,
        approved=run.record.approved,
        waiting=waiting.people if waiting else 0,
        waiting_name=waiting.name if waiting else None,
        registry_doubt=await _registry_doubt(connections),
    )


async def _registry_doubt(connections: Connections) -> str | None:
    try:
        return (await registry_loss(connections)).doubt
    except Fault as fault:
        return fault.message


async def clean_up_in(twenty: TwentySnapshot, connections: Connections) -> CleanUp:
    """The workspaces of all servers that Twenty's own clean-up deletes within two days."""
    links = await connections.ledger.links()
    slugs = dict(zip(links["workspace_id"], links["slug"], strict=True))
    unread = twenty.servers[twenty.servers["reason"].notna()]["server"]
    return CleanUp(near_clean_up(unactivated(twenty.workspaces, slugs), datetime.now(UTC)), tuple(unread))


async def freshness_now(connections: Connections) -> Freshness:
    """How old the last run over all tenants is."""
    run = await connections.history.last_whole_run()
    return Freshness(run.finished_at if run else None, datetime.now(UTC), connections.settings.report_fresh_hours)
