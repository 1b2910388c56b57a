"""The executor of the runs, by PROVISIONING_EXECUTOR, and the run's lock while its steps are in other processes."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

import dagster as dg
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.execution.step_dependency_config import StepDependencyConfig

from provisioning_pipeline.clients.files import is_of_this_machine
from provisioning_pipeline.defs.resources import run_lock
from provisioning_pipeline.defs.tables import SETTING, settings_now
from provisioning_pipeline.settings import SettingsError
from provisioning_pipeline.settings.variables import EXECUTOR

_ON_MACHINES: Final = frozenset({"celery", "k8s"})


def executor_of(name: str) -> dg.ExecutorDefinition:
    """The executor of this name, for runs that need no configuration.

    Raises:
        SettingsError: when there is none of this name, or its package is not installed.
    """
    make = _EXECUTORS.get(name)
    if make is None:
        raise SettingsError([f"{EXECUTOR}: must be one of {', '.join(_EXECUTORS)}"])
    try:
        return make()
    except ImportError as error:
        raise SettingsError(
            [f"{EXECUTOR}: {name} needs {error.name}, which is missing: pip install 'provisioning-pipeline[{name}]'"]
        ) from None


def holding_lock(executor: dg.ExecutorDefinition) -> dg.ExecutorDefinition:
    """The same executor, whose own process holds the run's lock: between two steps no other process of it does."""
    make = executor.executor_creation_fn
    assert make is not None

    def held(context: dg.InitExecutorContext) -> dg.Executor:
        return _Holding(make(context))

    return dg.ExecutorDefinition(
        name=executor.name,
        config_schema=cast(Any, executor.config_schema),
        requirements=executor.get_requirements,
        executor_creation_fn=held,
        description=executor.description,
    )


class _Holding(dg.Executor):
    """Without the lock another run, or a sensor, would take a run for dead whose steps wait for a worker."""

    def __init__(self, inner: dg.Executor) -> None:
        self._inner = inner

    @property
    def retries(self) -> RetryMode:
        return self._inner.retries

    @property
    def step_dependency_config(self) -> StepDependencyConfig:
        return self._inner.step_dependency_config

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        settings = settings_now()
        if settings.executor in _ON_MACHINES and is_of_this_machine(settings.tables):
            plan_context.log.warning(
                f"Steps may be on several machines, and what they hand on lies in {settings.tables}. Where that is no "
                f"volume that all of them have, let {SETTING} name an object store."
            )
        with run_lock(settings, plan_context.run_id):
            yield from self._inner.execute(plan_context, execution_plan)

    def __getattr__(self, name: str) -> Any:
        # Celery's loop asks the executor of its context for more
        return getattr(self._inner, name)


def _multiprocess() -> dg.ExecutorDefinition:
    # imported once for all steps: a process of its own would take as long for that as a step does
    preloaded = {"forkserver": {"preload_modules": ["provisioning_pipeline.definitions"]}}
    return holding_lock(dg.multiprocess_executor.configured({"start_method": preloaded}))


def _celery() -> dg.ExecutorDefinition:
    from provisioning_pipeline.defs.celery_executor import CeleryWorkers, arguments_of

    def made(_context: dg.InitExecutorContext) -> dg.Executor:
        executor: dg.Executor = CeleryWorkers(RetryMode.ENABLED, **arguments_of(settings_now()))
        return executor

    return holding_lock(
        dg.ExecutorDefinition(
            name="celery",
            config_schema={},
            requirements=dg.multiple_process_executor_requirements(),
            executor_creation_fn=made,
            description="Celery workers take the steps, through the Redis of PROVISIONING_CELERY_BROKER.",
        )
    )


def _k8s() -> dg.ExecutorDefinition:
    from dagster_k8s import k8s_job_executor

    return holding_lock(k8s_job_executor)


_EXECUTORS: Final[Mapping[str, Callable[[], dg.ExecutorDefinition]]] = {
    "in_process": lambda: dg.in_process_executor,
    "multiprocess": _multiprocess,
    "celery": _celery,
    "k8s": _k8s,
}
