"""Gives up, once for everybody, on a server that takes calls and answers none.

Measured on Twenty 2.21.0 without its Redis: `/healthz`, sign-ins and `{ __typename }` without a token answer at once.
The exchange of a login token hangs, and so does every call with the token of a workspace, `{ __typename }` too. So a
call with a token is asked about by that. One without is answered within a second by a server that is well; it has its
time and no more.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

Answer = TypeVar("Answer")
PATIENCE_SECONDS: Final = 8.0
"""A call that takes longer is asked about, and that question, or the call itself, is given as much time again."""
GIVEN_UP_SECONDS: Final = 30.0
"""For so long we do not call a server that we gave up on; a run is over by then, and a service tries again."""


class HangingServer:
    """What is known about a server that may hang.

    Args:
        system: the server, in a sentence.
    """

    def __init__(self, system: str) -> None:
        self._system = system
        self._given_up_until = 0.0

    async def watch(
        self, call: Coroutine[Any, Any, Answer], answers: Callable[[], Awaitable[object]] | None, *, writes: bool
    ) -> Answer:
        """The answer to this call, as long as the server answers anybody.

        Args:
            call: any call, which may take long.
            answers: one with the same token, which an answering server answers at once; None: there is none.
            writes: the call may have taken place when it is given up.

        Raises:
            Fault: transient and away, when the server was given up on just now or a moment ago.
        """
        if time.monotonic() < self._given_up_until:
            call.close()
            raise self._fault(effect_unknown=False)
        under_way = asyncio.ensure_future(call)
        try:
            while True:
                done, _ = await asyncio.wait({under_way}, timeout=PATIENCE_SECONDS)
                if done:
                    return under_way.result()
                try:
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        await (answers() if answers else asyncio.shield(under_way))
                except TimeoutError:
                    if not under_way.done():
                        self._given_up_until = time.monotonic() + GIVEN_UP_SECONDS
                        raise self._fault(effect_unknown=writes) from None
                except Fault:
                    # an answer, if a bad one, which the call itself meets, too
                    continue
        finally:
            if not under_way.done():
                under_way.cancel()
                await asyncio.gather(under_way, return_exceptions=True)
            elif not under_way.cancelled():
                # who waits may have been cancelled as it failed, and asyncio logs an error that was never retrieved
                under_way.exception()

    def _fault(self, *, effect_unknown: bool) -> Fault:
        return Fault(
            FaultKind.TRANSIENT,
            Reason.SERVER_UNREACHABLE,
            f"{self._system} takes calls and answers none, although it may say that it is well. Look whether its "
            "Redis and its database are up; the next run tries again.",
            effect_unknown=effect_unknown,
            away=True,
        )
