"""Logs of a server: one JSON document a line, each with the id of the request that it is about."""

import logging
import sys


def log_as_json(level: int = logging.INFO) -> None:
    """Send every log line to standard error as JSON: time, level, logger, message, request_id, and what is added."""
    from pythonjsonlogger.core import RESERVED_ATTRS
    from pythonjsonlogger.orjson import OrjsonFormatter

    from provisioning_pipeline.api.request_log import request_id

    def with_request_id(record: logging.LogRecord) -> bool:
        record.request_id = request_id()
        return True

    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(with_request_id)
    handler.setFormatter(
        OrjsonFormatter(
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
