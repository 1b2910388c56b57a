"""Three ways to make ten new tenants ready, each timed on a fresh sandbox in the same state."""

import asyncio
import gc
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.provisioning import bare
from benchmarks.stand_in import Wanted, stand_in
from provisioning_pipeline.run.run import apply
from provisioning_pipeline.sandbox.fleet import AddedTenant
from provisioning_pipeline.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

Act = Callable[[Settings, Sequence[AddedTenant]], None]


class Way(StrEnum):
    """How the tenants become ready."""

    BARE = "bare API calls"
    PIPELINE = "pipeline"
    DAGSTER = "pipeline in a Dagster run"


@dataclass(frozen=True)
class Measured:
    """One measurement: its wall-clock time, and the calls that the stand-ins counted in it."""

    way: Way
    seconds: float
    calls: Counter[str]


def measure(way: Way, instance: "dg.DagsterInstance", *, tenants: int, activation_seconds: float) -> Measured:
    """Time one way.

    The sandbox's own first tenant is made ready beforehand, which warms the stand-ins and this process, and makes
    ledger and service account. What is timed begins with ten databases there and ends with ten tenants ready.
    """
    act = _act(way, instance)
    with stand_in(Wanted(activation_seconds=activation_seconds)) as sandbox, sandbox.settings() as settings:
        (_through_dagster(instance) if way is Way.DAGSTER else _through_pipeline)(settings, ())
        new = sandbox.add_tenants([f"new-{number:02}" for number in range(1, tenants + 1)])
        sandbox.reset_counters()
        gc.collect()
        begun = time.perf_counter()
        act(settings, new)
        seconds = time.perf_counter() - begun
        return Measured(way, seconds, sandbox.calls())


def _act(way: Way, instance: "dg.DagsterInstance") -> Act:
    acts: dict[Way, Act] = {
        Way.BARE: lambda settings, new: asyncio.run(bare.provision(settings, new)),
        Way.PIPELINE: _through_pipeline,
        Way.DAGSTER: _through_dagster(instance),
    }
    return acts[way]


def _through_pipeline(settings: Settings, new: Sequence[AddedTenant]) -> None:
    summary = asyncio.run(apply(settings)).summary
    _expect(summary.count("ready"), len(new) + 1)


def _through_dagster(instance: "dg.DagsterInstance") -> Act:
    def act(_: Settings, new: Sequence[AddedTenant]) -> None:
        from provisioning_pipeline.definitions import defs

        result = defs.get_job_def("reconcile_tenants").execute_in_process(instance=instance)
        (inventory,) = (
            event.materialization
            for event in result.get_asset_materialization_events()
            if event.asset_key and event.asset_key.to_user_string() == "tenant_inventory"
        )
        _expect(inventory.metadata["ready_tenants"].value, len(new) + 1)

    return act


def _expect(ready: object, wanted: int) -> None:
    if ready != wanted:
        raise RuntimeError(f"{ready} tenants are ready, not {wanted}: the time would mean nothing")


@contextmanager
def dagster_instance() -> Iterator["dg.DagsterInstance"]:
    """A persistent instance (SQLite) in a folder of its own, without telemetry and with quiet logs."""
    import dagster as dg

    before = os.environ.get("DAGSTER_HOME")
    with TemporaryDirectory(prefix="benchmark-dagster-") as home:
        (Path(home) / "dagster.yaml").write_text(
            "telemetry: {enabled: false}\npython_logs: {python_log_level: WARNING}\n", encoding="utf-8"
        )
        os.environ["DAGSTER_HOME"] = home
        try:
            with dg.DagsterInstance.get() as instance:
                yield instance
        finally:
            if before is None:
                del os.environ["DAGSTER_HOME"]
            else:
                os.environ["DAGSTER_HOME"] = before
