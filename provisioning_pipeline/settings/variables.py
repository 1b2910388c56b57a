"""Variables as they stand in the environment and in `.env`, read past the settings and whatever state those are in."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from provisioning_pipeline.settings.faults import PREFIX
from provisioning_pipeline.settings.program import Settings
from provisioning_pipeline.settings.sources import ENCODING
from provisioning_pipeline.settings.types import stripped

EXECUTOR = f"{PREFIX}EXECUTOR"
_AUTOMATION = f"{PREFIX}AUTOMATION"
_OF_KUBERNETES = re.compile(r"(?:SERVICE|PORT)(?:_.*)?")
"""It gives each container such variables about a service that is called `provisioning`."""
_ALIKE = 0.8


def begins_running() -> bool:
    """Whether Dagster's sensors and schedules are on until an operator says otherwise in Dagster.

    Dagster asks as it loads the code, so this never fails. A value that we do not know means no.
    """
    return _first_of(_AUTOMATION, "running") == "running"


def chosen_executor() -> str:
    """The executor of Dagster's runs, as it stands there: Dagster asks as it loads the code."""
    return _first_of(EXECUTOR, "in_process")


def _first_of(variable: str, default: str) -> str:
    values = (
        stripped(text or "")
        for _, variables in _sources()
        for name, text in variables.items()
        if name.upper() == variable
    )
    return next((value for value in values if value), default)


def unknown_variables() -> list[str]:
    """One line per variable that looks like a setting and is none, most likely misspelt: a default holds in its place.

    No line shows a value.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    lines: list[str] = []
    for where, variables in _sources():
        for name in sorted(variables):
            upper = name.upper()
            if upper in known or not upper.startswith(PREFIX) or _OF_KUBERNETES.fullmatch(upper.removeprefix(PREFIX)):
                continue
            meant = get_close_matches(upper, known, n=1, cutoff=_ALIKE)
            question = f" Is {meant[0]} meant?" if meant else " docs/configuration.md has them all."
            lines.append(f"{where}{name} is no setting, so it is ignored.{question}")
    return lines


def _sources() -> Iterator[tuple[str, Mapping[str, str | None]]]:
    yield "", os.environ
    from dotenv import dotenv_values

    file = Path(str(Settings.model_config.get("env_file")))
    found: Mapping[str, str | None] = {}
    # a file that cannot be read is reported where the settings are read
    with suppress(OSError, ValueError):
        found = dotenv_values(file, encoding=ENCODING) if file.is_file() else {}
    yield f"{file}: ", found
