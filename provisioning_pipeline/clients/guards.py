"""Guards: what is asked before every write, over HTTP and in PostgreSQL, and the note that one goes out."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
Guard = Callable[[], Awaitable[None]]
"""Returns while what it guards holds, and raises a `Fault` once it does not."""
_guards: ContextVar[tuple[Guard, ...]] = ContextVar("guards", default=())


@dataclass
class Writes:
    """Whether anything was about to be written; what was not, was certainly not done."""

    begun: bool = False


_noting: ContextVar[tuple[Writes, ...]] = ContextVar("noting", default=())


@contextmanager
def during(variable: ContextVar[T], value: T) -> Iterator[None]:
    """Give the variable this value for a while."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


@contextmanager
def noting_writes() -> Iterator[Writes]:
    """Note whether a write goes out from here on, also in tasks that are begun inside."""
    writes = Writes()
    with during(_noting, (*_noting.get(), writes)):
        yield writes


@contextmanager
def guarded_by(guard: Guard) -> Iterator[None]:
    """Ask `guard` before every write from here on, also in tasks that are begun inside."""
    with during(_guards, (*_guards.get(), guard)):
        yield


@contextmanager
def unguarded() -> Iterator[None]:
    """For what a guard itself writes."""
    with during(_guards, ()):
        yield


async def may_write() -> None:
    """Ask every guard, and note that the write goes out.

    Raises:
        Fault: from the first guard whose condition no longer holds.
    """
    for guard in _guards.get():
        await guard()
    for writes in _noting.get():
        writes.begun = True
