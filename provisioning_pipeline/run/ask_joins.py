"""How those Admins came into their workspaces who are to be lowered. Reads only."""

import pandas as pd

from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.frames import records
from provisioning_pipeline.model.people import Evidence
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.steps.members.changes import ADD_MEMBER
from provisioning_pipeline.steps.members.plan.joins import Join, MemberKey


async def joins_of(
    connections: Connections, lowered: pd.DataFrame, evidence: "dict[tuple[str, str], Evidence]"
) -> dict[MemberKey, Join]:
    """(database name, Clerk user) → how they came in, for those of whom Twenty and the ledger can say so.

    Of a server that cannot be asked now nobody is known, and every demotion there counts against the budget.

    Args:
        connections: the systems.
        lowered: rows of `decide.joins.lowered`.
        evidence: what is known of their accounts.
    """
    rows = records(lowered)
    if not rows:
        return {}
    added = await connections.members.added(
        ADD_MEMBER, [(row["database_name"], row["account_email"], row["target"]) for row in rows]
    )
    watched = await connections.ledger.known_since(sorted({row["database_name"] for row in rows}))
    found: dict[MemberKey, Join] = {}
    for server in sorted({row["server"] for row in rows}):
        theirs = [row for row in rows if row["server"] == server]
        try:
            given = await connections.twenty_databases[server].roles_given(
                [(row["workspace_id"], row["account"]) for row in theirs]
            )
        except Fault:
            continue
        for row in theirs:
            times = given.get((row["workspace_id"], row["account"]))
            if times is None:
                continue
            known = evidence.get((server, row["account"]))
            found[row["database_name"], row["clerk_user_id"]] = Join(
                *times,
                added_by_us=(row["database_name"], row["account_email"]) in added,
                linked=row["linked_account"] is not None,
                watched_since=watched.get(row["database_name"]),
                verified=known is None or known.verified,
                made_by_others=known is None or (known.origin is not None and not known.origin.ours),
            )
    return found
