"""Logs of a server: one JSON document a line, each with the id of the request that it is about."""

import logging
import sys


def log_as_json(level: int = logging.INFO) -> None:
    """Send every log line to standard error as JSON: time, level, logger, message, request_id, and what is added."""
    from pythonjsonlogger.core import RESERVED_ATTRS
    from pythonjsonlogger.orjson import OrjsonFormatter

    from provisioning_pipeline.http.request_log import request_id

    class Formatter(OrjsonFormatter):
        def format(self, record: logging.LogRecord) -> str:
            return _for_a_terminal(super().format(record))

    def with_request_id(record: logging.LogRecord) -> bool:
        record.request_id = request_id()
        return True

    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(with_request_id)
    handler.setFormatter(
        Formatter(
            "{levelname}{name}{message}{request_id}",
            style="{",
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp="time",
            # uvicorn's own message once more, with escape codes
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # their lines would repeat addresses of other systems for every call
    for noisy in ("httpx", "httpcore", "alembic", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _for_a_terminal(line: str) -> str:
    """The same document, with JSON's own escape for what would steer a terminal or hide: orjson leaves much of it."""
    if line.isprintable():
        return line
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in line)


def _escaped(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
