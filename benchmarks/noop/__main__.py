"""`python -m benchmarks.noop`."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.ending import leave_on_signals
from benchmarks.goals import OnlyCounts, exit_code, judged, show_goals
from benchmarks.noop import figures
from benchmarks.noop.figures import Fleet, Size
from benchmarks.noop.sides import Measured, Side, measure
from benchmarks.stand_in import StandIn, Wanted, stand_in

_SMALLER = 10
"""The large fleet is so many times the small one."""

_progress = Console(stderr=True, highlight=False, soft_wrap=True)


def main(
    tenants: Annotated[int, typer.Option(min=20, help="Tenants of the large fleet.")] = 10_000,
    members: Annotated[int, typer.Option(min=2, help="Members of each; half as many people as memberships.")] = 10,
    repeat: Annotated[int, typer.Option(min=1, help="Rounds of: bare reads, plan, whole run.")] = 5,
    profile: Annotated[bool, typer.Option("--profile", help="Say where the run's time goes.")] = False,
    only_counts: OnlyCounts = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Measure a run that finds nothing to do. Exit code 1 when a goal is missed."""
    leave_on_signals()
    small, large = Fleet(_size(tenants // _SMALLER, members)), Fleet(_size(tenants, members))
    with _served(small.size, members) as sandbox:
        _measure(small, sandbox, 1)
    with _served(large.size, members) as sandbox:
        _measure(large, sandbox, repeat)
        told = measure(Side.RUN, sandbox.environment, profile=True).profile if profile else ""
    reached = judged(figures.goals(small, large), only_counts=only_counts)
    if as_json:
        print(json.dumps(figures.as_json(small, large, reached), indent=2))
    else:
        console = Console(highlight=False)
        figures.show_times(console, large)
        figures.show_calls(console, (small, large))
        show_goals(console, reached)
    if told:
        print(told, file=sys.stderr if as_json else sys.stdout)
    raise typer.Exit(exit_code(reached))


def _size(tenants: int, members: int) -> Size:
    return Size(tenants, tenants * members, tenants * members // 2)


@contextmanager
def _served(size: Size, members: int) -> Iterator[StandIn]:
    """One real tenant, and rows for the rest."""
    _progress.print(f"preparing {size}")
    wanted = Wanted(
        members=members, rows=size.tenants - 1, row_members=members, row_people=size.people - members, ready=True
    )
    with stand_in(wanted) as sandbox:
        measure(Side.BARE, sandbox.environment)
        _progress.print("bringing the fleet to rest: a run that looks into every database")
        first = measure(Side.RUN, sandbox.environment)
        _progress.print(f"that took {first.seconds:.1f} s and {first.connections:,} connections")
        yield sandbox


def _measure(fleet: Fleet, sandbox: StandIn, repeat: int) -> None:
    for number in range(1, repeat + 1):
        # in turns, so that a busy machine hits both
        for side in Side if number % 2 else reversed(Side):
            sandbox.reset_counters()
            measured = measure(side, sandbox.environment)
            fleet.calls[side] = sandbox.calls()
            _check(fleet.size, side, measured)
            fleet.rounds[side].append(measured)
            _progress.print(
                f"round {number} of {repeat}, {side}: {measured.seconds:.2f} s, {measured.peak / 1e6:.0f} MB, "
                f"{measured.statements} statements, {measured.connections} connections"
            )


_AT_REST = {
    Side.PLAN: {"work": 0, "findings": 0, "notes": 0},
    Side.RUN: {"work": 0, "actions": 0, "changes": 0},
}


def _check(size: Size, side: Side, measured: Measured) -> None:
    if side in _AT_REST and measured.found != {"tenants": size.tenants, **_AT_REST[side]}:
        raise RuntimeError(f"the fleet is not at rest, so the time would mean nothing: {measured.found}")


if __name__ == "__main__":
    typer.run(main)
