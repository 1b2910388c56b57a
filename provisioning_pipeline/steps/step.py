"""What a step of a run is: one value, which stands in `steps.STEPS` and nowhere else."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from provisioning_pipeline.model.change import Change, Where
from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.steps.scope import Scope

Held = frozenset[ConditionType]
"""The conditions of a tenant that are true by the ledger."""


@dataclass(frozen=True, eq=False)
class Step:
    """What a run does for a tenant whose plan wants it.

    Args:
        name: also that of the Dagster op.
        description: what it does, for people, in Dagster.
        condition: what it settles, and so does its failure.
        act: does it for one tenant, under the tenant's lock, in as many runs as it takes.
        changes: a plan with one of them wants the step.
        also_wanted: another reason for which a plan wants it. Pure.
        follows: it is taken, too, whenever a step before it on the tenant's server is, unless that ends access.
        where: what it needs. A step in the tenant's own database needs no server: nothing that befalls Twenty keeps it
            from being taken, and nothing that befalls it keeps others from being taken.
        beside: of a step that needs no server, the one in whose Dagster op it is taken for a tenant that wants none
            before that; it has no op of its own.
        plan: puts what is due into the plan of a tenant in whose workspace a run can work, once all else is decided,
            by what the ledger holds true. Pure. None: other rooms put it there.
    """

    name: str
    description: str
    condition: ConditionType
    act: Callable[[Scope], Awaitable[None]]
    changes: tuple[Change, ...]
    also_wanted: Callable[[TenantPlan], bool] = lambda _plan: False
    follows: bool = False
    where: Where = Where.SERVER
    beside: "Step | None" = None
    plan: Callable[[TenantPlan, Held], TenantPlan] | None = None

    def __str__(self) -> str:
        return self.name
