"""What the steps need over a plan: calls at Clerk and at Twenty, change by change, and how often each is made.

Of a change about which nothing else is said here, its own `calls` count, once for a tenant that has it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from provisioning_pipeline.model.change import Change, Where
from provisioning_pipeline.model.forecast import Circumstances, Needs
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

_CONTRACT: Final = 31
"""Once per server: 29 operations that are validated, /client-config, and our account signs in or up."""

_LOOK_AT_STEPS: Final = 1
"""Once per server where we have a workspace: what it says about its wizard, asked inside that workspace."""

_SIGN_IN: Final = 2
"""Into a workspace: a login token by password, then the token that it is exchanged for."""

_LOGIN: Final = 3
"""The proof of a login: sign in anew, then currentUser."""

_LOOK: Final = 1
"""The proof of a login of somebody who came in in this run: currentUser with the token from joining."""

_INVITE_LINK: Final = 1
"""currentWorkspace, before the first person joins in a step."""

_ROLES: Final = 1
"""getRoles, before the first role is set in a workspace."""

_NAMELESS: Final = 2
"""Whom no plan names has the step CREATE_PROFILE to clear: currentUser, then a name from the e-mail."""

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
"""What Twenty gives to whoever joins."""


@dataclass(frozen=True, slots=True)
class Work:
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
        return frozenset(of_people | {change for change in self.entry.changes if not change.of_person})

    @property
    def gets_a_role(self) -> bool:
        """Whether anybody gets a role other than that with which Twenty lets people join."""
        return (
            self.admin_joins
            or bool({SET_ROLE, DEMOTE_MEMBER} & self.changes)
            or any(_is_promoted(member, changes) for member, changes in self.made)
        )

    @property
    def our_account_acts(self) -> bool:
        """Whether our account signs in to the workspace."""
        by_hand = any({CREATE_PROFILE, INVITE_TEAM} & set(keys) for keys in self.entry.pending)
        return by_hand or self.admin_joins or any(change.by_our_account for change in self.changes)


def work_at_twenty(plan: Plan) -> list[Work]:
    """Every tenant for which something is to be done on its server."""
    return [
        _work_of(entry)
        for entry in plan.work
        if entry.server is not None and any(change.where is Where.SERVER for change in entry.changes)
    ]


def needs_of(plan: Plan, circumstances: Circumstances) -> Needs:
    """What the steps do over this plan when nothing goes wrong."""
    work = work_at_twenty(plan)
    changes: dict[str, Counter[Change]] = {}
    for tenant in work:
        changes.setdefault(str(tenant.entry.server), Counter()).update(_made_in(tenant, circumstances))
    return Needs(
        clerk_calls=sum(clerk_looks(tenant.entry) + clerk_writes(tenant.entry) for tenant in work),
        twenty_calls=twenty_calls(work, circumstances),
        changes=changes,
    )


def _made_in(tenant: Work, circumstances: Circumstances) -> Counter[Change]:
    """Change → for how many people it is made; 1 for what concerns the tenant."""
    found = Counter(change for _, made in tenant.made for change in made)
    found.update(change for change in tenant.entry.changes if change.where is Where.SERVER and not change.at_once)
    found[STORE_AT_CLERK] += tenant.entry.store_organization is not None
    if CLEAR_ONBOARDING in tenant.entry.changes:
        own = _OWN_STEPS if ACTIVATE_WORKSPACE in tenant.entry.changes else 0
        found[CLEAR_ONBOARDING] += own + found[ADD_MEMBER] + sum(map(len, tenant.entry.pending))
    found[PROVE_LOGIN] += sum(proofs(tenant, circumstances))
    return found


def _work_of(entry: TenantPlan) -> Work:
    as_member = _admin_as_member(entry)
    joins = _admin_joins(entry, as_member)
    made = tuple((member, _made(member, joins=joins and member is as_member)) for member in entry.members)
    return Work(entry, as_member, joins, made)


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
    if not isinstance(admin, Admin) or ADD_ADMIN not in entry.changes or ADOPT_WORKSPACE in entry.changes:
        return False
    # an admin by Clerk for whom nothing is to be done as a member is linked
    linked = LINK_MEMBER not in as_member.changes if as_member else admin.clerk_user_id is not None
    return entry.workspace_id is None or not linked


def _made(member: MemberPlan, *, joins: bool) -> frozenset[Change]:
    """The changes without those that turn out to be none."""
    changes = set(member.changes)
    if LINK_MEMBER in changes and ADD_MEMBER not in changes and not joins:
        # who is only linked was inside before, and most likely has the name already
        changes.discard(SET_NAME)
    if not member.why:
        # the account is somebody else's by now, so that nothing is proved of it
        changes.discard(DROP_LINK)
    return frozenset(changes)


def _is_promoted(member: MemberPlan, changes: frozenset[Change]) -> bool:
    return ADD_MEMBER in changes and member.role != _DEFAULT_ROLE


def clerk_writes(entry: TenantPlan) -> int:
    """The workspace id at the organization, and the ids of people where policy says so."""
    people = sum(STORE_AT_CLERK in member.changes for member in entry.members)
    return (entry.store_organization is not None) + people


_IDS_PER_CALL: Final = 100


def clerk_looks(entry: TenantPlan) -> int:
    """The last look at Clerk in the steps: of those who get something, once for a tenant; of who loses something, each.

    It is the list of the organization's members and those of them as users; for a loss the list narrowed to the person
    and the user, or the list alone where only the role counts.
    """
    if entry.tenant.clerk_org_id is None or entry.server is None:
        return 0
    getting = sum(bool(member.clerk_user_id and GIVING & set(member.changes)) for member in entry.members)
    as_admin = isinstance(entry.admin, Admin) and entry.admin.clerk_user_id and ADD_ADMIN in entry.changes
    entering = max(getting, bool(as_admin))
    lists = 1 + -(-entering // _IDS_PER_CALL) if entering else 0
    uninvited = 2 * any(withdrawal.departed for withdrawal in entry.withdrawals)
    return lists + uninvited + sum(_looks_at_loss(member) for member in entry.members)


def _looks_at_loss(member: MemberPlan) -> int:
    changes = set(member.changes)
    if REMOVE_MEMBER in changes or (DROP_LINK in changes and member.why):
        return 2
    return (2 if member.departed else 1) * (DEMOTE_MEMBER in changes)


def twenty_calls(work: Iterable[Work], circumstances: Circumstances) -> int:
    by_server: dict[str | None, list[Work]] = {}
    for tenant in work:
        by_server.setdefault(tenant.entry.server, []).append(tenant)
    return sum(
        _once_per_server(there, inhabited=server in circumstances.inhabited)
        + sum(_calls_of(tenant, circumstances) for tenant in there)
        for server, there in by_server.items()
    )


def _once_per_server(work: Iterable[Work], *, inhabited: bool) -> int:
    """The contract; and where we have a workspace, the look at the wizard, for which our account signs in somewhere.

    That is in one of the plan's own workspaces where it has any, so that this sign-in is not needed there again.
    """
    there = {tenant.entry.tenant.database_name: tenant for tenant in work if tenant.entry.workspace_id}
    if not there:
        return _CONTRACT + (_LOOK_AT_STEPS + _SIGN_IN if inhabited else 0)
    asked = there[min(there)]
    return _CONTRACT + _LOOK_AT_STEPS + (0 if _doors(asked) else _SIGN_IN)


def _calls_of(tenant: Work, circumstances: Circumstances) -> int:
    """All calls for one tenant, in the order of its steps."""
    return (
        sum(change.calls for change in tenant.entry.changes if not change.of_person)
        + _doors(tenant)
        + _for_admin(tenant)
        + _for_members(tenant)
        + _WITHDRAWAL * len(tenant.entry.withdrawals)
        + _for_pending(tenant.entry.pending)
        + _logins(tenant, circumstances)
    )


def _doors(tenant: Work) -> int:
    """Our account signs in once; activating ends what it has, so that a workspace which was there takes two."""
    again = ACTIVATE_WORKSPACE in tenant.entry.changes and tenant.entry.workspace_id is not None
    return _SIGN_IN * (tenant.our_account_acts + again)


def _for_admin(tenant: Work) -> int:
    """Who joins becomes Admin and needs a name; in any case what Twenty shows the person is read once."""
    if ADD_ADMIN not in tenant.entry.changes:
        return 0
    if not tenant.admin_joins:
        return _LOGIN
    member = tenant.admin_as_member
    named = member is not None and SET_NAME in member.changes
    return _INVITE_LINK + ADD_MEMBER.calls + _LOOK + SET_ROLE.calls + (0 if named else _NAMELESS)


def _for_members(tenant: Work) -> int:
    """Each person's changes, and what the first of several people costs besides."""
    return (
        sum(_for_member(member, changes) for member, changes in tenant.made)
        + _INVITE_LINK * (ADD_MEMBER in tenant.changes)
        + _ROLES * tenant.gets_a_role
        + _OWN_RECORD * (REMOVE_MEMBER in tenant.changes)
    )


def _for_member(member: MemberPlan, changes: frozenset[Change]) -> int:
    nameless = ADD_MEMBER in changes and SET_NAME not in changes and member.twenty_user_id is None
    return (
        sum(change.calls for change in changes) + SET_ROLE.calls * _is_promoted(member, changes) + _NAMELESS * nameless
    )


def _for_pending(pending: Iterable[Sequence[str]]) -> int:
    """Each person with pending steps signs in and clears them; the team's step is our account's, once."""
    team = any(INVITE_TEAM in keys for keys in pending)
    own = [sum(_OF_STEP.get(key, 0) for key in keys if key != INVITE_TEAM) for keys in pending]
    return _OF_STEP[INVITE_TEAM] * team + sum(_SIGN_IN + calls for calls in own if calls)


def _logins(tenant: Work, circumstances: Circumstances) -> int:
    joined, anew = proofs(tenant, circumstances)
    return _LOOK * joined + _LOGIN * anew


def proofs(tenant: Work, circumstances: Circumstances) -> tuple[int, int]:
    """Whose login is proved: how many of those who join in this run, and how many others.

    The admin's is proved anew in any case, those of all others where anything changed for everybody.
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
