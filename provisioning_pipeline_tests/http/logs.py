"""What is logged while a test runs; afterwards everything logs as before."""

import io
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from provisioning_pipeline.cli.logs import LogFormat, log_as
from provisioning_pipeline.http.middleware import request_id


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
    with restored():
        handler = Lines()
        logging.getLogger().addHandler(handler)
        for name, level in (("", logging.INFO), ("httpx2", logging.INFO), ("provisioning_pipeline", logging.DEBUG)):
            logging.getLogger(name).setLevel(level)
        yield handler.lines


@contextmanager
def logging_as_json() -> Iterator[None]:
    """All that is logged goes to standard error, as `provisioning serve` writes it."""
    with restored():
        log_as(LogFormat.JSON, logging.DEBUG, request_id=request_id)
        yield


@contextmanager
def restored() -> Iterator[None]:
    names = ("", "provisioning_pipeline", "httpx2", "httpcore2", "alembic", "uvicorn.access")
    levels = {name: logging.getLogger(name).level for name in names}
    handlers = logging.getLogger().handlers[:]
    try:
        yield
    finally:
        logging.getLogger().handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


class Log:
    """What a server logs, line by line."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines(keepends=True) if line.endswith("\n")]

    def of(self, request_id: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["request_id"] == request_id]

    def once_it_says(self, words: str) -> str:
        """All of it, once these words are there: a moment after an answer came."""
        pause = threading.Event()
        for _ in range(500):
            if words in self.text:
                break
            pause.wait(0.01)
        return self.text

    def answered(self, request_id: str) -> dict[str, Any]:
        """The one line about an answer, which may be written a moment after the answer came."""
        pause = threading.Event()
        for _ in range(500):
            found = [line for line in self.of(request_id) if "status" in line]
            if found:
                break
            pause.wait(0.01)
        (line,) = found
        return line
