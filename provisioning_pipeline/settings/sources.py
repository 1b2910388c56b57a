"""Where settings are read from: the environment, a file `.env` and a folder of secrets, all in the same way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream
from pydantic.fields import FieldInfo
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource, SecretsSettingsSource
from pydantic_settings.sources import PydanticBaseEnvSettingsSource

from provisioning_pipeline.values.faults import PREFIX
from provisioning_pipeline.values.texts import stripped

ENCODING = "utf-8-sig"
"""With or without a byte order mark: with one, the first variable of a file would go by another name."""


SECRETS_VARIABLE = f"{PREFIX}SECRETS_DIR"
"""The one setting that says where settings are."""


class _AsWritten(PydanticBaseEnvSettingsSource):
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Without what stands around the value; where nothing is left, the variable is not set."""
        value, key, is_complex = super().get_field_value(field, field_name)  # type: ignore[safe-super]  # a mixin
        return (stripped(value) or None) if isinstance(value, str) else value, key, is_complex

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """JSON; what is none goes on as it is, so that its fault is found together with all others."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value


class Environment(_AsWritten, EnvSettingsSource):
    """Variables of the environment."""


class DotEnv(_AsWritten, DotEnvSettingsSource):
    """Variables in a file `.env`."""


class SecretFiles(_AsWritten, SecretsSettingsSource):
    """Files in a folder, each called like a variable, in capitals or not: as Docker and Kubernetes mount secrets."""


def secrets_folder(environment: Environment, file: DotEnv) -> Path | None:
    """The folder of secret files that the environment names, or else the file; None: there is none."""
    named = (stripped(source.env_vars.get(SECRETS_VARIABLE.lower()) or "") for source in (environment, file))
    return next((Path(text).expanduser() for text in named if text), None)


def folder_faults(folder: Path) -> list[str]:
    """Why this folder of secrets cannot be read whole; nothing when it can."""
    place = f"{SECRETS_VARIABLE}: {folder}"
    if not folder.exists():
        return [f"{place} is not there: mount the secrets there, or take the variable away"]
    if not folder.is_dir():
        return [f"{place} is no folder: name the folder that the secrets are in, not one of them"]
    try:
        files = sorted(file for file in folder.iterdir() if file.name.upper().startswith(PREFIX))
    except OSError as error:
        return [f"{place} cannot be read: {error.strerror}"]
    return [fault for file in files for fault in _secret_faults(file, folder)]


def _secret_faults(file: Path, folder: Path) -> Iterator[str]:
    # pydantic-settings leaves such a file out, with a warning that is not shown
    if not file.resolve().is_relative_to(folder.resolve()):
        yield f"{file}: leads out of its folder: put the file itself there"
        return
    try:
        file.read_text(encoding=ENCODING)
    except OSError as error:
        yield f"{file}: cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        yield f"{file}: is not in UTF-8: save it in that encoding"


def file_faults(path: Path) -> list[str]:
    """Why this file cannot be read whole; nothing when it can, or is not there.

    What cannot be read would be left out without a word, and a default taken in its place.
    """
    if not path.is_file():
        return []
    try:
        text = path.read_bytes().decode(ENCODING)
    except OSError as error:
        return [f"{path}: cannot be read: {error.strerror}"]
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        return [f"{path}: is not in UTF-8: save it in that encoding"]
    with path.open(encoding=ENCODING) as opened:
        lines = [binding.original.line for binding in parse_stream(opened) if binding.error]
    return [f"{path}: line {line} is not NAME=value, or a quotation mark in it is never closed" for line in lines]
