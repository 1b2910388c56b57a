"""Whether Dagster's sensors and schedules begin switched on. Dagster asks as it loads the code, whatever state the
settings are in, so this one is read by itself and never fails."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from provisioning_pipeline.settings.faults import PREFIX
from provisioning_pipeline.settings.program import Settings
from provisioning_pipeline.settings.sources import ENCODING
from provisioning_pipeline.settings.types import stripped

_NAME = f"{PREFIX}AUTOMATION"


def begins_running() -> bool:
    """Whether they are on until somebody says otherwise in Dagster. A value that we do not know means no."""
    found = next((text for text in _values() if text), None)
    return found is None or found == "running"


def _values() -> Iterator[str]:
    yield _value(os.environ)
    from dotenv import dotenv_values

    # a file that cannot be read is reported where the settings are read
    with suppress(OSError, ValueError):
        yield _value(dotenv_values(Path(str(Settings.model_config.get("env_file"))), encoding=ENCODING))


def _value(variables: Mapping[str, str | None]) -> str:
    return next((stripped(text or "") for name, text in variables.items() if name.upper() == _NAME), "")
