"""A stand-in for the GraphQL endpoint of Dagster's web server: the three operations that the HTTP API sends to it."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from provisioning_pipeline.sandbox.serving import LoopbackServer

JOB = "reconcile_tenants"


@dataclass
class Run:
    """A launched run. `status` is Dagster's word for where it is."""

    id: str
    tenants: list[str]
    tags: dict[str, str]
    status: str = "QUEUED"
    location: str = ""


@dataclass
class StandInDagster:
    """What it has launched, and how it is to behave.

    Args:
        work: what a run does, in a thread of its own; None: it stays queued.
        answer: takes a request's place of answer; None: it answers as Dagster does.
        locations: code locations, each with the job.
        patience: seconds for which a launch waits until it is let go; None: it does not wait.
    """

    work: Callable[[Run], None] | None = None
    answer: Callable[[], Response] | None = None
    locations: list[str] = field(default_factory=lambda: ["provisioning_pipeline"])
    runs: list[Run] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Event = field(default_factory=threading.Event)
    patience: float | None = None
    _threads: list[threading.Thread] = field(default_factory=list)

    def app(self) -> Starlette:
        """The application, with its one endpoint."""
        return Starlette(routes=[Route("/graphql", self._graphql, methods=["POST"])])

    def forget(self) -> None:
        """As new, once its runs have ended."""
        self.join()
        self.work = self.answer = self.patience = None
        self.locations = ["provisioning_pipeline"]
        self.runs.clear()
        self.asked.clear()
        self.let_go.clear()
        self.arrived.clear()

    def join(self) -> None:
        """Return once every run has ended that does anything."""
        for thread in self._threads:
            thread.join(timeout=60)
        self._threads.clear()

    async def _graphql(self, request: Request) -> Response:
        asked = await request.json()
        query, variables = asked["query"], asked["variables"]
        self.asked.append(query)
        if self.answer is not None:
            return self.answer()
        if "launchRun" in query:
            # a launch may be held up, and others have to be answered meanwhile
            return JSONResponse({"data": {"launchRun": await run_in_threadpool(self._launch, variables)}})
        if "runOrError" in query:
            return JSONResponse({"data": {"runOrError": self._status(variables["runId"])}})
        return JSONResponse({"data": {"repositoriesOrError": self._jobs()}})

    def _jobs(self) -> dict[str, Any]:
        return {
            "__typename": "RepositoryConnection",
            "nodes": [
                {"name": "__repository__", "location": {"name": name}, "pipelines": [{"name": JOB}, {"name": "undo"}]}
                for name in self.locations
            ],
        }

    def _launch(self, variables: dict[str, Any]) -> dict[str, Any]:
        params = variables["params"]
        location = params["selector"]["repositoryLocationName"]
        expected = {"repositoryLocationName": location, "repositoryName": "__repository__", "jobName": JOB}
        if location not in self.locations or params["selector"] != expected:
            return {"__typename": "PipelineNotFoundError"}
        run = Run(
            str(uuid.uuid4()),
            list(params["runConfigData"]["ops"]["detect_tenants"]["config"]["tenants"]),
            {tag["key"]: tag["value"] for tag in params["executionMetadata"]["tags"]},
            location=location,
        )
        self.runs.append(run)
        self.arrived.set()
        if self.patience is not None:
            self.let_go.wait(self.patience)
        if self.work is not None:
            thread = threading.Thread(target=self._run, args=(run, self.work), daemon=True)
            self._threads.append(thread)
            thread.start()
        return {"__typename": "LaunchRunSuccess", "run": {"runId": run.id}}

    def _run(self, run: Run, work: Callable[[Run], None]) -> None:
        run.status = "STARTED"
        try:
            work(run)
        except BaseException:
            run.status = "FAILURE"
            raise
        run.status = "SUCCESS"

    def _status(self, run_id: str) -> dict[str, Any]:
        found = next((run for run in self.runs if run.id == run_id), None)
        return {"__typename": "Run", "status": found.status} if found else {"__typename": "RunNotFoundError"}


@contextmanager
def running_dagster() -> Iterator[tuple[StandInDagster, LoopbackServer]]:
    """A stand-in that answers on a loopback port, at /graphql."""
    dagster = StandInDagster()
    server = LoopbackServer(dagster.app())
    server.start()
    try:
        yield dagster, server
    finally:
        dagster.let_go.set()
        dagster.join()
        server.stop()
