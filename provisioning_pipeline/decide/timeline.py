"""One tenant's timeline from the ledger's rows: what each row says to a person, in order, page by page."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from provisioning_pipeline.model.condition import SET_ASIDE, ConditionType, Reason, Status
from provisioning_pipeline.model.history import Actor, DriftCause, Event, Source
from provisioning_pipeline.model.lifecycle import LIFECYCLE_OF
from provisioning_pipeline.model.tenant import OutcomeStatus

Row = Mapping[str, Any]
Word = TypeVar("Word", bound=StrEnum)
_MOST_TOLD = 10_000
_LATE = timedelta(minutes=1)

_ACTORS: Mapping[str, Actor] = {
    "operator": Actor.OPERATOR,
    "schedule": Actor.SCHEDULE,
    "sensor": Actor.SENSOR,
    "clerk": Actor.CLERK,
    "tenant-manager": Actor.TENANT_MANAGER,
    "session": Actor.MEMBER,
}
"""A run's trigger → who is behind the run."""

_SOURCES: Mapping[str, Source] = {
    ConditionType.DETECTED: Source.DATABASE,
    ConditionType.TENANT_DATABASE: Source.DATABASE,
    ConditionType.REGISTERED: Source.REGISTRY,
    ConditionType.WORKSPACE_READY: Source.WORKSPACE,
    ConditionType.MEMBERS_SYNCED: Source.MEMBERS,
    ConditionType.ONBOARDING_COMPLETE: Source.ONBOARDING,
    ConditionType.LOGIN_PROVED: Source.LOGIN,
}

_BEHIND: Mapping[str, Actor] = {
    reason: actor
    for actor, reasons in {
        Actor.TENANT_MANAGER: (
            *(Reason.DATABASE_PRESENT, Reason.DATABASE_MISSING, Reason.DATABASE_VANISHED),
            *(Reason.REGISTRY_ROW, Reason.NOT_REGISTERED, Reason.REGISTRY_ROW_GONE, Reason.REGISTRY_AMBIGUOUS),
            *(Reason.TENANT_SUSPENDED, Reason.TENANT_GONE, Reason.MOVE_IN_DOUBT, Reason.DATABASE_LEFT),
            *(Reason.LIFE_NEW, Reason.LIFE_ACTIVE, Reason.LIFE_SUSPENDED, Reason.LIFE_OFFBOARDING, Reason.LIFE_GONE),
        ),
        Actor.TWENTY: (
            *(Reason.WORKSPACE_GONE, Reason.WORKSPACE_SUSPENDED),
            *(Reason.SERVICE_ACCOUNT_REMOVED, Reason.SERVICE_ACCOUNT_DEMOTED),
        ),
        Actor.CLERK: (
            *(Reason.ORGANIZATION_MISSING, Reason.EMAIL_UNVERIFIED, Reason.EMAIL_CHANGED),
            *(Reason.MEMBERS_GONE, Reason.LAST_ADMIN_KEPT),
        ),
    }.items()
    for reason in reasons
}
"""Who brought a condition to this reason, whatever run saw it."""

_NO_FAILURE = SET_ASIDE | {Reason.WAITING, Reason.ACCESS_OPEN, Reason.OFFBOARDING_WAITS}


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a timeline, counted from its newest event.

    Args:
        at: what is younger is left out.
        told: how many of the events of exactly this time are left out, too; 0: all of them.
    """

    at: datetime
    told: int = 0

    def __str__(self) -> str:
        time = self.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return f"{time}~{self.told}" if self.told else time

    @property
    def until(self) -> datetime:
        """The youngest time of which events are still to be read."""
        return self.at if self.told else self.at - timedelta(microseconds=1)


def position_from(text: str) -> Position:
    """A place as `str` gave it, or simply a time; one without a time zone is UTC.

    Raises:
        ValueError: when it is neither.
    """
    time, mark, told = text.partition("~")
    if mark and not re.fullmatch(r"[0-9]{1,5}", told):
        raise ValueError(text)
    at = datetime.fromisoformat(time)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    # the first and the last year leave no room for another time zone, or for a microsecond less
    if not 1 < at.year < 9999 or int(told or 0) > _MOST_TOLD:
        raise ValueError(text)
    return Position(at, int(told or 0))


def events(rows: Mapping[str, Sequence[Row]]) -> list[Event]:
    """The events of one tenant, newest first.

    Args:
        rows: as `ledger.timeline.Timelines.rows` gives them: table → rows, newest first. Of one moment, the order in
            which the tables are read here tells what came later.
    """
    ranked = [(rank, _READERS[table](row)) for rank, table in enumerate(_READERS) for row in rows.get(table, ())]
    # stable, so that rows of one table and moment keep their order
    ranked.sort(key=lambda found: (found[1].at, found[0]), reverse=True)
    return [event for _, event in ranked]


def page(found: Sequence[Event], begin: Position | None, most: int) -> tuple[tuple[Event, ...], Position | None]:
    """Up to `most` events from this place on, newest first, and the place from which to go on, if there is more.

    Args:
        found: events newest first, none of them younger than `begin.until`. At least `most` + `begin.told` + 1 of
            them, if there are so many.
        begin: None: the newest.
    """
    told = begin.told if begin else 0
    rest = found[told:]
    shown = tuple(rest[:most])
    if len(rest) <= most or not shown:
        return shown, None
    last = shown[-1].at
    if rest[most].at != last:
        return shown, Position(last)
    before = told if begin and begin.at == last else 0
    return shown, Position(last, before + sum(event.at == last for event in shown))


# --- what each row says -----------------------------------------------------------------------------------------


def _first_seen(row: Row) -> Event:
    what = f"Seen for the first time; it goes under the name {row['slug']}."
    return _event(row, _behind_run(row), Source.DATABASE, what)


def _webhook(row: Row) -> Event:
    about = f" about {row['person']}" if row["person"] else ""
    happened = row["happened_at"]
    late = ""
    if happened and row["at"] - happened > _LATE:
        late = f", which happened at {happened.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return Event(row["at"].astimezone(UTC), Actor.CLERK, Source.WEBHOOK, f"Clerk told of {row['type']}{about}{late}.")


def _request(row: Row) -> Event:
    by = f" with API key {row['caller']}" if row["caller"] else ""
    return _event(row, Actor.TENANT_MANAGER, Source.REQUEST, f"Asked for over HTTP{by}.")


def _drift(row: Row) -> Event:
    cause = _word(DriftCause, row["cause"], DriftCause.UNKNOWN)
    what = f"{cause[0].upper()}{cause[1:]}: {row['detail']}"
    who = _word(Actor, row["who"], Actor.UNKNOWN)
    return _event(row, who, _word(Source, row["source"], Source.DATABASE), what)


def _begun(row: Row) -> Event:
    still = "; how it ended is not known yet" if row["open"] else ""
    what = f"Creation of workspace {row['subdomain']} on {row['server']} begun{still}."
    return _event(row, _behind_run(row), Source.ACTION, what)


def _settled(row: Row) -> Event:
    how = row["settled_as"] or ""
    what = f"Creation of workspace {row['subdomain']} on {row['server']} settled: {how}."
    return _event(row, _behind_run(row), Source.ACTION, what, failed=how.startswith("made nothing"))


def _outcome(row: Row) -> Event:
    status = row["status"]
    failed = status in (OutcomeStatus.FAILED, OutcomeStatus.CUT)
    ended = {OutcomeStatus.FAILED: " failed", OutcomeStatus.CUT: " was cut", OutcomeStatus.BEGUN: " begun"}
    more = row["times"] - len(row["details"])
    times = f" of {row['times']} people" if row["times"] > 1 else ""
    details = ", ".join(row["details"]) + (f" and {more} more" if more > 0 else "")
    what = f"{row['change']}{times}{ended.get(status, '')}: {details}"
    return _event(row, _behind_run(row), Source.ACTION, what, failed=failed)


def _cut(row: Row) -> Event:
    what = f"The run was cut. {row['cut_why'] or 'Its process is gone.'} The next run goes on."
    return _event(row, _behind_run(row), Source.ACTION, what, failed=True)


def _removed(row: Row) -> Event:
    times, restored, uncertain = row["times"], row["restored"], row["uncertain"]
    where = f"the database of {row['server']}" if row["server"] else "the tenant's own database"
    keys = f" ({', '.join(row['keys'])})" if row["keys"] else ""
    what = f"SQL in {where}: {times} {'row' if times == 1 else 'rows'} of {row['table_name']} removed or changed{keys}"
    if uncertain:
        what += f"; of {uncertain} it is not certain"
    if restored:
        what += f"; {'all' if restored == times else restored} put back since by `provisioning undo`"
    return _event(row, _behind_run(row), Source.ACTION, what + ".")


def _change(row: Row) -> Event:
    type_, status, reason = row["type"], row["status"], row["reason"]
    failed = status == Status.FALSE and reason not in _NO_FAILURE
    if type_ == ConditionType.READY:
        return _event(row, _behind_condition(row), *_ready(status, reason), failed=failed)
    if type_ == ConditionType.LIFECYCLE:
        lifecycle = LIFECYCLE_OF[Reason(reason)]
        what = f"The tenant is {lifecycle.in_words}. {row['message']}"
        return _event(row, _behind_condition(row), Source.REGISTRY, what)
    what = f"{type_} {status}, {reason}: {row['message']}"
    return _event(row, _behind_condition(row), _SOURCES.get(type_, Source.WORKSPACE), what, failed=failed)


def _ready(status: str, reason: str) -> tuple[Source, str]:
    """Where Ready was seen, and in words; its message is that of another condition, which is told by itself."""
    if status == Status.TRUE:
        return Source.LOGIN, "Ready."
    return Source.WORKSPACE, f"Excluded: {reason}." if reason in SET_ASIDE else f"Not ready: {reason}."


_READERS: Mapping[str, Callable[[Row], Event]] = {
    "tenant_link": _first_seen,
    "clerk_event": _webhook,
    "tenant_request": _request,
    "drift": _drift,
    "intent": _begun,
    "settled_intent": _settled,
    "outcome": _outcome,
    "removed_row": _removed,
    "condition_change": _change,
    "run": _cut,
}


def _event(row: Row, who: Actor, source: Source, what: str, *, failed: bool = False) -> Event:
    return Event(row["at"].astimezone(UTC), who, source, what, row["run_id"], failed)


def _behind_run(row: Row) -> Actor:
    return _ACTORS.get(row["trigger"] or "", Actor.UNKNOWN)


def _behind_condition(row: Row) -> Actor:
    if row["reason"] in _BEHIND:
        return _BEHIND[row["reason"]]
    # what holds or waits is the run's own doing; why something does not hold, the run alone does not tell
    by_us = row["status"] == Status.TRUE or row["reason"] == Reason.WAITING
    return _behind_run(row) if by_us else Actor.UNKNOWN


def _word(kind: type[Word], text: str, otherwise: Word) -> Word:
    """A word of this kind, also where another version of this program wrote one that is not known here."""
    known: Iterable[Word] = kind
    return next((word for word in known if word == text), otherwise)
