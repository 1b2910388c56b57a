"""Whether a registry that has lost rows is believed. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from provisioning_pipeline.model.approval import name_for_approval
from provisioning_pipeline.model.history import Budget, KnownRows
from provisioning_pipeline.values.sessions import SessionSettings


@dataclass(frozen=True, slots=True)
class RegistryLoss:
    """What the registry has lost since a run last looked.

    Args:
        lost: database names of tenants whose row is gone.
        doubt: why that is not believed, in one sentence with what to do; None: it is.
        kept: database names of tenants that stay as they are until it is known whether their row was taken away.
        approved: the loss is beyond the budget, and an operator approved exactly this.
    """

    lost: frozenset[str] = frozenset()
    doubt: str | None = None
    kept: frozenset[str] = frozenset()
    approved: bool = False


def loss_budget(settings: SessionSettings, approved: str | None = None) -> Budget:
    """How many rows a registry may lose at once; `approved` is the name of a loss that an operator agreed to."""
    return Budget(settings.registry_lost_share, settings.registry_lost_most, approved)


def weigh_loss(table: str, found: KnownRows, budget: Budget, *, dropped: Collection[str] = ()) -> RegistryLoss:
    """Whether so many lost rows are believed.

    `dropped` are those of the lost ones whose database is gone as well, which says the same on its own.
    """
    known, lost, rows = found.known, found.lost, found.rows
    if not lost:
        return RegistryLoss()
    alone = set(lost) - set(dropped)
    emptied = rows is None or (not rows and known > 1)
    if not emptied and len(alone) <= min(budget.most, budget.allowed(known)):
        return RegistryLoss(frozenset(lost))
    name = loss_name(lost)
    if name == budget.approved:
        return RegistryLoss(frozenset(lost), approved=True)
    if rows is None:
        what = f"There is no table {table} any more, which had rows of {known} tenants"
    elif not rows:
        what = f"{table} is empty, and had rows of {known} tenants"
    else:
        what = f"{table} has lost {len(lost)} of the {known} rows that were known, which is beyond the budget"
    return RegistryLoss(
        frozenset(lost),
        kept=frozenset(lost),
        doubt=f"{what}: so no database is adopted, and every tenant without its row stays as it is, suspended or not. "
        "Have the tenant manager put the rows back; or, if they were taken away for good, run `provisioning apply "
        f"--approve {name}`.",
    )


def loss_name(lost: Iterable[str]) -> str:
    """A short name of these lost rows; another set of them has another name."""
    return name_for_approval(["registry rows", *sorted(lost)])
