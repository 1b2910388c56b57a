"""Outcomes are in the ledger as they happen: those that come together are one statement.

A change is written down when it begins, before anything is sent, and again when it ends. So what was done is never
missing: neither where a task is cancelled, nor where the process is killed between an answer and its outcome.
"""

import asyncio
from contextvars import Context
from uuid import UUID

from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.model.tenant import Outcome


class Journal:
    """The outcomes of the runs of one process, on their way into the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._noted: dict[UUID, tuple[str, Outcome]] = {}
        self._next: asyncio.Task[None] | None = None
        """Writes what is noted now, once `_current` has ended."""
        self._current: asyncio.Task[None] | None = None

    def note(self, run_id: str, *outcomes: Outcome) -> None:
        """Have these written as soon as the ledger takes them. Nothing is awaited, so no cancellation comes between."""
        for outcome in outcomes:
            self._noted[outcome.key] = (run_id, outcome)
        if outcomes:
            self._begin_to_write()

    async def store(self, run_id: str, *outcomes: Outcome) -> None:
        """Write these, and return once they are in the ledger.

        Raises:
            Fault, Error: when the ledger does not take them; they stay noted.
        """
        self.note(run_id, *outcomes)
        await self.settle()

    async def settle(self) -> None:
        """Return once everything that was noted so far is in the ledger.

        Raises:
            Fault, Error: as `store`.
        """
        if self._noted:
            # also what the ledger did not take before
            self._begin_to_write()
        writing = self._next or self._current
        if writing is not None:
            await asyncio.shield(writing)

    def _begin_to_write(self) -> None:
        if self._next is None:
            # in a context of its own: a guard of who noted first is no guard of what others did
            self._next = asyncio.get_running_loop().create_task(self._write(), context=Context())
            # who waits is told; where nobody does, it stays noted
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _write(self) -> None:
        if self._current is not None:
            await asyncio.wait([self._current])
        self._current, self._next = self._next, None
        batch, self._noted = self._noted, {}
        try:
            await self._ledger.store_outcomes(list(batch.values()))
        except BaseException:
            self._noted = batch | self._noted
            raise
