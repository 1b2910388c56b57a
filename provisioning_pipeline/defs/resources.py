"""The one resource: a reconciler on an event loop of its own, shared by all steps of a run in one process."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import dagster as dg
from psycopg import Error
from pydantic import PrivateAttr

from provisioning_pipeline import steps
from provisioning_pipeline.clients.files import NotWritten
from provisioning_pipeline.ledger.database import ledger_database
from provisioning_pipeline.ledger.run_locks import holding_run_lock
from provisioning_pipeline.model.fault import Fault, RunFault
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.model.visible import unsteered
from provisioning_pipeline.run.connections import Connections, connect
from provisioning_pipeline.run.reconcile import Reconciler
from provisioning_pipeline.run.totals import Totals
from provisioning_pipeline.run.under_way import end_as_cut
from provisioning_pipeline.settings import Settings, SettingsError, load_settings
from provisioning_pipeline.steps.chain import ChainResult
from provisioning_pipeline.steps.step import Step

T = TypeVar("T")
_CANCELED = "It was canceled in Dagster."


class Workbench(dg.ConfigurableResource[Any]):
    """Holds the connections of a run.

    Dagster's in-process executor runs steps one after another. So that ten tenants do not wait for each other, nor for
    Dagster between their steps, the chains of all tenants that were announced with `expect` begin at once, and the
    steps only collect their own tenant's result. In an executor that gives each step a process of its own, nothing was
    announced there, and a step works on its own tenants alone.
    """

    _loop: asyncio.AbstractEventLoop | None = PrivateAttr(default=None)
    _thread: threading.Thread | None = PrivateAttr(default=None)
    _settings: Settings | None = PrivateAttr(default=None)
    _reconcilers: dict[str, tuple[Reconciler, Any]] = PrivateAttr(default_factory=dict)
    _expected: list[TenantPlan] = PrivateAttr(default_factory=list)
    _lock: "asyncio.Task[Any] | None" = PrivateAttr(default=None)
    _tried: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)
    """Set once the run's lock is held, or could not be taken at once."""
    _tasks: "set[asyncio.Task[Any]]" = PrivateAttr(default_factory=set)
    _begun: dict[tuple[Step, str], "asyncio.Task[list[ChainResult]]"] = PrivateAttr(default_factory=dict)

    def settings(self) -> Settings:
        """The settings, read at the first use in a run, never at import.

        Raises:
            dagster.Failure: with one line per fault; a retry would not help.
        """
        if self._settings is None:
            try:
                self._settings = load_settings()
            except SettingsError as error:
                raise dg.Failure(description=str(error), allow_retries=False) from None
        return self._settings

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Start the event loop, and on it hold the run's lock: sensors see by it that this process lives."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="workbench", daemon=True)
        self._thread.start()
        try:
            settings = load_settings()
        except SettingsError:
            # the run says so itself, in its first step
            self._tried.set()
            return
        if context.run is None:
            self._tried.set()
        else:
            asyncio.run_coroutine_threadsafe(self._hold_lock(settings, context.run.run_id), self._loop)

    async def _hold_lock(self, settings: Settings, run_id: str) -> None:
        self._lock = asyncio.current_task()
        async with ledger_database(settings, read_only=True) as database, holding_run_lock(database, run_id):
            self._tried.set()
            await asyncio.Event().wait()

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Cancel what is still under way, record how a canceled run ended, close the connections, stop the loop.

        What else cuts a run (a step that fails, a killed process) the sensor `runs_that_died` records, or the next run.
        """
        assert self._loop is not None
        assert self._thread is not None
        asyncio.run_coroutine_threadsafe(self._close(canceled=_is_canceled(context)), self._loop).result(timeout=60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    async def _close(self, *, canceled: bool) -> None:
        lock, begun = self._lock, [*self._tasks, *self._begun.values()]
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
        for run_id, (reconciler, manager) in self._reconcilers.items():
            if canceled:
                with suppress(Fault, Error):
                    await end_as_cut(reconciler.connections, run_id, _CANCELED, reconciler.totals(()))
            await manager.__aexit__(None, None, None)
        self._reconcilers.clear()
        # last: a run whose lock is free and that has no end was killed
        if lock is not None:
            lock.cancel()
            await asyncio.wait([lock])

    def begin(self, work: Coroutine[Any, Any, T]) -> Callable[[], T]:
        """Begin this on the event loop; what is returned waits for its result.

        A run that cannot go on becomes a Failure without retries.
        """
        assert self._loop is not None
        begun = asyncio.run_coroutine_threadsafe(self._kept(work), self._loop)

        def result() -> T:
            try:
                return begun.result()
            except (RunFault, Fault, NotWritten) as fault:
                raise dg.Failure(description=unsteered(str(fault)), allow_retries=False) from None

        return result

    async def _kept(self, work: Coroutine[Any, Any, T]) -> T:
        """The same, cancelled at the end of the run where nobody waits for it any more."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            return await work
        finally:
            self._tasks.discard(task)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run this on the event loop and wait for it."""
        return self.begin(work)()

    def begin_with_reconciler(
        self, run_id: str, work: Callable[[Reconciler], Coroutine[Any, Any, T]]
    ) -> Callable[[], T]:
        """Begin `work` with this run's reconciler."""

        async def go() -> T:
            return await work(await self._reconciler(run_id))

        return self.begin(go())

    def with_reconciler(self, run_id: str, work: Callable[[Reconciler], Coroutine[Any, Any, T]]) -> T:
        """Run `work` with this run's reconciler and wait for it."""
        return self.begin_with_reconciler(run_id, work)()

    def with_dry_connections(self, work: Callable[[Connections], Coroutine[Any, Any, T]]) -> T:
        """Run `work` over connections that cannot write."""
        settings = self.settings()

        async def go() -> T:
            async with connect(settings, dry_run=True) as connections:
                return await work(connections)

        return self.wait(go())

    async def _reconciler(self, run_id: str) -> Reconciler:
        # who sees a run that has begun and holds no lock takes it for killed
        await self._tried.wait()
        if run_id not in self._reconcilers:
            manager = connect(self.settings(), dry_run=False)
            reconciler = Reconciler(await manager.__aenter__(), run_id)
            # no await between the check above and this line that lets another task in but the one in __aenter__
            self._reconcilers.setdefault(run_id, (reconciler, manager))
        return self._reconcilers[run_id][0]

    def expect(self, run_id: str, plans: Sequence[TenantPlan], *, here: bool) -> None:
        """Announce tenants whose steps will be asked for one by one.

        `here`: they will be asked for in this process, so their work begins at once, while Dagster still writes events.
        """
        self._expected = list(plans)

        async def work(reconciler: Reconciler) -> None:
            self._begin_expected(reconciler, _ops())

        if here:
            self.with_reconciler(run_id, work)

    def step(self, run_id: str, step: Step, plans: Sequence[TenantPlan]) -> tuple[Totals, frozenset[str]]:
        """Run this step for these tenants; its figures, and the database names of those that failed."""

        async def work() -> tuple[Totals, frozenset[str]]:
            reconciler = await self._reconciler(run_id)
            for plan in plans:
                self._begin(reconciler, step, plan)
            self._begin_expected(reconciler, _ops()[_ops().index(step) :])
            results: list[ChainResult] = []
            for plan in plans:
                results += await self._begun[(step, plan.tenant.database_name)]
            return reconciler.totals(results), frozenset(r.database_name for r in results if r.failed)

        return self.wait(work())

    def _begin_expected(self, reconciler: Reconciler, steps: Sequence[Step]) -> None:
        for step in steps:
            for plan in self._expected:
                self._begin(reconciler, step, plan)

    def _begin(self, reconciler: Reconciler, step: Step, plan: TenantPlan) -> None:
        key = (step, plan.tenant.database_name)
        if key not in self._begun:
            self._begun[key] = asyncio.create_task(self._in_turn(reconciler, step, plan))

    async def _in_turn(self, reconciler: Reconciler, step: Step, plan: TenantPlan) -> list[ChainResult]:
        """The step, after the tenant's earlier steps that were begun here; nothing when one of them failed."""
        for earlier in _ops()[: _ops().index(step)]:
            begun = self._begun.get((earlier, plan.tenant.database_name))
            if begun and any(result.failed for result in await begun):
                return []
        return await reconciler.run([plan], only=[step])


def _is_canceled(context: dg.InitResourceContext) -> bool:
    if context.run is None or context.instance is None:
        return False
    run = context.instance.get_run_by_id(context.run.run_id)
    return run is not None and run.status in (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)


def _ops() -> tuple[Step, ...]:
    """The steps that have an op of their own."""
    return tuple(step for step in steps.STEPS if step.beside is None)
