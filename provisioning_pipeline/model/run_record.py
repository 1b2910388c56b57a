"""What the ledger keeps of one run besides its outcomes, so that its report can be drawn again at any time."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

from provisioning_pipeline.model.forecast import Forecast
from provisioning_pipeline.model.history import Versions, Waiting


@dataclass(frozen=True)
class RunRecord:
    """Figures and facts of one run. Whatever a run did not get to has its default.

    Args:
        looked_at: tenants that the run looked at; None until it has planned.
        in_dagster: Dagster knows the run by this id.
        whole: it looked at all tenants.
        aside: tenants that were excluded at its end.
        drift: differences that it found.
        forecast: what was foretold before it began.
        waiting: what waits for approval.
        approved: an operator approved removals and demotions beyond the budget.
        calls: how often each operation was called; the sums are per system.
        emails: invitations that Twenty sent because of it.
        phases: in order, with seconds: wall-clock for reading and planning, summed over tenants for steps.
        refusals, defects: sentences for an operator, and unforeseen errors.
        versions, settings: what it was made with; no secrets.
    """

    looked_at: int | None = None
    whole: bool = False
    in_dagster: bool = False
    aside: int = 0
    drift: int = 0
    forecast: Forecast | None = None
    waiting: Waiting | None = None
    approved: bool = False
    calls: Mapping[str, int] = field(default_factory=dict)
    clerk_calls: int = 0
    twenty_calls: int = 0
    clerk_calls_allowed: int = 0
    mutating_calls: int = 0
    emails: int = 0
    phases: tuple[tuple[str, float], ...] = ()
    refusals: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()
    versions: Versions | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For the ledger."""
        document: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return document


_ADAPTER: TypeAdapter[RunRecord] = TypeAdapter(RunRecord)


def record_from(document: Mapping[str, Any] | None) -> RunRecord:
    """The record as `as_json` gave it, also by an earlier version of this program."""
    known = {name: value for name, value in (document or {}).items() if name in _FIELDS}
    return _ADAPTER.validate_python(known)


_FIELDS = frozenset(asdict(RunRecord()))
