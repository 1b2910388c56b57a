"""The two servers, each a process of its own that listens on a free port of loopback."""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.api.fleet import Fleet
from benchmarks.stand_in import ROOT
from provisioning_pipeline.settings import PREFIX

_STOP_SECONDS = 30
_ADDRESS = re.compile(r"http://[0-9.]+:[0-9]+")


class Side(StrEnum):
    """Who answers."""

    BARE = "bare"
    API = "HTTP API"


@dataclass(frozen=True)
class Server:
    """A running server."""

    address: str
    process: int

    def processor(self) -> float:
        """Seconds that it has computed so far; not a number where the system has no /proc."""
        stat = Path(f"/proc/{self.process}/stat")
        if not stat.exists():
            return math.nan
        # after the name, which may hold anything: user and system time are the 12th and 13th
        fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(side: Side, fleet: Fleet) -> Iterator[Server]:
    """A server that has just been started, with its log in a file.

    Raises:
        RuntimeError: when it does not start, with the end of what it had to say.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "log").open("w+", encoding="utf-8") as log:
            # in an empty folder: no `.env` of somebody else
            process = subprocess.Popen(
                [sys.executable, "-m", *_module(side, fleet, folder)],
                cwd=folder,
                env=_environment(fleet),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            try:
                assert process.stdout is not None
                address = _ADDRESS.search(process.stdout.readline())
                if address is None:
                    process.wait(_STOP_SECONDS)
                    log.seek(0)
                    raise RuntimeError(f"the {side} server did not start: {log.read()[-2000:]}")
                yield Server(address[0], process.pid)
            finally:
                _stop(process)


def _module(side: Side, fleet: Fleet, folder: Path) -> Sequence[str]:
    if side is Side.API:
        return "provisioning_pipeline.cli", "serve", "--port", "0"
    known = folder / "known.json"
    known.write_text(json.dumps(fleet.known()), encoding="utf-8")
    return "benchmarks.api.bare", str(known)


def _environment(fleet: Fleet) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    path = os.pathsep.join(filter(None, [str(ROOT), own.get("PYTHONPATH")]))
    return {**own, **fleet.environment, "PYTHONPATH": path}


def _stop(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()
