"""What a run over a plan will need: calls, time, and what stops it first."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

from provisioning_pipeline.decide.placement import near_clean_up
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import ConditionType, Reason
from provisioning_pipeline.model.forecast import Circumstances, CutName, Forecast, Harm, Limit, Needs, Timed
from provisioning_pipeline.model.tenant import Plan, TenantPlan


def forecast(plan: Plan, circumstances: Circumstances, needs: Needs) -> Forecast:
    """What a run over this plan will need, when its steps need this. The same always has the same forecast."""
    calls, clerk = needs.twenty_calls, circumstances.observing_clerk_calls + needs.clerk_calls
    time = _time(needs, clerk, circumstances)
    harm = Harm(
        planned=sum(bool(member.harmful_changes) for entry in plan.work for member in entry.members),
        allowed=circumstances.harm_allowed,
        waiting=plan.waiting.people if plan.waiting else 0,
    )
    limit, why = _first_limit(plan, harm, time, calls, clerk, circumstances)
    return Forecast(
        clerk_calls=clerk,
        twenty_calls=calls,
        seconds=time.whole,
        first_limit=limit,
        why=why,
        cut_names=tuple(_cut_names(plan)),
        aging=near_clean_up(plan.unactivated, circumstances.now),
        harm=harm,
    )


# --- time -----------------------------------------------------------------------------------------------------------

_SERVERS_READY_SECONDS: Final = 0.3
"""All servers are made ready at once."""


@dataclass(frozen=True, slots=True)
class _Time:
    """Seconds: what Clerk's limit alone takes, what Twenty's work takes, and the whole run."""

    clerk: float
    work: float
    whole: float


def _time(needs: Needs, clerk_calls: int, circumstances: Circumstances) -> _Time:
    """Servers work side by side, and each does what it has to do one thing after another."""
    working = max((_seconds(server, made, circumstances) for server, made in needs.changes.items()), default=0.0)
    ready = _SERVERS_READY_SECONDS if needs.changes else 0.0
    clerk = _clerk_seconds(clerk_calls, circumstances)
    return _Time(clerk, working, max(clerk, circumstances.reading_seconds + ready + working))


def _seconds(server: str, made: Mapping[Change, int], circumstances: Circumstances) -> float:
    known = circumstances.seconds_of_change.get(server, {})
    return sum(known.get(change, change.seconds) * times for change, times in made.items())


def _clerk_seconds(calls: int, circumstances: Circumstances) -> float:
    """What may be sent at once costs nothing; the rest trickles."""
    at_once = min(circumstances.clerk_calls_at_once, circumstances.clerk_calls_per_10_seconds - 1)
    waiting = max(0, calls - at_once)
    return 10.0 * waiting / max(1, circumstances.clerk_calls_per_10_seconds - at_once)


# --- what stops it ----------------------------------------------------------------------------------------------------

_LONG_SECONDS: Final = 60.0
"""A run whose work at Twenty takes less needs no reason for it."""

_SHORT_SECONDS: Final = 1.0
"""Nobody minds waiting less for Clerk."""


def _first_limit(
    plan: Plan, harm: Harm, time: _Time, calls: int, clerk_calls: int, circumstances: Circumstances
) -> tuple[Limit | None, str]:
    """What leaves something undone comes before what only takes time."""
    full = list(_without_room(plan, circumstances.room))
    if full:
        return Limit.SERVER_ROOM, "; ".join(full) + "."
    if harm.waiting:
        return Limit.HARM_BUDGET, (
            f"{harm.waiting} removals and demotions wait for approval: they are beyond a tenant's share, or beyond the "
            f"{harm.allowed} that a run makes by itself."
        )
    if time.clerk >= _SHORT_SECONDS and time.clerk > time.whole / 2:
        return Limit.CLERK_RATE, (
            f"{clerk_calls} calls to Clerk at {circumstances.clerk_calls_per_10_seconds} in 10 s take {time.clerk:.0f} "
            f"of the run's {time.whole:.0f} s."
        )
    if time.work > _LONG_SECONDS and time.work > time.whole / 2:
        return Limit.TWENTY_CONCURRENCY, (
            f"{calls} calls to Twenty take about {time.work:.0f} s, however many are under way at once: a server does "
            "its work one thing after another."
        )
    return None, "No limit is reached."


def _without_room(plan: Plan, room: Mapping[str, int | None]) -> Iterator[str]:
    waiting = sum(_waits_for_room(entry) for entry in plan.tenants)
    if waiting:
        yield f"{waiting} new tenants wait for a place on a server"
    wanted = Counter(entry.server for entry in plan.work if _takes_room(entry))
    for server, count in sorted((server, count) for server, count in wanted.items() if server is not None):
        free = room.get(server)
        if free is not None and count > free:
            yield f"{count} workspaces are to be made on {server}, which has room for {max(0, free)}"


def _takes_room(entry: TenantPlan) -> bool:
    return any(change.takes_room for change in entry.changes)


def _waits_for_room(entry: TenantPlan) -> bool:
    return entry.server is None and any(
        condition.type is ConditionType.WORKSPACE_READY and condition.reason is Reason.SERVER_FULL
        for condition in entry.conditions
    )


def _cut_names(plan: Plan) -> Iterator[CutName]:
    for entry in plan.work:
        if _takes_room(entry) and entry.subdomains and entry.subdomains[0] != entry.tenant.slug:
            yield CutName(entry.tenant.slug, entry.subdomains[0])


def paces(timed: Iterable[Timed], *, tenant_concurrency: int, twenty_concurrency: int) -> dict[str, dict[str, float]]:
    """Server → change → the seconds that one adds to a run there: the usual run, so that no crowded one counts alone.

    As many as could be under way at once shared the time that each of them took: one in each tenant that is worked on,
    or, of a change that is made `at_once`, as many as there are places among the calls to the server.
    """
    found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for each in timed:
        places = twenty_concurrency if Change.named(each.change).at_once else tenant_concurrency
        found[each.server, each.change].append(each.seconds / max(1, min(each.count, places)))
    by_server: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for (server, change), seconds in found.items():
        by_server[server][change] = median(seconds)
    return dict(by_server)
