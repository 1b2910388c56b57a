"""Launches runs through the GraphQL endpoint of Dagster's web server. It has no authentication: keep it internal."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from provisioning_pipeline.clients.http import http_client, in_words, redirect_of

_TIMEOUT_SECONDS = 5.0
_JOBS = """
query Jobs {
  repositoriesOrError {
    __typename
    ... on RepositoryConnection { nodes { name location { name } pipelines { name } } }
  }
}
"""
_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
_STATUS = """
query Status($runId: ID!) { runOrError(runId: $runId) { __typename ... on Run { status } } }
"""
_ENDED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})


class DagsterAway(Exception):
    """No run could be launched or looked at; the text says why. Whether one was launched is not certain."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a job is."""

    location: str
    repository: str


class DagsterClient:
    """Dagster's web server.

    Args:
        url: of its GraphQL endpoint.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._http: httpx.AsyncClient | None = None
        self._places: dict[str, _Place] = {}
        self._finding = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def launch(self, job: str, config: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """Launch a run of a job, wherever it is loaded; the run's id. It is queued, and begins soon after.

        Raises:
            DagsterAway: when that failed, or nobody knows whether it did.
        """
        place = await self._place(job)
        answer = await self._ask(
            _LAUNCH,
            {
                "params": {
                    "selector": {
                        "repositoryLocationName": place.location,
                        "repositoryName": place.repository,
                        "jobName": job,
                    },
                    "runConfigData": dict(config),
                    "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
                }
            },
        )
        outcome = _mapping(answer.get("launchRun"))
        if outcome.get("__typename") != "LaunchRunSuccess":
            # the code location may have been renamed or reloaded since
            self._places.pop(job, None)
            raise DagsterAway(f"Dagster did not launch {job}: {outcome.get('__typename')}.")
        return _run_id(outcome)

    async def is_under_way(self, run_id: str) -> bool:
        """Whether this run has not ended yet; a run that Dagster does not know has.

        Raises:
            DagsterAway: when Dagster cannot be asked.
        """
        run = _mapping((await self._ask(_STATUS, {"runId": run_id})).get("runOrError"))
        return run.get("__typename") == "Run" and run.get("status") not in _ENDED

    async def _place(self, job: str) -> _Place:
        async with self._finding:
            if job not in self._places:
                places = _places_of(await self._ask(_JOBS, {}), job)
                if len(places) != 1:
                    raise DagsterAway(f"Dagster has {len(places)} jobs called {job}; one is needed.")
                self._places[job] = places[0]
        return self._places[job]

    async def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        if self._http is None:
            self._http = http_client(self._url, timeout_seconds=_TIMEOUT_SECONDS)
        try:
            response = await self._http.post(self._url, json={"query": query, "variables": dict(variables)})
            answer = response.json()
        except httpx.HTTPError as error:
            raise DagsterAway(f"Dagster's web server does not answer ({in_words(error, self._url)}).") from None
        except ValueError:
            location = redirect_of(response)
            if location is not None:
                raise DagsterAway(
                    f"Dagster's web server answers with a redirect (HTTP {response.status_code}) to {location}, which "
                    "is not followed. Set PROVISIONING_DAGSTER_GRAPHQL_URL to where its GraphQL endpoint is."
                ) from None
            raise DagsterAway(f"Dagster's web server answers HTTP {response.status_code} without JSON.") from None
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict):
            raise DagsterAway(f"Dagster's web server answers HTTP {response.status_code} without data.")
        return data


def _places_of(answer: Mapping[str, Any], job: str) -> list[_Place]:
    """Where a job of this name is.

    Raises:
        DagsterAway: when the answer has another form than Dagster's.
    """
    try:
        return [
            _Place(str(node["location"]["name"]), str(node["name"]))
            for node in _mapping(answer.get("repositoriesOrError")).get("nodes") or []
            if any(pipeline["name"] == job for pipeline in node["pipelines"])
        ]
    except (KeyError, TypeError):
        raise DagsterAway("What answers under Dagster's address is no Dagster that is known here.") from None


def _run_id(outcome: Mapping[str, Any]) -> str:
    run_id = _mapping(outcome.get("run")).get("runId")
    if not isinstance(run_id, str) or not run_id:
        raise DagsterAway("Dagster launched a run and did not say which.")
    return run_id


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
