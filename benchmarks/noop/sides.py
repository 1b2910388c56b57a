"""The two sides, each measured in a process of its own, so that its memory is its own too."""

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
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any
from unittest import mock

import psycopg

from benchmarks.noop import bare
from benchmarks.stand_in import ROOT
from provisioning_pipeline.pipeline.connections import connect
from provisioning_pipeline.pipeline.planning import plan
from provisioning_pipeline.settings import PREFIX, Settings, load_settings

_BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024
_PROFILE_LINES = 45


class Side(StrEnum):
    """Who reads."""

    BARE = "bare reads"
    PIPELINE = "pipeline"


@dataclass(frozen=True)
class Measured:
    """One measurement.

    Args:
        seconds: wall-clock time from opening connections to closing them.
        processor: seconds of it that this process computed; a busy machine hardly changes them.
        peak: most memory that the process ever had, in bytes, interpreter and libraries included.
        statements: SQL statements that were sent.
        found: what was read or decided, to be checked.
        profile: where the time went, as text; only under cProfile, which makes everything slower.
    """

    seconds: float
    processor: float
    peak: int
    statements: int
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


async def _pipeline(settings: Settings) -> dict[str, int]:
    async with connect(settings, dry_run=True) as connections:
        made = await plan(connections)
    findings = sum(len(entry.findings) for entry in made.tenants)
    return {"tenants": len(made.tenants), "work": len(made.work), "findings": findings, "notes": len(made.notes)}


_ACTS: dict[Side, Act] = {Side.BARE: _bare, Side.PIPELINE: _pipeline}


def _measure_here(side: Side, settings: Settings, profiler: cProfile.Profile | None) -> Measured:
    act = _ACTS[side]
    gc.collect()
    with _statements() as statements:
        begun, worked = time.perf_counter(), time.process_time()
        with profiler or nullcontext():
            found = asyncio.run(act(settings))
        seconds, processor = time.perf_counter() - begun, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_PER_UNIT
    return Measured(seconds, processor, peak, len(statements), found, _told(profiler) if profiler else "")


@contextmanager
def _statements() -> Iterator[list[None]]:
    """One entry per statement that this process sends meanwhile."""
    sent: list[None] = []
    execute = psycopg.AsyncCursor.execute

    async def counting(cursor: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(None)
        return await execute(cursor, *arguments, **options)

    with mock.patch.object(psycopg.AsyncCursor, "execute", counting):
        yield sent


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
