"""Which Clerk organization is which tenant's."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from provisioning_pipeline.decide.detection import Detected
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.frames import records


@dataclass(frozen=True, slots=True)
class Claimant:
    """A tenant that may have an organization.

    Args:
        database_name, slug: the tenant.
        registered: what the registry says, or None.
        linked: what our own link says, or None.
        workspace_id: the tenant's workspace, or None.
    """

    database_name: str
    slug: str
    registered: str | None
    linked: str | None
    workspace_id: str | None


def claimants_of(detected: Iterable[Detected]) -> list[Claimant]:
    """The tenants that may be worked on, each with what is known of its organization."""
    return [
        Claimant(
            found.tenant.database_name,
            found.tenant.slug,
            found.tenant.clerk_org_id,
            (found.link or {}).get("clerk_org_id"),
            (found.link or {}).get("workspace_id"),
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
    claimed_elsewhere: Iterable[str] = (),
) -> dict[str, Match]:
    """Database name → match: by the registry, else our link, else the organization's metadata, else its slug.

    A slug only proposes, unless `adopt_by_slug`. A stronger claim beats a weaker one; an organization that two tenants
    claim in the same way is nobody's: no workspace is shared. `claimed_elsewhere` are registry rows of tenants that are
    not looked at now, one entry per claim.
    """
    rows = records(organizations)
    by_workspace = _unique((row["workspace_id"], row["organization_id"]) for row in rows)
    by_slug = _unique((row["slug"], row["organization_id"]) for row in rows)
    disputed = {row["workspace_id"] for row in rows if row["workspace_id"]} - by_workspace.keys()
    claims = _Claims(claimants, by_workspace, claimed_elsewhere)
    open_slugs = Counter(claimant.slug for claimant in claimants if claims.of(claimant) is None)

    def match(claimant: Claimant) -> Match:
        claimed = claims.of(claimant)
        if claimed is not None:
            return claims.settle(claimant, claimed)
        if claimant.workspace_id in disputed:
            return _ambiguous(f"Several Clerk organizations name workspace {claimant.workspace_id} in their metadata.")
        proposed = by_slug.get(claimant.slug)
        if proposed is None or claims.anybody(proposed):
            return Match()
        return _propose(proposed, open_slugs[claimant.slug], adopt=adopt_by_slug)

    return {claimant.database_name: match(claimant) for claimant in claimants}


class _Claims:
    """Who claims which organization, and how strongly: 0 by the registry, 1 by our link, 2 by its metadata."""

    def __init__(
        self, claimants: Sequence[Claimant], by_workspace: Mapping[str, str], claimed_elsewhere: Iterable[str]
    ) -> None:
        self._by_workspace = by_workspace
        self._counts = Counter((0, organization) for organization in claimed_elsewhere)
        self._counts.update(claim for claimant in claimants if (claim := self._claim(claimant)))

    def _claim(self, claimant: Claimant) -> tuple[int, str] | None:
        told = self._by_workspace.get(claimant.workspace_id or "")
        ways = enumerate((claimant.registered, claimant.linked, told))
        return next(((strength, organization) for strength, organization in ways if organization), None)

    def of(self, claimant: Claimant) -> str | None:
        """The organization that this tenant claims most strongly."""
        claim = self._claim(claimant)
        return claim[1] if claim else None

    def anybody(self, organization: str) -> bool:
        """Whether any tenant claims it."""
        return any(self._counts[(strength, organization)] for strength in range(3))

    def settle(self, claimant: Claimant, organization: str) -> Match:
        """Theirs, if nobody else claims it as strongly or more."""
        claim = self._claim(claimant)
        strength = claim[0] if claim else 0
        if any(self._counts[(stronger, organization)] for stronger in range(strength)):
            return _ambiguous(f"Clerk organization {organization} was this tenant's and is claimed by another one now.")
        tenants = self._counts[(strength, organization)]
        if tenants > 1:
            return _ambiguous(f"Clerk organization {organization} is claimed by {tenants} tenants, so it is nobody's.")
        return Match(organization)


def _propose(organization: str, tenants: int, *, adopt: bool) -> Match:
    if tenants > 1:
        return _ambiguous(f"Clerk organization {organization} has the slug of {tenants} tenants, so it is nobody's.")
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
