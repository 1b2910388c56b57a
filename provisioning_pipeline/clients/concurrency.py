"""Several pieces of work at once, none of which outlives another's failure."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


async def all_of(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results, in order. When one raises, the others are cancelled and ended before its error goes on.

    `asyncio.gather` would leave them running, against connections that are being closed.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(piece) for piece in work]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Run this to its end, also when we are cancelled meanwhile; the cancellation goes on after it."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
        except Exception:  # noqa: BLE001  # it is the task's, and goes on below
            break
    if cancelled is not None:
        # its failure is told by nobody else
        task.exception()
        raise cancelled
    return task.result()


async def both(one: Coroutine[Any, Any, S], other: Coroutine[Any, Any, T]) -> tuple[S, T]:
    """The same for two of different types."""
    first, second = await all_of([one, other])
    return first, second  # type: ignore[return-value]  # a list has one element type
