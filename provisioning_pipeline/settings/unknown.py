"""Variables that look like settings and are none: most likely misspelt, so that a default holds in their place."""

import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from provisioning_pipeline.settings.faults import PREFIX
from provisioning_pipeline.settings.program import Settings
from provisioning_pipeline.settings.sources import ENCODING

_OF_KUBERNETES = re.compile(r"(?:SERVICE|PORT)(?:_.*)?")
"""It gives each container such variables about a service that is called `provisioning`."""
_ALIKE = 0.8


def unknown_variables() -> list[str]:
    """One line per variable of the environment and of `.env` that is ignored. No line shows a value."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    return [_told(name, where, known) for name, where in _ours() if name.upper() not in known]


def _ours() -> Iterator[tuple[str, str]]:
    file = Path(str(Settings.model_config.get("env_file")))
    for where, names in (("", os.environ), (f"{file}: ", _names_in(file))):
        for name in sorted(names):
            if name.upper().startswith(PREFIX) and not _OF_KUBERNETES.fullmatch(name.upper().removeprefix(PREFIX)):
                yield name, where


def _names_in(file: Path) -> list[str]:
    from dotenv import dotenv_values

    try:
        return list(dotenv_values(file, encoding=ENCODING)) if file.is_file() else []
    except (OSError, ValueError):
        # told where the settings are read
        return []


def _told(name: str, where: str, known: set[str]) -> str:
    meant = get_close_matches(name.upper(), known, n=1, cutoff=_ALIKE)
    question = f" Is {meant[0]} meant?" if meant else " docs/configuration.md has them all."
    return f"{where}{name} is no setting, so it is ignored.{question}"
