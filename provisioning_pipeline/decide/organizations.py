"""Which Clerk organization is which tenant's, who may be the admin of its workspace, and who is to be."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from provisioning_pipeline.decide.detection import Claimant
from provisioning_pipeline.decide.ownership import unproven_message
from provisioning_pipeline.model.condition import ConditionType, Reason, is_false, with_newer
from provisioning_pipeline.model.frames import ClerkSnapshot, records
from provisioning_pipeline.model.people import Claim, Evidence, Membership, User
from provisioning_pipeline.model.tenant import Admin, AdminUnknown, TenantPlan


@dataclass(frozen=True, slots=True)
class Match:
    """The organization of a tenant, or why none can be told.

    Neither means that the tenant has none. `reason` and `message` stand together.
    """

    organization_id: str | None = None
    reason: Reason | None = None
    message: str = ""


def match_organizations(
    claimants: Sequence[Claimant],
    organizations: pd.DataFrame,
    *,
    adopt_by_slug: bool,
    elsewhere: Iterable[Claim] = (),
) -> dict[str, Match]:
    """Database name → match: by the registry, else our link, else the organization's metadata, else its slug.

    A slug only proposes, unless `adopt_by_slug`. Between tenants, one that our ledger linked, and whose registry row
    never named an organization, keeps what it has, whatever other rows say; then comes the registry, then links whose
    rows gave the organization up, then metadata. If two tenants claim an organization in the same way, neither gets it:
    no workspace is shared. `elsewhere` are standing claims of tenants that are not planned for now.
    """
    rows = records(organizations)
    by_workspace = _unique((row["workspace_id"], row["organization_id"]) for row in rows)
    by_slug = _unique((row["slug"], row["organization_id"]) for row in rows)
    disputed = {row["workspace_id"] for row in rows if row["workspace_id"]} - by_workspace.keys()
    claims = {claimant.database_name: _claim(claimant, by_workspace) for claimant in claimants}
    counts = Counter((_strength(claim), claim.organization_id) for claim in elsewhere)
    counts.update(claim for claim in claims.values() if claim)
    open_slugs = Counter(claimant.slug for claimant in claimants if not claims[claimant.database_name])

    def match(claimant: Claimant) -> Match:
        claim = claims[claimant.database_name]
        if claim:
            return _settle(*claim, counts)
        if claimant.workspace_id in disputed:
            return _ambiguous(f"Several Clerk organizations name workspace {claimant.workspace_id} in their metadata.")
        proposed = by_slug.get(claimant.slug)
        if proposed is None or any(counts[strength, proposed] for strength in _STRENGTHS):
            return Match()
        return _propose(proposed, open_slugs[claimant.slug], adopt=adopt_by_slug)

    return {claimant.database_name: match(claimant) for claimant in claimants}


_BY_LINK, _BY_REGISTRY, _BY_LINK_GIVEN_UP, _BY_METADATA = _STRENGTHS = range(4)
"""The strongest first."""


def _claim(claimant: Claimant, by_workspace: Mapping[str, str]) -> tuple[int, str] | None:
    """The organization that this tenant claims most strongly, and how strongly."""
    link = _BY_LINK_GIVEN_UP if claimant.given_up else _BY_LINK
    told = by_workspace.get(claimant.workspace_id or "")
    # a tenant's own row is the last word about that tenant, though not about another one's members
    ways = ((_BY_REGISTRY, claimant.registered), (link, claimant.linked), (_BY_METADATA, told))
    return next(((strength, organization) for strength, organization in ways if organization), None)


def _settle(strength: int, organization: str, counts: Mapping[tuple[int, str], int]) -> Match:
    """Theirs, if no other tenant claims it as strongly or more."""
    if strength > _BY_LINK and counts[_BY_LINK, organization]:
        return _ambiguous(
            f"Clerk organization {organization} is another tenant's already, and its row never said otherwise."
        )
    if any(counts[stronger, organization] for stronger in range(strength)):
        return _ambiguous(f"Clerk organization {organization} is another tenant's in the registry.")
    tenants = counts[strength, organization]
    if tenants > 1:
        return _ambiguous(f"{tenants} tenants claim Clerk organization {organization}, so none of them gets it.")
    return Match(organization)


def _strength(claim: Claim) -> int:
    if claim.named:
        return _BY_REGISTRY
    return _BY_LINK_GIVEN_UP if claim.given_up else _BY_LINK


def without_organization(entry: TenantPlan) -> TenantPlan:
    """The plan of a tenant whose organization became another tenant's since it was read: nothing is done, and told."""
    match = _ambiguous(f"Clerk organization {entry.tenant.clerk_org_id} became another tenant's while this run read.")
    told = is_false(ConditionType.MEMBERS_SYNCED, Reason.ORGANIZATION_AMBIGUOUS, match.message)
    return replace(
        entry,
        tenant=replace(entry.tenant, clerk_org_id=None),
        changes=(),
        server=None,
        database=None,
        members=(),
        withdrawals=(),
        store_organization=None,
        conditions=with_newer(entry.conditions, told),
    )


def _propose(organization: str, tenants: int, *, adopt: bool) -> Match:
    if tenants > 1:
        return _ambiguous(
            f"Clerk organization {organization} has the slug of {tenants} tenants, so none of them gets it."
        )
    if adopt:
        return Match(organization)
    return Match(
        None,
        Reason.ORGANIZATION_PROPOSED,
        f"Clerk organization {organization} has the tenant's slug, and nothing else tells whose it is. Write it as "
        "clerk_org_id into the registry row, or set PROVISIONING_ADOPT_BY_SLUG=true.",
    )


def _ambiguous(why: str) -> Match:
    todo = "Write the id of each tenant's own organization as clerk_org_id into its registry row."
    return Match(None, Reason.ORGANIZATION_AMBIGUOUS, f"{why} {todo}")


def _unique(pairs: Iterable[tuple[str | None, str]]) -> dict[str, str]:
    """Key → organization, for keys that exactly one organization has."""
    found = {(key, organization) for key, organization in pairs if key}
    counts = Counter(key for key, _ in found)
    return {key: organization for key, organization in found if counts[key] == 1}


# --- admins -----------------------------------------------------------------------------------------------------------


def unread_organizations(clerk: ClerkSnapshot, matches: Mapping[str, Match]) -> dict[str, tuple[Reason, str]]:
    """Database name → why the members of its organization are not known."""
    known = set(clerk.organizations["organization_id"])
    found: dict[str, tuple[Reason, str]] = {}
    for name, match in matches.items():
        organization = match.organization_id
        if organization is None and match.reason is not None:
            continue
        # without an organization we cannot say whether there is one
        fault = clerk.fault or clerk.unread.get(organization or "")
        if fault:
            found[name] = fault.reason, fault.message
        elif organization is None or clerk.asked is not None or organization in known:
            continue
        elif clerk.doubt is None:
            told = f"Clerk knows no organization {organization}. Correct clerk_org_id in the registry."
            found[name] = Reason.ORGANIZATION_MISSING, told
        else:
            told = f"Clerk did not name organization {organization}: {clerk.doubt}"
            found[name] = Reason.CLERK_READ_INCOMPLETE, told
    return found


def admin_candidates(
    clerk: ClerkSnapshot,
    matches: Mapping[str, Match],
    unread: Mapping[str, tuple[Reason, str]],
    roles: Collection[str],
    tenants: Collection[str],
) -> tuple[dict[str, tuple[Membership, ...] | AdminUnknown], dict[str, User]]:
    """Organization of one of these tenants → who may be its admin, or why that is not known; and these people by id."""
    wanted = {name: match.organization_id for name, match in matches.items() if name in tenants}
    organizations = sorted({organization for organization in wanted.values() if organization})
    if not organizations:
        return {}, {}
    found, users = admin_holders(organizations, roles, clerk.memberships, clerk.users)
    holders: dict[str, tuple[Membership, ...] | AdminUnknown] = dict(found)
    for name, (reason, message) in unread.items():
        if organization := wanted.get(name):
            holders[organization] = AdminUnknown(reason, message)
    if clerk.doubt is not None:
        doubt = AdminUnknown(Reason.CLERK_READ_INCOMPLETE, f"Who is admin is not known for certain: {clerk.doubt}")
        holders |= {name: doubt for name, held in holders.items() if not held}
    return holders, users


def admin_holders(
    organizations: Collection[str], roles: Collection[str], memberships: pd.DataFrame, users: pd.DataFrame
) -> tuple[dict[str, tuple[Membership, ...]], dict[str, User]]:
    """The holders of these Clerk roles in these organizations, and the people among them, by id."""
    holders = memberships[memberships["organization_id"].isin(organizations) & memberships["role"].isin(roles)]
    people = users[users["user_id"].isin(set(holders["user_id"]))]
    known = {
        row["user_id"]: User(row["user_id"], row["email"], row["first_name"], row["last_name"], bool(row["banned"]))
        for row in records(people)
    }
    found: dict[str, tuple[Membership, ...]] = dict.fromkeys(organizations, ())
    for row in records(holders):
        banned = row["user_id"] in known and known[row["user_id"]].banned
        held = Membership(row["user_id"], row["role"], banned, int(row["created_at"]))
        found[row["organization_id"]] += (held,)
    return found, known


Unproved = Callable[[str, str | None], Evidence | None]
"""E-mail, Clerk user → the account there with this address, or linked to this user, if it is known to prove nothing."""


def choose_admin(
    clerk_org_id: str | None,
    registry_email: str | None,
    registry_name: str | None,
    holders: Mapping[str, tuple[Membership, ...] | AdminUnknown],
    users: Mapping[str, User],
    roles: str,
    asked_email: str | None = None,
    unproved: Unproved = lambda _email, _user: None,
    server: str = "",
    before: str | None = None,
) -> Admin | AdminUnknown:
    """The Clerk organization's admin if the tenant has an organization, else the registry's admin.

    A tenant whose organization names no admin waits: the registry's word does not overrule Clerk's. `asked_email`, the
    admin that the tenant manager named when it asked for the tenant, is the first of an organization's admins to be
    chosen, and beats the registry's where there is no organization. We choose no admin whose account on that server is
    `unproved`: it may belong to anyone who signed up under that address. `before`, the Clerk user who was the admin
    until now, goes first of all, if they still may.
    """
    none = AdminUnknown(
        Reason.ADMIN_UNKNOWN,
        "No admin is known: the registry row has no clerk_org_id and names no admin user with an e-mail in "
        "global_users. Set clerk_org_id (or admin_user_id) in the registry; the next run adds the admin.",
    )
    wanted: list[Admin] = []
    if clerk_org_id:
        members = holders.get(clerk_org_id, ())
        if isinstance(members, AdminUnknown):
            return members
        active = [
            users[member.user_id]
            for member in sorted(members, key=lambda member: (member.created_at, member.user_id))
            if not member.banned and member.user_id in users and not users[member.user_id].banned
        ]
        active.sort(key=lambda user: (user.user_id != before, asked_email not in (None, user.verified_email)))
        wanted = [
            Admin(user.verified_email, user.first_name, user.last_name, user.user_id)
            for user in active
            if user.verified_email
        ]
        none = AdminUnknown(
            Reason.ADMIN_EMAIL_UNVERIFIED,
            f"The admin of Clerk organization {clerk_org_id} has no verified primary e-mail. "
            "Have them verify it at Clerk; the next run adds them.",
        )
        if not active:
            none = AdminUnknown(
                Reason.ADMIN_UNKNOWN,
                f"Clerk organization {clerk_org_id} has no active member with role {roles}. "
                "Make someone its admin at Clerk; the next run adds them.",
            )
    elif asked_email and asked_email != (registry_email or "").strip().lower():
        wanted = [Admin(asked_email, "", "")]
    elif registry_email and "@" in registry_email:
        first, _, last = (registry_name or "").strip().partition(" ")
        wanted = [Admin(registry_email.strip().lower(), first, last.strip())]
    refused: list[AdminUnknown] = []
    for admin in wanted:
        evidence = unproved(admin.email, admin.clerk_user_id)
        if evidence is None:
            return admin
        keeps = "So they are not made the admin of this workspace, and no one else could be."
        refused.append(AdminUnknown(Reason.ACCOUNT_UNPROVEN, unproven_message(server, evidence, keeps)))
    return refused[0] if refused else none
