"""Who is to be a member of which workspace, with which name and role.

What we cannot say for certain is a finding with a reason, never a guess. Only members that we linked ourselves can lose
their membership.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import pandas as pd

from provisioning_pipeline.decide.ownership import ONCE_PROVED, AccountKey, unproven_message
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.frames import BROKEN_RECORDS, records
from provisioning_pipeline.model.people import ADMIN_ROLE, Evidence, Ownership
from provisioning_pipeline.model.tenant import Finding, MemberPlan
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps.members.changes import (
    ADD_MEMBER,
    DEMOTE_MEMBER,
    DROP_LINK,
    FOLLOW_EMAIL,
    LINK_MEMBER,
    MEND_MEMBER,
    REMOVE_MEMBER,
    SET_NAME,
    SET_ROLE,
    STORE_AT_CLERK,
)
from provisioning_pipeline.steps.members.plan.emails import follow_or_tell
from provisioning_pipeline.steps.members.plan.people import (
    People,
    accounts_of,
    desired_members,
    gone_members,
    with_account_among,
)


@dataclass(frozen=True)
class MemberPolicy:
    """What the operator decided about members.

    Args:
        roles: Clerk role → label of the role in Twenty.
        default_role: label for every other Clerk role.
        gone: what happens to a linked person who is no longer an active member at Clerk.
        store_external_id: keep the Twenty user id at Clerk.
        emails: what happens to a linked account whose person has another verified e-mail at Clerk.
        names: what happens to a name that was changed in Twenty; Clerk's own changes are always followed.
    """

    roles: Mapping[str, str]
    default_role: str
    gone: Literal["report", "demote", "remove"] = "report"
    store_external_id: bool = False
    emails: Literal["report", "follow"] = "report"
    names: Literal["respect", "restore"] = "respect"

    @classmethod
    def of(cls, settings: Settings) -> "MemberPolicy":
        return cls(
            roles=settings.member_roles,
            default_role=settings.member_default_role,
            gone=settings.members_gone,
            store_external_id=settings.clerk_store_external_id and len(settings.servers) == 1,
            emails=settings.email_changes,
            names=settings.name_changes,
        )


@dataclass(frozen=True, slots=True)
class MemberDecision:
    """What is to be done for the members of one tenant.

    Args:
        members: people with at least one change, by Clerk user id.
        replace_admin: Twenty user ids that can no longer stand for the tenant's admin.
    """

    members: tuple[MemberPlan, ...] = ()
    findings: tuple[Finding, ...] = ()
    replace_admin: frozenset[str] = frozenset()

    @property
    def harmed(self) -> tuple[MemberPlan, ...]:
        """The members who would lose something. To take back only what our own join gave is no harm."""
        return tuple(member for member in self.members if member.harmful_changes and not member.undoes_our_join)


NOTHING: Final = MemberDecision()


def with_target(desired: pd.DataFrame, policy: MemberPolicy) -> pd.DataFrame:
    """The rows of `desired_members` with `target`: the label of the role that the mapping gives."""
    return desired.assign(target=desired["clerk_role"].map(policy.roles).fillna(policy.default_role))


def accounts_that_matter(desired: pd.DataFrame) -> set[AccountKey]:
    """The accounts of those who would get a role or a membership: they first have to prove that they are theirs.

    Args:
        desired: rows of `with_target`.
    """
    raised = (desired["current_role"] != desired["target"]) & (desired["current_role"] != ADMIN_ROLE)
    return accounts_of(desired[(desired["inside"].isna() | raised) & ~desired["contested"] & ~desired["is_service"]])


def decide_members(
    people: People, policy: MemberPolicy, desired: pd.DataFrame | None = None
) -> dict[str, MemberDecision]:
    """Database name → decision, for tenants in which anything is to be done or reported.

    `desired` are the rows of `with_target`, where they are known already.
    """
    if desired is None:
        desired = with_target(desired_members(people), policy)
    gone = gone_members(people, desired)
    builders: dict[str, _Builder] = {}
    known = with_account_among(desired, set(people.accounts.evidence))
    for row in records(desired[_needs_a_look(desired, policy) | known]):
        _decide_one(builders.setdefault(row["database_name"], _Builder()), row, policy, people)
    for row in records(gone):
        _decide_gone(builders.setdefault(row["database_name"], _Builder()), row, policy)
    _keep_an_admin(builders, desired)
    found = {name: builder.decision() for name, builder in builders.items()}
    return {name: decision for name, decision in found.items() if decision != NOTHING}


def _needs_a_look(rows: pd.DataFrame, policy: MemberPolicy) -> "pd.Series[bool]":
    """Rows in which not everything is as it should be; the rest is never made into objects."""
    named = (rows["first_name"] != "") | (rows["last_name"] != "")
    renamed = (rows["first_name"] != rows["linked_first_name"]) | (rows["last_name"] != rows["linked_last_name"])
    found = (
        rows["inside"].isna()
        | rows["linked_account"].isna()
        | (rows["linked_account"] != rows["account"])
        | ~rows["by_link"]
        | (named & (renamed | rows["record"].notna()))
        | rows["record"].isin(BROKEN_RECORDS)
        | (rows["current_role"] != rows["target"])
        | (rows["email"].notna() & (rows["account_email"] != rows["email"]))
        | rows["contested"]
        | rows["is_service"]
    )
    if policy.emails == "follow":
        found |= rows["linked_email"].notna() & (rows["linked_email"] != rows["account_email"])
    if policy.names == "restore":
        found |= named & _is_renamed_in_twenty(rows)
    if policy.store_external_id:
        found |= rows["external_id"] != rows["account"]
    return found


def _is_renamed_in_twenty(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Rows in which the name in Twenty, where it was read, is not Clerk's."""
    other = (rows["first_name"] != rows["member_first_name"]) | (rows["last_name"] != rows["member_last_name"])
    return rows["member_first_name"].notna() & other


# --- one person ---------------------------------------------------------------------------------------------------


@dataclass
class _Builder:
    members: dict[str, MemberPlan] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    replace_admin: set[str] = field(default_factory=set)
    harmed_admins: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    """Account → (linked at, e-mail, Clerk user) of admins who would lose their role."""
    doubtful: set[str] = field(default_factory=set)
    """Accounts and e-mails of active members whose account we cannot tell for certain."""

    def find(self, reason: Reason, person: str, message: str, *, blocks: bool = True) -> None:
        self.findings.append(Finding(reason, person, message, blocks))

    def decision(self) -> MemberDecision:
        order = list(Reason)
        return MemberDecision(
            tuple(self.members[user] for user in sorted(self.members)),
            tuple(sorted(self.findings, key=lambda found: (order.index(found.reason), found.person, found.message))),
            frozenset(self.replace_admin),
        )


def _decide_one(builder: _Builder, row: Mapping[str, Any], policy: MemberPolicy, people: People) -> None:
    clerk_user, email, account = row["clerk_user_id"], row["email"], row["account"]
    trouble = _account_trouble(row)
    if trouble:
        builder.findings.append(trouble)
        builder.doubtful |= {email, account} - {None}
        return
    inside = bool(row["inside"])
    follows = follow_or_tell(row, people, follow=policy.emails == "follow")
    if isinstance(follows, Finding):
        builder.findings.append(follows)
        follows = False
    ownership = people.accounts.of(row["server"], account, clerk_user) if account else Ownership.PROVED
    if ownership is Ownership.UNPROVED:
        _report_unproven(builder, row, people.accounts.evidence[row["server"], account], people)
        builder.replace_admin.add(account)
        if not inside:
            return
    changes = [
        *([] if inside else [ADD_MEMBER]),
        *([] if account and row["by_link"] and row["linked_account"] == account else [LINK_MEMBER]),
        *([MEND_MEMBER] if row["record"] in BROKEN_RECORDS else []),
        *_naming(row, policy),
        *_role_change(row, ownership, inside=inside),
        *([FOLLOW_EMAIL] if follows else []),
        *([STORE_AT_CLERK] if policy.store_external_id and not row["external_id"] else []),
    ]
    if policy.store_external_id and row["external_id"] and account and row["external_id"] != account:
        builder.find(
            Reason.EXTERNAL_ID_TAKEN,
            email or clerk_user,
            f"{email or clerk_user} already has external_id {row['external_id']} at Clerk; it is left as it is. Clear "
            "it there, or set PROVISIONING_CLERK_STORE_EXTERNAL_ID=false.",
        )
    succeeds = row["owner"] if not row["by_link"] and row["owner"] != clerk_user else None
    why = f"the account of {succeeds}, who was deleted at Clerk" if succeeds else ""
    if DEMOTE_MEMBER in changes:
        builder.harmed_admins[account] = (row["linked_at"] or 0, row["account_email"], clerk_user)
        builder.replace_admin.add(account)
        why = f"their role at Clerk is {row['clerk_role']}"
    elif ownership is Ownership.UNCHECKED and {ADD_MEMBER, SET_ROLE} & set(changes):
        why = ONCE_PROVED
    if changes:
        builder.members[clerk_user] = MemberPlan(
            clerk_user_id=clerk_user,
            email=row["account_email"],
            first_name=row["first_name"],
            last_name=row["last_name"],
            role=row["target"],
            twenty_user_id=account,
            changes=tuple(changes),
            why=why,
            # what a deleted person had was never theirs
            undoes_our_join=DEMOTE_MEMBER in changes
            and (succeeds is not None or (row["database_name"], clerk_user) in people.raised_by_us),
            new_email=email if follows else "",
            succeeds=succeeds,
        )


def _report_unproven(builder: _Builder, row: Mapping[str, Any], evidence: Evidence, people: People) -> None:
    """A member has what is theirs, more or less; a person outside lacks it, which blocks."""
    inside, current, target = bool(row["inside"]), row["current_role"], row["target"]
    if not inside:
        keeps = f"So they are neither added as {target} nor invited."
        known = people.invitations
        invited = (known["database_name"] == row["database_name"]) & (known["email"] == evidence.email)
        if (invited & ~known["ours"].astype(bool)).any():
            keeps += _INVITED_BY_OTHERS
    elif current == target:
        keeps = f"They keep the role {target}."
    elif current == ADMIN_ROLE:
        keeps = f"They get the role {target} instead of {current}, as Clerk says."
    else:
        keeps = f"They keep {f'the role {current}' if current else 'no role'}, although Clerk's makes them {target}."
    message = unproven_message(row["server"], evidence, keeps)
    builder.find(Reason.ACCOUNT_UNPROVEN, evidence.email, message, blocks=not inside)


_INVITED_BY_OTHERS: Final = (
    " Another member has invited this address to the workspace, though, and its owner joins by signing "
    "in: withdraw that in Twenty (Settings > Members) unless it is theirs."
)


def _account_trouble(row: Mapping[str, Any]) -> Finding | None:
    """Why we cannot say which account is theirs."""
    email, person = row["email"], row["email"] or row["clerk_user_id"]
    if row["is_service"]:
        return Finding(
            Reason.ACCOUNT_CLAIMED_TWICE,
            person,
            f"{person} is the e-mail of the service account, no member's. Use an address of its own for it.",
        )
    if not email and not row["by_link"]:
        return Finding(
            Reason.EMAIL_UNVERIFIED,
            person,
            f"{person} has no verified primary e-mail at Clerk, so no account can be made or found for them. Have "
            "them verify it; the next run adds them.",
        )
    if row["candidates"] > 1 and not row["by_link"]:
        return Finding(
            Reason.ACCOUNT_AMBIGUOUS,
            person,
            f"{int(row['candidates'])} accounts at Twenty have the e-mail {email} in different spellings. Delete or "
            "rename all but one there; the next run links it.",
        )
    if row["contested"]:
        return Finding(
            Reason.ACCOUNT_CLAIMED_TWICE,
            person,
            f"Two people at Clerk claim the Twenty account of {person}. Merge or delete one of them at Clerk, or "
            "delete the wrong row of provisioning.user_link.",
        )
    return None


def _naming(row: Mapping[str, Any], policy: MemberPolicy) -> Iterator[Change]:
    named = row["first_name"] or row["last_name"]
    renamed = (row["first_name"], row["last_name"]) != (row["linked_first_name"], row["linked_last_name"])
    in_twenty = (row["member_first_name"], row["member_last_name"])
    put_back = (
        policy.names == "restore"
        and row["member_first_name"] is not None
        and in_twenty != (row["first_name"], row["last_name"])
    )
    # a record without any name has never got one: a member who joined while our account could not act
    if named and (renamed or put_back or row["record"] == "nameless"):
        yield SET_NAME


def _role_change(row: Mapping[str, Any], ownership: Ownership, *, inside: bool) -> Iterator[Change]:
    """From Admin a role can only go down, which any account may; else it may go up."""
    if not inside or row["current_role"] == row["target"]:
        return
    if row["current_role"] == ADMIN_ROLE:
        yield DEMOTE_MEMBER
    elif ownership is not Ownership.UNPROVED:
        yield SET_ROLE


def _decide_gone(builder: _Builder, row: Mapping[str, Any], policy: MemberPolicy) -> None:
    # the link's e-mail may be one from before
    account, email = row["twenty_user_id"], row["account_email"] or row["email"]
    if {account, row["account_email"]} & builder.doubtful:
        # it may be an active person's own account: what was told of them comes first
        return
    if not row["taken"]:
        builder.replace_admin.add(account)
    if row["taken"] or not row["inside"]:
        change = DROP_LINK
    elif policy.gone == "remove":
        change = REMOVE_MEMBER
    elif policy.gone == "demote":
        # without a role there is nothing to take away
        if row["current_role"] in (None, policy.default_role):
            return
        change = DEMOTE_MEMBER
    else:
        builder.find(
            Reason.MEMBERS_GONE,
            email,
            f"{email} {row['why']} at Clerk but is still a member in Twenty. Remove them there, or set "
            "PROVISIONING_MEMBERS_GONE=remove.",
        )
        return
    if change in (REMOVE_MEMBER, DEMOTE_MEMBER) and row["current_role"] == ADMIN_ROLE:
        builder.harmed_admins[account] = (row["created_at"] or 0, email, row["clerk_user_id"])
    builder.members[row["clerk_user_id"]] = MemberPlan(
        clerk_user_id=row["clerk_user_id"],
        email=email,
        first_name=row["first_name"],
        last_name=row["last_name"],
        role=policy.default_role,
        twenty_user_id=account,
        changes=(change,),
        # an account that is another person's by now is not to be proved shut
        why="" if row["taken"] else f"{email} {row['why']} at Clerk",
        changed_at=row["changed_at"],
        departed=True,
    )


# --- no tenant is locked out ---------------------------------------------------------------------------------------


def _keep_an_admin(builders: Mapping[str, _Builder], desired: pd.DataFrame) -> None:
    """Where no active admin would be left, the one of longest standing keeps their role and is named.

    Only members count who are active at Clerk and Admin in Twenty at this moment: to add one may fail.
    """
    names = [name for name, builder in builders.items() if builder.harmed_admins]
    if not names:
        return
    staying = desired[
        desired["database_name"].isin(names)
        & (desired["current_role"] == ADMIN_ROLE)
        & (desired["target"] == ADMIN_ROLE)
        & ~desired["is_service"]
    ]
    safe = set(staying["database_name"])
    for name in names:
        builder = builders[name]
        if name in safe:
            continue
        account, (_, email, clerk_user) = min(builder.harmed_admins.items(), key=lambda item: (item[1], item[0]))
        kept = builder.members.pop(clerk_user)
        left = tuple(change for change in kept.changes if change not in (DEMOTE_MEMBER, REMOVE_MEMBER))
        if left:
            builder.members[clerk_user] = replace(kept, role=ADMIN_ROLE, changes=left, why="")
        builder.replace_admin.discard(account)
        builder.find(
            Reason.LAST_ADMIN_KEPT,
            email,
            f"{email} keeps the role Admin, since no other active admin would be left ({kept.why}). Make "
            "another member admin at Clerk; the next run goes on.",
        )


_AT_ONCE: Final = timedelta(seconds=60)
"""Twenty gives the role right after the membership; a crowd that joins at once takes longer."""


@dataclass(frozen=True, slots=True)
class Join:
    """How an Admin came into the workspace.

    Args:
        joined_at: when Twenty made the membership.
        role_given_at, role_changed_at: when Twenty made, and last changed, the row that gives them their role.
        added_by_us: the ledger has our join of theirs, with the role that they are to have now.
        linked: the ledger has them as a member of the tenant.
        watched_since: when the ledger got to know the tenant.
        verified: their mailbox was verified: a join of ours verifies none, an invitation of the customer's does.
        made_by_others: their account is known not to be ours.
    """

    joined_at: datetime
    role_given_at: datetime
    role_changed_at: datetime
    added_by_us: bool
    linked: bool
    watched_since: datetime | None
    verified: bool
    made_by_others: bool


def is_our_own_doing(join: Join) -> bool:
    """Whether they have had the role ever since they joined, and only we let them in.

    A join of ours that the ledger has; or, after a run that was killed before it could write anything down, a
    membership that is younger than the ledger's knowledge of the tenant, of a person not yet linked.
    """
    if max(join.role_given_at, join.role_changed_at) > join.joined_at + _AT_ONCE:
        return False
    if join.added_by_us:
        return True
    watched = join.watched_since is not None and join.joined_at >= join.watched_since
    return watched and not (join.linked or join.verified or join.made_by_others)


def lowered(desired: pd.DataFrame) -> pd.DataFrame:
    """The rows of `members.with_target` whose Admin is to be something else."""
    inside = desired["inside"].notna() & ~desired["contested"] & ~desired["is_service"]
    return desired[inside & (desired["current_role"] == ADMIN_ROLE) & (desired["target"] != ADMIN_ROLE)]
