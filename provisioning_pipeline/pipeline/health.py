"""What should be true of a fleet, read now: the questions behind the checks of reconciliation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from provisioning_pipeline.decide.aging import near_clean_up, unactivated
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.forecast import AgingWorkspace
from provisioning_pipeline.model.history import Drift
from provisioning_pipeline.observe.twenty import twenty_servers
from provisioning_pipeline.pipeline.conclude import last_summary, tenants
from provisioning_pipeline.pipeline.connections import Connections
from provisioning_pipeline.report.summary import Summary, TenantLine

_RUNS_LOOKED_AT = 200


@dataclass(frozen=True, slots=True)
class Leftover:
    """A difference that a run found, of a tenant that is still unwell, and why it is."""

    slug: str
    cause: str
    detail: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class HarmDone:
    """Removals and demotions of a run: done, allowed without a yes, whether somebody said yes, and how many wait."""

    done: int
    allowed: int
    approved: bool
    waiting: int
    waiting_name: str | None


@dataclass(frozen=True, slots=True)
class Freshness:
    """When the last run over all tenants finished; None: never."""

    finished_at: datetime | None
    now: datetime
    most_hours: float


def leftover(drift: Sequence[Drift], lines: Sequence[TenantLine]) -> list[Leftover]:
    """The drift of tenants that are unwell; `drift` names tenants by database name or by slug."""
    unwell = {name: line for line in lines if line.state == "unwell" for name in (line.database_name, line.slug)}
    return [
        Leftover(unwell[found.database_name].slug, found.cause, found.detail, unwell[found.database_name].reason)
        for found in drift
        if found.database_name in unwell
    ]


async def leftover_now(connections: Connections) -> list[Leftover]:
    """What is left of the last run's drift."""
    runs = await connections.history.last_runs(1)
    if not runs:
        return []
    return leftover(await connections.history.drift_of(runs[0].run_id), await tenants(connections.ledger))


async def harm_now(connections: Connections) -> HarmDone:
    """What the last run took away from people."""
    summary = await last_summary(connections.ledger, connections.removed_rows, connections.settings)
    return harm_of(summary, connections.settings.harm_most)


def harm_of(summary: Summary | None, allowed: int) -> HarmDone:
    """What this run took away, beside what it may."""
    waiting = summary.waiting if summary else None
    return HarmDone(
        done=len(summary.taken_away) if summary else 0,
        allowed=allowed,
        approved=bool(summary and summary.approved),
        waiting=waiting.people if waiting else 0,
        waiting_name=waiting.name if waiting else None,
    )


async def near_clean_up_now(connections: Connections) -> tuple[AgingWorkspace, ...]:
    """The workspaces of all servers that Twenty's own clean-up deletes within two days."""
    settings = connections.settings
    twenty = await twenty_servers(settings.servers, connections.twenty_databases, settings.tenant_database_pattern)
    links = await connections.ledger.links()
    slugs = dict(zip(links["workspace_id"], links["slug"], strict=True))
    return near_clean_up(unactivated(twenty.workspaces, slugs), datetime.now(UTC))


async def freshness_now(connections: Connections) -> Freshness:
    """How old the last run over all tenants is."""
    runs = await connections.history.last_runs(_RUNS_LOOKED_AT)
    finished = next((run.finished_at for run in runs if run.record.whole), None)
    return Freshness(finished, datetime.now(UTC), connections.settings.report_fresh_hours)
