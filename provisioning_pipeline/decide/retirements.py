"""Workspaces that were marked as deleted by SQL while they have members: what is to become of those memberships."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from provisioning_pipeline.model.tenant import Retirement


def retirements_of(
    deleted_in_use: Mapping[str, Sequence[Mapping[str, Any]]], tenants: Mapping[tuple[str, str], str]
) -> tuple[Retirement, ...]:
    """Every such workspace, those first whose memberships are ours to end.

    Ours is a workspace of a tenant, and one of which our own account is a member: while that is so, nothing can be done
    on the whole server. Others are only told.

    Args:
        deleted_in_use: server → rows as `TwentyDatabase.deleted_in_use` reads them.
        tenants: (server, workspace id) → database name of the tenant whose workspace it is.
    """
    found = [
        Retirement(
            server=server,
            workspace_id=row["workspace_id"],
            subdomain=row["subdomain"],
            members=row["members"],
            database_name=tenants.get((server, row["workspace_id"])),
            ours=row["service"] or (server, row["workspace_id"]) in tenants,
        )
        for server, rows in deleted_in_use.items()
        for row in rows
    ]
    return tuple(sorted(found, key=lambda each: (not each.ours, each.server, each.subdomain)))


def told(retirements: Iterable[Retirement]) -> Iterator[str]:
    """One sentence about each, for a person."""
    for each in retirements:
        members = f"{each.members} membership{'s' if each.members != 1 else ''}"
        seen = (
            f'Workspace {each.workspace_id} ({each.subdomain}) of Twenty server "{each.server}" was marked as deleted '
            f"although it has {members}, so that none of them can sign in to any workspace of that server."
        )
        if each.ours:
            yield f"{seen} A run ends these memberships by SQL, as Twenty's own deletion does, before it signs in."
        else:
            yield (
                f"{seen} It is none of ours, so it is left as it is: delete it by Twenty's own call, or set "
                f'"deletedAt" of its rows in core."userWorkspace".'
            )
