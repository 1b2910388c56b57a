"""A plan as a diff that a person reads: `+ add`, `~ change`, `-` take away, `!` what needs a person."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from provisioning_pipeline.model.change import Change, Sign
from provisioning_pipeline.model.condition import ConditionType, Reason, Status
from provisioning_pipeline.model.tenant import MemberPlan, TenantPlan


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One line of a tenant's diff; `!` is what needs a person."""

    sign: Sign | Literal["!"]
    text: str

    def __str__(self) -> str:
        return f"{self.sign} {self.text}"


_MOST_FOUND = 20


def lines_of(entry: TenantPlan) -> tuple[PlanLine, ...]:
    """What would be done for one tenant, then what needs a person."""
    return (*done_lines(entry), *(PlanLine("!", told) for told in _troubles(entry)))


def done_lines(entry: TenantPlan) -> tuple[PlanLine, ...]:
    """What would be done for one tenant: for the whole, then for one person after another."""
    of_tenant = [PlanLine(change.sign, text) for change in entry.changes for text in change.lines(entry)]
    of_people = [(change, member) for member in entry.members for change in _told_changes(member)]
    of_people.sort(key=lambda item: item[0].order)
    return (*of_tenant, *(PlanLine(change.sign, _of_person(change, member)) for change, member in of_people))


def _told_changes(member: MemberPlan) -> Sequence[Change]:
    covering = [change for change in member.changes if change.covers]
    return covering[:1] or member.changes


def _of_person(change: Change, member: MemberPlan) -> str:
    return (change.of_person or f"{change} {{person}}").format(
        person=member.email,
        role=member.role,
        name=f"{member.first_name} {member.last_name}".strip(),
        why=member.why,
        email=member.new_email,
        because=f" ({member.why})" if member.why else "",
    )


def _troubles(entry: TenantPlan) -> Iterable[str]:
    """Each once, whatever conditions it settles. What this plan itself settles only waits for it, and is no trouble."""
    told = [
        f"{condition.reason}: {condition.message}"
        for condition in entry.conditions
        if condition.status is not Status.TRUE
        and condition.reason is not Reason.WAITING
        # where it is in its life the other conditions tell, but for those of which nothing is concluded
        and (condition.type is not ConditionType.LIFECYCLE or condition.reason is Reason.LIFE_IN_DOUBT)
        # made of the findings, which follow one by one
        and not (condition.type is ConditionType.MEMBERS_SYNCED and entry.findings)
    ]
    # also while members are to be set right: what needs a person then is told in no condition
    found = list(dict.fromkeys(f"{finding.reason}: {finding.message}" for finding in entry.findings))
    more = [f"And {len(found) - _MOST_FOUND} more like these."] if len(found) > _MOST_FOUND else []
    return dict.fromkeys([*told, *found[:_MOST_FOUND], *more])


def duration(seconds: float) -> str:
    """Seconds for people: seconds up to a minute and a half, then minutes, then hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
