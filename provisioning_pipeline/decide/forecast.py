"""What a run over a plan will need, foretold from the plan: calls, time, and what stops it first.

Calls are counted as a run makes them when nothing goes wrong. What a plan cannot know stays out: retries, a server that
turns out to be another Twenty, people whose password is not ours, subdomains that are taken.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from provisioning_pipeline.decide.aging import near_clean_up
from provisioning_pipeline.model.condition import ConditionType, Reason
from provisioning_pipeline.model.forecast import CutName, Forecast, Harm, Limit
from provisioning_pipeline.model.onboarding import CONNECT_ACCOUNT, CREATE_PROFILE, INSTALL_APPS, INVITE_TEAM
from provisioning_pipeline.model.tenant import HARMFUL_CHANGES, Admin, Change, MemberPlan, Plan, TenantPlan


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a forecast needs besides the plan.

    Args:
        now: for the age of workspaces.
        observing_clerk_calls: that making this plan took, direct looks included; the run makes them again.
        clerk_calls_per_10_seconds: that a run may make.
        clerk_calls_at_once: how many of them before the limit makes anybody wait.
        twenty_concurrency, tenant_concurrency: as in the settings.
        harm_allowed: removals and demotions that a run may make in all.
        reading_seconds: that making this plan took.
        activation_seconds: of one workspace, in the last runs.
        seconds_of_change: change → median seconds of one in the last runs; defaults where it is missing.
        room: server → workspaces that it can still take; None: no limit of ours.
        inhabited: servers on which a workspace of ours is known before the run.
        members: database name → people of ours in its workspace besides the admin, before the run.
    """

    now: datetime
    observing_clerk_calls: int
    clerk_calls_per_10_seconds: int
    clerk_calls_at_once: int
    twenty_concurrency: int
    tenant_concurrency: int
    harm_allowed: int
    reading_seconds: float = 0.0
    activation_seconds: float = 3.0
    seconds_of_change: Mapping[str, float] = field(default_factory=dict)
    room: Mapping[str, int | None] = field(default_factory=dict)
    inhabited: frozenset[str] = frozenset()
    members: Mapping[str, int] = field(default_factory=dict)


def forecast(plan: Plan, circumstances: Circumstances) -> Forecast:
    """What a run over this plan will need. The same plan under the same circumstances has the same forecast."""
    work = _work_at_twenty(plan)
    calls = _twenty_calls(work, circumstances)
    clerk = circumstances.observing_clerk_calls + sum(_clerk_writes(tenant.entry) for tenant in work)
    time = _time(work, clerk, circumstances)
    harm = Harm(
        planned=sum(bool(HARMFUL_CHANGES & set(member.changes)) for entry in plan.work for member in entry.members),
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


# --- calls ----------------------------------------------------------------------------------------------------------

_NOT_AT_TWENTY: Final = frozenset({Change.ADOPT_DATABASE, Change.REMOVE_ROWS, Change.MEND_WORKSPACE})
"""Done by SQL in the registry and in the tenant's own database."""

_CONTRACT: Final = 23
"""Once per server: 21 operations that are validated, /client-config, and our account signs in or up."""

_LOOK_AT_STEPS: Final = 1
"""Once per server where we have a workspace: what it says about its wizard, asked inside that workspace."""

_SIGN_IN: Final = 2
"""Into a workspace: a login token by password, then the token that it is exchanged for."""

_LOGIN: Final = 3
"""The proof of a login: sign in anew, then currentUser."""

_LOOK: Final = 1
"""The proof of a login of somebody who came in in this run: currentUser with the token from joining."""

_JOIN: Final = 3
"""signUpInWorkspace, the exchange of its login token, and one more: a known account proves its password first, a new
one has the step INSTALL_APPS to clear."""

_INVITE_LINK: Final = 1
"""currentWorkspace, before the first person joins in a step."""

_ROLES: Final = 1
"""getRoles, before the first role is set in a workspace."""

_NAMELESS: Final = 2
"""Whom no plan names has the step CREATE_PROFILE to clear: currentUser, then a name from the e-mail."""

_OWN_RECORD: Final = 1
"""currentUser of our account, before the first removal in a workspace: it must not be the one removed."""

_OF_TENANT: Final[Mapping[Change, int]] = {
    # signUpInNewWorkspace, and the exchange of its login token
    Change.CREATE_WORKSPACE: 2,
    # activateWorkspace; then our account's own steps: connect, apps, invite nobody, and a name (two calls)
    Change.ACTIVATE_WORKSPACE: 6,
    # updateWorkspace
    Change.CLOSE_INVITE_LINK: 1,
}
"""Calls for a change that a tenant has once. Adopting needs none: the server told all our workspaces before."""

_OF_PERSON: Final[Mapping[Change, int]] = {
    Change.ADD_MEMBER: _JOIN,
    # updateWorkspaceMemberSettings
    Change.SET_NAME: 1,
    # updateWorkspaceMemberRole
    Change.SET_ROLE: 1,
    Change.DEMOTE_MEMBER: 1,
    # a token from before (2), their invitations (1), deleteUserFromWorkspace (1), the old token is refused (1), their
    # invitations again (1), a new login is refused by password and, the account being gone, by impersonation (2)
    Change.REMOVE_MEMBER: 8,
    # their invitations (1), and a new login is refused both ways (2)
    Change.DROP_LINK: 3,
}
"""Calls for a change of one person. Linking needs none."""

_OF_STEP: Final[Mapping[str, int]] = {
    CONNECT_ACCOUNT: 1,
    INSTALL_APPS: 1,
    # currentUser, then updateWorkspaceMemberSettings
    CREATE_PROFILE: 2,
    INVITE_TEAM: 1,
}
"""Calls that clear a pending step of one person; other steps are removed by SQL."""

_BY_OUR_ACCOUNT: Final = frozenset(
    {
        Change.ACTIVATE_WORKSPACE,
        Change.ADD_MEMBER,
        Change.SET_NAME,
        Change.SET_ROLE,
        Change.DEMOTE_MEMBER,
        Change.REMOVE_MEMBER,
        Change.DROP_LINK,
        Change.CLOSE_INVITE_LINK,
    }
)
"""For these our account signs in to the workspace, once."""

_LOOKS_AT_EVERYBODY: Final = frozenset(
    {
        Change.CREATE_WORKSPACE,
        Change.ADOPT_WORKSPACE,
        Change.ACTIVATE_WORKSPACE,
        Change.ADD_ADMIN,
        Change.ADD_MEMBER,
        Change.LINK_MEMBER,
        Change.CLEAR_ONBOARDING,
    }
)
"""After these the logins of all people of ours are proved, else the admin's alone."""

_DEFAULT_ROLE: Final = "Member"
"""What Twenty gives to whoever joins."""


@dataclass(frozen=True, slots=True)
class _Work:
    """One tenant's work at Twenty, looked at once.

    Args:
        entry: its plan.
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
        """What is done for the tenant as a whole, and for anybody in it."""
        of_people = {change for _, changes in self.made for change in changes}
        return frozenset(of_people | (set(self.entry.changes) - _OF_PERSON.keys()))

    @property
    def gets_a_role(self) -> bool:
        """Whether anybody gets a role other than that with which Twenty lets people join."""
        return (
            self.admin_joins
            or bool({Change.SET_ROLE, Change.DEMOTE_MEMBER} & self.changes)
            or any(_is_promoted(member, changes) for member, changes in self.made)
        )

    @property
    def our_account_acts(self) -> bool:
        """Whether our account signs in to the workspace."""
        by_hand = any({CREATE_PROFILE, INVITE_TEAM} & set(keys) for keys in self.entry.pending)
        return by_hand or self.admin_joins or bool(_BY_OUR_ACCOUNT & self.changes)


def _work_at_twenty(plan: Plan) -> list[_Work]:
    return [
        _work_of(entry) for entry in plan.work if entry.server is not None and not set(entry.changes) <= _NOT_AT_TWENTY
    ]


def _work_of(entry: TenantPlan) -> _Work:
    as_member = _admin_as_member(entry)
    joins = _admin_joins(entry, as_member)
    made = tuple((member, _made(member, joins=joins and member is as_member)) for member in entry.members)
    return _Work(entry, as_member, joins, made)


def _admin_as_member(entry: TenantPlan) -> MemberPlan | None:
    admin = entry.admin
    if not isinstance(admin, Admin):
        return None
    user = admin.clerk_user_id
    same = (m for m in entry.members if m.email == admin.email or (user is not None and m.clerk_user_id == user))
    return next(same, None)


def _admin_joins(entry: TenantPlan, as_member: MemberPlan | None) -> bool:
    """A new workspace has no admin; in one that was there, whoever is not linked yet is taken for somebody outside."""
    admin = entry.admin
    if not isinstance(admin, Admin) or Change.ADD_ADMIN not in entry.changes or Change.ADOPT_WORKSPACE in entry.changes:
        return False
    # an admin by Clerk for whom nothing is to be done as a member is linked
    linked = Change.LINK_MEMBER not in as_member.changes if as_member else admin.clerk_user_id is not None
    return entry.workspace_id is None or not linked


def _made(member: MemberPlan, *, joins: bool) -> frozenset[Change]:
    """The changes without those that turn out to be none."""
    changes = set(member.changes)
    if Change.LINK_MEMBER in changes and Change.ADD_MEMBER not in changes and not joins:
        # who is only linked was inside before, and most likely has the name already
        changes.discard(Change.SET_NAME)
    if not member.why:
        # the account is somebody else's by now, so that nothing is proved of it
        changes.discard(Change.DROP_LINK)
    return frozenset(changes)


def _is_promoted(member: MemberPlan, changes: frozenset[Change]) -> bool:
    return Change.ADD_MEMBER in changes and member.role != _DEFAULT_ROLE


def _clerk_writes(entry: TenantPlan) -> int:
    """The workspace id at the organization, and the ids of people where policy says so."""
    people = sum(Change.STORE_AT_CLERK in member.changes for member in entry.members)
    return (entry.store_organization is not None) + people


def _twenty_calls(work: Iterable[_Work], circumstances: Circumstances) -> int:
    by_server: dict[str | None, list[_Work]] = {}
    for tenant in work:
        by_server.setdefault(tenant.entry.server, []).append(tenant)
    return sum(
        _once_per_server(there, inhabited=server in circumstances.inhabited)
        + sum(_calls_of(tenant, circumstances) for tenant in there)
        for server, there in by_server.items()
    )


def _once_per_server(work: Iterable[_Work], *, inhabited: bool) -> int:
    """The contract; and where we have a workspace, the look at the wizard, for which our account signs in somewhere.

    That is in one of the plan's own workspaces where it has any, so that this sign-in is not needed there again.
    """
    there = {tenant.entry.tenant.database_name: tenant for tenant in work if tenant.entry.workspace_id}
    if not there:
        return _CONTRACT + (_LOOK_AT_STEPS + _SIGN_IN if inhabited else 0)
    asked = there[min(there)]
    return _CONTRACT + _LOOK_AT_STEPS + (0 if _doors(asked) else _SIGN_IN)


def _calls_of(tenant: _Work, circumstances: Circumstances) -> int:
    """All calls for one tenant, in the order of its steps."""
    return (
        sum(_OF_TENANT.get(change, 0) for change in tenant.entry.changes)
        + _doors(tenant)
        + _for_admin(tenant)
        + _for_members(tenant)
        + _for_pending(tenant.entry.pending)
        + _logins(tenant, circumstances)
    )


def _doors(tenant: _Work) -> int:
    """Our account signs in once; activating ends what it has, so that a workspace which was there takes two."""
    again = Change.ACTIVATE_WORKSPACE in tenant.entry.changes and tenant.entry.workspace_id is not None
    return _SIGN_IN * (tenant.our_account_acts + again)


def _for_admin(tenant: _Work) -> int:
    """Who joins becomes Admin and needs a name; in any case what Twenty shows the person is read once."""
    if Change.ADD_ADMIN not in tenant.entry.changes:
        return 0
    if not tenant.admin_joins:
        return _LOGIN
    member = tenant.admin_as_member
    named = member is not None and Change.SET_NAME in member.changes
    return _INVITE_LINK + _JOIN + _LOOK + _OF_PERSON[Change.SET_ROLE] + (0 if named else _NAMELESS)


def _for_members(tenant: _Work) -> int:
    """Each person's changes, and what the first of several people costs besides."""
    return (
        sum(_for_member(member, changes) for member, changes in tenant.made)
        + _INVITE_LINK * (Change.ADD_MEMBER in tenant.changes)
        + _ROLES * tenant.gets_a_role
        + _OWN_RECORD * (Change.REMOVE_MEMBER in tenant.changes)
    )


def _for_member(member: MemberPlan, changes: frozenset[Change]) -> int:
    nameless = Change.ADD_MEMBER in changes and Change.SET_NAME not in changes and member.twenty_user_id is None
    return (
        sum(_OF_PERSON.get(change, 0) for change in changes)
        + _OF_PERSON[Change.SET_ROLE] * _is_promoted(member, changes)
        + _NAMELESS * nameless
    )


def _for_pending(pending: Iterable[Sequence[str]]) -> int:
    """Each person with pending steps signs in and clears them; the team's step is our account's, once."""
    team = any(INVITE_TEAM in keys for keys in pending)
    own = [sum(_OF_STEP.get(key, 0) for key in keys if key != INVITE_TEAM) for keys in pending]
    return _OF_STEP[INVITE_TEAM] * team + sum(_SIGN_IN + calls for calls in own if calls)


def _logins(tenant: _Work, circumstances: Circumstances) -> int:
    joined, anew = _proofs(tenant, circumstances)
    return _LOOK * joined + _LOGIN * anew


def _proofs(tenant: _Work, circumstances: Circumstances) -> tuple[int, int]:
    """Whose login is proved: how many of those who join in this run, and how many others.

    The admin's is proved anew in any case, those of all others where anything changed for everybody.
    """
    if not isinstance(tenant.entry.admin, Admin):
        return 0, 0
    if not _LOOKS_AT_EVERYBODY & tenant.changes:
        return 0, 1
    others = [set(member.changes) for member in tenant.entry.members if member is not tenant.admin_as_member]
    joined = sum(Change.ADD_MEMBER in changes for changes in others)
    linked = sum(Change.LINK_MEMBER in changes and Change.ADD_MEMBER not in changes for changes in others)
    gone = sum(bool({Change.REMOVE_MEMBER, Change.DROP_LINK} & changes) for changes in others)
    before = max(0, circumstances.members.get(tenant.entry.tenant.database_name, 0) - gone)
    return joined, 1 + before + linked


# --- time -----------------------------------------------------------------------------------------------------------

_DEFAULT_SECONDS: Final[Mapping[Change, float]] = {
    Change.CREATE_WORKSPACE: 0.3,
    Change.ADD_ADMIN: 0.5,
    Change.ADD_MEMBER: 0.5,
    Change.SET_NAME: 0.1,
    Change.SET_ROLE: 0.1,
    Change.DEMOTE_MEMBER: 0.1,
    Change.REMOVE_MEMBER: 1.0,
    Change.DROP_LINK: 0.3,
    Change.STORE_AT_CLERK: 0.2,
    Change.CLEAR_ONBOARDING: 0.1,
    Change.PROVE_LOGIN: 0.3,
}
"""Of one change, while nothing is known: one to three calls, of which a password costs Twenty's processor 0.1 s."""

_SERVERS_READY_SECONDS: Final = 0.3
"""All servers are made ready at once."""

_OWN_STEPS: Final = 4
"""Steps of our own account in a new workspace, cleared one after another."""

_ONE_BY_ONE: Final = frozenset({Change.REMOVE_MEMBER, Change.DROP_LINK, Change.STORE_AT_CLERK})
"""People whom these concern wait for each other; all others are worked on side by side."""


@dataclass(frozen=True, slots=True)
class _Time:
    """Seconds: what Clerk's limit alone takes, what Twenty's work takes, and the whole run."""

    clerk: float
    work: float
    whole: float


def _time(work: list[_Work], clerk_calls: int, circumstances: Circumstances) -> _Time:
    """Tenants share the places; none is quicker than its own changes, one kind after another."""
    each = [_seconds_of(tenant, circumstances) for tenant in work]
    working = max(sum(each) / circumstances.tenant_concurrency, max(each, default=0.0))
    ready = _SERVERS_READY_SECONDS if work else 0.0
    clerk = _clerk_seconds(clerk_calls, circumstances)
    return _Time(clerk, working, max(clerk, circumstances.reading_seconds + ready + working))


def _clerk_seconds(calls: int, circumstances: Circumstances) -> float:
    """What may be sent at once costs nothing; the rest trickles."""
    at_once = min(circumstances.clerk_calls_at_once, circumstances.clerk_calls_per_10_seconds - 1)
    waiting = max(0, calls - at_once)
    return 10.0 * waiting / max(1, circumstances.clerk_calls_per_10_seconds - at_once)


def _seconds_of(tenant: _Work, circumstances: Circumstances) -> float:
    return sum(
        _seconds_of_one(change, circumstances) * _turns(change, people, circumstances.twenty_concurrency)
        for change, people in _people_by_change(tenant, circumstances).items()
    )


def _seconds_of_one(change: Change, circumstances: Circumstances) -> float:
    if change is Change.ACTIVATE_WORKSPACE:
        return circumstances.activation_seconds
    return circumstances.seconds_of_change.get(change, _DEFAULT_SECONDS.get(change, 0.0))


def _turns(change: Change, people: int, at_once: int) -> float:
    """How many times the usual one the last of several people takes: they begin together and wait for the server."""
    if change in _ONE_BY_ONE:
        return people
    return max(2 * people / (people + 1), people / at_once)


def _people_by_change(tenant: _Work, circumstances: Circumstances) -> Counter[Change]:
    """Change → for how many people it is made; 1 for what concerns the tenant."""
    changes = set(tenant.entry.changes)
    found = Counter(change for _, made in tenant.made for change in made)
    found.update(changes & {Change.ADD_ADMIN, *_OF_TENANT})
    found[Change.STORE_AT_CLERK] += tenant.entry.store_organization is not None
    if Change.CLEAR_ONBOARDING in changes:
        own = _OWN_STEPS if Change.ACTIVATE_WORKSPACE in changes else 0
        found[Change.CLEAR_ONBOARDING] += own + found[Change.ADD_MEMBER] + sum(map(len, tenant.entry.pending))
    found[Change.PROVE_LOGIN] += sum(_proofs(tenant, circumstances))
    return found


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
            f"{calls} calls to Twenty take about {time.work:.0f} s with {circumstances.tenant_concurrency} tenants and "
            f"{circumstances.twenty_concurrency} calls at once."
        )
    return None, "No limit is reached."


def _without_room(plan: Plan, room: Mapping[str, int | None]) -> Iterator[str]:
    waiting = sum(_waits_for_room(entry) for entry in plan.tenants)
    if waiting:
        yield f"{waiting} new tenants wait for a place on a server"
    wanted = Counter(entry.server for entry in plan.work if Change.CREATE_WORKSPACE in entry.changes)
    for server, count in sorted((server, count) for server, count in wanted.items() if server is not None):
        free = room.get(server)
        if free is not None and count > free:
            yield f"{count} workspaces are to be made on {server}, which has room for {max(0, free)}"


def _waits_for_room(entry: TenantPlan) -> bool:
    return entry.server is None and any(
        condition.type is ConditionType.WORKSPACE_READY and condition.reason is Reason.SERVER_FULL
        for condition in entry.conditions
    )


def _cut_names(plan: Plan) -> Iterator[CutName]:
    for entry in plan.work:
        if Change.CREATE_WORKSPACE in entry.changes and entry.subdomains and entry.subdomains[0] != entry.tenant.slug:
            yield CutName(entry.tenant.slug, entry.subdomains[0])
