"""How commands log on standard error: a JSON document a line, or text for people."""

import json
import logging
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from provisioning_pipeline.model.names import unsteered


class LogFormat(StrEnum):
    """What a line of the log is."""

    JSON = "json"
    TEXT = "text"


AsLogged = Annotated[
    LogFormat | None,
    typer.Option(
        help="Log each tenant on standard error in place of the bar, as it is done: json is a document a line."
    ),
]


def log_as(
    log_format: LogFormat, level: int = logging.INFO, *, request_id: Callable[[], str | None] | None = None
) -> None:
    """Send every log line to standard error: time, level, logger, message, request_id, and in JSON what is added.

    Args:
        request_id: the id of the request that is being answered; None: the command answers none.
    """
    handler = logging.StreamHandler(sys.stderr)
    if request_id is not None:

        def with_request_id(record: logging.LogRecord) -> bool:
            record.request_id = request_id()
            return True

        handler.addFilter(with_request_id)
    handler.setFormatter(_text() if log_format is LogFormat.TEXT else _json(with_request=request_id is not None))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # their lines would repeat addresses of other systems for every call
    for noisy in ("httpx2", "httpcore2", "alembic", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _json(*, with_request: bool) -> logging.Formatter:
    from pythonjsonlogger.core import RESERVED_ATTRS
    from pythonjsonlogger.orjson import OrjsonFormatter

    class Formatter(OrjsonFormatter):
        def format(self, record: logging.LogRecord) -> str:
            return _for_a_terminal(super().format(record))

    return Formatter(
        "{levelname}{name}{message}{request_id}" if with_request else "{levelname}{name}{message}",
        style="{",
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
        # uvicorn's own message once more, with escape codes
        reserved_attrs=[*RESERVED_ATTRS, "color_message"],
    )


def _text() -> logging.Formatter:
    class Formatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            line = super().format(record)
            request = getattr(record, "request_id", None)
            return unsteered(f"{line} [{request}]" if request else line)

    return Formatter("{asctime} {levelname:7} {message}", style="{")


def _for_a_terminal(line: str) -> str:
    """The same document, with JSON's own escape for what would steer a terminal or hide: orjson leaves much of it."""
    if line.isprintable():
        return line
    # json leaves DEL
    escaped = (letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in line)
    return "".join(escaped).replace("\x7f", "\\u007f")
