"""When a registry that lost rows is believed, and when it is in doubt as an empty Clerk is."""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LossBudget:
    """Known registry rows that may be gone at once and are believed to have been taken away on purpose.

    Args:
        share: of the rows that were known, at least one of them.
        most: in all.
        approved: the loss that an operator approved by name, or None.
    """

    share: float
    most: int
    approved: str | None = None

    def allowed(self, known: int) -> int:
        """How many of so many known rows."""
        return min(self.most, max(1, int(self.share * known))) if self.most else 0


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


def weigh_loss(
    table: str,
    *,
    known: int,
    lost: Collection[str],
    rows: bool | None,
    dropped: Collection[str] = (),
    budget: LossBudget,
) -> RegistryLoss:
    """Whether so many lost rows are believed.

    Args:
        known: how many tenants had a row when a run last looked.
        lost: which of them have none now.
        rows: whether the registry has any row; None: there is no such table.
        dropped: those of the lost ones whose database is gone as well, which says the same on its own.
    """
    alone = set(lost) - set(dropped)
    emptied = bool(lost) and (rows is None or (not rows and known > 1))
    if not emptied and len(alone) <= budget.allowed(known):
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
    text = "\n".join(sorted(lost))
    return hashlib.sha256(f"registry rows\n{text}".encode()).hexdigest()[:12]
