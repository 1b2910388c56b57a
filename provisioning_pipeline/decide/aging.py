"""Workspaces that Twenty's own clean-up will delete: one that is not activated, or not paid for, within seven days
(source only)."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import pandas as pd

from provisioning_pipeline.model.forecast import AgingWorkspace
from provisioning_pipeline.model.frames import records

_WARNED_AFTER = timedelta(days=5)


def unactivated(workspaces: pd.DataFrame, slugs: Mapping[str, str]) -> tuple[AgingWorkspace, ...]:
    """The workspaces that were never activated or never paid for, oldest first.

    Each is called by its slug in `slugs`, by workspace id, else by its subdomain.
    """
    never = workspaces[workspaces["created_at"].notna() & ~workspaces["deleted"].astype(bool)]
    found = [
        AgingWorkspace(
            slugs.get(row["workspace_id"], row["subdomain"]),
            row["workspace_id"],
            row["created_at"],
            unpaid=row["activation_status"] == "CREATED",
        )
        for row in records(never)
    ]
    return tuple(sorted(found, key=lambda workspace: (workspace.created_at, workspace.workspace_id)))


def near_clean_up(workspaces: Iterable[AgingWorkspace], now: datetime) -> tuple[AgingWorkspace, ...]:
    """Those that go within two days, or may go at any time."""
    return tuple(workspace for workspace in workspaces if now - workspace.created_at >= _WARNED_AFTER)
