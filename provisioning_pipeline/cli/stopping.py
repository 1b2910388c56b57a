"""Commands that are told to stop come to an end of their own: they record what was done."""

import asyncio
import signal
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

from provisioning_pipeline.cli.exits import RUN_FAILED, fail

T = TypeVar("T")
_STOPPED = "Stopped. What was done is recorded, and the next run goes on from there; `provisioning status` says more."


def run_to_an_end(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` for work that changes something; a second Ctrl-C ends it at once.

    Raises:
        typer.Exit: when it was told to stop.
    """
    try:
        return asyncio.run(until_told_to_stop(work))
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise fail(_STOPPED, RUN_FAILED) from None


async def until_told_to_stop(work: Coroutine[Any, Any, T]) -> T:
    """Ctrl-C cancels by itself; being stopped by a service manager or losing the terminal does so, too."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, partial(task.cancel, f"It was told to stop ({number.name})."))
    return await work
