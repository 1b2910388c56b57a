"""All tenants, a page at a time."""

import base64
import binascii
from dataclasses import dataclass

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.http.tenant_requests import TenantState, address_of
from provisioning_pipeline.ledger.fleet import page, shared_names
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.members import Proofs
from provisioning_pipeline.ledger.tenant_requests import TenantRequests
from provisioning_pipeline.model.api_key import EVERY_TENANT, Reach
from provisioning_pipeline.report.summary import tenant_lines


@dataclass(frozen=True, slots=True)
class TenantPage:
    """Tenants by database name, and where the next page begins; None: there is none."""

    tenants: tuple[TenantState, ...]
    next: str | None


async def tenant_page(
    database: Database,
    *,
    limit: int,
    cursor: str | None,
    state: str | None,
    clerk_org_id: str | None,
    reach: Reach = EVERY_TENANT,
) -> TenantPage:
    """Up to `limit` tenants in reach after `cursor`, all or those in one state or of one organization.

    Raises:
        ValueError: when the cursor is none.
    """
    found = await page(database, _after(cursor), limit + 1, state, clerk_org_id, reach)
    organizations = {row["database_name"]: row.pop("clerk_org_id") for row in found}
    names = [row["database_name"] for row in found[:limit]]
    lines = {line.database_name: line for line in tenant_lines(found[:limit], await Ledger(database).conditions(names))}
    statuses = {(proof.database_name, proof.twenty_user_id): proof.status for proof in await Proofs(database).of(names)}
    waiting = await TenantRequests(database).waiting(names)
    shared = await shared_names(database, [line.slug for line in lines.values()])
    return TenantPage(
        tuple(
            TenantState(
                lines[name],
                organizations[name],
                statuses.get((name, lines[name].admin_user_id or "")),
                waiting=name in waiting,
                address=address_of(lines[name], shared),
            )
            for name in names
        ),
        _cursor(names[-1]) if len(found) > limit else None,
    )


def _cursor(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _after(cursor: str | None) -> str:
    """The database name that a cursor stands for."""
    if cursor is None:
        return ""
    try:
        name = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, UnicodeError) as error:
        raise ValueError(cursor) from error
    if not name or not name.isprintable() or _cursor(name) != cursor:
        raise ValueError(cursor)
    return name
