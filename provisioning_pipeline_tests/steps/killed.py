"""Runs a reconciliation in a process of its own that kills itself with SIGKILL at a chosen boundary.

A boundary is the moment just before, or just after, one call to a remote system or one write to the ledger. After
an HTTP call means: Twenty did it, and the answer never reached the program.
"""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import settings
from psycopg.sql import Composable

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.transport import Effect, Transport
from provisioning_pipeline.ledger.access_locks import AccessLocks
from provisioning_pipeline.ledger.history import History
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.members import Members
from provisioning_pipeline.run import record
from provisioning_pipeline.run.run import apply
from provisioning_pipeline.steps.offboarding import act as offboarding
from provisioning_pipeline_tests.world import settings_of

When = Literal["before", "after"]

_TRANSACTIONS: dict[Any, tuple[str, ...]] = {
    Ledger: ("begin_intent", "store_workspace", "adopt_workspace", "store_conditions", "drop_intent"),
    History: ("store_outcomes",),
    Members: ("store",),
    AccessLocks: ("begin", "release"),
    record: ("store_organizations",),
    offboarding: ("bury",),
}
"""What makes several statements one (a function: where it is called); a single statement is a boundary by itself."""

_UNCOUNTED = "ledger store_outcomes"
"""Outcomes that come together are one write: how many writes there are is not the same in each run."""

_FORK_SERVER = multiprocessing.get_context("forkserver")
_FORK_SERVER.set_forkserver_preload(
    [__name__, "provisioning_pipeline.tasks.certify.preloaded", f"{__package__}.frozen"]
)


@dataclass(frozen=True)
class Ended:
    """How the process ended: killed at its boundary, or through to the end because there are fewer boundaries."""

    killed: bool
    boundary: str


def boundaries(matter: Sequence[str], most: int) -> Iterable[int | str]:
    """Those that matter; with `--hypothesis-profile wide` every boundary, up to so many."""
    return range(most) if settings.get_current_profile_name() == "wide" else matter


def run_killed_at(environment: dict[str, str], tenant: str, boundary: int | str, when: When) -> Ended:
    """Reconcile one tenant and die at a boundary: by its number, counted from 0, or at the first of that name."""
    reader, writer = _FORK_SERVER.Pipe(duplex=False)
    process = _FORK_SERVER.Process(target=_child, args=(environment, tenant, boundary, when, writer))
    process.start()
    writer.close()
    try:
        reached = reader.recv()
    except EOFError:
        reached = "none"
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), f"ended with {process.exitcode} at {reached}"
    return Ended(process.exitcode != 0, reached)


def run_beside_another(environment: dict[str, str], count: int) -> list[int]:
    """Reconcile everything in this many processes at once; their exit codes."""
    processes = [_FORK_SERVER.Process(target=_apply_all, args=(environment,)) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    return [process.exitcode if process.exitcode is not None else -1 for process in processes]


def _apply_all(environment: dict[str, str]) -> None:
    asyncio.run(apply(settings_of(environment)))


def _child(environment: dict[str, str], tenant: str, boundary: int | str, when: When, writer: Any) -> None:
    die_at(boundary, when, writer.send)
    asyncio.run(apply(settings_of(environment), [tenant]))


def die_at(boundary: int | str, when: When, tell: Callable[[str], object]) -> None:
    """From now on this process kills itself at a boundary, and tells its name before."""

    def die(label: str) -> None:
        tell(label)
        os.kill(os.getpid(), signal.SIGKILL)

    at_boundaries(boundary, when, die, setattr)


def at_boundaries(
    boundary: int | str, when: When, act: Callable[[str], object], patch: Callable[[Any, str, Any], object]
) -> None:
    """From now on, `act` is called with its name at a boundary: by its number, counted from 0, or each of that name."""
    count = -1

    def wrapped(
        original: Callable[..., Awaitable[Any]], name: Callable[..., str | None]
    ) -> Callable[..., Awaitable[Any]]:
        async def at_boundary(self: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal count
            label = name(*args, **kwargs)
            if label is None:
                return await original(self, *args, **kwargs)
            count += label != _UNCOUNTED
            here = boundary == (label if isinstance(boundary, str) or label == _UNCOUNTED else count)
            if here and when == "before":
                act(label)
            try:
                return await original(self, *args, **kwargs)
            finally:
                # an answer that refuses was an answer, too
                if here:
                    act(label)

        return at_boundary

    boundaries: list[tuple[Any, str, Callable[..., str | None]]] = [
        (Transport, "_ask_once", _call),
        (Database, "execute", _words),
        *((owner, method, _transaction(method)) for owner, methods in _TRANSACTIONS.items() for method in methods),
    ]
    for owner, method, name in boundaries:
        patch(owner, method, wrapped(getattr(owner, method), name))


def _call(method: str, path: str, name: str, effect: Effect, *_: object) -> str | None:
    # an export reads each object of a workspace, and one read that is cut is like another
    records = path == "/graphql" and effect is Effect.READ
    return None if records or name.startswith(("contract", "GET")) else name


def _transaction(method: str) -> Callable[..., str]:
    return lambda *_, **__: f"ledger {method}"


def _words(query: object, *_: object, **__: object) -> str | None:
    text = query.as_string() if isinstance(query, Composable) else str(query)
    if "INTO provisioning.outcome" in text:
        return None
    return " ".join(text.split())[:50]
