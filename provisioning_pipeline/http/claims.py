"""A session token that claims another workspace than the ledger gives its organization: told as drift."""

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.history import History
from provisioning_pipeline.ledger.serving import LedgerAccess, LedgerAway
from provisioning_pipeline.model.history import Actor, Drift, DriftCause, Source
from provisioning_pipeline.model.session import WorkspaceContext


async def report_claim(ledger: LedgerAccess, context: WorkspaceContext) -> bool:
    """Keep it in the tenant's timeline, once an hour, and have a run look at what Clerk carries for the tenant.

    Whether it was kept is returned. The claim itself is not repeated: anything may stand there.
    """
    drift = Drift(
        context.database_name,
        DriftCause.CLERK,
        Source.SESSION,
        Actor.CLERK,
        f"a session of {context.session.user_id} claims another twenty_workspace_id than {context.workspace_id}; it "
        "was refused. Compare the claim in Clerk's session settings and the organization's public metadata.",
    )

    async def keep(database: Database) -> None:
        await History(database).add_drift(drift, "session")

    try:
        await ledger.ask(keep)
    except LedgerAway:
        # it was refused and logged; the next such token tells it again
        return False
    return True
