"""The application on a loopback port, and who calls it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from provisioning_pipeline.http.app import create_app
from provisioning_pipeline.sandbox.serving import LoopbackServer
from provisioning_pipeline.settings import Settings
from provisioning_pipeline_tests.http.fleet import signed


class Api:
    """A caller of the running application."""

    def __init__(self, server: LoopbackServer) -> None:
        self.url = server.url
        # plain HTTP: reading the machine's certificates for each test would take longer than the test
        self.http = httpx2.Client(base_url=server.url, timeout=20, verify=False)

    def post(self, raw: bytes, headers: dict[str, str]) -> httpx2.Response:
        return self.http.post("/webhooks/clerk", content=raw, headers=headers)

    def deliver(self, event: dict[str, Any], event_id: str | None = None) -> int:
        """The status of the answer to a valid delivery."""
        return self.post(*signed(event, event_id)).status_code


@contextmanager
def api_to(settings: Settings) -> Iterator[Api]:
    """A running application with these settings."""
    server = LoopbackServer(create_app(settings))
    server.start()
    try:
        api = Api(server)
        yield api
        api.http.close()
    finally:
        server.stop()
