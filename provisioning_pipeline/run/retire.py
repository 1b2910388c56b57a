"""Ends the memberships of workspaces that were deleted by SQL, before anybody signs in to their servers."""

from contextlib import suppress
from dataclasses import replace

from provisioning_pipeline.decide.retirements import told
from provisioning_pipeline.model.change import RETIRE_MEMBERSHIPS
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.tenant import OutcomeStatus, Plan, Retirement
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.steps.record import Record


async def retire(connections: Connections, plan: Plan, run_id: str) -> Plan:
    """Do that for those of the plan that are ours; the plan, with why where it could not be done.

    Each is recorded as an outcome, of its tenant where it has one. Without the right to write there the others go on:
    whether the server can be worked on, our own sign-in tells.
    """
    if not plan.retirements:
        return plan
    records = [await _retire(connections, retirement, run_id) for retirement in plan.retirements if retirement.ours]
    troubles = [
        outcome.detail for record in records for outcome in record.outcomes if outcome.status is OutcomeStatus.FAILED
    ]
    # what was to be done is told by its outcome now
    announced = set(told(retirement for retirement in plan.retirements if retirement.ours))
    return replace(plan, notes=(*troubles, *(note for note in plan.notes if note not in announced)))


async def _retire(connections: Connections, retirement: Retirement, run_id: str) -> Record:
    record = Record(connections.journal, run_id, retirement.database_name or retirement.subdomain)
    named = f"workspace {retirement.workspace_id} ({retirement.subdomain}) on {retirement.server}, deleted by SQL"
    with suppress(Fault):
        async with record.change(RETIRE_MEMBERSHIPS, named) as learnt:
            count = await connections.servers[retirement.server].database.retire_memberships(retirement.workspace_id)
            learnt.append(f"{count} memberships")
    return record
