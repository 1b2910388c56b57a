"""Which Clerk organization is which tenant's."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from provisioning_pipeline.decide.detection import Claimant
from provisioning_pipeline.model.condition import ConditionType, Reason, is_false, with_newer
from provisioning_pipeline.model.frames import records
from provisioning_pipeline.model.people import Claim
from provisioning_pipeline.model.tenant import TenantPlan


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
    no workspace is shared. `elsewhere` are standing claims of tenants that are not looked at now.
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
