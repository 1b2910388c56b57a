"""One run of the product in a process of its own, which kills itself with SIGKILL at a chosen call.

Nothing that a dying process does in its last moment (closing, putting back, writing down) softens it.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from provisioning_pipeline.clients.transport import Effect, watched
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, RunFault
from provisioning_pipeline.model.offboarding import Order
from provisioning_pipeline.run.run import apply
from provisioning_pipeline.settings import Settings

When = Literal["before", "after"]

WRITES = frozenset({Effect.WRITE, Effect.CREATE})
_MOST_SECONDS_TO_END = 60.0
_PRELOADED = f"{__package__}.preloaded"
_PROCESSES = multiprocessing.get_context("forkserver")
"""Each process is forked from one that has imported everything, and that holds no connection and no thread."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call that a run made: its name, what it does, and how many of that name there were with it."""

    name: str
    effect: Effect
    nth: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a run is killed. `after` is after the effect and before the answer."""

    call: Call
    when: When

    def __str__(self) -> str:
        number = f" no. {self.call.nth}" if self.call.nth > 1 else ""
        return f"{self.when} {self.call.name}{number}"


def cuts_of(calls: Sequence[Call]) -> list[Cut]:
    """Where to cut a run that makes these calls: before and after each that changes something.

    A call that changes nothing leaves the same behind whether it was made or not, so a row of such calls is cut once,
    where it begins; those before the first write not at all, since nothing was done yet. The exchange of a login token
    may use that up, so it is cut after it.
    """
    cuts: list[Cut] = []
    after_a_write = False
    for call in calls:
        if call.effect in WRITES:
            cuts += [Cut(call, "before"), Cut(call, "after")]
        elif call.effect is Effect.EXCHANGE:
            cuts.append(Cut(call, "after"))
        elif after_a_write:
            cuts.append(Cut(call, "before"))
        after_a_write = call.effect in WRITES
    return cuts


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended.

    Args:
        calls: what it called, in order.
        killed: at the cut; False when it went through, or ended by itself before the cut.
        trouble: why it ended by itself before its end; None when it did not.
        full: the server refused it a workspace because it holds all that it may.
    """

    calls: tuple[Call, ...]
    killed: bool
    trouble: str | None
    full: bool = False


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why a run ended by itself, as its process reports."""

    text: str
    reasons: frozenset[Reason] = frozenset()


def warm_up() -> None:
    """Start the process that all others are forked from; it takes seconds, and need not be waited for."""
    _PROCESSES.set_forkserver_preload([_PRELOADED])
    process = _PROCESSES.Process()
    process.start()
    process.join()


async def run(settings: Settings, tenant: str, cut: Cut | None = None, order: Order | None = None) -> Ran:
    """Reconcile one tenant, and die at `cut`; with `order`, as an operator asks for it.

    One that is cancelled comes to its end first, since a call that is under way has its effect all the same; only one
    that takes too long is killed.
    """
    reader, writer = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=_child, args=(settings, tenant, cut, order, writer), daemon=True)
    await asyncio.to_thread(process.start)
    writer.close()
    draining = asyncio.ensure_future(asyncio.to_thread(_drain, reader))
    try:
        told = await asyncio.shield(draining)
    finally:
        if not draining.done():
            await asyncio.wait({draining}, timeout=_MOST_SECONDS_TO_END)
            process.kill()
            await draining
        await asyncio.to_thread(process.join)
    calls = tuple(entry for entry in told if isinstance(entry, Call))
    trouble = next((entry.text for entry in told if isinstance(entry, _Trouble)), None)
    full = any(isinstance(entry, _Trouble) and Reason.SERVER_FULL in entry.reasons for entry in told)
    killed = process.exitcode == -signal.SIGKILL
    if not killed and process.exitcode and trouble is None:
        trouble = f"the process ended with code {process.exitcode}"
    return Ran(calls, killed, trouble, full)


def _drain(reader: "Connection[Any, Any]") -> list[Call | _Trouble]:
    told: list[Call | _Trouble] = []
    with reader:
        while True:
            try:
                told.append(reader.recv())
            except EOFError:
                return told


def _child(
    settings: Settings, tenant: str, cut: Cut | None, order: Order | None, writer: "Connection[Any, Any]"
) -> None:
    # Ctrl-C reaches the whole group: the parent decides what becomes of this one
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _be_quiet()
    counted: Counter[str] = Counter()

    def watch(name: str, effect: Effect, when: When) -> None:
        if when == "before":
            counted[name] += 1
            writer.send(Call(name, effect, counted[name]))
        if cut is not None and when == cut.when and (name, counted[name]) == (cut.call.name, cut.call.nth):
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        with watched(watch):
            applied = asyncio.run(apply(settings, [tenant], trigger="certify", order=order))
    except Exception as error:  # noqa: BLE001  # whatever it is, the certificate has to say it
        text = str(error) if isinstance(error, Fault | RunFault) else f"{type(error).__name__}: {error}"
        writer.send(_Trouble(text, frozenset({error.reason} if isinstance(error, Fault) else ())))
        sys.exit(1)
    unwell = [line for line in applied.tenants if line.state == "unwell"]
    if unwell or applied.totals.defects:
        text = "; ".join([*(f"{line.reason}: {line.message}" for line in unwell), *applied.totals.defects])
        writer.send(_Trouble(text, frozenset(line.reason for line in unwell)))


def _be_quiet() -> None:
    """What a run logs is not for the terminal of the certification."""
    with Path(os.devnull).open("w") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
