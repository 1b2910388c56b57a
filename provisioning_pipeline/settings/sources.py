"""Where settings are read from: the environment and a file `.env`, both in the same way."""

from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream
from pydantic.fields import FieldInfo
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

from provisioning_pipeline.values.texts import stripped

ENCODING = "utf-8-sig"
"""With or without a byte order mark: with one, the first variable of a file would go by another name."""


class Environment(EnvSettingsSource):
    """Variables of the environment."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Without what stands around the value; where nothing is left, the variable is not set."""
        value, key, is_complex = super().get_field_value(field, field_name)
        return (stripped(value) or None) if isinstance(value, str) else value, key, is_complex

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """JSON; what is none goes on as it is, so that its fault is found together with all others."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value


class DotEnv(Environment, DotEnvSettingsSource):
    """Variables in a file `.env`."""


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
