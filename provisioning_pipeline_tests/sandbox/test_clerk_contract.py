"""Every answer of the stand-in Clerk against the response schemas of Clerk's own OpenAPI file."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from provisioning_pipeline.sandbox.clerk import ClerkOptions, StandInClerk
from provisioning_pipeline.sandbox.clerk.app import ROUTES
from provisioning_pipeline_tests.sandbox.conftest import Backend

SPECIFICATION = Path(__file__).resolve().parents[3] / "shared" / "data" / "clerk" / "bapi-2026-05-12.yml"

pytestmark = pytest.mark.skipif(
    not SPECIFICATION.exists(), reason="Clerk's bapi-2026-05-12.yml is not beside this checkout"
)

OPERATIONS = ["GET /instance", "GET /jwks", *ROUTES]


@cache
def specification() -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loaded: dict[str, Any] = as_json_schema(yaml.load(SPECIFICATION.read_text("utf-8"), Loader=loader))
    return loaded


def as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0's `nullable` said in JSON Schema's words."""
    if isinstance(node, list):
        return [as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {name: as_json_schema(value) for name, value in node.items() if name != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") is True else plain


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        found: Any = specification()
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/")]
        node = found
    return node


def check(operation: str, status: int, answer: Any) -> None:
    method, path = operation.split(" ")
    responses = specification()["paths"][path][method.lower()]["responses"]
    schema = resolved(responses[str(status)])["content"]["application/json"]["schema"]
    whole = {**schema, "components": specification()["components"]}
    jsonschema.validators.Draft202012Validator(whole).validate(answer)


@pytest.fixture(scope="module")
def seeded() -> Iterator[tuple[Backend, dict[str, str]]]:
    """An instance with the kinds of people and organizations that Clerk knows."""
    with StandInClerk(ClerkOptions()) as clerk:
        ann = clerk.add_user("ann@acme.example", first_name="Ann", last_name="Lee", external_id="ext")
        others = [
            clerk.add_user("unverified@acme.example", status="unverified"),
            clerk.add_user("unknown@acme.example", status=None),
            clerk.add_user("reserved@acme.example", status="unverified", reserved=True),
            clerk.add_user(None),
        ]
        clerk.ban_user(others[0].id)
        clerk.lock_user(others[1].id)
        acme = clerk.add_organization("Acme", slug="acme", created_by=ann.id, public_metadata={"a": {"b": 1}})
        for user in others:
            clerk.add_membership(acme.id, user.id)
        client = Backend(clerk)
        newcomer = clerk.add_user("new@acme.example")
        yield client, {"organization_id": acme.id, "user_id": ann.id, "newcomer": newcomer.id}
        client.http.close()


BODIES: dict[str, dict[str, Any]] = {
    "POST /organizations": {"name": "Zenith", "private_metadata": {"x": 1}},
    "POST /users": {"email_address": ["zoe@zenith.example"], "first_name": "Zoë"},
    "PATCH /organizations/{organization_id}/metadata": {"public_metadata": {"twenty_workspace_id": "w"}},
    "PATCH /organizations/{organization_id}/memberships/{user_id}": {"role": "org:member"},
    "PATCH /users/{user_id}": {"external_id": "other"},
    "PATCH /users/{user_id}/metadata": {"unsafe_metadata": {"theme": "dark"}},
}
# What takes away what the others need comes last.
IN_ORDER = sorted(OPERATIONS, key=lambda operation: (operation.startswith("DELETE"), -operation.count("/")))


@pytest.mark.parametrize("operation", IN_ORDER)
def test_answers_are_what_clerk_specifies(seeded: tuple[Backend, dict[str, str]], operation: str) -> None:
    client, ids = seeded
    method, template = operation.split(" ")
    body = BODIES.get(operation)
    if operation == "POST /organizations/{organization_id}/memberships":
        body = {"user_id": ids["newcomer"], "role": "org:member"}
    params = {"include_members_count": "true"} if "/organizations" in template and method == "GET" else None

    answer = client(method, template.format(**ids), json=body, params=params)

    check(operation, 200, answer)


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ("GET /organizations/{organization_id}", 404),
        ("GET /users/{user_id}", 404),
        ("DELETE /users/{user_id}", 404),
        ("GET /users", 422),
        ("GET /organizations", 422),
    ],
)
def test_errors_are_what_clerk_specifies(seeded: tuple[Backend, dict[str, str]], operation: str, status: int) -> None:
    method, template = operation.split(" ")
    path = template.format(organization_id="org_0", user_id="user_0")

    answer = seeded[0](method, path, status, params={"limit": 0} if status == 422 else None)

    check(operation, status, answer)


def test_every_operation_is_one_of_clerks() -> None:
    paths = specification()["paths"]

    unknown = [name for name in OPERATIONS if name.split(" ")[0].lower() not in paths[name.split(" ")[1]]]

    assert unknown == []
