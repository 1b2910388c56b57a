"""A stand-in Twenty server that can be started, stopped and restarted."""

from collections import Counter
from types import TracebackType
from typing import Self

from provisioning_pipeline.sandbox.faults import Faults
from provisioning_pipeline.sandbox.serving import LoopbackServer
from provisioning_pipeline.sandbox.twenty.app import create_app
from provisioning_pipeline.sandbox.twenty.options import Mail, TwentyOptions
from provisioning_pipeline.sandbox.twenty.runtime import Runtime


class StandInTwenty:
    """Speaks the part of Twenty 2.21.0 that this project uses, over real HTTP, with its state in Postgres.

    By its options it stands for another version. A second one over the same database, with other options, is the
    same server after an upgrade: accounts, workspaces and tokens stay good.

    Args:
        database_url: the server's own database; schema `core` is created in it when missing.
        options: how this server is set up.
        faults: troubles to inject; steer them here or with `POST /sandbox/faults`.
        port: a fixed port, or 0 for a free one.
    """

    def __init__(
        self,
        database_url: str,
        options: TwentyOptions = TwentyOptions(),  # noqa: B008  # frozen
        faults: Faults | None = None,
        port: int = 0,
    ) -> None:
        self.database_url = database_url
        self.options = options
        self.faults = faults if faults is not None else Faults()
        self._runtime = Runtime(options, self.faults)
        self._server = LoopbackServer(create_app(self._runtime, database_url), port)

    def start(self) -> None:
        """Create what the database lacks, and serve."""
        self._runtime.stopping = False
        self._server.start()
        self._runtime.port = int(self._server.url.rpartition(":")[2])

    def stop(self) -> None:
        """Stop serving; the state stays in the database, what it had in memory is forgotten."""
        self._runtime.stopping = True
        self._server.stop()
        self._runtime.known_ties.clear()
        self._runtime.known_workspaces.clear()

    def restart(self) -> None:
        """Stop and start on the same port; tokens issued before stay good."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """Where to send requests, without a trailing slash; known once started."""
        return self._server.url

    @property
    def calls(self) -> Counter[str]:
        """Calls by root field, refused ones too."""
        return self._runtime.calls

    @property
    def mutating_calls(self) -> int:
        """Mutations that were let through to their resolver, but for those that only hand out tokens."""
        return self._runtime.mutating_calls

    @property
    def mails(self) -> list[Mail]:
        """E-mails that would have gone out."""
        return self._runtime.mails
