"""What steps of their own accord find due, put into a plan once all else is decided."""

from dataclasses import replace

from provisioning_pipeline import steps
from provisioning_pipeline.ledger.schema import has_ledger
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.run.connections import Connections


async def with_due(connections: Connections, plan: Plan) -> Plan:
    """The plan with what each step in `steps.STEPS` that plans for itself finds due, from what the ledger holds true.

    Without such a step nothing is read.
    """
    planning = [step.plan for step in steps.STEPS if step.plan is not None]
    names = [entry.tenant.database_name for entry in plan.tenants]
    if not planning or not names:
        return plan
    known = await connections.history.before(names) if await has_ledger(connections.history.database) else {}
    entries = []
    for entry in plan.tenants:
        before = known.get(entry.tenant.database_name)
        for put in planning:
            entry = put(entry, before.held if before else frozenset())  # each adds to the last
        entries.append(entry)
    return replace(plan, tenants=tuple(entries))
