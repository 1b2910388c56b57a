"""Where the steps of Dagster's runs are executed: in the run's own process, in others, or on other machines."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from provisioning_pipeline.settings import types as kinds
from provisioning_pipeline.settings.announcing import AnnouncingSettings
from provisioning_pipeline.values.faults import PREFIX


class ExecutingSettings(AnnouncingSettings):
    """The settings of the executor. Dagster reads `executor` when it loads the code, the others in a run."""

    celery_broker: kinds.RedisUrl | None = Field(
        default=None,
        description="Redis through which runs hand their steps to Celery workers; needed where PROVISIONING_EXECUTOR "
        "is `celery`. Who may write there decides what the workers execute.",
        examples=["redis://:secret@redis.example.com:6379/0"],
    )
    celery_backend: kinds.RedisUrl | None = Field(
        default=None,
        description="Redis in which Celery workers leave what became of a step. Unset: PROVISIONING_CELERY_BROKER.",
        examples=["redis://:secret@redis.example.com:6379/1"],
    )
    celery_redelivery_seconds: int = Field(
        default=1800,
        ge=1,
        le=kinds.MOST_SECONDS,
        description="After so long another Celery worker takes a step over that one has taken and not finished: it "
        "died. Longer than your longest step; if it is too short, a step that still runs is taken twice, which changes "
        "nothing twice and fails the tenants that the first one is at.",
    )
    executor: Literal["in_process", "multiprocess", "celery", "k8s"] = Field(
        default="in_process",
        description="Where the steps of Dagster's runs are executed: in the run's process, in a process each, by "
        "Celery workers, or in a Kubernetes pod each. docs/deployment.md says which to choose.",
        validate_default=True,
        examples=["celery"],
    )

    @field_validator("executor", mode="after")
    @classmethod
    def _with_a_broker(cls, executor: str, info: ValidationInfo) -> str:
        # the broker stands before it; one that is wrong is reported by itself
        if executor == "celery" and info.data.get("celery_broker", executor) is None:
            message = f"needs {PREFIX}CELERY_BROKER: runs hand their steps to the workers through it"
            raise ValueError(message)
        return executor
