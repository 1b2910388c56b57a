"""Launches runs through the GraphQL endpoint of Dagster's web server. It has no authentication: keep it internal."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx2

from provisioning_pipeline.clients.http import http_client, in_words, redirect_of
from provisioning_pipeline.clients.tracing import carried

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
class Place:
    """Where a job is: names of its code location and repository."""

    location: str
    repository: str


class DagsterClient:
    """Dagster's web server.

    Args:
        url: of its GraphQL endpoint.
        location: the code location whose jobs are launched; None: the one that has them, or that the caller knows.
    """

    def __init__(self, url: str, *, location: str | None = None) -> None:
        self._url = url
        self._location = location
        self._http: httpx2.AsyncClient | None = None
        self._places: dict[tuple[str, Place | None], Place] = {}
        self._finding = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def launch(
        self, job: str, config: Mapping[str, Any], tags: Mapping[str, str], *, known: Place | None = None
    ) -> str:
        """Launch a run of a job; the run's id. It is queued, and begins soon after.

        Args:
            job: its name.
            config: of the run.
            tags: of the run.
            known: where the job is, if that is known; where several code locations have it, nothing else says which
                one is meant.

        Raises:
            DagsterAway: when that failed, or may have failed.
        """
        place = await self._place(job, known)
        told = {**tags, **carried()}
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
                    "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in told.items()]},
                }
            },
        )
        outcome = _mapping(answer.get("launchRun"))
        if outcome.get("__typename") != "LaunchRunSuccess":
            # the code location may have been renamed or reloaded since
            self._places.clear()
            raise DagsterAway(f"Dagster did not launch {job}: {outcome.get('__typename')}.")
        run_id = _mapping(outcome.get("run")).get("runId")
        if not isinstance(run_id, str) or not run_id:
            raise DagsterAway("Dagster launched a run and did not say which.")
        return run_id

    async def is_under_way(self, run_id: str) -> bool:
        """Whether this run has not ended yet; a run that Dagster does not know has.

        Raises:
            DagsterAway: when Dagster cannot be asked.
        """
        run = _mapping((await self._ask(_STATUS, {"runId": run_id})).get("runOrError"))
        return run.get("__typename") == "Run" and run.get("status") not in _ENDED

    async def _place(self, job: str, known: Place | None) -> Place:
        async with self._finding:
            if (job, known) not in self._places:
                self._places[job, known] = self._chosen(_places_of(await self._ask(_JOBS, {}), job), job, known)
        return self._places[job, known]

    def _chosen(self, places: Sequence[Place], job: str, known: Place | None) -> Place:
        """The one place that is meant; never another one, which works on other tenants."""
        where = ""
        if self._location is not None:
            places = [place for place in places if place.location == self._location]
            where = f" in code location {self._location}"
        elif known is not None:
            # another location may be the only one that is loaded just now
            places = [place for place in places if place == known]
            where = f" in code location {known.location}"
        if len(places) == 1:
            return places[0]
        advice = " Set PROVISIONING_DAGSTER_LOCATION to the name of the code location." if len(places) > 1 else ""
        raise DagsterAway(f"Dagster has {len(places)} jobs called {job}{where}; one is needed.{advice}")

    async def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        if self._http is None:
            self._http = http_client(self._url, timeout_seconds=_TIMEOUT_SECONDS)
        try:
            response = await self._http.post(self._url, json={"query": query, "variables": dict(variables)})
            answer = response.json()
        except httpx2.HTTPError as error:
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


def _places_of(answer: Mapping[str, Any], job: str) -> list[Place]:
    """Where a job of this name is.

    Raises:
        DagsterAway: when the answer has another form than Dagster's.
    """
    try:
        return [
            Place(str(node["location"]["name"]), str(node["name"]))
            for node in _mapping(answer.get("repositoriesOrError")).get("nodes") or []
            if any(pipeline["name"] == job for pipeline in node["pipelines"])
        ]
    except (KeyError, TypeError):
        raise DagsterAway("What answers under Dagster's address is no Dagster that is known here.") from None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
