"""`provisioning serve` in processes of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def program(*arguments: str, environment: dict[str, str], folder: Path) -> "subprocess.Popen[str]":
    """A process of its own with this environment and none of ours."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PROVISIONING_")}
    return subprocess.Popen(
        [sys.executable, "-m", "provisioning_pipeline.cli", "serve", *arguments],
        env=clean | environment | {"COLUMNS": "200", "PYTHONUNBUFFERED": "1"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def serving_alone(environment: dict[str, str], folder: Path) -> Iterator[str]:
    """A server in a process of its own; its address."""
    running = program("--port", "0", environment=environment, folder=folder)
    try:
        assert running.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", running.stdout.readline())
        assert found
        yield found[0]
    finally:
        running.kill()
        running.communicate()
