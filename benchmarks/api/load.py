"""Sends requests from a process of its own, and tells how they were answered."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.stand_in import ROOT

WARM_SECONDS = 2
"""Load before each measurement."""
_SCRIPT = Path(__file__).with_name("wrk.lua")


class Generator(StrEnum):
    """Who sends the requests."""

    WRK = "wrk"
    OWN = "own generator"


class Tokens(StrEnum):
    """Whether the servers have seen the tokens before."""

    KNOWN = "known tokens"
    NEW = "new tokens"


@dataclass(frozen=True)
class Load:
    """How requests are sent.

    Args:
        connections: kept alive, with one request at a time on each.
        seconds: how long.
    """

    generator: Generator
    connections: int
    seconds: int


@dataclass(frozen=True)
class Measured:
    """One measurement; times in seconds.

    Args:
        processor: seconds that the server computed; a busy machine hardly changes them.
        clerk_calls: how often Clerk was called since the server started.
        connections: how often PostgreSQL was connected to since then.
    """

    requests: int
    seconds: float
    median: float
    p99: float
    processor: float = math.nan
    clerk_calls: int = 0
    connections: int = 0

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def installed() -> Generator:
    """The better one of those that are there."""
    return Generator.WRK if shutil.which("wrk") else Generator.OWN


def send(load: Load, url: str, tokens: Sequence[str], kind: Tokens) -> Measured:
    """Ask for `url` with these tokens: over and over, or each one once.

    Raises:
        RuntimeError: when an answer was not 200, a connection broke, or there were too few new tokens.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "tokens"
        file.write_text("".join(f"{token}\n" for token in tokens), encoding="ascii")
        how = "again" if kind is Tokens.KNOWN else "once"
        ended = subprocess.run(
            _command(load, url, str(file), how), cwd=ROOT, capture_output=True, text=True, check=False
        )
    if ended.returncode:
        raise RuntimeError(f"{load.generator} failed: {ended.stdout[-1000:]}{ended.stderr[-1000:]}")
    told = json.loads(ended.stdout.splitlines()[-1])
    sent, wrong = told.pop("sent"), told.pop("wrong")
    if wrong or not told["requests"]:
        raise RuntimeError(f"{wrong} of {sent} requests to {url} were not answered with 200")
    if kind is Tokens.NEW and sent > len(tokens):
        raise RuntimeError(f"{len(tokens)} new tokens were too few for {sent} requests")
    return Measured(**told)


def _command(load: Load, url: str, tokens: str, how: str) -> list[str]:
    connections, seconds = str(load.connections), str(load.seconds)
    if load.generator is Generator.WRK:
        options = ["-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(_SCRIPT)]
        return ["wrk", *options, url, "--", tokens, how]
    return [sys.executable, "-m", "benchmarks.api.generator", url, connections, seconds, tokens, how]
