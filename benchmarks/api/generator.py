"""A load generator for where `wrk` is not installed: keep-alive connections, one request at a time on each.

It knows as much of HTTP as the two servers' answers take: a head that ends with an empty line, and no body.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from statistics import quantiles
from typing import cast
from urllib.parse import urlsplit

_OK = b"HTTP/1.1 200 "
_END = b"\r\n\r\n"


class _Run:
    """What all connections share."""

    def __init__(self, requests: Iterator[bytes], until: float) -> None:
        self.requests = requests
        self.until = until
        self.latencies: list[float] = []
        self.sent = 0
        self.wrong = 0


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run = run
        self._read = b""
        self._sent_at = 0.0
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is no asyncio.Transport by inheritance
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._read += data
        if not self._read.endswith(_END):
            return
        now = time.perf_counter()
        self._run.latencies.append(now - self._sent_at)
        if not self._read.startswith(_OK):
            self._run.wrong += 1
        self._read = b""
        if now < self._run.until:
            self._send()
        else:
            self._end()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.ended.done():
            self._run.wrong += 1
            self.ended.set_result(None)

    def _send(self) -> None:
        request = next(self._run.requests, None)
        self._run.sent += 1
        if request is None:
            self._end()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def _end(self) -> None:
        self.ended.set_result(None)
        self._transport.close()


async def send(url: str, tokens: list[str], *, again: bool, connections: int, seconds: float) -> dict[str, float]:
    """Ask for `url` with one token after the other, or with all of them over and over; what came of it.

    An answer that is not 200 has a body, for which its connection waits no longer than for the end of the run.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    requests = [
        f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        for token in tokens
    ]
    begun = time.perf_counter()
    run = _Run(cycle(requests) if again else iter(requests), begun + seconds)
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(lambda: _Connection(run), host, port) for _ in range(connections)]
    ended = [protocol.ended for _, protocol in opened]
    await asyncio.wait(ended, timeout=2 * seconds + 1)
    run.wrong += sum(not future.done() for future in ended)
    taken = time.perf_counter() - begun
    percentiles = quantiles(run.latencies, n=100) if len(run.latencies) > 1 else [0.0] * 99
    return {
        "requests": len(run.latencies),
        "seconds": taken,
        "median": percentiles[49],
        "p99": percentiles[98],
        "sent": run.sent,
        "wrong": run.wrong,
    }


def _main(url: str, connections: str, seconds: str, tokens: str, how: str) -> None:
    read = Path(tokens).read_text(encoding="ascii").split()
    job = send(url, read, again=how == "again", connections=int(connections), seconds=float(seconds))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        print(json.dumps(runner.run(job)))


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    _main(*sys.argv[1:])
