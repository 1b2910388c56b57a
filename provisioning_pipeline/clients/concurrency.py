"""Work that goes on at once: pieces that end together, and how many calls a key may send."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from aiolimiter import AsyncLimiter

from provisioning_pipeline.clients.windows import BURST, GOOD_FOR_SECONDS, WINDOW_SECONDS

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
        # nothing else retrieves its failure
        task.exception()
        raise cancelled
    return task.result()


async def both(one: Coroutine[Any, Any, S], other: Coroutine[Any, Any, T]) -> tuple[S, T]:
    """The same for two of different types."""
    first, second = await all_of([one, other])
    return first, second  # type: ignore[return-value]  # a list has one element type


class Limit(Protocol):
    """When calls may be sent."""

    async def turn(self) -> None:
        """Return when a call may be sent."""

    async def hold(self, seconds: float) -> None:
        """No call goes out for so long."""


class SharedBudget(Protocol):
    """Calls that several processes may send together."""

    async def take_some(self) -> Sequence[float]:
        """Take one or more; how many seconds from now each may be sent."""

    async def close_for(self, seconds: float) -> None:
        """Give out none that may be sent within so many seconds."""


class RateLimit:
    """Lets at most `calls` begin within any 10 seconds of one event loop, and none while a refusal lasts.

    Args:
        calls: most calls in 10 seconds; at least 1.
    """

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self._burst = max(1.0, BURST * calls)
        self._resume_at = 0.0
        self._buckets: dict[asyncio.AbstractEventLoop, AsyncLimiter] = {}

    async def turn(self) -> None:
        """Return when a call may be sent."""
        loop = asyncio.get_running_loop()
        # a bucket keeps its loop alive, so that weak references to loops would never end
        for closed in [known for known in list(self._buckets) if known.is_closed()]:
            self._buckets.pop(closed, None)
        if loop not in self._buckets:
            # the +1: of calls that are 10 s apart, only one is within a window
            trickle_per_second = (self.calls + 1 - self._burst) / WINDOW_SECONDS
            self._buckets[loop] = AsyncLimiter(self._burst, self._burst / trickle_per_second)
        while True:
            wait = self._resume_at - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
                continue
            await self._buckets[loop].acquire()
            if not self.held:  # another call may have been refused meanwhile
                return

    @property
    def held(self) -> bool:
        """Whether a refusal lasts."""
        return self._resume_at > asyncio.get_running_loop().time()

    async def hold(self, seconds: float) -> None:
        """No call goes out for so long: the other side refused a call and said when to come again."""
        self._resume_at = max(self._resume_at, asyncio.get_running_loop().time() + seconds)


class LimitOfAll:
    """The limit of this process, and behind it a budget that other processes share.

    The former comes first: it costs nothing, and still holds while the budget cannot be asked. What one call takes
    beyond itself is for the next ones, as long as it is good; what none of them needs by then is lost to all.
    """

    def __init__(self, own: RateLimit, budget: SharedBudget) -> None:
        self._own = own
        self._budget = budget
        self._taking = asyncio.Lock()
        self._taken: deque[tuple[float, float]] = deque()
        """From when on each may be sent, and until when."""

    async def turn(self) -> None:
        """Return when a call may be sent."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._own.turn()
            due, good_until = await self._next()
            await asyncio.sleep(max(0.0, due - clock()))
            # another call may have been refused meanwhile, or this loop was busy with something else
            if not self._own.held and clock() <= good_until:
                return

    async def _next(self) -> tuple[float, float]:
        clock = asyncio.get_running_loop().time
        async with self._taking:
            while self._taken and self._taken[0][1] < clock():
                self._taken.popleft()
            if not self._taken:
                begun = clock()
                waits = await self._budget.take_some()
                # somewhere in between they were given out
                self._taken.extend((clock() + wait, begun + wait + GOOD_FOR_SECONDS) for wait in waits)
            return self._taken.popleft()

    async def hold(self, seconds: float) -> None:
        """No call of any process goes out for so long; one that others have taken already may."""
        await self._own.hold(seconds)
        self._taken.clear()
        await self._budget.close_for(seconds)


_limits: dict[tuple[str, int], RateLimit] = {}


def shared_limit(key: str, calls: int) -> RateLimit:
    """The limit of `calls` in 10 seconds for this key; the same object for all who ask with the same values.

    It stays for as long as the process lives: a limit that went with its last user would let the next one burst again.
    """
    # a hash: the key itself should not be found in the memory of a limiter
    return _limits.setdefault((hashlib.sha256(key.encode()).hexdigest(), calls), RateLimit(calls))
