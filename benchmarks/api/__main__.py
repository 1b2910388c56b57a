"""`python -m benchmarks.api`."""

import json
import logging
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.api import figures
from benchmarks.api.figures import Rounds
from benchmarks.api.fleet import Fleet, fleet
from benchmarks.api.load import Generator, Load, Tokens, installed
from benchmarks.api.rounds import measure
from benchmarks.api.servers import Side
from benchmarks.ending import leave_on_signals
from benchmarks.goals import OnlyCounts, exit_code, judged, show_goals

_MORE_TOKENS = 1.3
"""Than the quickest measurement with known tokens would have used."""

_progress = Console(stderr=True, highlight=False, soft_wrap=True)


def main(
    tenants: Annotated[int, typer.Option(min=1, help="Tenants.")] = 20,
    members: Annotated[int, typer.Option(min=1, help="Members of each.")] = 10,
    connections: Annotated[int, typer.Option(min=1, max=400, help="Connections, a request at a time on each.")] = 16,
    seconds: Annotated[int, typer.Option(min=1, max=60, help="Seconds of each measurement.")] = 5,
    repeat: Annotated[int, typer.Option(min=1, help="Rounds of: bare server, HTTP API.")] = 5,
    generator: Annotated[
        Generator | None, typer.Option(help="Who sends the requests; by default wrk where it is installed.")
    ] = None,
    only_counts: OnlyCounts = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Measure how much the HTTP API takes from a gateway. Exit code 1 when a goal is missed.

    For a quick impression: --seconds 3 --repeat 3.
    """
    leave_on_signals()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    load = Load(generator or installed(), connections, seconds)
    with fleet(tenants, members) as running:
        known = Rounds(Tokens.KNOWN)
        tokens = running.tokens(len(running.members))
        _measure(known, running, tokens, (), load, repeat)
        quickest = max(measured.requests for side in Side for measured in known.of[side])
        once = running.tokens(int(_MORE_TOKENS * quickest))
        _progress.print(f"{len(once):,} new tokens signed")
        new = Rounds(Tokens.NEW)
        _measure(new, running, tokens, once, load, repeat)
        goals = [goal for kind in (known, new) for goal in kind.goals(len(running.members), load)]
    goals = judged(goals, only_counts=only_counts)
    if as_json:
        print(json.dumps(figures.as_json((known, new), load, goals), indent=2))
    else:
        console = Console(highlight=False)
        figures.show(console, (known, new), load)
        show_goals(console, goals)
    raise typer.Exit(exit_code(goals))


def _measure(
    rounds: Rounds, running: Fleet, tokens: Sequence[str], once: Sequence[str], load: Load, repeat: int
) -> None:
    for number in range(1, repeat + 1):
        # in turns, so that a busy machine hits both
        for side in Side if number % 2 else reversed(Side):
            measured = measure(side, running, tokens, once, rounds.kind, load)
            rounds.of[side].append(measured)
            _progress.print(
                f"{rounds.kind}, round {number} of {repeat}, {side}: {measured.per_second:,.0f} requests a second, "
                f"99 % within {measured.p99 * 1e3:.2f} ms"
            )


if __name__ == "__main__":
    typer.run(main)
