"""The tables that are kept of a fleet and its runs: their columns, and how rows come about."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from provisioning_pipeline.model.history import Event
from provisioning_pipeline.model.reasons import next_step
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.report.plan_lines import lines_of
from provisioning_pipeline.report.summary import OutcomeLine, TenantLine

Kind = Literal["text", "number", "truth", "time"]
DTYPES: Mapping[Kind, str] = {
    "text": "string",
    "number": "float64",
    "truth": "boolean",
    "time": "datetime64[us, UTC]",
}
"""What pandas has a column of each kind as."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what its values are, and what they mean. A time is kept in UTC; any value may be missing."""

    kind: Kind
    meaning: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a fixed set of columns, also when it has no row. `name` is that of its asset."""

    name: str
    columns: Mapping[str, Column]


def _text(meaning: str) -> Column:
    return Column("text", meaning)


INVENTORY = Table(
    "tenant_inventory",
    {
        "slug": _text("The tenant's short name in the registry."),
        "database_name": _text("Its database: the tenant's identity everywhere."),
        "state": _text("ready, unwell (not ready) or aside (excluded)."),
        "lifecycle": _text("new, active, suspended, offboarding, gone or in_doubt."),
        "reason": _text("Why, in one word; docs/troubleshooting.md explains each."),
        "message": _text("What happened, in a sentence."),
        "next_step": _text("What a person does next."),
        "since": Column("time", "Since when it is ready, or not."),
        "tried_again_at": Column("time", "When a tenant that is not ready is tried again by itself."),
        "server": _text("The Twenty server that its workspace is on."),
        "workspace_id": _text("Its workspace at Twenty."),
        "workspace_url": _text("Where the workspace is opened."),
        "admin_email": _text("The workspace's admin."),
        "database_reason": _text("What is to be looked at in its own database, in one word."),
    },
)
PLAN = Table(
    "reconciliation_plan",
    {
        "slug": _text("The tenant."),
        "database_name": _text("Its database."),
        "server": _text("The Twenty server that its workspace is or will be on."),
        "sign": _text("+ add, ~ change, - take away, ! needs a person."),
        "line": _text("What would be done, or what is wrong."),
    },
)
OUTCOMES = Table(
    "reconciliation_outcomes",
    {
        "slug": _text("The tenant."),
        "change": _text("What was attempted."),
        "done": Column("truth", "Whether it succeeded."),
        "detail": _text("Who or what was changed, and why it failed where it did."),
        "seconds": Column("number", "How long it took."),
    },
)
TIMELINE = Table(
    "tenant_timeline",
    {
        "at": Column("time", "When."),
        "database_name": _text("The tenant's database."),
        "who": _text("Who is behind it, as far as it can be told."),
        "source": _text("Where it was seen."),
        "what": _text("What happened."),
        "failed": Column("truth", "An attempt of ours that did not succeed."),
        "run_id": _text("The run that did or saw it."),
    },
)


def inventory(lines: Iterable[TenantLine]) -> pd.DataFrame:
    """One row per tenant."""
    rows = (
        (
            line.slug,
            line.database_name,
            line.state,
            line.lifecycle and str(line.lifecycle),
            str(line.reason),
            line.message,
            next_step(line.reason) if line.state == "unwell" else None,
            line.since,
            line.look_again_at,
            line.server,
            line.workspace_id,
            line.workspace_url,
            line.admin_email,
            line.database_reason and str(line.database_reason),
        )
        for line in lines
    )
    return _frame(INVENTORY, rows)


def plan(planned: Plan) -> pd.DataFrame:
    """One row per line of each tenant's diff."""
    rows = (
        (entry.tenant.slug, entry.tenant.database_name, entry.server, line.sign, line.text)
        for entry in planned.tenants
        for line in lines_of(entry)
    )
    return _frame(PLAN, rows)


def outcomes(lines: Iterable[OutcomeLine]) -> pd.DataFrame:
    """One row per attempted change."""
    return _frame(OUTCOMES, ((line.tenant, line.change, line.done, line.detail, line.seconds) for line in lines))


def timeline(events: Mapping[str, Iterable[Event]]) -> pd.DataFrame:
    """One row per event; `events` by database name."""
    rows = (
        (event.at, name, str(event.who), str(event.source), event.what, event.failed, event.run_id)
        for name, found in events.items()
        for event in found
    )
    return _frame(TIMELINE, rows)


def _frame(table: Table, rows: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=list(table.columns), dtype=object)
    # of one type whether or not there are rows, so that files of different runs can be read together
    return frame.astype({name: DTYPES[column.kind] for name, column in table.columns.items()})
