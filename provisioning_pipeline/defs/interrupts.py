"""Work of an op that ends cleanly when its run is terminated."""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import dagster as dg

T = TypeVar("T")


def run_until_interrupted(work: Coroutine[Any, Any, T]) -> T:
    """Run this to its end, or until Dagster terminates the run; the work is then cancelled, and awaited, first.

    Dagster raises its interrupt wherever Python happens to be: between an answer and the line that records it, or in a
    background task whose errors end nothing. Here a signal cancels the work instead, so that it ends at an `await`.

    Raises:
        DagsterExecutionInterruptedError: when a signal came.
    """
    interrupted = threading.Event()

    async def cancellable() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def cancel(*_: object) -> None:
            interrupted.set()
            loop.call_soon_threadsafe(task.cancel)

        with _on_interrupt(cancel):
            return await work

    try:
        result = asyncio.run(cancellable())
    except asyncio.CancelledError:
        if not interrupted.is_set():
            raise
    else:
        if not interrupted.is_set():
            return result
    raise dg.DagsterExecutionInterruptedError


@contextmanager
def _on_interrupt(handler: Callable[..., None]) -> Iterator[None]:
    """Call this at SIGINT and SIGTERM. Python lets only the main thread do so; elsewhere no signal arrives."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
