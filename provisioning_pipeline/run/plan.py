"""A plan: observe, ask, decide. Reads only, in a dry run and in a real one alike."""

import gc
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace

from psycopg import Error

from provisioning_pipeline.model.fault import TOO_LITTLE_MEMORY, Fault, RunFault
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.run.ask import answering
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.decide import decide
from provisioning_pipeline.run.observe import observe


async def plan(
    connections: Connections, tenants: Collection[str] = (), *, by_hand: bool = True, approved: str | None = None
) -> Plan:
    """What a run would do, for these tenants (slugs or database names) or for all.

    Names that were not given `by_hand` may belong to databases that vanished since a sensor saw them. `approved` is
    the name of a plan whose removals and demotions somebody agreed to.

    Raises:
        RunFault: when registry, ledger or cluster cannot be read, or Clerk refuses the key.
        UnknownTenants: when a name fits nobody.
        UnknownPlan: when nothing waits under the approved name.
    """
    names = sorted({name.strip() for name in tenants}) or None
    try:
        with _rare_garbage_collection():
            seen = await observe(connections, names, by_hand=by_hand, approved=approved)
            plan = await answering(connections, decide(seen, connections.settings, approved))
            return replace(plan, asked=tuple(tenants))
    except Fault as fault:
        raise RunFault(fault.message) from None
    except Error as error:
        raise RunFault(f"PostgreSQL refused to be read: {str(error).splitlines()[0]}.") from None
    except MemoryError:
        raise RunFault(TOO_LITTLE_MEMORY) from None


_RARE = (50_000, 20, 100)


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Hundreds of thousands of rows are made here and none is a cycle: looking for cycles among them took seconds."""
    before = gc.get_threshold()
    if before == _RARE:
        # another plan is being made in this process, which will put back what was before
        yield
        return
    gc.set_threshold(*_RARE)
    try:
        yield
    finally:
        gc.set_threshold(*before)
