"""`python -m benchmarks.members`."""

import json
import logging
import warnings
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.ending import leave_on_signals
from benchmarks.goals import OnlyCounts, exit_code, judged, show_goals
from benchmarks.members import figures
from benchmarks.members.figures import Rounds
from benchmarks.members.ways import Measured, Way, measure, measure_everything_new

ACTIVATION_SECONDS = 2.0

_progress = Console(stderr=True, highlight=False, soft_wrap=True)


def main(
    tenants: Annotated[int, typer.Option(min=1, help="Tenants.")] = 50,
    members: Annotated[int, typer.Option(min=3, help="Members of each, its admin included.")] = 20,
    repeat: Annotated[int, typer.Option(min=1, help="Rounds of: bare calls, pipeline.")] = 3,
    only_counts: OnlyCounts = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure how quickly members come in. Exit code 1 when a goal is missed."""
    leave_on_signals()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    rounds = _measure(repeat, tenants, members)
    new = measure_everything_new(tenants=tenants, members=members, activation_seconds=ACTIVATION_SECONDS)
    goals = judged(rounds.goals(), only_counts=only_counts)
    if as_json:
        print(json.dumps(figures.as_json(rounds, new, goals), indent=2))
    else:
        console = Console(highlight=False)
        figures.show(console, rounds, new, ACTIVATION_SECONDS)
        show_goals(console, goals)
    raise typer.Exit(exit_code(goals))


def _measure(repeat: int, tenants: int, members: int) -> Rounds:
    found: dict[Way, list[Measured]] = {way: [] for way in Way}
    for number in range(1, repeat + 1):
        # in turns, so that a busy machine hits both
        for way in Way if number % 2 else reversed(Way):
            measured = measure(way, tenants=tenants, members=members)
            found[way].append(measured)
            _progress.print(
                f"round {number} of {repeat}, {way}: {measured.seconds:.2f} s, "
                f"{measured.members_per_second:.1f} members a second"
            )
    return Rounds(found, tenants)


if __name__ == "__main__":
    typer.run(main)
