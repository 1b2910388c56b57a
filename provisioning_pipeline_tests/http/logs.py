"""What is logged while a test runs; afterwards everything logs as before."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from provisioning_pipeline.cli.serving import log_as_json


class Lines(logging.Handler):
    """Every line that anything logs, with all that goes with it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.getMessage()} {record.__dict__}")


@contextmanager
def lines_logged() -> Iterator[list[str]]:
    """All that is logged, also by the caller's own HTTP client: its line is there before it has the answer."""
    with _restored():
        handler = Lines()
        logging.getLogger().addHandler(handler)
        for name, level in (("", logging.INFO), ("httpx", logging.INFO), ("provisioning_pipeline", logging.DEBUG)):
            logging.getLogger(name).setLevel(level)
        yield handler.lines


@contextmanager
def logging_as_json() -> Iterator[None]:
    """All that is logged goes to standard error, as `provisioning serve` writes it."""
    with _restored():
        log_as_json(logging.DEBUG)
        yield


@contextmanager
def _restored() -> Iterator[None]:
    names = ("", "provisioning_pipeline", "httpx", "httpcore", "alembic", "uvicorn.access")
    levels = {name: logging.getLogger(name).level for name in names}
    handlers = logging.getLogger().handlers[:]
    try:
        yield
    finally:
        logging.getLogger().handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
