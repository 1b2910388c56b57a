"""What a run over a plan will need: calls, time, and what stops it first.

Of a change about which nothing else is said here, its own `calls` count, once for a tenant that has it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from provisioning_pipeline.decide.placement import near_clean_up
from provisioning_pipeline.model.change import Change, Where
from provisioning_pipeline.model.condition import ConditionType, Reason
from provisioning_pipeline.model.forecast import Circumstances, CutName, Forecast, Harm, Limit, Timed
from provisioning_pipeline.model.onboarding import CONNECT_ACCOUNT, CREATE_PROFILE, INSTALL_APPS, INVITE_TEAM
from provisioning_pipeline.model.tenant import Admin, MemberPlan, Plan, TenantPlan
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.members.changes import (
    ADD_MEMBER,
    DEMOTE_MEMBER,
    DROP_LINK,
    GIVING,
    LINK_MEMBER,
    REMOVE_MEMBER,
    SET_NAME,
    SET_ROLE,
    STORE_AT_CLERK,
)
from provisioning_pipeline.steps.onboarding.changes import CLEAR_ONBOARDING
from provisioning_pipeline.steps.workspaces.changes import ACTIVATE_WORKSPACE, ADD_ADMIN, ADOPT_WORKSPACE


def forecast(plan: Plan, circumstances: Circumstances) -> Forecast:
    """What a run over this plan will need when nothing goes wrong. The same always has the same forecast."""
    servers = _work_by_server(plan)
    calls = sum(_twenty_calls(server, work, circumstances) for server, work in servers.items())
    clerk = circumstances.observing_clerk_calls + sum(
        _clerk_calls(tenant.entry) for work in servers.values() for tenant in work
    )
    time = _time(servers, clerk, circumstances)
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
        cut_names=tuple(
            CutName(entry.tenant.slug, entry.subdomains[0])
            for entry in plan.work
            if _takes_room(entry) and entry.subdomains and entry.subdomains[0] != entry.tenant.slug
        ),
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


def _time(servers: Mapping[str, Sequence["_Work"]], clerk_calls: int, circumstances: Circumstances) -> _Time:
    """Servers work side by side, and each does what it has to do one thing after another."""
    working = max((_seconds(server, work, circumstances) for server, work in servers.items()), default=0.0)
    # what Clerk lets us send at once costs nothing; the rest trickles
    at_once = min(circumstances.clerk_calls_at_once, circumstances.clerk_calls_per_10_seconds - 1)
    waiting = max(0, clerk_calls - at_once)
    clerk = 10.0 * waiting / max(1, circumstances.clerk_calls_per_10_seconds - at_once)
    ready = _SERVERS_READY_SECONDS if servers else 0.0
    return _Time(clerk, working, max(clerk, circumstances.reading_seconds + ready + working))


def _seconds(server: str, work: Sequence["_Work"], circumstances: Circumstances) -> float:
    made = Counter[Change]()
    for tenant in work:
        made.update(_made_in(tenant, circumstances))
    known = circumstances.seconds_of_change.get(server, {})
    return sum(known.get(change, change.seconds) * times for change, times in made.items())


def _made_in(tenant: "_Work", circumstances: Circumstances) -> Counter[Change]:
    """Change → for how many people it is made; 1 for what concerns the tenant."""
    found = Counter(change for _, made in tenant.made for change in made)
    found.update(change for change in tenant.entry.changes if change.where is Where.SERVER and not change.at_once)
    found[STORE_AT_CLERK] += tenant.entry.store_organization is not None
    if CLEAR_ONBOARDING in tenant.entry.changes:
        own = _OWN_STEPS if ACTIVATE_WORKSPACE in tenant.entry.changes else 0
        found[CLEAR_ONBOARDING] += own + found[ADD_MEMBER] + sum(map(len, tenant.entry.pending))
    found[PROVE_LOGIN] += sum(_proofs(tenant, circumstances))
    return found


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


# --- what stops it ----------------------------------------------------------------------------------------------------

_LONG_SECONDS: Final = 60.0
"""A run whose work at Twenty takes less needs no reason for it."""

_SHORT_SECONDS: Final = 1.0
"""A shorter wait for Clerk is not worth a word."""


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
    full = ConditionType.WORKSPACE_READY, Reason.SERVER_FULL
    waiting = sum(
        entry.server is None and any((known.type, known.reason) == full for known in entry.conditions)
        for entry in plan.tenants
    )
    if waiting:
        yield f"{waiting} new tenants wait for a place on a server"
    wanted = Counter(entry.server for entry in plan.work if entry.server is not None and _takes_room(entry))
    for server, count in sorted(wanted.items()):
        free = room.get(server)
        if free is not None and count > free:
            yield f"{count} workspaces are to be made on {server}, which has room for {max(0, free)}"


def _takes_room(entry: TenantPlan) -> bool:
    return any(change.takes_room for change in entry.changes)


# --- one tenant's work ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Work:
    """One tenant's work at Twenty.

    Args:
        admin_as_member: the part of the plan that is about the admin as a member.
        admin_joins: the admin is outside the workspace.
        made: what will be done for each member.
    """

    entry: TenantPlan
    admin_as_member: MemberPlan | None
    admin_joins: bool
    made: tuple[tuple[MemberPlan, frozenset[Change]], ...]

    @property
    def changes(self) -> frozenset[Change]:
        """What is done for the tenant as a whole, and for any of its members."""
        of_members = {change for _, changes in self.made for change in changes}
        return frozenset(of_members | {change for change in self.entry.changes if not change.of_person})

    @property
    def our_account_acts(self) -> bool:
        """Whether our account signs in to the workspace."""
        by_hand = any({CREATE_PROFILE, INVITE_TEAM} & set(keys) for keys in self.entry.pending)
        return by_hand or self.admin_joins or any(change.by_our_account for change in self.changes)


def _work_by_server(plan: Plan) -> dict[str, list[_Work]]:
    """Every tenant for which something is to be done on its server."""
    found: dict[str, list[_Work]] = {}
    for entry in plan.work:
        if entry.server is not None and any(change.where is Where.SERVER for change in entry.changes):
            found.setdefault(entry.server, []).append(_work_of(entry))
    return found


def _work_of(entry: TenantPlan) -> _Work:
    admin, as_member = entry.admin, None
    if isinstance(admin, Admin):
        user = admin.clerk_user_id
        same = (m for m in entry.members if m.email == admin.email or (user is not None and m.clerk_user_id == user))
        as_member = next(same, None)
    joins = _admin_joins(entry, as_member)
    made = tuple((member, _made(member, joins=joins and member is as_member)) for member in entry.members)
    return _Work(entry, as_member, joins, made)


def _admin_joins(entry: TenantPlan, as_member: MemberPlan | None) -> bool:
    """A new workspace has no admin; in one that was there, an admin who is not linked yet is taken to be outside."""
    admin = entry.admin
    if not isinstance(admin, Admin) or ADD_ADMIN not in entry.changes or ADOPT_WORKSPACE in entry.changes:
        return False
    # an admin by Clerk who is linked, and has nothing to be done as a member
    linked = LINK_MEMBER not in as_member.changes if as_member else admin.clerk_user_id is not None
    return entry.workspace_id is None or not linked


def _made(member: MemberPlan, *, joins: bool) -> frozenset[Change]:
    """The changes without those that turn out to be none."""
    changes = set(member.changes)
    if LINK_MEMBER in changes and ADD_MEMBER not in changes and not joins:
        # a member who is only linked was inside before, and most likely has the name already
        changes.discard(SET_NAME)
    if not member.why:
        # the account is another person's by now, so that nothing is proved of it
        changes.discard(DROP_LINK)
    return frozenset(changes)


# --- calls to Clerk ---------------------------------------------------------------------------------------------------

_IDS_PER_CALL: Final = 100


def _clerk_calls(entry: TenantPlan) -> int:
    """The ids that we store there, of the workspace and of members; and the last question to Clerk in the steps.

    We ask once for all of a tenant who get something, and for each who loses something: the list of the
    organization's members and those of them as users; for a loss the list narrowed to the person and the user, or the
    list alone where only the role counts.
    """
    stored = (entry.store_organization is not None) + sum(STORE_AT_CLERK in member.changes for member in entry.members)
    if entry.tenant.clerk_org_id is None:
        return stored
    getting = sum(bool(member.clerk_user_id and GIVING & set(member.changes)) for member in entry.members)
    as_admin = isinstance(entry.admin, Admin) and entry.admin.clerk_user_id and ADD_ADMIN in entry.changes
    entering = max(getting, bool(as_admin))
    lists = 1 + -(-entering // _IDS_PER_CALL) if entering else 0
    uninvited = 2 * any(withdrawal.departed for withdrawal in entry.withdrawals)
    return stored + lists + uninvited + sum(_looks_at_loss(member) for member in entry.members)


def _looks_at_loss(member: MemberPlan) -> int:
    changes = set(member.changes)
    if REMOVE_MEMBER in changes or (DROP_LINK in changes and member.why):
        return 2
    return (2 if member.departed else 1) * (DEMOTE_MEMBER in changes)


# --- calls to Twenty --------------------------------------------------------------------------------------------------

_CONTRACT: Final = 39
"""Once per server: the operations that are validated, /client-config, and our account signs in or up."""

_LOOK_AT_STEPS: Final = 1
"""Once per server where we have a workspace: what it says about its wizard, asked inside that workspace."""

_SIGN_IN: Final = 2
"""Into a workspace: a login token by password, then the token that it is exchanged for."""

_LOGIN: Final = 3
"""The proof of a login: sign in anew, then currentUser."""

_LOOK: Final = 1
"""The proof of a login of a member who came in in this run: currentUser with the token from joining."""

_INVITE_LINK: Final = 1
"""currentWorkspace, before the first person joins in a step."""

_ROLES: Final = 1
"""getRoles, before the first role is set in a workspace."""

_NAMELESS: Final = 2
"""Without a name in the plan, a member has CREATE_PROFILE to clear: currentUser, then a name from the e-mail."""

_OWN_RECORD: Final = 1
"""currentUser of our account, before the first removal in a workspace: it must not be the one removed."""

_WITHDRAWAL: Final = 2
"""One invitation: findWorkspaceInvitations, deleteWorkspaceInvitation."""

_OF_STEP: Final[Mapping[str, int]] = {
    CONNECT_ACCOUNT: 1,
    INSTALL_APPS: 1,
    # currentUser, then updateWorkspaceMemberSettings
    CREATE_PROFILE: 2,
    INVITE_TEAM: 1,
}
"""Calls that clear a pending step of one person; other steps are removed by SQL."""

_OWN_STEPS: Final = 4
"""Steps of our own account in a new workspace, cleared one after another."""

_DEFAULT_ROLE: Final = "Member"
"""What Twenty gives to a new member."""


def _twenty_calls(server: str, work: Sequence[_Work], circumstances: Circumstances) -> int:
    """The contract; where we have a workspace, the question about the wizard, which needs our sign-in; every tenant.

    We sign in to one of the plan's own workspaces where it has any, so that this sign-in is not needed there again.
    """
    calls = _CONTRACT + sum(_calls_of(tenant, circumstances) for tenant in work)
    there = {tenant.entry.tenant.database_name: tenant for tenant in work if tenant.entry.workspace_id}
    if there:
        return calls + _LOOK_AT_STEPS + (0 if _sign_ins(there[min(there)]) else _SIGN_IN)
    return calls + (_LOOK_AT_STEPS + _SIGN_IN if server in circumstances.inhabited else 0)


def _calls_of(tenant: _Work, circumstances: Circumstances) -> int:
    """All calls for one tenant, in the order of its steps."""
    joined, anew = _proofs(tenant, circumstances)
    return (
        sum(change.calls for change in tenant.entry.changes if not change.of_person)
        + _sign_ins(tenant)
        + _for_admin(tenant)
        + _for_members(tenant)
        + _WITHDRAWAL * len(tenant.entry.withdrawals)
        + _for_pending(tenant.entry.pending)
        + _LOOK * joined
        + _LOGIN * anew
    )


def _sign_ins(tenant: _Work) -> int:
    """Our account signs in once; activating ends what it has, so that a workspace which was there takes two."""
    again = ACTIVATE_WORKSPACE in tenant.entry.changes and tenant.entry.workspace_id is not None
    return _SIGN_IN * (tenant.our_account_acts + again)


def _for_admin(tenant: _Work) -> int:
    """An admin who joins gets the role and needs a name; in any case we read once what Twenty shows the person."""
    if ADD_ADMIN not in tenant.entry.changes:
        return 0
    if not tenant.admin_joins:
        return _LOGIN
    member = tenant.admin_as_member
    named = member is not None and SET_NAME in member.changes
    return _INVITE_LINK + ADD_MEMBER.calls + _LOOK + SET_ROLE.calls + (0 if named else _NAMELESS)


def _for_members(tenant: _Work) -> int:
    """Each member's changes, and what the first of several members costs besides."""
    gets_a_role = (
        tenant.admin_joins
        or bool({SET_ROLE, DEMOTE_MEMBER} & tenant.changes)
        or any(_is_promoted(member, changes) for member, changes in tenant.made)
    )
    return (
        sum(_for_member(member, changes) for member, changes in tenant.made)
        + _INVITE_LINK * (ADD_MEMBER in tenant.changes)
        + _ROLES * gets_a_role
        + _OWN_RECORD * (REMOVE_MEMBER in tenant.changes)
    )


def _for_member(member: MemberPlan, changes: frozenset[Change]) -> int:
    nameless = ADD_MEMBER in changes and SET_NAME not in changes and member.twenty_user_id is None
    return (
        sum(change.calls for change in changes) + SET_ROLE.calls * _is_promoted(member, changes) + _NAMELESS * nameless
    )


def _is_promoted(member: MemberPlan, changes: frozenset[Change]) -> bool:
    return ADD_MEMBER in changes and member.role != _DEFAULT_ROLE


def _for_pending(pending: Iterable[Sequence[str]]) -> int:
    """Each person with pending steps signs in and clears them; the team's step is our account's, once."""
    team = any(INVITE_TEAM in keys for keys in pending)
    own = [sum(_OF_STEP.get(key, 0) for key in keys if key != INVITE_TEAM) for keys in pending]
    return _OF_STEP[INVITE_TEAM] * team + sum(_SIGN_IN + calls for calls in own if calls)


def _proofs(tenant: _Work, circumstances: Circumstances) -> tuple[int, int]:
    """Whose login is proved: how many of those who join in this run, and how many others.

    The admin's is proved anew in any case, those of all others where anything changed for all of them.
    """
    if not isinstance(tenant.entry.admin, Admin):
        return 0, 0
    if not any(change.proves_everybody for change in tenant.changes):
        return 0, 1
    others = [set(member.changes) for member in tenant.entry.members if member is not tenant.admin_as_member]
    joined = sum(ADD_MEMBER in changes for changes in others)
    linked = sum(LINK_MEMBER in changes and ADD_MEMBER not in changes for changes in others)
    gone = sum(bool({REMOVE_MEMBER, DROP_LINK} & changes) for changes in others)
    before = max(0, circumstances.members.get(tenant.entry.tenant.database_name, 0) - gone)
    return joined, 1 + before + linked
