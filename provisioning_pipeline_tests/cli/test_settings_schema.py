"""The JSON Schema of the settings: what editors and charts check an environment with."""

from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import SecretStr

from provisioning_pipeline.cli.reference import text_of
from provisioning_pipeline.cli.settings_schema import settings_schema
from provisioning_pipeline.settings import PREFIX, Settings

SCHEMA = settings_schema()
FIELDS = {PREFIX + name.upper(): field for name, field in Settings.model_fields.items()}


def faults(environment: dict[str, Any]) -> list[str]:
    return [fault.message for fault in Draft202012Validator(SCHEMA).iter_errors(environment)]


def test_it_is_a_schema_and_has_every_setting() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["properties"]) == set(FIELDS)


@pytest.mark.parametrize("written", [text_of, lambda value: value], ids=["as text", "typed"])
def test_every_default_and_every_example_fits(written: Callable[[Any], Any]) -> None:
    for name, schema in SCHEMA["properties"].items():
        values = [*schema.get("examples", []), *([schema["default"]] if "default" in schema else [])]
        assert values, name
        for value in values:
            assert faults({name: written(value)}) == [], name


@pytest.mark.parametrize(
    "environment",
    [
        {"PROVISIONING_TENANT_CONCURRENCY": "many"},
        {"PROVISIONING_TENANT_CONCURRENCY": 0},
        {"PROVISIONING_TENANT_CONCURRENCY": "4.5"},
        {"PROVISIONING_MEMBERS_GONE": "removed"},
        {"PROVISIONING_ADOPT_DATABASES": "perhaps"},
        {"PROVISIONING_CLERK_ISSUERS": "https://clerk.example.com"},
        {"PROVISIONING_TENANT_CONCURENCY": 4},
        {"PROVISIONING_TWENTY_SERVERS": [{"name": "eu"}]},
        {"PROVISIONING_REGISTRY_URL": None},
    ],
    ids=lambda environment: "=".join(str(part) for part in next(iter(environment.items()))),
)
def test_what_would_be_refused_or_ignored_is_found(environment: dict[str, Any]) -> None:
    assert len(faults(environment)) == 1


def test_a_part_of_an_environment_with_other_programs_variables_fits() -> None:
    assert (
        faults({"PATH": "/usr/bin", "PROVISIONING_AUTOMATION": "stopped", "PROVISIONING_ADOPT_DATABASES": "No"}) == []
    )


def test_exactly_what_may_hold_a_secret_is_marked() -> None:
    marked = {name for name, schema in SCHEMA["properties"].items() if schema.get("writeOnly")}
    secret = {name for name, field in FIELDS.items() if SecretStr.__name__ in repr(field.annotation)}
    assert marked == secret | {"PROVISIONING_TWENTY_SERVERS"}
