"""Puts what was decided about members into the plans of their tenants."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pandas as pd

from provisioning_pipeline.decide.organizations import Match
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import (
    Condition,
    ConditionType,
    Reason,
    is_false,
    is_true,
    is_unknown,
    with_newer,
)
from provisioning_pipeline.model.frames import BROKEN_RECORDS, frame, records
from provisioning_pipeline.model.people import ADMIN_ROLE, Ownership
from provisioning_pipeline.model.tenant import Admin, AdminUnknown, Finding, MemberPlan, TenantPlan, Withdrawal
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.members.changes import (
    ADD_MEMBER,
    CLOSE_INVITE_LINK,
    DROP_LINK,
    FOLLOW_EMAIL,
    LINK_MEMBER,
    MEND_MEMBER,
    REMOVE_MEMBER,
    RENEW_INVITE_LINK,
    RESTORE_DEFAULT_ROLE,
    STORE_AT_CLERK,
    WITHDRAW_INVITATION,
)
from provisioning_pipeline.steps.members.plan.decisions import NOTHING, MemberDecision, MemberPolicy
from provisioning_pipeline.steps.members.plan.people import WORKPLACES, People, has_address
from provisioning_pipeline.steps.onboarding.changes import CLEAR_ONBOARDING
from provisioning_pipeline.steps.workspaces.changes import ADD_ADMIN

_MOST_NAMED = 3
_SYNCED = is_true(ConditionType.MEMBERS_SYNCED, Reason.MEMBERS_LINKED, "Every Clerk member is linked.")


@dataclass(frozen=True, slots=True)
class LostAdmin:
    """A stored admin who does not stand for the tenant.

    Args:
        clerk_user_id: who that is at Clerk, where the ledger knows.
        harmed: the workspace has no admin of ours by it; else it has one who is no longer named as admin.
    """

    user_id: str
    clerk_user_id: str | None
    harmed: bool


@dataclass(frozen=True)
class KnownMembers:
    """What is known about the members of all tenants.

    Args:
        matches: database name → organization, of every tenant that may be worked on.
        unread: database name → why its members could not be read.
        stored_workspaces: organization → the workspace id in its metadata at Clerk.
        store_workspace_id: policy: keep it there.
        seen: database names whose members were compared at least once.
        links_open: database names whose invite link we opened and did not close.
        another_admin: who else could stand for a tenant's admin; a Clerk user who may goes first.
        lost_admins: database name → its stored admin, who does not stand for it any more.
        goes_on_without: whether a tenant's members prove its workspace while no one can be admin.
        renews_invite_link: policy: a workspace gets another invite link when a member leaves it.
        roles_lent: database names whose workspace has another default role because of us.
        mending: database name → half members of ours that Clerk does not mention.
        withdrawals: database name → invitations of ours that are to end.
    """

    matches: Mapping[str, Match]
    unread: Mapping[str, tuple[Reason, str]]
    decisions: Mapping[str, MemberDecision]
    stored_workspaces: Mapping[str, str | None]
    store_workspace_id: bool
    seen: frozenset[str]
    links_open: frozenset[str]
    another_admin: Callable[[TenantPlan, str | None], Admin | AdminUnknown]
    roles_lent: frozenset[str] = frozenset()
    mending: Mapping[str, tuple[MemberPlan, ...]] = field(default_factory=dict)
    withdrawals: Mapping[str, tuple[Withdrawal, ...]] = field(default_factory=dict)
    lost_admins: Mapping[str, LostAdmin] = field(default_factory=dict)
    goes_on_without: Callable[[TenantPlan, AdminUnknown], bool] = lambda _entry, _unknown: False
    renews_invite_link: bool = True


def workplaces(entries: list[TenantPlan]) -> pd.DataFrame:
    """The tenants whose members can be compared: those that have an organization and a server."""
    return frame(
        WORKPLACES,
        [
            (entry.tenant.database_name, entry.tenant.clerk_org_id, entry.server, entry.workspace_id)
            for entry in entries
            if entry.tenant.clerk_org_id and entry.server and workspace_usable(entry)
        ],
    )


def workspace_usable(entry: TenantPlan) -> bool:
    """Whether the workspace is there, or will be made by this run: not gone, suspended, or out of sight."""
    if entry.workspace_id is None:
        return bool(entry.changes)
    return all(known.reason in _USABLE for known in entry.conditions if known.type is ConditionType.WORKSPACE_READY)


_USABLE = frozenset({Reason.WORKSPACE_ACTIVE, Reason.WAITING, Reason.WORKSPACE_UNPAID})


def with_members(entry: TenantPlan, known: KnownMembers, link_admin: str | None) -> TenantPlan:
    """The tenant's plan with its members' part. `link_admin` is the Twenty user id of its stored admin."""
    name = entry.tenant.database_name
    if name not in known.matches or entry.server is None or not workspace_usable(entry):
        return entry
    decision = known.decisions.get(name, NOTHING)
    organization = _organization_to_store(entry, known)
    # not those that were decided by Clerk's word
    decided = {member.twenty_user_id for member in decision.members} | {found.person for found in decision.findings}
    mending = [half for half in known.mending.get(name, ()) if not {half.twenty_user_id, half.email} & decided]
    withdrawals = known.withdrawals.get(name, ()) if entry.workspace_id else ()
    left_open = name in known.links_open or name in known.roles_lent or withdrawals or name in known.lost_admins
    if decision is NOTHING and organization is None and not left_open and not mending:
        # the usual tenant of a fleet at rest
        condition = _condition(entry, known, (), ())
        return replace(entry, conditions=with_newer(entry.conditions, condition)) if condition else entry
    entry = _without_doubtful_admin(entry, decision)
    entry = _with_another_admin(entry, known, decision, link_admin)
    members = (*mending, *(_without_admin_twice(member, entry) for member in decision.members))
    changes = [change for member in members for change in member.changes]
    if name in known.links_open:
        changes.append(CLOSE_INVITE_LINK)
    # who are, or were, in the workspace and could read its invite link
    leaving = any(member.why and {REMOVE_MEMBER, DROP_LINK} & set(member.changes) for member in members)
    if name in known.links_open or (known.renews_invite_link and leaving):
        changes.append(RENEW_INVITE_LINK)
    if name in known.roles_lent:
        changes.append(RESTORE_DEFAULT_ROLE)
    if withdrawals:
        changes.append(WITHDRAW_INVITATION)
    if organization:
        changes.append(STORE_AT_CLERK)
    if {ADD_MEMBER, LINK_MEMBER, MEND_MEMBER} & set(changes):
        changes.append(CLEAR_ONBOARDING)
    condition = _condition(entry, known, decision.findings, members)
    return replace(
        entry,
        changes=tuple(dict.fromkeys([*_before_proof(entry), *changes, *_proof(entry, changes)])),
        members=members,
        findings=decision.findings,
        withdrawals=withdrawals,
        store_organization=organization,
        conditions=with_newer(entry.conditions, condition) if condition else entry.conditions,
    )


def _before_proof(entry: TenantPlan) -> tuple[Change, ...]:
    return tuple(change for change in entry.changes if change != PROVE_LOGIN)


def _proof(entry: TenantPlan, changes: list[Change]) -> tuple[Change, ...]:
    if any(condition.reason is Reason.WORKSPACE_UNPAID for condition in entry.conditions):
        return ()
    proved = PROVE_LOGIN in entry.changes or {ADD_MEMBER, MEND_MEMBER, FOLLOW_EMAIL} & set(changes)
    return (PROVE_LOGIN,) if proved else ()


def _with_another_admin(
    entry: TenantPlan, known: KnownMembers, decision: MemberDecision, link_admin: str | None
) -> TenantPlan:
    """The stored admin left, was lowered, or is outside: choose an admin anew, who may be the same person."""
    lost = known.lost_admins.get(entry.tenant.database_name)
    replaced = link_admin is not None and link_admin in decision.replace_admin
    if not replaced and lost is None:
        return entry
    admin = known.another_admin(entry, None if replaced or lost is None else lost.clerk_user_id)
    admin = _doubt(admin, decision) or admin
    if isinstance(admin, Admin):
        changes = [*_before_proof(entry), ADD_ADMIN, CLEAR_ONBOARDING, *_proof(entry, [ADD_MEMBER])]
        return replace(entry, admin=admin, lost_admin=link_admin, changes=tuple(dict.fromkeys(changes)))
    if lost is None or not lost.harmed:
        # the workspace has an admin of ours all the same
        return entry
    entry = replace(entry, admin=admin, lost_admin=lost.user_id)
    if known.goes_on_without(entry, admin):
        return entry
    unknown = is_false(ConditionType.LOGIN_PROVED, admin.reason, admin.message)
    return replace(entry, changes=_before_proof(entry), conditions=with_newer(entry.conditions, unknown))


_DOUBTS = frozenset({Reason.ACCOUNT_AMBIGUOUS, Reason.ACCOUNT_CLAIMED_TWICE})


def _without_doubtful_admin(entry: TenantPlan, decision: MemberDecision) -> TenantPlan:
    """We make no one admin while it is not certain which account is theirs."""
    doubt = _doubt(entry.admin, decision)
    if doubt is None or ADD_ADMIN not in entry.changes:
        return entry
    unknown = is_false(ConditionType.LOGIN_PROVED, doubt.reason, doubt.message)
    return replace(
        entry,
        admin=doubt,
        changes=tuple(c for c in entry.changes if c not in (ADD_ADMIN, PROVE_LOGIN)),
        conditions=with_newer(entry.conditions, unknown),
    )


def _doubt(admin: Admin | AdminUnknown, decision: MemberDecision) -> AdminUnknown | None:
    for found in decision.findings:
        if isinstance(admin, Admin) and found.reason in _DOUBTS and found.person == admin.email:
            return AdminUnknown(found.reason, found.message)
    return None


def _without_admin_twice(member: MemberPlan, entry: TenantPlan) -> MemberPlan:
    """The admin joins in the first step, so that the second only links them."""
    admin = entry.admin
    is_admin = isinstance(admin, Admin) and admin.clerk_user_id == member.clerk_user_id
    if not is_admin or ADD_ADMIN not in entry.changes:
        return member
    left = tuple(change for change in member.changes if change != ADD_MEMBER)
    return replace(member, changes=left or (LINK_MEMBER,))


def _organization_to_store(entry: TenantPlan, known: KnownMembers) -> str | None:
    organization = entry.tenant.clerk_org_id
    if not organization or not known.store_workspace_id or organization not in known.stored_workspaces:
        return None
    stored = known.stored_workspaces[organization]
    return organization if entry.workspace_id is None or stored != entry.workspace_id else None


def _condition(
    entry: TenantPlan, known: KnownMembers, findings: tuple[Finding, ...], members: tuple[MemberPlan, ...]
) -> Condition | None:
    name, type_ = entry.tenant.database_name, ConditionType.MEMBERS_SYNCED
    match = known.matches.get(name, Match())
    if match.reason:
        return is_false(type_, match.reason, match.message)
    if name in known.unread:
        reason, message = known.unread[name]
        if reason is Reason.ORGANIZATION_MISSING:
            return is_false(type_, reason, message)
        # what was known before stands until Clerk can be read again
        return None if name in known.seen else is_unknown(type_, reason, message)
    if members:
        count = f"{len(members)} member{'s' if len(members) != 1 else ''}"
        return is_false(type_, Reason.WAITING, f"{count} of it are to be set right by this run.")
    if match.organization_id is None:
        told = "The tenant has no Clerk organization, so only its admin is kept."
        return is_true(type_, Reason.NO_ORGANIZATION, told)
    return synced(findings)


def synced(findings: tuple[Finding, ...] | list[Finding]) -> Condition:
    """MembersSynced: true when no member lacks anything; what is only reported stands in it, with its reason."""
    if not findings:
        return _SYNCED
    order = list(Reason)
    ranked = sorted(findings, key=lambda found: (not found.blocks, order.index(found.reason), found.person))
    told = " ".join(dict.fromkeys(finding.message for finding in ranked[:_MOST_NAMED]))
    more = len(ranked) - _MOST_NAMED
    told += f" And {more} more." if more > 0 else ""
    first = ranked[0]
    return (is_false if first.blocks else is_true)(ConditionType.MEMBERS_SYNCED, first.reason, told)


_NO_ACTIVE_MEMBER: Final = "no active member at Clerk has this address, verified"
_UNPROVED: Final = "the account with this address was not made here and proves nothing"


def withdrawals(people: People, policy: MemberPolicy, desired: pd.DataFrame) -> dict[str, tuple[Withdrawal, ...]]:
    """Database name → the invitations of ours that are to end. An incomplete read ends none.

    Args:
        people: everything that is known; of the accounts of those who are invited, what they prove.
        policy: what the operator decided; no one is invited as more than its default role.
        desired: rows of `members.with_target`.
    """
    ours = people.invitations[people.invitations["ours"].astype(bool)]
    if ours.empty or not people.complete:
        return {}
    members: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in records(desired[has_address(desired, set(ours["email"]))]):
        for email in {row["email"], row["account_email"]} - {None}:
            members.setdefault((row["database_name"], email), []).append(row)
    found: dict[str, list[Withdrawal]] = {}
    for invitation in records(ours.sort_values(["database_name", "email"])):
        name, email = invitation["database_name"], invitation["email"]
        why = _why(invitation, members.get((name, email), ()), people, policy)
        if why:
            found.setdefault(name, []).append(Withdrawal(email, why, departed=why is _NO_ACTIVE_MEMBER))
    return {name: tuple(dict.fromkeys(ended)) for name, ended in found.items()}


def _why(
    invitation: Mapping[str, Any], members: Sequence[Mapping[str, Any]], people: People, policy: MemberPolicy
) -> str | None:
    if not members:
        return _NO_ACTIVE_MEMBER
    if any(_is_doubtful(row, people) for row in members):
        return _UNPROVED
    if invitation["role"] == ADMIN_ROLE or invitation["role"] != policy.default_role:
        role = f"the role {invitation['role']}" if invitation["role"] else "a role that is no longer there"
        return f"it gives {role} to all who sign in, before anything is proved"
    return None


def _is_doubtful(row: Mapping[str, Any], people: People) -> bool:
    """We invite people who have a password of their own: unchecked is no better than unproved then."""
    server, account = row["server"], row["account"]
    if (server, account) not in people.accounts.evidence:
        return False
    return people.accounts.of(server, account, row["clerk_user_id"]) is not Ownership.PROVED


@dataclass(frozen=True, slots=True)
class HalfMember:
    """A membership of one tenant's workspace with which no one comes in, and the role that it has."""

    user_id: str
    email: str
    role: str | None


@dataclass(frozen=True, slots=True)
class OurPeople:
    """The members of one tenant that we look after without Clerk.

    Args:
        admin_user_id: the stored admin of a tenant without an organization, else None.
        admin: the same person with a name, where the registry tells one.
        taken_over: user ids of members of its workspace inserted by SQL that Clerk does not know.
        default_role: label of the role for members who have none.
    """

    service: Collection[str]
    admin_user_id: str | None
    admin: Admin | AdminUnknown
    taken_over: Collection[str]
    default_role: str


def half_members(
    places: Mapping[tuple[str, str], str], half: pd.DataFrame, members: pd.DataFrame
) -> dict[str, tuple[HalfMember, ...]]:
    """Database name → memberships of its workspace with which no one comes in.

    Args:
        half, members: frames with the columns of `HALF_MEMBERS` and `TWENTY_MEMBERS`.
    """
    broken = half[half["record"].isin(BROKEN_RECORDS)]
    if broken.empty:
        return {}
    roles = members[["server", "workspace_id", "user_id", "role"]]
    found: dict[str, tuple[HalfMember, ...]] = {}
    for row in records(broken.merge(roles, on=["server", "workspace_id", "user_id"], how="left")):
        name = places.get((row["server"], row["workspace_id"]))
        if name is not None:
            found[name] = (*found.get(name, ()), HalfMember(row["user_id"], row["email"], row["role"]))
    return found


def to_mend(half: Sequence[HalfMember], ours: OurPeople) -> tuple[MemberPlan, ...]:
    """Those that we look after without Clerk, our own account first: it mends the others."""
    plans = [plan for member in half if (plan := _plan(member, ours)) is not None]
    return tuple(sorted(plans, key=lambda plan: (plan.twenty_user_id not in ours.service, plan.email)))


def _plan(member: HalfMember, ours: OurPeople) -> MemberPlan | None:
    first = last = ""
    if member.user_id in ours.service:
        role = ADMIN_ROLE
    elif member.user_id == ours.admin_user_id:
        role = ADMIN_ROLE
        if isinstance(ours.admin, Admin) and ours.admin.email == member.email:
            first, last = ours.admin.first_name, ours.admin.last_name
    elif member.user_id in ours.taken_over:
        role = member.role or ours.default_role
    else:
        return None
    return MemberPlan(None, member.email, first, last, role, member.user_id, (MEND_MEMBER,))
