"""Which Clerk organization is which tenant's."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from provisioning_pipeline.decide.detection import Detected
from provisioning_pipeline.model.condition import ConditionType, Reason, is_false, with_newer
from provisioning_pipeline.model.frames import records
from provisioning_pipeline.model.people import Claim
from provisioning_pipeline.model.tenant import TenantPlan


@dataclass(frozen=True, slots=True)
class Claimant:
    """A tenant that may have an organization.

    Args:
        database_name, slug: the tenant.
        registered: what the registry says, or None.
        linked: what our own link says, or None.
        workspace_id: the tenant's workspace, or None.
        given_up: the registry said once what our link says, and says nothing any more.
    """

    database_name: str
    slug: str
    registered: str | None
    linked: str | None
    workspace_id: str | None
    given_up: bool = False


def claimants_of(detected: Iterable[Detected], claims: Iterable[Claim] = ()) -> list[Claimant]:
    """The tenants that may be worked on, each with what is known of its organization."""
    given_up = {claim.database_name for claim in claims if claim.given_up}
    return [
        Claimant(
            found.tenant.database_name,
            found.tenant.slug,
            found.tenant.clerk_org_id,
            (found.link or {}).get("clerk_org_id"),
            (found.link or {}).get("workspace_id"),
            found.tenant.database_name in given_up,
        )
        for found in detected
        if found.eligible
    ]


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
    claims = _Claims(claimants, by_workspace, elsewhere)
    open_slugs = Counter(claimant.slug for claimant in claimants if claims.of(claimant) is None)

    def match(claimant: Claimant) -> Match:
        claimed = claims.of(claimant)
        if claimed is not None:
            return claims.settle(claimant, claimed)
        if claimant.workspace_id in disputed:
            return _ambiguous(f"Several Clerk organizations name workspace {claimant.workspace_id} in their metadata.")
        proposed = by_slug.get(claimant.slug)
        if proposed is None or claims.is_claimed(proposed):
            return Match()
        return _propose(proposed, open_slugs[claimant.slug], adopt=adopt_by_slug)

    return {claimant.database_name: match(claimant) for claimant in claimants}


_BY_LINK, _BY_REGISTRY, _BY_LINK_GIVEN_UP, _BY_METADATA = _STRENGTHS = range(4)
"""The strongest first."""


class _Claims:
    """Who claims which organization, and how strongly."""

    def __init__(
        self, claimants: Sequence[Claimant], by_workspace: Mapping[str, str], elsewhere: Iterable[Claim]
    ) -> None:
        self._by_workspace = by_workspace
        self._counts = Counter((_strength(claim), claim.organization_id) for claim in elsewhere)
        self._claimed = {claimant.database_name: self._claim(claimant) for claimant in claimants}
        self._counts.update(claim for claim in self._claimed.values() if claim)

    def _claim(self, claimant: Claimant) -> tuple[int, str] | None:
        link = _BY_LINK_GIVEN_UP if claimant.given_up else _BY_LINK
        told = self._by_workspace.get(claimant.workspace_id or "")
        # a tenant's own row is the last word about that tenant, though not about another one's members
        ways = ((_BY_REGISTRY, claimant.registered), (link, claimant.linked), (_BY_METADATA, told))
        return next(((strength, organization) for strength, organization in ways if organization), None)

    def of(self, claimant: Claimant) -> str | None:
        """The organization that this tenant claims most strongly."""
        claim = self._claimed[claimant.database_name]
        return claim[1] if claim else None

    def is_claimed(self, organization: str) -> bool:
        """Whether any tenant claims it."""
        return any(self._counts[(strength, organization)] for strength in _STRENGTHS)

    def settle(self, claimant: Claimant, organization: str) -> Match:
        """Theirs, if no other tenant claims it as strongly or more."""
        claim = self._claimed[claimant.database_name]
        strength = claim[0] if claim else _BY_LINK
        if strength > _BY_LINK and self._counts[(_BY_LINK, organization)]:
            return _ambiguous(
                f"Clerk organization {organization} is another tenant's already, and its row never said otherwise."
            )
        if any(self._counts[(stronger, organization)] for stronger in range(strength)):
            return _ambiguous(f"Clerk organization {organization} is another tenant's in the registry.")
        tenants = self._counts[(strength, organization)]
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
    assert match.reason is not None
    told = is_false(ConditionType.MEMBERS_SYNCED, match.reason, match.message)
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
