"""Launching runs at Dagster: documents that its own schema takes, and answers that may be anything."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx2
import pytest
from graphql import ExecutionResult, GraphQLSchema, build_schema, execute_sync, parse, print_schema, validate
from starlette.responses import JSONResponse, PlainTextResponse, Response

from provisioning_pipeline.clients import dagster as client
from provisioning_pipeline.clients.dagster import DagsterAway, DagsterClient
from provisioning_pipeline.sandbox.serving import LoopbackServer
from provisioning_pipeline_tests.http.dagster_stand_in import JOB, StandInDagster, running_dagster

DOCUMENTS = {"jobs": client._JOBS, "launch": client._LAUNCH, "status": client._STATUS}
CONFIG = {"ops": {"detect_tenants": {"config": {"tenants": ["twenty_tenant_acme"]}}}}
TAGS = {"trigger": "tenant-manager", "tenant": "twenty_tenant_acme"}


@pytest.fixture(scope="module")
def dagsters_own() -> GraphQLSchema:
    """The schema of the Dagster that is installed, with answers from plain documents instead of its instance."""
    from dagster_graphql.schema import create_schema

    return build_schema(print_schema(create_schema().graphql_schema))


@pytest.fixture(scope="module")
def serving() -> Iterator[tuple[StandInDagster, LoopbackServer]]:
    with running_dagster() as found:
        yield found


@pytest.fixture
def dagster(serving: tuple[StandInDagster, LoopbackServer]) -> StandInDagster:
    serving[0].forget()
    return serving[0]


@pytest.fixture
def url(serving: tuple[StandInDagster, LoopbackServer], dagster: StandInDagster) -> str:
    # whatever it was told by the test before is forgotten
    return f"{serving[1].url}/graphql"


def ask(url: str, *questions: Callable[[DagsterClient], Awaitable[Any]]) -> list[Any]:
    """One after the other, of one client."""

    async def work() -> list[Any]:
        async with DagsterClient(url) as made:
            return [await question(made) for question in questions]

    return asyncio.run(work())


async def launch(made: DagsterClient) -> str:
    return await made.launch(JOB, CONFIG, TAGS)


async def launch_or_away(made: DagsterClient) -> str:
    try:
        return await made.launch(JOB, CONFIG, TAGS)
    except DagsterAway as away:
        return str(away)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_dagsters_own_schema_takes_what_is_sent(dagsters_own: GraphQLSchema, name: str) -> None:
    assert validate(dagsters_own, parse(DOCUMENTS[name])) == []


def test_the_stand_in_answers_in_the_forms_of_that_schema(dagsters_own: GraphQLSchema, url: str) -> None:
    """Each of its answers, read through Dagster's schema, is that answer."""
    params = {
        "selector": {
            "repositoryLocationName": "provisioning_pipeline",
            "repositoryName": "__repository__",
            "jobName": JOB,
        },
        "runConfigData": CONFIG,
        "executionMetadata": {"tags": [{"key": "trigger", "value": "tenant-manager"}]},
    }
    elsewhere = params | {"selector": params["selector"] | {"repositoryLocationName": "elsewhere"}}
    with httpx2.Client(timeout=10, verify=False) as http:

        def answered(name: str, variables: dict[str, Any]) -> Any:
            data = http.post(url, json={"query": DOCUMENTS[name], "variables": variables}).json()["data"]
            read = execute_sync(dagsters_own, parse(DOCUMENTS[name]), root_value=data, variable_values=variables)
            assert isinstance(read, ExecutionResult)
            assert read.errors is None, read.errors
            assert json.loads(json.dumps(read.data))
            return data

        answered("jobs", {})
        launched = answered("launch", {"params": params})["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess"
        assert answered("launch", {"params": elsewhere})["launchRun"]["__typename"] == "PipelineNotFoundError"
        assert answered("status", {"runId": launched["run"]["runId"]})["runOrError"]["status"] == "QUEUED"
        assert answered("status", {"runId": "unknown"})["runOrError"]["__typename"] == "RunNotFoundError"


def test_statuses_that_end_a_run_are_dagsters(dagsters_own: GraphQLSchema) -> None:
    known = set(dagsters_own.type_map["RunStatus"].values)  # type: ignore[attr-defined]  # an enumeration

    assert known > client._ENDED
    assert known - client._ENDED >= {"QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"}


def test_a_run_is_launched_with_its_configuration_and_tags(dagster: StandInDagster, url: str) -> None:
    first, second = ask(url, launch, launch)

    assert [run.id for run in dagster.runs] == [first, second]
    assert {tuple(run.tenants) for run in dagster.runs} == {("twenty_tenant_acme",)}
    assert dagster.runs[0].tags == TAGS
    assert [query for query in dagster.asked if "repositoriesOrError" in query] == [client._JOBS], "found once"


def test_it_launches_one_at_a_time_or_many(dagster: StandInDagster, url: str) -> None:
    async def many(made: DagsterClient) -> list[str]:
        return await asyncio.gather(*(launch(made) for _ in range(10)))

    (found,) = ask(url, many)

    assert sorted(found) == sorted(run.id for run in dagster.runs)
    assert dagster.asked.count(client._JOBS) == 1


@pytest.mark.parametrize(
    ("status", "under_way"),
    [
        ("QUEUED", True),
        ("NOT_STARTED", True),
        ("STARTING", True),
        ("STARTED", True),
        ("CANCELING", True),
        ("SUCCESS", False),
        ("FAILURE", False),
        ("CANCELED", False),
    ],
)
def test_a_run_is_under_way_until_it_has_ended(dagster: StandInDagster, url: str, status: str, under_way: bool) -> None:
    (run_id,) = ask(url, launch)
    dagster.runs[0].status = status

    assert ask(url, lambda made: made.is_under_way(run_id), lambda made: made.is_under_way("unknown")) == [
        under_way,
        False,
    ]


# locations that have the job, the setting, the one of the ledger → where the run is launched; else why it is not
PLACES = [
    (["one"], None, None, "one"),
    (["one", "two"], None, "two", "two"),
    (["one", "two"], "two", None, "two"),
    (["one", "two"], "two", "one", "two"),
    ([], None, None, f"Dagster has 0 jobs called {JOB}; one is needed."),
    (["one"], None, "two", f"Dagster has 0 jobs called {JOB} in code location two; one is needed."),
    (["one"], "two", None, f"Dagster has 0 jobs called {JOB} in code location two; one is needed."),
    (
        ["one", "two"],
        None,
        None,
        f"Dagster has 2 jobs called {JOB}; one is needed. Set PROVISIONING_DAGSTER_LOCATION to the name of the code "
        "location.",
    ),
]


@pytest.mark.parametrize(("locations", "setting", "known", "expected"), PLACES)
def test_a_run_is_launched_in_its_own_code_location_or_not_at_all(
    dagster: StandInDagster, url: str, locations: list[str], setting: str | None, known: str | None, expected: str
) -> None:
    dagster.locations = locations
    place = client.Place(known, "__repository__") if known else None

    async def work() -> str:
        async with DagsterClient(url, location=setting) as made:
            try:
                return await made.launch(JOB, CONFIG, TAGS, known=place)
            except DagsterAway as away:
                return str(away)

    told = asyncio.run(work())

    assert [run.location for run in dagster.runs] == ([expected] if expected in locations else [])
    assert told == (dagster.runs[0].id if dagster.runs else expected)


def test_a_place_that_moved_is_found_anew(dagster: StandInDagster, url: str) -> None:
    async def move(_: DagsterClient) -> None:
        dagster.locations = ["moved"]

    _, _, told, found = ask(url, launch, move, launch_or_away, launch)

    assert told == f"Dagster did not launch {JOB}: PipelineNotFoundError."
    assert found == dagster.runs[-1].id


ODD = {
    "gateway": lambda: PlainTextResponse("<html>secret of a proxy</html>", 502),
    "redirect": lambda: Response(status_code=302, headers={"location": "/elsewhere"}),
    "empty": lambda: Response(status_code=204),
    "bytes": lambda: Response(b"\xff\xfe\x00"),
    "list": lambda: JSONResponse([]),
    "null": lambda: JSONResponse(None),
    "number": lambda: JSONResponse(5),
    "errors": lambda: JSONResponse({"errors": [{"message": "secret of Dagster"}]}),
    "no data": lambda: JSONResponse({"data": None}),
    "data is a list": lambda: JSONResponse({"data": []}),
    "nothing in it": lambda: JSONResponse({"data": {}}),
    "nulls": lambda: JSONResponse({"data": {"repositoriesOrError": None, "launchRun": None, "runOrError": None}}),
    "lists": lambda: JSONResponse({"data": {"repositoriesOrError": [], "launchRun": [1], "runOrError": [1]}}),
    "words": lambda: JSONResponse({"data": {"repositoriesOrError": "x", "launchRun": "x", "runOrError": "x"}}),
    "half a node": lambda: JSONResponse({"data": {"repositoriesOrError": {"nodes": [{"name": "x"}]}}}),
    "odd nodes": lambda: JSONResponse({"data": {"repositoriesOrError": {"nodes": [None, 5, "x"]}}}),
    "odd pipelines": lambda: JSONResponse(
        {"data": {"repositoriesOrError": {"nodes": [{"name": "x", "location": None, "pipelines": [{"name": JOB}]}]}}}
    ),
    "no run": lambda: JSONResponse({"data": {"launchRun": {"__typename": "LaunchRunSuccess"}}}),
    "null run": lambda: JSONResponse({"data": {"launchRun": {"__typename": "LaunchRunSuccess", "run": None}}}),
    "python": lambda: JSONResponse({"data": {"launchRun": {"__typename": "PythonError", "message": "secret"}}}),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("known", [True, False], ids=["its place is known", "its place is not known"])
def test_an_odd_answer_to_a_launch_is_away(dagster: StandInDagster, url: str, odd: str, known: bool) -> None:
    async def turn(_: DagsterClient) -> None:
        dagster.answer = ODD[odd]

    *_, told = ask(url, *([launch] if known else []), turn, launch_or_away)

    assert "Dagster" in told
    assert "secret" not in told
    assert len(dagster.runs) == int(known)


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_answer_about_a_run_is_away_or_means_that_it_is_not_known(
    dagster: StandInDagster, url: str, odd: str
) -> None:
    dagster.answer = ODD[odd]

    async def look(made: DagsterClient) -> bool:
        try:
            return await made.is_under_way("r1")
        except DagsterAway:
            return False

    assert ask(url, look) == [False]


@pytest.mark.parametrize("nowhere", ["http://127.0.0.1:9/graphql", "http://name.invalid/graphql"])
def test_nobody_at_the_address_is_away(nowhere: str) -> None:
    (told,) = ask(nowhere, launch_or_away)

    assert told.startswith("Dagster's web server does not answer")
    assert nowhere not in told


def test_a_slow_answer_is_away_and_the_next_one_is_not(
    dagster: StandInDagster, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_TIMEOUT_SECONDS", 0.5)
    dagster.patience = 20

    async def let_go(_: DagsterClient) -> None:
        dagster.let_go.set()
        dagster.patience = None

    told, _, found = ask(url, launch_or_away, let_go, launch)

    assert "does not answer (ReadTimeout)" in told
    assert found in {run.id for run in dagster.runs}
