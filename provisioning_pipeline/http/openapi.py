"""What OpenAPI says of the HTTP API beyond its routes: who is let in how, and what an error looks like."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from provisioning_pipeline.http import problems
from provisioning_pipeline.http.documents import Problem, ReconcileRequested, SessionDocument, Tenant

TITLE = "Provisioning"
_DESCRIPTION = (
    "A tenant manager asks for a ready Twenty workspace; a gateway or front end turns a Clerk session into the "
    "workspace that it leads to. Errors are problem details (RFC 9457); every answer has `X-Request-Id`."
)
_SCHEMES: dict[str, dict[str, str]] = {
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key of a service: `provisioning keys create NAME`. The names beside it are the scopes "
        "that the key has to have. A key may be for one tenant, or for those whose slugs begin alike.",
    },
    "clerkSession": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Clerk's session token.",
    },
    "clerkCookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__session",
        "description": "The same, as Clerk's cookie.",
    },
    "reportPassword": {
        "type": "http",
        "scheme": "basic",
        "description": "PROVISIONING_REPORT_PASSWORD, with any user name. Where none is set: callers on this machine.",
    },
}
_TAGS = [
    {"name": "tenants", "description": "For services with an API key."},
    {"name": "sessions", "description": "For who holds a Clerk session."},
    {"name": "reports", "description": "Pages for people."},
    {"name": "webhooks", "description": "For Clerk."},
    {"name": "operations", "description": "For supervisors and monitors."},
]


def install(app: FastAPI, version: str) -> None:
    """Make this application's `/openapi.json` say all that."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=TITLE,
                version=version,
                openapi_version="3.1.0",
                description=_DESCRIPTION,
                routes=app.routes,
                tags=_TAGS,
            )
            components = document.setdefault("components", {})
            components["securitySchemes"] = _SCHEMES
            schemas = components.setdefault("schemas", {})
            schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            # FastAPI leaves what is null out of examples
            for model in (Tenant, SessionDocument, ReconcileRequested):
                schemas[model.__name__]["examples"] = model.model_json_schema()["examples"]
            schemas |= schemas["Problem"].pop("$defs")
            # FastAPI writes its own form of 422, which this application does not answer with
            for operation in (operation for path in document["paths"].values() for operation in path.values()):
                answers = operation["responses"]
                if "HTTPValidationError" in str(answers.get("422")):
                    (answers["422"],) = problems.responses(422).values()
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way
