"""Which organization is a tenant's, who may be its admin, and whose accounts at Twenty are theirs. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from provisioning_pipeline.decide.detection import Detected
from provisioning_pipeline.decide.organizations import Match, claimants_of, match_organizations
from provisioning_pipeline.decide.ownership import AccountKey, KnownAccounts
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.frames import ClerkSnapshot, frame
from provisioning_pipeline.model.people import Evidence, Membership, User
from provisioning_pipeline.model.tenant import Admin, AdminUnknown, TenantPlan, is_pending_status
from provisioning_pipeline.run.seen import Answers, Questions, RegistryTable, Seen, standing_claims
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps.databases.plan.take_over import old_names
from provisioning_pipeline.steps.members.plan.harm import STORED_ADMINS
from provisioning_pipeline.steps.members.plan.tenant_members import workspace_usable
from provisioning_pipeline.steps.workspaces.plan.admin import admin_holders
from provisioning_pipeline.steps.workspaces.plan.planner import Observed, admin_of, asked_admin


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


# --- tenants and their admins -----------------------------------------------------------------------------------------


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


def unread_organizations(clerk: ClerkSnapshot, matches: Mapping[str, Match]) -> dict[str, tuple[Reason, str]]:
    """Database name → why the members of its organization are not known."""
    known = set(clerk.organizations["organization_id"])
    found: dict[str, tuple[Reason, str]] = {}
    for name, match in matches.items():
        organization = match.organization_id
        if organization is None:
            if clerk.fault and match.reason is None:
                # whether there is one nobody can say
                found[name] = (clerk.fault.reason, clerk.fault.message)
            continue
        fault = clerk.fault or clerk.unread.get(organization)
        if fault:
            found[name] = (fault.reason, fault.message)
        elif clerk.asked is None and organization not in known:
            found[name] = (
                (
                    Reason.ORGANIZATION_MISSING,
                    f"Clerk knows no organization {organization}. Correct clerk_org_id in the registry.",
                )
                if clerk.doubt is None
                else (Reason.CLERK_READ_INCOMPLETE, f"Clerk did not name organization {organization}: {clerk.doubt}")
            )
    return found


def admin_candidates(
    clerk: ClerkSnapshot,
    matches: Mapping[str, Match],
    unread: Mapping[str, tuple[Reason, str]],
    roles: Sequence[str],
    tenants: Collection[str],
) -> tuple[dict[str, tuple[Membership, ...] | AdminUnknown], dict[str, User]]:
    """Organization of one of these tenants → who may be its admin, or why nobody knows."""
    wanted = {name: match.organization_id for name, match in matches.items() if name in tenants}
    if not any(wanted.values()):
        return {}, {}
    organizations = sorted({organization for organization in wanted.values() if organization})
    found, users = admin_holders(organizations, roles, clerk.memberships, clerk.users)
    holders: dict[str, tuple[Membership, ...] | AdminUnknown] = dict(found)
    for name, (reason, message) in unread.items():
        if organization := wanted.get(name):
            holders[organization] = AdminUnknown(reason, message)
    if clerk.doubt is not None:
        doubt = AdminUnknown(Reason.CLERK_READ_INCOMPLETE, f"Who is admin is not known for certain: {clerk.doubt}")
        holders |= {name: doubt for name, held in holders.items() if not held}
    return holders, users


def named_admins(seen: Seen, tenants: Collection[str]) -> set[str]:
    """The addresses of those whom the registry or a request names as admin of these tenants."""
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
        looks=seen.looks,
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
            seen.looks, {found.tenant.database_name for found in seen.detected if found.registry is not None}
        ),
        unproved=accounts.unproved,
    )


def _pending_statuses(settings: Settings, table: RegistryTable) -> Callable[[object], bool]:
    """Whether a ready tenant's status is to be put right: never where we may not write it, or it would stay pending."""
    pending = settings.registry_pending_statuses
    if not table.status_writable or is_pending_status(settings.registry_ready_status, pending):
        return lambda _: False
    return lambda said: is_pending_status(said, pending)


def stored_admins(
    drafts: Sequence[TenantPlan],
    links: Mapping[str, Mapping[str, Any]],
    unread: Collection[str],
    by_name: Mapping[str, Detected],
    observed: Observed,
) -> pd.DataFrame:
    """The stored admins of whom it can be said now whether they stand for their tenants."""
    rows = []
    for entry in drafts:
        name, organization = entry.tenant.database_name, entry.tenant.clerk_org_id
        link = links[name]
        if not link.get("admin_user_id") or not link.get("workspace_id") or name in unread:
            continue
        if entry.server is None or not workspace_usable(entry) or not by_name[name].eligible:
            continue
        named = None if organization else admin_of(observed, by_name[name], None, entry.server)
        email = named.email if isinstance(named, Admin) else None
        account = link["admin_user_id"], link["admin_email"]
        rows.append((name, organization, entry.server, link["workspace_id"], *account, email))
    return frame(STORED_ADMINS, rows)
