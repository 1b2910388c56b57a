"""`python -m benchmarks.noop`."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.ending import leave_on_signals
from benchmarks.goals import show_goals
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
    repeat: Annotated[int, typer.Option(min=1, help="Rounds of: bare reads, pipeline.")] = 5,
    profile: Annotated[bool, typer.Option("--profile", help="Say where the pipeline's time goes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Measure a reconciliation that finds nothing to do. Exit code 1 when a goal is missed."""
    leave_on_signals()
    small, large = Fleet(_size(tenants // _SMALLER, members)), Fleet(_size(tenants, members))
    with _served(small.size, members) as sandbox:
        _measure(small, sandbox, 1)
    with _served(large.size, members) as sandbox:
        _measure(large, sandbox, repeat)
        told = measure(Side.PIPELINE, sandbox.environment, profile=True).profile if profile else ""
    reached = figures.goals(small, large)
    if as_json:
        print(json.dumps(figures.as_json(small, large, reached), indent=2))
    else:
        console = Console(highlight=False)
        figures.show_times(console, large)
        figures.show_calls(console, (small, large))
        show_goals(console, reached)
    if told:
        print(told, file=sys.stderr if as_json else sys.stdout)
    raise typer.Exit(0 if all(goal.met for goal in reached) else 1)


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
                f"round {number} of {repeat}, {side}: {measured.seconds:.2f} s, {measured.peak / 1e6:.0f} MB"
            )


def _check(size: Size, side: Side, measured: Measured) -> None:
    nothing_to_do = {"tenants": size.tenants, "work": 0, "findings": 0, "notes": 0}
    if side is Side.PIPELINE and measured.found != nothing_to_do:
        raise RuntimeError(f"the fleet is not at rest, so the time would mean nothing: {measured.found}")


if __name__ == "__main__":
    typer.run(main)
