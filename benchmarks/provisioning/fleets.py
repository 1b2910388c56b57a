"""Seconds from CREATE DATABASE to the first call at Twenty, beside a small fleet and a large one.

Real are the databases, ledger entries and workspaces of the small fleet: the pipeline made them. Real in both fleets is
everything about the tenant that is measured: its people at Clerk, its registry row, its `CREATE DATABASE`, the
sensor's question (`due_tenants`) and the run over what it found (`apply`).

Of the large fleet, the small fleet's worth is real and the rest are rows, because 10,000 databases take 75 GB: what
that means is said in `benchmarks/rows.py`.

Before anything is timed, the pipeline itself must find the fleet credible: nothing due, and nothing to do in a dry run
over a sample of those rows. The sensor's interval (30 s) is no part of the time.
"""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from unittest import mock

import httpx2

from benchmarks.counting import Sent, sent_to_postgres
from benchmarks.rows import SLUG_PREFIX
from benchmarks.stand_in import StandIn, Wanted, stand_in
from provisioning_pipeline.run.run import apply, dry_run
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.views.fleet import due_tenants

_SAMPLE = 50


@dataclass
class Fleet:
    """A fleet and what was measured beside it.

    Args:
        databases: tenant databases at the start.
        first_call: seconds from CREATE DATABASE to the first call at Twenty, one per new tenant.
        whole_run: seconds from CREATE DATABASE to the end of the run that made the tenant ready.
        sent: what was sent to PostgreSQL meanwhile.
        calls: what Clerk and Twenty were called meanwhile.
    """

    databases: int
    first_call: list[float] = field(default_factory=list)
    whole_run: list[float] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)


@dataclass
class _Opened:
    fleet: Fleet
    sandbox: StandIn


class FirstCall:
    """Notes when the first request to Twenty is handed to httpx2's transport."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self.at: float | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch every client of this process that is used meanwhile."""
        send = httpx2.AsyncHTTPTransport.handle_async_request

        async def noting(transport: httpx2.AsyncHTTPTransport, request: httpx2.Request) -> httpx2.Response:
            if self.at is None and str(request.url).startswith(self._base_url):
                self.at = time.perf_counter()
            return await send(transport, request)

        with mock.patch.object(httpx2.AsyncHTTPTransport, "handle_async_request", noting):
            yield


@contextmanager
def fleets(small: int, large: int, *, activation_seconds: float) -> Iterator["Pair"]:
    """Both fleets, side by side, each in a sandbox of its own."""
    with ExitStack() as stack:
        opened = []
        for databases in (small, large):
            wanted = Wanted(tenants=small, activation_seconds=activation_seconds, ready=True, rows=databases - small)
            sandbox = stack.enter_context(stand_in(wanted))
            with sandbox.settings() as settings:
                asyncio.run(_check(settings, databases, databases - small))
            opened.append(_Opened(Fleet(databases), sandbox))
        yield Pair(opened[0], opened[1])


@dataclass
class Pair:
    """The two fleets while their sandboxes run."""

    _small: _Opened
    _large: _Opened

    @property
    def small(self) -> Fleet:
        """The small one."""
        return self._small.fleet

    @property
    def large(self) -> Fleet:
        """The large one."""
        return self._large.fleet

    def measure(self, number: int) -> None:
        """Add one tenant to each fleet and time what follows; in turns, so that a busy machine hits both."""
        for opened in (self._small, self._large) if number % 2 else (self._large, self._small):
            with opened.sandbox.settings() as settings:
                _measure(opened.fleet, opened.sandbox, settings, f"measured-{number}")


def _measure(fleet: Fleet, sandbox: StandIn, settings: Settings, slug: str) -> None:
    watch = FirstCall(settings.servers[0].base_url)
    gc.collect()
    (added,) = sandbox.add_tenants([slug])
    sandbox.reset_counters()
    begun = time.perf_counter()
    with watch.watched(), sent_to_postgres() as sent:
        _, due = asyncio.run(due_tenants(settings))
        applied = asyncio.run(apply(settings, sorted(due), trigger="sensor"))
    ended = time.perf_counter()
    line = next(line for line in applied.summary.tenants if line.database_name == added.database_name)
    if list(due) != [added.database_name] or line.state != "ready" or watch.at is None:
        raise RuntimeError(f"{added.database_name} did not become ready by itself: the time would mean nothing")
    fleet.first_call.append(watch.at - begun)
    fleet.whole_run.append(ended - begun)
    fleet.sent.append(sent)
    fleet.calls.append(sandbox.calls().total())


async def _check(settings: Settings, databases: int, rows: int) -> None:
    """The pipeline itself must see a fleet of this size in which nothing is to be done."""
    seen, due = await due_tenants(settings)
    sample = [f"{SLUG_PREFIX}{number}" for number in range(1, rows + 1, max(1, rows // _SAMPLE))] if rows else []
    plan = await dry_run(settings, sample)
    if (seen, len(due), len(plan.work)) != (databases, 0, 0):
        raise RuntimeError(
            f"the fleet of {databases} is not credible: {seen} seen, {len(due)} due, {len(plan.work)} to do"
        )
