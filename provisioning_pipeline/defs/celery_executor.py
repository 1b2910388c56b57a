"""Celery as the executor: what runs and workers agree on, and what becomes of a step whose worker is lost.

A worker is `celery -A provisioning_pipeline.worker worker`; it has the same settings, and needs no file of its own.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from celery import Celery
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.objects import StepFailureData
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.step import ExecutionStep
from dagster._serdes import serialize_value
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster_celery.core_execution_loop import core_celery_execution_loop
from dagster_celery.defaults import broker_transport_options
from dagster_celery.executor import CeleryExecutor, _submit_task

from provisioning_pipeline.settings import PREFIX, Settings, SettingsError

_RESTORE_SECONDS = 10


def arguments_of(settings: Settings) -> dict[str, Any]:
    """How dagster-celery's executor and app reach the workers, and when a step goes to another one.

    Raises:
        SettingsError: when no broker is set.
    """
    if settings.celery_broker is None:
        raise SettingsError([f"{PREFIX}CELERY_BROKER: is missing"])
    backend = settings.celery_backend or settings.celery_broker
    transport = {
        **broker_transport_options,
        "visibility_timeout": settings.celery_redelivery_seconds,
        "unacked_restore_interval": _RESTORE_SECONDS,
        # each look is one at Redis; else it is every tenth
        "unacked_restore_throttle": 1,
        # a worker that dies while it looks keeps the others from it for no longer than that; else for five minutes
        "unacked_mutex_expire": _RESTORE_SECONDS,
        # Redis serves a lower number first, and knows four of them unless it is told
        "priority_steps": list(range(10)),
    }
    return {
        "broker": settings.celery_broker.get_secret_value(),
        "backend": backend.get_secret_value(),
        "config_source": {
            "broker_transport_options": transport,
            "broker_connection_retry_on_startup": True,
            # a step is the worker's until it has ended, so that another one gets it when the worker's machine is gone
            "task_acks_late": True,
            # but one that kills its process, for want of memory say, must not go on to kill all others
            "task_reject_on_worker_lost": False,
        },
    }


class CeleryWorkers(CeleryExecutor):
    """dagster-celery's executor, except that a step which no worker could end fails.

    In dagster-celery 0.29 the run goes round in circles for ever then, unless no other step is left to begin.
    """

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Hand out the steps, and wait for them."""
        events: Iterator[dg.DagsterEvent] = core_celery_execution_loop(
            plan_context, execution_plan, step_execution_fn=_handed_over
        )
        return events


@dataclass(frozen=True)
class _HandedOver:
    """A step that a worker is to take."""

    result: AsyncResult
    context: PlanOrchestrationContext
    step: ExecutionStep

    def ready(self) -> bool:
        return bool(self.result.ready())

    def revoke(self) -> None:
        self.result.revoke()

    def get(self) -> Sequence[str]:
        """The events of the step."""
        try:
            events: Sequence[str] = self.result.get()
        except TaskRevokedError:
            raise
        except Exception:  # noqa: BLE001  # whatever befell it in the worker, it has not ended
            why = StepFailureData(serializable_error_info_from_exc_info(sys.exc_info()), user_failure_data=None)
            return [serialize_value(dg.DagsterEvent.step_failure_event(self.context.for_step(self.step), why))]
        return events


def _handed_over(
    app: Celery,
    context: PlanOrchestrationContext,
    step: ExecutionStep,
    queue: str,
    priority: int,
    known_state: Any,
) -> _HandedOver:
    return _HandedOver(_submit_task(app, context, step, queue, priority, known_state), context, step)
