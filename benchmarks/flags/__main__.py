"""`python -m benchmarks.flags`."""

import json
import logging
import warnings
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.ending import leave_on_signals
from benchmarks.flags import figures
from benchmarks.flags.fleet import Fleet, fleet
from benchmarks.flags.ways import Observed, full_looks, observe
from benchmarks.goals import OnlyCounts, exit_code, judged, show_goals
from provisioning_pipeline.settings import Settings

AT_ONCE: int = Settings.model_fields["tenant_database_connections"].default
_FEWEST = 10

_progress = Console(stderr=True, highlight=False, soft_wrap=True)


def main(
    databases: Annotated[
        int, typer.Option(min=_FEWEST, help="Tenant databases; each takes 8 MB of disk and a moment to make.")
    ] = 1_000,
    repeat: Annotated[int, typer.Option(min=1, help="Rounds of: bare loop, full look.")] = 5,
    at_once: Annotated[
        int, typer.Option(min=1, max=64, help="Connections at once, as PROVISIONING_TENANT_DATABASE_CONNECTIONS.")
    ] = AT_ONCE,
    only_counts: OnlyCounts = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Measure what it costs to keep watch over the tenants' own databases.

    First the queries of an observation when nobody wrote anywhere, as the server counts them: their number must not
    grow with the databases. Then the seconds of a look into every database, beside a bare loop that connects and sends
    the same messages: at most 1.2 times as many. Exit code 1 when a goal is missed.

    For a quick impression: --databases 100 --repeat 3.
    """
    leave_on_signals()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with fleet(databases, lambda made: _progress.print(f"{made:,} of {databases:,} databases made")) as running:
        tenth, whole = _observe_unchanged(running, at_once)
        rounds = full_looks(running, at_once, repeat, _progress.print)
    goals = judged(figures.goals(tenth, whole, rounds), only_counts=only_counts)
    if as_json:
        print(json.dumps(figures.as_json([tenth, whole], rounds, goals), indent=2))
    else:
        console = Console(highlight=False)
        figures.show(console, [tenth, whole], rounds, at_once)
        show_goals(console, goals)
    raise typer.Exit(exit_code(goals))


def _observe_unchanged(running: Fleet, at_once: int) -> tuple[Observed, Observed]:
    """An observation of a tenth and one of all, after a first one that had to look into every database."""
    first = observe(running, at_once)
    _progress.print(f"the first observation looked into {first.looked_into:,} databases: {first.queries:,} queries")
    return observe(running, at_once, running.names[: len(running.names) // 10]), observe(running, at_once)


if __name__ == "__main__":
    typer.run(main)
