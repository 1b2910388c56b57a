"""What must still hold before anything is written, asked before each write: over HTTP, and by SQL.

Who holds a lock guards the work done under it. A lock that was lost is found out before the next write, not after it.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

Guard = Callable[[], Awaitable[None]]
"""Returns while what it guards holds, and raises a `Fault` once it does not."""
_guards: ContextVar[tuple[Guard, ...]] = ContextVar("guards", default=())


@dataclass
class Writes:
    """Whether anything was about to be written; what was not, was certainly not done."""

    begun: bool = False


_noting: ContextVar[tuple[Writes, ...]] = ContextVar("noting", default=())


@contextmanager
def noting_writes() -> Iterator[Writes]:
    """Note whether a write goes out from here on, also in tasks that are begun inside."""
    writes = Writes()
    token = _noting.set((*_noting.get(), writes))
    try:
        yield writes
    finally:
        _noting.reset(token)


@contextmanager
def guarded_by(guard: Guard) -> Iterator[None]:
    """Ask `guard` before every write from here on, also in tasks that are begun inside."""
    token = _guards.set((*_guards.get(), guard))
    try:
        yield
    finally:
        _guards.reset(token)


@contextmanager
def unguarded() -> Iterator[None]:
    """For what a guard itself writes."""
    token = _guards.set(())
    try:
        yield
    finally:
        _guards.reset(token)


async def may_write() -> None:
    """Ask every guard, and note that the write goes out.

    Raises:
        Fault: from the first guard whose condition no longer holds.
    """
    for guard in _guards.get():
        await guard()
    for writes in _noting.get():
        writes.begun = True
