"""Ends the memberships of workspaces that were deleted by SQL, before anybody signs in to their servers."""

import time
from dataclasses import replace

from provisioning_pipeline.decide.retirements import told
from provisioning_pipeline.model.change import RETIRE_MEMBERSHIPS
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.tenant import Outcome, OutcomeStatus, Plan, Retirement
from provisioning_pipeline.run.connections import Connections


async def retire(connections: Connections, plan: Plan, run_id: str) -> Plan:
    """Do that for those of the plan that are ours; the plan, with why where it could not be done.

    Each is recorded as an outcome, of its tenant where it has one. Without the right to write there the others go on:
    whether the server can be worked on, our own sign-in tells.
    """
    if not plan.retirements:
        return plan
    outcomes, troubles = [], []
    for retirement in plan.retirements:
        if retirement.ours:
            outcome = await _retire(connections, retirement)
            outcomes.append(outcome)
            if outcome.status is OutcomeStatus.FAILED:
                troubles.append(outcome.detail)
    await connections.ledger.add_outcomes(run_id, outcomes)
    # what was to be done is told by its outcome now
    announced = set(told(retirement for retirement in plan.retirements if retirement.ours))
    return replace(plan, notes=(*troubles, *(note for note in plan.notes if note not in announced)))


async def _retire(connections: Connections, retirement: Retirement) -> Outcome:
    begun = time.perf_counter()
    named = f"workspace {retirement.workspace_id} ({retirement.subdomain}) on {retirement.server}, deleted by SQL"
    try:
        count = await connections.servers[retirement.server].database.retire_memberships(retirement.workspace_id)
        status, detail = OutcomeStatus.DONE, f"{count} of {named}"
    except Fault as fault:
        status, detail = OutcomeStatus.FAILED, f"{named}: {fault.message}"
    whose = retirement.database_name or retirement.subdomain
    return Outcome(whose, RETIRE_MEMBERSHIPS, status, detail, time.perf_counter() - begun)
