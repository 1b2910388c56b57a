"""What the HTTP API says of itself is valid, complete, and true."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, note, settings
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.serving import LoopbackServer
from provisioning_pipeline_tests.http.services import Tenants, caller, key_of, serving, tenants_in

Document = dict[str, Any]
TRUE_OF_EVERY_ANSWER = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]
OPEN = {"/healthz", "/readyz", "/webhooks/clerk"}
"""Where nobody has to say who they are; Clerk signs what it sends."""


@dataclass(frozen=True)
class Api:
    """The application before a few tenants, and who calls it."""

    url: str
    key: str
    clerk: StandInClerk
    user: str
    organization: str

    def headers(self, who: str) -> dict[str, str]:
        if who == "a service":
            return {"Authorization": f"Bearer {self.key}"}
        if who == "a member":
            return {"Authorization": f"Bearer {self.clerk.session_token(self.user, self.organization, seconds=600)}"}
        return {}


@pytest.fixture(scope="module")
def api(sandbox_postgres: SandboxPostgres) -> Iterator[Api]:
    with tenants_in(sandbox_postgres) as tenants, StandInClerk() as clerk:
        user = clerk.add_user("ada@acme.test", first_name="Ada", last_name="Lovelace")
        organization = clerk.add_organization("Acme", created_by=user.id)
        name = tenants.add("acme", organization.id, ready=True)
        tenants.add("beta")
        tenants.condition("r1", name, "True", "WorkspaceActive", "WorkspaceReady")
        tenants.sql(
            "INSERT INTO provisioning.member_link (database_name, clerk_user_id, twenty_user_id, email, first_name,"
            " last_name, run_id) VALUES (%s, %s, gen_random_uuid(), 'ada@acme.test', 'Ada', 'Lovelace', 'r1')",
            *(name, user.id),
        )
        with closed_for_now() as twenty_url:
            found = settings_of(tenants, clerk, twenty_url)
            with serving(found) as url:
                yield Api(url, key_of(found), clerk, user.id, organization.id)


@contextmanager
def closed_for_now() -> Iterator[str]:
    """A Twenty server that is being started anew, and wants to be asked again at once: so nobody waits for it."""

    async def closed(request: Request) -> Response:
        return Response(status_code=503, headers={"retry-after": "0"})

    server = LoopbackServer(Starlette(routes=[Route("/{path:path}", closed, methods=["GET", "POST"])]))
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def settings_of(tenants: Tenants, clerk: StandInClerk, twenty_url: str) -> Any:
    """Settings under which nobody is slowed down, and no Twenty is there."""
    return tenants.settings(
        twenty_base_url=twenty_url,
        clerk_issuers=(clerk.frontend_url,),
        clerk_base_url=clerk.base_url,
        clerk_secret_key=clerk.secret_key,
        key_requests_per_minute=1_000_000,
        sign_ins_per_minute=1_000_000,
    )


@pytest.fixture(scope="module")
def document(api: Api) -> Document:
    with caller(api.url) as http:
        answer = http.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    found: Document = answer.json()
    return found


@pytest.fixture(scope="module")
def operations(document: Document) -> dict[str, Document]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def parts(node: Any, where: str = "#") -> Iterator[tuple[str, Document]]:
    """Every object of a document, with where it is."""
    if isinstance(node, dict):
        yield where, node
        for name, value in node.items():
            yield from parts(value, f"{where}/{name}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from parts(value, f"{where}/{number}")


def without(operations: dict[str, Document], has: Callable[[str, Document], Any]) -> list[str]:
    """The operations of which this does not hold."""
    return sorted(name for name, operation in operations.items() if not has(name, operation))


# --- the document -------------------------------------------------------------------------------------------------


def test_the_document_is_valid(document: Document) -> None:
    assert document["openapi"].startswith("3.1.")
    assert [error.message[:300] for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_its_schemas_are_schemas_and_its_references_lead_somewhere(document: Document) -> None:
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    used = {part["$ref"] for _, part in parts(document) if isinstance(part.get("$ref"), str)}
    assert used <= known
    assert known - used == set(), "nobody refers to them"


def test_every_operation_says_what_it_does_and_has_a_name_of_its_own(operations: dict[str, Document]) -> None:
    assert without(operations, lambda _, found: found.get("summary")) == []
    assert without(operations, lambda _, found: len(found.get("description", "")) > 20) == []
    assert without(operations, lambda _, found: found.get("tags")) == []
    assert len({found["operationId"] for found in operations.values()}) == len(operations)
    assert not [name for name, found in operations.items() if "Raises:" in found["description"]]


def test_every_tag_is_explained(document: Document, operations: dict[str, Document]) -> None:
    explained = {tag["name"]: tag["description"] for tag in document["tags"]}

    assert {tag for found in operations.values() for tag in found["tags"]} == set(explained)


def test_every_operation_says_who_is_let_in(document: Document, operations: dict[str, Document]) -> None:
    schemes = set(document["components"]["securitySchemes"])
    named = {name for found in operations.values() for way in found.get("security", []) for name in way}

    assert named == schemes
    assert without(operations, lambda name, found: found.get("security") or name.split()[1] in OPEN) == []
    assert without(operations, lambda name, found: not found.get("security") or name.split()[1] not in OPEN) == []


def test_every_operation_says_how_it_refuses(operations: dict[str, Document]) -> None:
    guarded = {name: found for name, found in operations.items() if found.get("security")}
    assert without(guarded, lambda _, found: "401" in found["responses"]) == []
    assert without(guarded, lambda _, found: "503" in found["responses"]) == []
    with_keys = {name: found for name, found in guarded.items() if {"apiKey": []} in found["security"]}
    assert without(with_keys, lambda _, found: "429" in found["responses"]) == []
    with_parameters = {name: found for name, found in guarded.items() if found.get("parameters")}
    assert without(with_parameters, lambda _, found: "422" in found["responses"]) == []
    with_bodies = {name: found for name, found in guarded.items() if found.get("requestBody")}
    assert without(with_bodies, lambda _, found: "413" in found["responses"]) == []


def test_every_refusal_is_a_problem_document(operations: dict[str, Document]) -> None:
    others = []
    for name, operation in operations.items():
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and not (name == "GET /readyz" and status == "503"):
                content = answer.get("content", {})
                expected = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
                if name == "GET /v1/session/twenty":
                    # what a browser gets
                    assert content.pop("text/html") == {"schema": {"type": "string"}}
                if content != expected:
                    others.append((name, status, list(content)))

    assert others == []


def test_every_example_is_one(document: Document) -> None:
    components = {"components": document["components"]}
    wrong, seen = [], 0
    for where, part in parts(document):
        found = part.get("examples")
        if not isinstance(found, list):
            continue
        schema = part.get("schema", part)
        validator = Draft202012Validator(schema | components, format_checker=FormatChecker())
        for example in found:
            seen += 1
            wrong += [f"{where}: {error.message[:200]}" for error in validator.iter_errors(example)]

    assert wrong == []
    assert seen >= 5


def test_requests_and_answers_have_examples(document: Document) -> None:
    schemas = document["components"]["schemas"]

    assert [name for name in ("PutTenant", "Tenant", "Problem") if not schemas[name].get("examples")] == []


def test_a_tenants_example_is_what_the_api_answers(document: Document, api: Api) -> None:
    (example,) = document["components"]["schemas"]["Tenant"]["examples"]
    with caller(api.url, api.key) as http:
        answered = http.get("/v1/tenants/acme").json()

    assert answered.keys() == example.keys()
    assert answered["conditions"][0].keys() == example["conditions"][0].keys()


def test_it_holds_nothing_of_this_server(document: Document, api: Api) -> None:
    text = json.dumps(document)

    for secret in (api.key, api.clerk.secret_key, "127.0.0.1", "postgresql://", "sixteen characters"):
        assert secret not in text


# --- and it is true -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def schema(api: Api) -> Any:
    return schemathesis.openapi.from_url(f"{api.url}/openapi.json")


def operation_of(schema: Any, name: str) -> Any:
    method, path = name.split()
    return schema[path][method]


OPERATIONS = [
    "GET /v1/auth/verify",
    "GET /v1/session",
    "GET /v1/session/twenty",
    "POST /v1/session/twenty",
    "PUT /v1/tenants/{slug}",
    "POST /v1/tenants/{slug}/reconcile",
    "POST /v1/reconcile",
    "GET /v1/tenants",
    "GET /v1/tenants/{slug}",
    "GET /v1/tenants/{slug}/timeline",
    "POST /webhooks/clerk",
    "GET /reports/latest",
    "GET /reports/{run_id}",
    "GET /tenants/{name}",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
]


def test_no_operation_is_left_out(operations: dict[str, Document]) -> None:
    assert sorted(operations) == sorted(OPERATIONS)


CALLERS = ("a service", "a member", "nobody")


def is_true_of(api: Api, schema: Any, name: str, callers: Sequence[str], *, examples: int, negative: bool) -> None:
    """No answer to requests made up for this operation is another one than the document says, whoever asks.

    All callers send the same requests: to make one up takes several times as long as to have it answered.
    """
    mode = GenerationMode.NEGATIVE if negative else GenerationMode.POSITIVE
    cases = operation_of(schema, name).as_strategy(generation_mode=mode)

    @given(case=cases)
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def hold(case: Any) -> None:
        if "wait" in (case.query or {}):
            case.query = {**case.query, "wait": 0}
        for who in callers:
            note(f"asked by {who}")
            answer = case.call(base_url=api.url, headers=api.headers(who), timeout=30)
            assert answer.status_code < 500 or answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
            assert answer.headers.get("x-request-id")
            if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
                assert answer.headers.get("retry-after")
            case.validate_response(answer, checks=TRUE_OF_EVERY_ANSWER)

    hold()


@pytest.mark.parametrize("name", OPERATIONS)
def test_answers_are_as_the_document_says(api: Api, schema: Any, name: str) -> None:
    is_true_of(api, schema, name, CALLERS, examples=3, negative=False)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if "{" in name or name in ("GET /v1/tenants",)])
def test_so_are_answers_to_what_is_wrong(api: Api, schema: Any, name: str) -> None:
    is_true_of(api, schema, name, ["a service"], examples=6, negative=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", OPERATIONS)
def test_many_answers_are_as_the_document_says(api: Api, schema: Any, name: str) -> None:
    is_true_of(api, schema, name, CALLERS, examples=50, negative=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [name for name in OPERATIONS if "{" in name or "tenants" in name or "session" in name])
def test_so_are_many_answers_to_what_is_wrong(api: Api, schema: Any, name: str) -> None:
    is_true_of(api, schema, name, ["a service", "a member"], examples=50, negative=True)


def test_an_unknown_path_and_a_method_that_is_none_are_problems_too(api: Api) -> None:
    with caller(api.url, api.key) as http:
        answers: dict[int, list[httpx2.Response]] = {
            404: [http.get("/v1/nothing"), http.get("/"), http.get("/docs"), http.get("/v1/tenants/acme/more")],
            405: [http.delete("/v1/tenants/acme"), http.put("/v1/session/twenty"), http.post("/metrics")],
        }

    for status, found in answers.items():
        for answer in found:
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
