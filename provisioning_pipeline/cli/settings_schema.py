"""The JSON Schema of the settings: of environment variables as a ConfigMap, Compose or a chart's values hold them."""

import json
from collections.abc import Mapping
from typing import Any, Final

from provisioning_pipeline.settings import PREFIX, Settings

_DESCRIPTION: Final = (
    f"Environment variables {PREFIX}*. Values may be typed or text, as the environment has them; of text only the form "
    "is checked. None is required here, because secrets mostly stand elsewhere: `provisioning preflight` says what is "
    "missing. writeOnly marks secrets: they belong into no file that others read."
)
_NUMBER: Final = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
# as pydantic reads them, in any case: true, yes, on, 1 and the like
_WORDS: Final = (
    r"^\s*([Tt]([Rr][Uu][Ee])?|[Ff]([Aa][Ll][Ss][Ee])?|[Yy]([Ee][Ss])?|[Nn][Oo]?|[Oo]([Nn]|[Ff][Ff])|0|1)\s*$"
)
_TEXTS: Final[Mapping[str, dict[str, Any]]] = {
    "boolean": {"type": "string", "pattern": _WORDS},
    "integer": {"type": "string", "pattern": r"^\s*[-+]?\d+\s*$"},
    "number": {"type": "string", "pattern": _NUMBER},
    "array": {"type": "string", "pattern": r"^\s*\[", "contentMediaType": "application/json"},
    "object": {"type": "string", "pattern": r"^\s*\{", "contentMediaType": "application/json"},
}
"""JSON type → how a value of it looks as text."""


def settings_schema() -> dict[str, Any]:
    """The schema, from the fields of `Settings`; their descriptions, bounds and secrets are known there alone."""
    made = Settings.model_json_schema()
    servers = made["$defs"]
    variables = {PREFIX + name.upper(): _variable(field, servers) for name, field in made["properties"].items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of provisioning_pipeline",
        "description": _DESCRIPTION,
        "type": "object",
        "properties": variables,
        # a misspelt setting would be ignored; other variables are other programs'
        "propertyNames": {"anyOf": [{"enum": list(variables)}, {"not": {"pattern": f"^{PREFIX}"}}]},
        "$defs": servers,
    }


def rendered() -> str:
    """The schema as the file has it."""
    return json.dumps(settings_schema(), indent=2, ensure_ascii=False) + "\n"


def _variable(field: Mapping[str, Any], servers: Mapping[str, Any]) -> dict[str, Any]:
    about = {name: field[name] for name in ("description", "default", "examples") if field.get(name) is not None}
    told = ("title", "description", "default", "examples", "anyOf")
    rules = {name: value for name, value in field.items() if name not in told}
    typed = [rules] if rules else [kind for kind in field["anyOf"] if kind != {"type": "null"}]
    texts = [_TEXTS[kind["type"]] for kind in typed if kind["type"] in _TEXTS]
    secret = {"writeOnly": True} if _holds_secret(typed, servers) else {}
    # a variable without a value is one that is not set
    if "enum" in rules:
        return about | rules | {"enum": [*rules["enum"], ""]}
    return about | secret | {"anyOf": [*typed, *texts, {"const": ""}]}


def _holds_secret(schema: Any, servers: Mapping[str, Any]) -> bool:
    text = json.dumps(schema)
    within = (json.dumps(server) for name, server in servers.items() if f'"#/$defs/{name}"' in text)
    return any('"writeOnly": true' in one for one in (text, *within))
