"""The sides, each measured in a process of its own, so that its memory is its own too."""

import asyncio
import cProfile
import gc
import io
import json
import os
import pstats
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from benchmarks.counting import sent_to_postgres
from benchmarks.noop import bare
from benchmarks.stand_in import ROOT
from provisioning_pipeline.run.run import apply, dry_run
from provisioning_pipeline.settings import PREFIX, Settings, load_settings

_BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024
_PROFILE_LINES = 45


class Side(StrEnum):
    """Who reads."""

    BARE = "bare reads"
    PLAN = "plan"
    RUN = "whole run"


@dataclass(frozen=True)
class Measured:
    """One measurement.

    Args:
        seconds: wall-clock time from opening connections to closing them.
        processor: seconds of it that this process computed; a busy machine hardly changes them.
        peak: most memory that the process ever had, in bytes, interpreter and libraries included.
        statements: SQL statements that were sent.
        connections: how often PostgreSQL was connected to.
        found: what was read or decided, to be checked.
        profile: where the time went, as text; only under cProfile, which makes everything slower.
    """

    seconds: float
    processor: float
    peak: int
    statements: int
    connections: int
    found: dict[str, int]
    profile: str = ""


def measure(side: Side, environment: Mapping[str, str], *, profile: bool = False) -> Measured:
    """Measure one side once, in a fresh process with these settings and nobody else's.

    Raises:
        RuntimeError: when it fails, with the end of what it had to say.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.noop.sides", side.name, str(int(profile))],
        cwd=ROOT,
        env={**own, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise RuntimeError(f"the {side} failed: {ended.stderr[-2000:]}")
    return Measured(**json.loads(ended.stdout))


Act = Callable[[Settings], Coroutine[Any, Any, dict[str, int]]]


async def _bare(settings: Settings) -> dict[str, int]:
    return {"rows": await bare.read(settings)}


async def _plan(settings: Settings) -> dict[str, int]:
    plan = await dry_run(settings)
    findings = sum(len(entry.findings) for entry in plan.tenants)
    return {"tenants": len(plan.tenants), "work": len(plan.work), "findings": findings, "notes": len(plan.notes)}


async def _run(settings: Settings) -> dict[str, int]:
    applied = await apply(settings)
    worked_on, calls = applied.totals.worked_on, applied.totals.mutating_calls
    return {"tenants": applied.count("ready"), "work": worked_on, "actions": applied.summary.actions, "changes": calls}


_ACTS: dict[Side, Act] = {Side.BARE: _bare, Side.PLAN: _plan, Side.RUN: _run}


def _measure_here(side: Side, settings: Settings, profiler: cProfile.Profile | None) -> Measured:
    act = _ACTS[side]
    gc.collect()
    with sent_to_postgres() as sent:
        begun, worked = time.perf_counter(), time.process_time()
        with profiler or nullcontext():
            found = asyncio.run(act(settings))
        seconds, processor = time.perf_counter() - begun, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_PER_UNIT
    return Measured(
        seconds, processor, peak, sent.statements, sent.connections, found, _told(profiler) if profiler else ""
    )


def _told(profiler: cProfile.Profile) -> str:
    text = io.StringIO()
    statistics = pstats.Stats(profiler, stream=text)
    for order in ("cumulative", "tottime"):
        statistics.sort_stats(order).print_stats(_PROFILE_LINES)
    return text.getvalue().replace(f"{ROOT}/", "").replace(f"{sys.prefix}/", "")


if __name__ == "__main__":
    measured = _measure_here(
        Side[sys.argv[1]], load_settings(_env_file=None), cProfile.Profile() if int(sys.argv[2]) else None
    )
    print(json.dumps(asdict(measured)))
