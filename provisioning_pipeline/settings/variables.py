"""Variables as they stand in the environment, `.env` and secret files, read past the settings, whatever their state."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

from pydantic import TypeAdapter, ValidationError

from provisioning_pipeline.settings.program import Settings
from provisioning_pipeline.settings.sources import ENCODING, DotEnv, Environment, secrets_folder
from provisioning_pipeline.values.faults import PREFIX
from provisioning_pipeline.values.texts import stripped

EXECUTOR = f"{PREFIX}EXECUTOR"
_FRESH_HOURS = Settings.model_fields["report_fresh_hours"]
_OF_KUBERNETES = re.compile(r"(?:.+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_.+)?)?)")
"""It gives each container such variables about a service that is called `provisioning` or `provisioning-…`."""
_ALIKE = 0.8


def begins_running() -> bool:
    """Whether Dagster's sensors and schedules are on until an operator says otherwise in Dagster.

    Dagster asks as it loads the code, so this never fails. A value that we do not know means no.
    """
    return (_value("AUTOMATION") or "running") == "running"


def chosen_executor() -> str:
    """The executor of Dagster's runs, as it stands there: Dagster asks as it loads the code."""
    return _value("EXECUTOR") or "in_process"


def report_fresh_hours() -> float:
    """PROVISIONING_REPORT_FRESH_HOURS, for what Dagster shows of the report.

    Dagster asks as it loads the code, so this never fails. In place of a value that is none, the default holds.
    """
    try:
        return TypeAdapter(Annotated[float, _FRESH_HOURS]).validate_strings(_value("REPORT_FRESH_HOURS"))
    except ValidationError:
        return float(_FRESH_HOURS.default)


def unknown_variables() -> list[str]:
    """One line per variable that looks like a setting and is none, most likely misspelt: a default holds in its place.

    No line shows a value.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    lines: list[str] = []
    for where, variables in _sources():
        for name in sorted(variables):
            upper = name.upper()
            if upper in known or not _is_ours(name) or _OF_KUBERNETES.fullmatch(upper.removeprefix(PREFIX)):
                continue
            meant = get_close_matches(upper, known, n=1, cutoff=_ALIKE)
            question = f" Is {meant[0]} meant?" if meant else " docs/configuration.md has them all."
            lines.append(f"{where}{name} is no setting, so it is ignored.{question}")
    return lines


def _value(name: str) -> str:
    """What the environment says, else `.env`; empty where neither does."""
    values = (
        stripped(text or "")
        for _, variables in _sources()
        for found, text in variables.items()
        if found.upper() == PREFIX + name
    )
    return next(filter(None, values), "")


def _sources() -> Iterator[tuple[str, Mapping[str, str | None]]]:
    yield "", os.environ
    from dotenv import dotenv_values

    file = Path(str(Settings.model_config.get("env_file")))
    found: Mapping[str, str | None] = {}
    # a file that cannot be read is reported where the settings are read
    with suppress(OSError, ValueError):
        found = dotenv_values(file, encoding=ENCODING) if file.is_file() else {}
    yield f"{file}: ", found
    folder: Path | None = None
    secrets: Mapping[str, str] = {}
    with suppress(OSError, ValueError):
        folder = secrets_folder(Environment(Settings), DotEnv(Settings))
        files = sorted(folder.iterdir()) if folder else ()
        secrets = {file.name: file.read_text(encoding=ENCODING) for file in files if _is_ours(file.name)}
    yield f"{folder}/", secrets


def _is_ours(name: str) -> bool:
    return name.upper().startswith(PREFIX)
