"""What deciding is given: everything that was read, and the answers to what it asks in between. Values only."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pandas as pd

from provisioning_pipeline.decide.detection import Detected, claimants_of
from provisioning_pipeline.decide.organizations import Match, match_organizations
from provisioning_pipeline.decide.ownership import AccountKey, KnownAccounts
from provisioning_pipeline.decide.registry_loss import RegistryLoss
from provisioning_pipeline.model.access_lock import AccessLock
from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.model.frames import ClerkSnapshot, TwentySnapshot
from provisioning_pipeline.model.offboarding import Offboarding
from provisioning_pipeline.model.people import Claim, Departure, Evidence, Membership, User
from provisioning_pipeline.model.registry import is_pending_status
from provisioning_pipeline.model.tenant import AdminUnknown, TenantPlan
from provisioning_pipeline.model.tenant_database import Inspection, RoleRights
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps.databases.plan.take_over import MOST_CONSIDERED, members_to_take_over
from provisioning_pipeline.steps.databases.plan.tenant_databases import (
    PeopleOfDatabase,
    old_names,
    people_of_databases,
)
from provisioning_pipeline.steps.members.plan.people import People
from provisioning_pipeline.steps.workspaces.plan.planner import Observed, asked_admin


@dataclass(frozen=True, slots=True)
class RegistryTable:
    """What the registry's table lets us do.

    Args:
        owner: the role that owns it; empty when there is no such table.
        stores_workspaces: it has a column for the workspace id, and we may write to it.
        status_writable: we may write a tenant's status.
    """

    owner: str = ""
    stores_workspaces: bool = False
    status_writable: bool = False


@dataclass(frozen=True)
class Seen:
    """Everything that was read, before anything is decided.

    Args:
        detected: the tenants to plan for.
        registry, member_links, user_links: frames of our own side.
        intents: frame; people that runs began to let in and have not linked.
        taken_over: our rows about people of workspaces inserted by SQL, also of those who left since.
        inspections: database name → inspection, of the tenant databases that were worth one.
        looked_at: when reading began, by the clock of the ledger's database.
        dropped: databases that were inspected once and are no more; not known when only some tenants are read.
        loss: what the registry has lost since a run last looked.
        claims: which tenants have the organizations in question, also tenants that are not planned for.
        tenant_role: what may be done by the role that opens tenant databases.
        table: what the registry's table lets us do.
        made_by_others: every account that is known to have a password that is not ours.
        once_at_clerk: (database name, e-mail) of people of those databases that Clerk once knew.
        locks, offboardings: database name → lock of its workspace, and its newest offboarding; also of other tenants.
    """

    detected: Sequence[Detected]
    registry: pd.DataFrame
    twenty: TwentySnapshot
    clerk: ClerkSnapshot
    member_links: pd.DataFrame
    user_links: pd.DataFrame
    intents: pd.DataFrame
    taken_over: Sequence[Mapping[str, Any]]
    inspections: Mapping[str, Inspection]
    looked_at: datetime
    dropped: frozenset[str] = frozenset()
    loss: RegistryLoss = field(default_factory=RegistryLoss)
    claims: Sequence[Claim] = ()
    tenant_role: RoleRights | None = None
    table: RegistryTable = RegistryTable()
    made_by_others: frozenset[AccountKey] = frozenset()
    once_at_clerk: Sequence[tuple[str, str]] = ()
    locks: Mapping[str, AccessLock] = field(default_factory=dict)
    offboardings: Mapping[str, Offboarding] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Demotion:
    """An Admin who is to be something else: how they came in says whether that takes anything away from them.

    `role` is the label of what they are to be.
    """

    database_name: str
    server: str
    workspace_id: str
    account: str
    email: str
    role: str


@dataclass(frozen=True)
class Questions:
    """What deciding needs to know before it can go on; what is empty is not asked.

    Args:
        accounts: what do these accounts at Twenty prove about their addresses?
        departures: (organization, Clerk user): is this person really gone from there?
        invitations: (database name, e-mail): did a run of ours send this invitation?
        emails: does a user at Clerk have this address?
        demotions: how did they come in?
        held: what did the ledger hold true of these tenants (database names)?
    """

    accounts: frozenset[AccountKey] = frozenset()
    departures: Sequence[tuple[str, str]] = ()
    invitations: Sequence[tuple[str, str]] = ()
    emails: frozenset[str] = frozenset()
    demotions: Sequence[Demotion] = ()
    held: Sequence[str] = ()


@dataclass(frozen=True)
class Answers:
    """What was said to `Questions`. Of what could not be asked now there is no answer, which removes no one.

    Args:
        accounts: those that are there, with what they prove.
        departures: those that a member check shows to be gone.
        invitations: those that a run of ours sent.
        emails: those that a user at Clerk has; None: Clerk could not be asked.
        joins: (server, workspace id, account) → when they joined, and when their role was given and last changed.
        added: (database name, e-mail) of those that a run of ours added with the role that they are to have.
        watched_since: database name → since when the ledger has known the tenant.
        held: database name → the conditions that were true by the ledger.
    """

    accounts: Mapping[AccountKey, Evidence] = field(default_factory=dict)
    departures: Mapping[tuple[str, str], Departure] = field(default_factory=dict)
    invitations: frozenset[tuple[str, str]] = frozenset()
    emails: frozenset[str] | None = frozenset()
    joins: Mapping[tuple[str, str, str], tuple[datetime, datetime, datetime]] = field(default_factory=dict)
    added: frozenset[tuple[str, str]] = frozenset()
    watched_since: Mapping[str, datetime] = field(default_factory=dict)
    held: Mapping[str, frozenset[ConditionType]] = field(default_factory=dict)


def standing_claims(settings: Settings, kept: Collection[str] = ()) -> Callable[[Claim], bool]:
    """Which claims to organizations stand; `kept` are database names whose registry rows were lost for a moment."""
    excluded = settings.excluded_statuses
    return lambda claim: claim.stands(excluded, kept)


# --- what of it planning uses ------------------------------------------------------------------------------


@dataclass(frozen=True)
class KnownSoFar:
    """What is known so far of accounts at Twenty; with every answer there is another one of these.

    Args:
        users: frame of Twenty's accounts.
        linked: (server, Clerk user) → the account that is linked to them.
        known: those that were asked about.
        by_email: (server, e-mail) → account, of those.
    """

    users: pd.DataFrame
    linked: Mapping[tuple[str, str], str]
    known: KnownAccounts
    by_email: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def unasked(cls, seen: Seen, settings: Settings) -> "KnownSoFar":
        links = seen.user_links[["server", "clerk_user_id", "twenty_user_id"]].itertuples(index=False)
        policy = settings.members_unproven
        return cls(
            seen.twenty.users,
            {(server, clerk): account for server, clerk, account in links},
            KnownAccounts(trusts=policy == "trust", trusts_mailboxes=policy == "trust-mailbox"),
        )

    def __add__(self, answers: Answers) -> "KnownSoFar":
        by_email = {(server, found.email): account for (server, account), found in answers.accounts.items()}
        return replace(
            self,
            known=replace(self.known, evidence={**self.known.evidence, **answers.accounts}),
            by_email={**self.by_email, **by_email},
        )

    def question(self, wanted: Collection[AccountKey]) -> Questions:
        """Nothing where every account is trusted; nothing twice."""
        return Questions(accounts=frozenset() if self.known.trusts else frozenset(wanted) - self.known.evidence.keys())

    def of_people(self, users: Iterable[User], emails: Collection[str] = ()) -> set[AccountKey]:
        """The accounts, on any server, of these people at Clerk and of these addresses."""
        people = list(users)
        wanted = {*emails, *(user.verified_email for user in people if user.verified_email)}
        if not wanted:
            return set()
        found = self.users[self.users["email"].isin(wanted)]
        ids = {user.user_id for user in people}
        linked = {(server, account) for (server, clerk), account in self.linked.items() if clerk in ids}
        return {*zip(found["server"], found["user_id"], strict=True), *linked}

    def unproved(self, server: str, email: str, clerk_user_id: str | None) -> Evidence | None:
        """The account there of this Clerk user, else with this address, if it is known to prove nothing."""
        linked = self.linked.get((server, clerk_user_id)) if clerk_user_id else None
        if linked is not None and (server, linked) in self.known.evidence:
            return self.known.unproved(server, linked, clerk_user_id)
        account = self.by_email.get((server, email))
        return self.known.unproved(server, account, clerk_user_id) if account else None


def organizations_of(settings: Settings, seen: Seen) -> dict[str, Match]:
    claimants = claimants_of(seen.detected, seen.claims)
    ours = {claimant.database_name for claimant in claimants}
    stands = standing_claims(settings, seen.loss.kept)
    return match_organizations(
        claimants,
        seen.clerk.organizations,
        adopt_by_slug=settings.adopt_by_slug,
        elsewhere=[claim for claim in seen.claims if claim.database_name not in ours and stands(claim)],
    )


def named_admins(seen: Seen, tenants: Collection[str]) -> set[str]:
    """The addresses of those that the registry or a request names as admin of these tenants."""
    named = (
        email
        for found in seen.detected
        if found.tenant.database_name in tenants
        for email in ((found.registry or {}).get("admin_email"), asked_admin(found))
    )
    return {str(email).strip().lower() for email in named if email}


def observed_of(
    seen: Seen,
    settings: Settings,
    matches: Mapping[str, Match],
    holders: Mapping[str, tuple[Membership, ...] | AdminUnknown],
    users: Mapping[str, User],
    admin_roles: Sequence[str],
    accounts: KnownSoFar,
) -> Observed:
    return Observed(
        servers=seen.twenty.servers,
        workspaces=seen.twenty.workspaces,
        flags=seen.twenty.flags,
        inspections=seen.inspections,
        service_users=seen.twenty.service_users,
        service_emails={server.name: server.service_email.strip().lower() for server in settings.servers},
        service_access=seen.twenty.service_access,
        organizations=matches,
        holders=holders,
        users=users,
        member_links=seen.member_links,
        taken_over=[row for row in seen.taken_over if not row["left"]],
        everyone=settings.onboarding_people == "everyone",
        twenty_members=seen.twenty.members,
        registry_stores=seen.table.stores_workspaces,
        is_pending=_pending_statuses(settings, seen.table),
        admin_roles=", ".join(admin_roles),
        old_names=old_names(
            seen.inspections, {found.tenant.database_name for found in seen.detected if found.registry is not None}
        ),
        unproved=accounts.unproved,
    )


def people_of(seen: Seen, places: pd.DataFrame) -> People:
    clerk, twenty = seen.clerk, seen.twenty
    return People(
        workplaces=places,
        memberships=clerk.memberships,
        clerk_users=clerk.users,
        twenty_users=twenty.users,
        twenty_members=twenty.members,
        user_links=seen.user_links,
        member_links=seen.member_links,
        service_users=twenty.service_users,
        complete=clerk.doubt is None and clerk.fault is None,
        half_members=twenty.half_members,
        member_names=twenty.member_names,
    )


def members_of_databases(
    seen: Seen, settings: Settings, entries: Sequence[TenantPlan], people: People, unread: Collection[str]
) -> dict[str, PeopleOfDatabase]:
    """The people that the inspected databases may name."""
    named = [
        (found.tenant.database_name, str(email).lower())
        for found in seen.detected
        for email in ((found.link or {}).get("admin_email"), (found.registry or {}).get("admin_email"))
        if email
    ]
    service = [server.service_email.strip().lower() for server in settings.servers]
    never = [*seen.once_at_clerk, *((name, email) for name in seen.inspections for email in service)]
    taken_over = [(str(row["database_name"]), str(row["email"])) for row in seen.taken_over]
    found = people_of_databases(seen.inspections, entries, people, named, taken_over, never)
    return {name: replace(entry, unread=name in unread) for name, entry in found.items()}


def strangers_of(seen: Seen, people: Mapping[str, PeopleOfDatabase]) -> frozenset[str]:
    """The people of workspaces inserted by SQL that Clerk may know all the same, outside of what was read of it."""
    return frozenset(
        member.email
        for name, found in seen.inspections.items()
        if found.workspaces
        for member in members_to_take_over(found.workspaces, people[name].at_clerk or (), people[name].inside)[
            :MOST_CONSIDERED
        ]
    )


def with_known(people: PeopleOfDatabase, known: frozenset[str] | None) -> PeopleOfDatabase:
    return replace(people, at_clerk=None if known is None else (people.at_clerk or frozenset()) | known)


def _pending_statuses(settings: Settings, table: RegistryTable) -> Callable[[object], bool]:
    """Whether a ready tenant's status is to be put right: never where we may not write it, or it would stay pending."""
    pending = settings.registry_pending_statuses
    if not table.status_writable or is_pending_status(settings.registry_ready_status, pending):
        return lambda _: False
    return lambda said: is_pending_status(said, pending)
