"""A plan as a diff that a person reads: `+ add`, `~ change`, `-` take away, `!` what needs a person."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from provisioning_pipeline.model.condition import ConditionType, Reason, Status
from provisioning_pipeline.model.tenant import MEMBER_CHANGES, Admin, Change, MemberPlan, TenantPlan


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One line of a tenant's diff. `sign` is one of + ~ - !"""

    sign: str
    text: str

    def __str__(self) -> str:
        return f"{self.sign} {self.text}"


_MEMBERS: Mapping[Change, tuple[str, str]] = {
    Change.REMOVE_MEMBER: ("-", "remove {person}: {why}"),
    Change.DEMOTE_MEMBER: ("-", "demote {person} to {role}: {why}"),
    Change.ADD_MEMBER: ("+", "add {person} as {role}"),
    Change.MEND_MEMBER: ("~", "mend {person}, whose member record is missing or marked as deleted"),
    Change.DROP_LINK: ("~", "forget the link of {person}, who is no longer in the workspace"),
    Change.LINK_MEMBER: ("~", "link {person}"),
    Change.SET_NAME: ("~", "name {person}: {name}"),
    Change.SET_ROLE: ("~", "role of {person}: {role}"),
    Change.STORE_AT_CLERK: ("~", "store the user id of {person} at Clerk"),
}
"""In the order in which they are shown: what takes something away first."""
_OF_THE_WORKSPACE: Mapping[Change, str] = {
    Change.CLOSE_INVITE_LINK: "close invite link",
    Change.RENEW_INVITE_LINK: "renew invite link: with the one of before nobody joins any more",
    Change.RESTORE_DEFAULT_ROLE: "restore default role",
}
_MOST_FOUND = 20
_TOLD_WHY = frozenset({Change.ADD_MEMBER, Change.SET_ROLE})
_SIGNS: Mapping[Change, str] = {
    Change.ADOPT_DATABASE: "+",
    Change.CREATE_WORKSPACE: "+",
    Change.ADD_ADMIN: "+",
    Change.REMOVE_ROWS: "-",
}


def lines_of(entry: TenantPlan) -> tuple[PlanLine, ...]:
    """What would be done for one tenant, then what needs a person."""
    return (*done_lines(entry), *(PlanLine("!", told) for told in _troubles(entry)))


def done_lines(entry: TenantPlan) -> tuple[PlanLine, ...]:
    """What would be done for one tenant."""
    changes = [PlanLine(_SIGNS.get(change, "~"), _told(change, entry)) for change in _of_the_tenant(entry)]
    return (*changes, *_member_lines(entry))


def _troubles(entry: TenantPlan) -> Iterable[str]:
    """Each once, whatever conditions it settles. What this plan itself settles only waits for it, and is no trouble."""
    told = [
        f"{condition.reason}: {condition.message}"
        for condition in entry.conditions
        if condition.status is not Status.TRUE
        and condition.reason is not Reason.WAITING
        # made of the findings, which follow one by one
        and not (condition.type is ConditionType.MEMBERS_SYNCED and entry.findings)
    ]
    # also while members are to be set right: what needs a person then is told in no condition
    found = list(dict.fromkeys(f"{finding.reason}: {finding.message}" for finding in entry.findings))
    more = [f"And {len(found) - _MOST_FOUND} more like these."] if len(found) > _MOST_FOUND else []
    return dict.fromkeys([*told, *found[:_MOST_FOUND], *more])


def _of_the_tenant(entry: TenantPlan) -> list[Change]:
    return [change for change in entry.changes if change not in MEMBER_CHANGES]


def _told(change: Change, entry: TenantPlan) -> str:
    """The change with what it will come to, where the plan knows it already."""
    if change is Change.CREATE_WORKSPACE and entry.subdomains:
        called = f', called "{entry.tenant.name}": {entry.name_note}' if entry.name_note else ""
        return f"{change} {entry.subdomains[0]} on {entry.server}{called}"
    if change is Change.FOLLOW_ADDRESS and entry.address:
        return f"{change}: the workspace was renamed to {entry.address.subdomain} in Twenty"
    if change is Change.ADD_ADMIN and isinstance(entry.admin, Admin):
        return f"{change} {entry.admin.email}"
    if change is Change.REMOVE_ROWS and entry.database:
        return f"{change} in its own database: {len(entry.database.rows)}"
    return str(change)


def _member_lines(entry: TenantPlan) -> Iterator[PlanLine]:
    found = [(list(_MEMBERS).index(change), *_told_member(change, member)) for member in entry.members
             for change in _shown(member)]  # fmt: skip
    yield from (PlanLine(sign, text) for _, sign, text in sorted(found, key=lambda item: item[0]))
    for ended in entry.withdrawals:
        yield PlanLine("-", f"withdraw our invitation of {ended.email}: {ended.why}")
    yield from (PlanLine("~", _OF_THE_WORKSPACE[change]) for change in entry.changes if change in _OF_THE_WORKSPACE)
    if entry.store_organization:
        yield PlanLine("~", f"store the workspace id at Clerk organization {entry.store_organization}")


def _shown(member: MemberPlan) -> tuple[Change, ...]:
    """Who is added is not told to be linked and named too."""
    return (Change.ADD_MEMBER,) if Change.ADD_MEMBER in member.changes else member.changes


def _told_member(change: Change, member: MemberPlan) -> tuple[str, str]:
    sign, words = _MEMBERS[change]
    name = f"{member.first_name} {member.last_name}".strip()
    told = words.format(person=member.email, role=member.role, name=name, why=member.why)
    return sign, f"{told} ({member.why})" if change in _TOLD_WHY and member.why else told


def duration(seconds: float) -> str:
    """Seconds for people: seconds up to a minute and a half, then minutes, then hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
