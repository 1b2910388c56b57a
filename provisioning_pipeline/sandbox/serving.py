"""Runs an ASGI application on a loopback port in a thread of its own, restartable on the same port."""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import uvicorn


class LoopbackServer:
    """A real HTTP server for a stand-in: `start` returns once it accepts connections, `stop` joins its thread."""

    def __init__(self, app: Any, port: int = 0) -> None:
        self._app = app
        self._port = port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._tell_to_stop: Callable[[], object] = lambda: None

    @property
    def url(self) -> str:
        """Base URL without a trailing slash; known once started."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Bind, serve, and return when ready. Raises OSError when the port is taken."""
        # with the protocol named, asyncio turns Nagle's algorithm off: without it each answer takes 40 ms more
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen(512)
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._app, log_level="error", access_log=False, lifespan="on", loop="asyncio", server_header=False
        )
        server = uvicorn.Server(config)
        self._tell_to_stop = lambda: None
        ready = threading.Event()
        startup = server.startup

        async def startup_then_tell(sockets: list[socket.socket] | None = None) -> None:
            await startup(sockets)
            ready.set()

        async def until_told_to_stop() -> None:
            stopping = asyncio.Event()
            self._tell_to_stop = partial(asyncio.get_running_loop().call_soon_threadsafe, stopping.set)
            while not await server.on_tick(0):
                with suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), timeout=0.5)

        server.startup = startup_then_tell  # type: ignore[method-assign]  # uvicorn has no ready callback
        # its own loop looks ten times a second whether it is to stop, and tests stop hundreds of servers
        server.main_loop = until_told_to_stop  # type: ignore[method-assign]  # nor one to end
        self._server = server
        self._thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name=f"stand-in:{self._port}", daemon=True
        )
        self._thread.start()
        while not ready.wait(timeout=0.05):
            if not self._thread.is_alive():
                message = f"the stand-in on port {self._port} stopped while starting"
                raise RuntimeError(message)

    def stop(self) -> None:
        """Finish open answers and stop; safe to call twice."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        with suppress(RuntimeError):  # it stopped by itself, and its loop is closed
            self._tell_to_stop()
        self._thread.join(timeout=10)
        self._server = self._thread = None

    def restart(self) -> None:
        """Stop and start again on the same port, as a server that crashed and came back."""
        self.stop()
        self.start()
