"""`python -m benchmarks.provisioning`."""

import json
import logging
import warnings
from contextlib import ExitStack
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.ending import leave_on_signals
from benchmarks.goals import Goal, OnlyCounts, exit_code, judged, show_goals
from benchmarks.provisioning import figures
from benchmarks.provisioning.fleets import Fleet, fleets
from benchmarks.provisioning.ways import Measured, Way, dagster_instance, measure
from provisioning_pipeline.settings import Settings

TENANTS = 10
ACTIVATION_SECONDS = 2.0
SMALL_FLEET = 10

_progress = Console(stderr=True, highlight=False, soft_wrap=True)


class Part(StrEnum):
    """What to measure."""

    ALL = "all"
    WAYS = "ways"
    FLEETS = "fleets"


def main(
    repeat: Annotated[int, typer.Option(min=1, help="Rounds of: bare calls, pipeline, pipeline in Dagster.")] = 3,
    samples: Annotated[int, typer.Option(min=1, help="New tenants per fleet.")] = 7,
    large_fleet: Annotated[int, typer.Option(min=SMALL_FLEET, help="Databases of the large fleet.")] = 10_000,
    part: Annotated[Part, typer.Option(help="Measure only this.")] = Part.ALL,
    only_counts: OnlyCounts = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Measure what the pipeline adds to the bare API calls. Exit code 1 when a goal is missed."""
    leave_on_signals()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    ways = _measure_ways(repeat) if part is not Part.FLEETS else None
    pair = _measure_fleets(samples, large_fleet) if part is not Part.WAYS else None
    goals = judged(
        [*(ways.goals() if ways else ()), *(figures.growth_goals(*pair) if pair else ())], only_counts=only_counts
    )
    if as_json:
        print(json.dumps(figures.as_json(ways, pair, goals), indent=2))
    else:
        _show(ways, pair, goals)
    raise typer.Exit(exit_code(goals))


def _measure_ways(repeat: int) -> figures.Ways:
    rounds: dict[Way, list[Measured]] = {way: [] for way in Way}
    with dagster_instance() as instance:
        for number in range(1, repeat + 1):
            for way in Way:
                measured = measure(way, instance, tenants=TENANTS, activation_seconds=ACTIVATION_SECONDS)
                rounds[way].append(measured)
                _progress.print(f"round {number} of {repeat}, {way}: {measured.seconds:.2f} s")
    return figures.Ways(rounds, TENANTS)


def _measure_fleets(samples: int, large_fleet: int) -> tuple[Fleet, Fleet]:
    _progress.print(f"preparing fleets of {SMALL_FLEET} and {large_fleet:,} databases")
    with ExitStack() as stack:
        pair = stack.enter_context(fleets(SMALL_FLEET, large_fleet, activation_seconds=ACTIVATION_SECONDS))
        for number in range(1, samples + 1):
            pair.measure(number)
            _progress.print(
                f"tenant {number} of {samples}: first call after {pair.small.first_call[-1]:.3f} s beside "
                f"{pair.small.databases} databases, {pair.large.first_call[-1]:.3f} s beside {pair.large.databases:,}"
            )
    return pair.small, pair.large


def _show(ways: figures.Ways | None, pair: tuple[Fleet, Fleet] | None, goals: list[Goal]) -> None:
    console = Console(highlight=False)
    if ways:
        concurrency = Settings.model_fields["tenant_concurrency"].default
        figures.show_ways(
            console, ways, tenants=TENANTS, concurrency=concurrency, activation_seconds=ACTIVATION_SECONDS
        )
    if pair:
        figures.show_fleets(console, *pair)
    show_goals(console, goals)


if __name__ == "__main__":
    typer.run(main)
