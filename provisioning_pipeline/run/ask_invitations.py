"""The open invitations to our tenants' workspaces, and which of them this program sent. Reads only."""

import pandas as pd

from provisioning_pipeline.model.frames import frame
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.steps.members.changes import INVITE_MEMBER, WITHDRAW_INVITATION
from provisioning_pipeline.steps.members.plan.people import INVITATIONS_OF_TENANTS


async def invitations_of_tenants(
    connections: Connections, places: pd.DataFrame, invitations: pd.DataFrame
) -> pd.DataFrame:
    """Columns of `INVITATIONS_OF_TENANTS`; the ledger is asked only where there is any.

    Args:
        connections: the systems.
        places: frame with the columns of `WORKPLACES`.
        invitations: frame with the columns of `INVITATIONS`.
    """
    found = invitations.merge(places[["database_name", "server", "workspace_id"]], on=["server", "workspace_id"])
    keys = list(zip(found["database_name"], found["email"], strict=True))
    ours = await connections.members.invited(INVITE_MEMBER, WITHDRAW_INVITATION, keys)
    columns = found[["database_name", "server", "workspace_id", "email", "role"]].itertuples(index=False, name=None)
    return frame(INVITATIONS_OF_TENANTS, [(*row, key in ours) for row, key in zip(columns, keys, strict=True)])
