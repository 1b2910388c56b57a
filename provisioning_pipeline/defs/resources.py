"""The one resource: the settings of a run, and the systems that they name, opened for as long as an op needs them."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg
from psycopg import Error
from pydantic import PrivateAttr

from provisioning_pipeline.clients import tracing
from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.files import NotWritten
from provisioning_pipeline.defs.interrupts import run_until_interrupted
from provisioning_pipeline.defs.tables import settings_now
from provisioning_pipeline.ledger.runs import CutRuns, holding_run_lock
from provisioning_pipeline.ledger.schema import ledger_database
from provisioning_pipeline.model.fault import Fault, RunFault
from provisioning_pipeline.model.names import unsteered
from provisioning_pipeline.run.connections import Connections, KnownServers, connect
from provisioning_pipeline.run.record import end_as_cut, end_gone_runs, why_of
from provisioning_pipeline.run.work import Run
from provisioning_pipeline.settings import Settings, SettingsError, load_settings
from provisioning_pipeline.steps.scope import AtClerk

if TYPE_CHECKING:
    from opentelemetry.context import Context

T = TypeVar("T")
_CANCELED = "It was canceled in Dagster."


class Systems(dg.ConfigurableResource[Any]):
    """What ops and assets reach the outside with. Each of them opens its own connections and closes them again.

    What one op learnt of a server, and who is signed in there, the next one in the same process need not ask again.
    """

    _settings: Settings | None = PrivateAttr(default=None)
    _known: KnownServers = PrivateAttr(default_factory=dict)
    _at_clerk: dict[str, AtClerk] = PrivateAttr(default_factory=dict)
    _cut: str | None = PrivateAttr(default=None)
    """Why an op of this process did not come to its end."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Systems"]:
        """Hold the run's lock meanwhile: sensors see by it that this process lives."""
        try:
            # without settings the run says so itself, in its first step
            settings = load_settings()
        except SettingsError:
            settings = None
        if settings is None or context.run is None:
            yield self
            return
        if untraced := tracing.begin():
            assert context.log is not None, "Dagster gives a resource of a run its log"
            context.log.warning(untraced)
        with run_lock(settings, context.run.run_id):
            try:
                if context.run.parent_run_id:
                    asyncio.run(_end_runs_before(settings, context.run))
                yield self
            finally:
                # before the lock is free: a run without a lock and without an end was killed
                asyncio.run(self._end(settings, context))
                tracing.flush()

    async def _end(self, settings: Settings, context: dg.InitResourceContext) -> None:
        """Sign our accounts out, and record that a run was cut, with what it did, if it was.

        What a killed process leaves the sensor `runs_that_died` records, or the next run.
        """
        cut = _CANCELED if _is_canceled(context) else self._cut
        signed_in = any(server.tokens for server in self._known.values())
        if context.run is None or not (cut or signed_in):
            return
        async with connect(settings, dry_run=False, known=self._known) as connections:
            if cut:
                with suppress(Fault, Error):
                    await end_as_cut(connections, context.run.run_id, cut)
            with tracing.span("sign out", {"provisioning.run": context.run.run_id}, parent=_parent(context.run)):
                await all_of(server.client.sign_everybody_out() for server in connections.servers.values())

    def settings(self) -> Settings:
        """The settings, read at the first use in a run, never at import.

        Raises:
            dagster.Failure: with one line per fault; a retry would not help.
        """
        if self._settings is None:
            self._settings = settings_now()
        return self._settings

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run this to its end. When the run is terminated, it is cancelled and ends first.

        Raises:
            dagster.Failure: without retries, when the run cannot go on.
        """
        try:
            return run_until_interrupted(work)
        except (RunFault, Fault, NotWritten) as fault:
            raise dg.Failure(description=unsteered(str(fault)), allow_retries=False) from None

    def take_up(self, context: dg.OpExecutionContext, work: Callable[[Run], Coroutine[Any, Any, T]]) -> T:
        """Take up the run for `work` of an op, over connections of its own.

        Raises:
            dagster.Failure: as `wait`, and when the run has ended: a queue may hand out a step of it later.
        """
        settings, run_id = self.settings(), context.run_id
        now = context.instance.get_run_by_id(run_id)
        if now is not None and now.is_finished:
            raise dg.Failure(
                f"The run {run_id} has ended, so this step of it changed nothing. The next run does what is left.",
                allow_retries=False,
            )
        parent = _parent(context.run)
        about = {"provisioning.run": run_id, "provisioning.chunk": context.get_mapping_key()}

        async def go() -> T:
            async with connect(settings, dry_run=False, known=self._known) as connections:
                try:
                    with tracing.span(context.op.name, about, parent=parent):
                        return await work(Run(connections, run_id, self._at_clerk))
                except BaseException as error:
                    self._cut = why_of(error)
                    raise

        return self.wait(go())

    def read(self, work: Callable[[Connections], Coroutine[Any, Any, T]]) -> T:
        """Run `work` over connections that cannot write.

        Raises:
            dagster.Failure: as `wait`.
        """
        settings = self.settings()

        async def go() -> T:
            async with connect(settings, dry_run=True) as connections:
                return await work(connections)

        return self.wait(go())


def _parent(run: dg.DagsterRun) -> "Context | None":
    return tracing.parent_of_run(run.run_id, run.tags.get(tracing.TRACEPARENT))


async def _end_runs_before(settings: Settings, run: dg.DagsterRun) -> None:
    """Record what a killed run did before its re-execution changes anything: that never plans, as other runs do."""
    with suppress(Fault, Error):
        async with ledger_database(settings, read_only=False) as database:
            await end_gone_runs(CutRuns(database), only={run.root_run_id, run.parent_run_id})


@contextmanager
def run_lock(settings: Settings, run_id: str) -> Iterator[None]:
    """Hold the lock of a run in a thread of its own, whatever this one does: ops work, write files, and wait."""
    loop, tried = asyncio.new_event_loop(), threading.Event()

    async def hold() -> None:
        async with ledger_database(settings, read_only=True) as database, holding_run_lock(database, run_id):
            tried.set()
            await asyncio.Event().wait()

    holding = loop.create_task(hold())
    holding.add_done_callback(lambda _: tried.set())

    def keep_holding() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(holding)

    thread = threading.Thread(target=keep_holding, name="run lock", daemon=True)
    thread.start()
    tried.wait()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(holding.cancel)
        thread.join(timeout=10)
        if not thread.is_alive():
            loop.close()


def _is_canceled(context: dg.InitResourceContext) -> bool:
    if context.run is None or context.instance is None:
        return False
    run = context.instance.get_run_by_id(context.run.run_id)
    return run is not None and run.status in (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)
