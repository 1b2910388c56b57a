"""What runs and Celery workers agree on, from the settings that both have.

A worker is `celery -A provisioning_pipeline.worker worker`; it needs no file of its own.
"""

from typing import Any

from dagster_celery.defaults import broker_transport_options

from provisioning_pipeline.settings import PREFIX, Settings, SettingsError

_RESTORE_SECONDS = 10


def arguments_of(settings: Settings) -> dict[str, Any]:
    """How dagster-celery's executor and app reach the workers, and what becomes of the steps of one that died.

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
        # Redis serves a lower number first, and knows four of them unless it is told
        "priority_steps": list(range(10)),
    }
    return {
        "broker": settings.celery_broker.get_secret_value(),
        "backend": backend.get_secret_value(),
        "config_source": {
            "broker_transport_options": transport,
            "broker_connection_retry_on_startup": True,
            # a step is the worker's until it has ended, so that another one gets it when the worker is gone
            "task_acks_late": True,
            # but one that kills its process, for want of memory say, must not go on to kill all others
            "task_reject_on_worker_lost": False,
        },
    }
