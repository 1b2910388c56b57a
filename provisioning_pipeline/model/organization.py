"""Who says that a Clerk organization is a tenant's."""

from collections.abc import Collection
from dataclasses import dataclass

from provisioning_pipeline.model.tenant import registry_status


@dataclass(frozen=True, slots=True)
class Claim:
    """A tenant that has an organization by our ledger, by its registry row, or by both.

    Args:
        organization_id: the organization.
        database_name: the tenant; None: a registry row that names no database.
        linked: the ledger gives the organization to the tenant.
        registered: the tenant has a registry row.
        named: the organization that this row names, or None.
        status: of this row, or None.
        given_up: the row named it once, and names none any more; it still counts where no other row names it.
    """

    organization_id: str
    database_name: str | None
    linked: bool
    registered: bool
    named: str | None
    status: str | None
    given_up: bool = False

    def stands(self, aside: Collection[str], kept: Collection[str] = ()) -> bool:
        """Whether the tenant still has the organization by it.

        Not if it is excluded (`aside` are the statuses that say so, as policies compare them), if its row is gone, or
        if its row names another organization by now. A row in `kept`, database names, was lost for a moment.
        """
        if self.named and self.named != self.organization_id:
            return False
        if not self.registered:
            return self.database_name in kept
        return registry_status(self.status) not in aside
