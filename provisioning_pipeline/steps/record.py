"""What a run does for one tenant, in the ledger as it happens, however it ends."""

import asyncio
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from psycopg import Error

from provisioning_pipeline.clients.write_guard import noting_writes
from provisioning_pipeline.ledger.journal import Journal
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.tenant import Outcome, OutcomeStatus

_CUT = "cut off after it was sent; the next run sees whether it was made"
_NOT_SENT = "cut off before anything was sent"


@dataclass
class Record:
    """The changes of one run for one tenant. `outcomes` are those that have ended."""

    journal: Journal
    run_id: str
    database_name: str
    outcomes: list[Outcome] = field(default_factory=list)
    _unwritten: list[Outcome] = field(default_factory=list)

    @asynccontextmanager
    async def change(self, change: Change, detail: str) -> AsyncIterator[list[str]]:
        """Write down that a change begins, time it, and write down how it ended: done, failed, or cut.

        What is added to the list is told after the detail. What changes nothing is written when the step has ended.

        Raises:
            Fault, Error: when the ledger does not take its begin; nothing was done then.
        """
        begun = time.perf_counter()
        outcome = Outcome(self.database_name, change, OutcomeStatus.BEGUN, detail, 0.0)
        learnt: list[str] = []
        with noting_writes() as writes:
            try:
                if not change.read_only:
                    await self.journal.store(self.run_id, outcome)
                yield learnt
            except Fault as fault:
                self._end(outcome, OutcomeStatus.FAILED, f"{detail}: {fault.message}", begun)
                raise
            except Error as error:
                # the first line of such a text names no values
                told = f"{detail}: PostgreSQL refused a statement: {str(error).splitlines()[0]}"
                self._end(outcome, OutcomeStatus.FAILED, told, begun)
                raise
            except (asyncio.CancelledError, GeneratorExit):
                status, why = (OutcomeStatus.CUT, _CUT) if writes.begun else (OutcomeStatus.FAILED, _NOT_SENT)
                self._end(outcome, status, f"{detail}: {why}", begun)
                raise
            except BaseException as error:
                self._end(outcome, OutcomeStatus.FAILED, f"{detail}: {defect_of(error)}", begun)
                raise
        self._end(outcome, OutcomeStatus.DONE, "; ".join([detail, *learnt]), begun)

    def note(self) -> None:
        """Have written what changed nothing: all of one step at once, so that a timeline tells it as one."""
        self.journal.note(self.run_id, *self._unwritten)
        self._unwritten.clear()

    async def settle(self) -> None:
        """Return once all of it is in the ledger.

        Raises:
            Fault, Error: when the ledger does not take it.
        """
        self.note()
        await self.journal.settle()

    def _end(self, outcome: Outcome, status: OutcomeStatus, detail: str, begun: float) -> None:
        ended = replace(outcome, status=status, detail=detail, seconds=time.perf_counter() - begun)
        self.outcomes.append(ended)
        if ended.change.read_only:
            self._unwritten.append(ended)
        else:
            self.journal.note(self.run_id, ended)


def defect_of(error: BaseException) -> str:
    """Where an error that nobody foresaw was raised, as `file:line ErrorName`, without its text."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno} {type(error).__name__}"
