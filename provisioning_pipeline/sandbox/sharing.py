"""Lets other containers reach a sandbox that listens on loopback alone: relays on one more address of its machine.

For the network of a compose project and the like: what is made up there, its passwords included, is for trying.
"""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from provisioning_pipeline.sandbox.sandbox import Sandbox

_LOOPBACK = "127.0.0.1"
_CHUNK = 65_536


@contextmanager
def shared(sandbox: Sandbox, host: str) -> Iterator[dict[str, str]]:
    """Relay the ports of a running sandbox on the address that this name has; the settings for those who come there.

    Sessions are not taken over there: no issuer is believed over http:// off its own machine.
    """
    sandbox.postgres.require_passwords()
    address = socket.gethostbyname(host)
    urls = [sandbox.registry_url, sandbox.clerk.frontend_url, *(server.base_url for server in sandbox.twenty)]
    ports = [port for url in urls if (port := urlsplit(url).port)]
    loop = asyncio.new_event_loop()
    relays = [loop.run_until_complete(_relay(address, port)) for port in ports]
    thread = threading.Thread(target=loop.run_forever, name="relays", daemon=True)
    thread.start()
    try:
        yield _from_there(sandbox.environment(), host, ports)
    finally:
        for relay in relays:
            loop.call_soon_threadsafe(relay.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _from_there(environment: Mapping[str, str], host: str, ports: list[int]) -> dict[str, str]:
    there = dict(environment)
    del there["PROVISIONING_CLERK_ISSUERS"]
    for port in ports:
        there = {name: value.replace(f"{_LOOPBACK}:{port}", f"{host}:{port}") for name, value in there.items()}
    return there | {"PROVISIONING_ALLOW_HTTP_HOSTS": json.dumps([host])}


async def _relay(address: str, port: int) -> asyncio.Server:
    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection(_LOOPBACK, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))

    return await asyncio.start_server(connect, address, port)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # one side is gone: the other hears of it by the end of its stream
    with suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()
