"""What goes into the HTTP API and comes out: documents with examples, and tenants' names in paths and headers.

OpenAPI is made from these. A name may be any text that a registry or a cluster may hold, percent-encoded.
"""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, unquote
from uuid import UUID

from fastapi import Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from provisioning_pipeline.http.tenant_requests import TenantState
from provisioning_pipeline.model.api_key import KeyRefusal
from provisioning_pipeline.model.lifecycle import IS_ACTIVE, Lifecycle
from provisioning_pipeline.model.session import Refusal, WorkspaceContext

_WORKSPACE = "20202020-1c25-4d02-bf25-6aeccf7ea419"
_USER = "20202020-9e3b-46d4-a556-88b9ddc2b034"
_IN_A_HEADER = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")

DatabaseName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_$-]{0,62}$")]
OneLine = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")
]
OrganizationId = Annotated[str, StringConstraints(pattern=r"^org_[A-Za-z0-9_-]{1,100}$")]
Email = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        to_lower=True,
        max_length=254,
        # the Kelvin sign would become a plain k, and the address another person's
        pattern=r"^[^@\s\x00-\x1f\u212a]+@[^@\s\x00-\x1f\u212a]+$",
    ),
]
MOST_ASKED = 500
"""Names in one request for many tenants."""
AskedName = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]
AnyName = Annotated[str, BeforeValidator(unquote), Path(description="Slug or database name, percent-encoded.")]
Name = Annotated[
    str,
    BeforeValidator(unquote),
    Path(
        # neither "." nor "..", which would lead elsewhere
        pattern=r"^([^.\x00]|[^.\x00][^\x00]|[^\x00][^.\x00]|[^\x00]{3,255})$",
        description="Slug or database name, percent-encoded (a slash as %2F); a new tenant's slug: lower-case "
        "letters, digits and hyphens.",
        examples=["acme"],
    ),
]


def in_header(name: str) -> str:
    """A name as a header can carry it: spaces, per cent signs and what is no printable ASCII are percent-encoded."""
    return quote(name, safe=_IN_A_HEADER)


def _with_examples(*examples: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [*examples]})


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = _with_examples(
        {
            "type": "about:blank",
            "title": "Conflict",
            "status": 409,
            "detail": "Tenant acme is registered with database twenty_tenant_acme_0a1b2c3d.",
            "request_id": "8c0f6a5be1d24f4f",
        },
        {
            "type": "about:blank",
            "title": "Forbidden",
            "status": 403,
            "detail": "The session's organization has no workspace here.",
            "code": "no_workspace",
            "request_id": "74a05531de98943e",
        },
    )

    type: str = Field(description="Always about:blank: `title` and `status` say the kind.")
    title: str
    status: int
    detail: str = Field(description="What happened, and what to do.")
    code: Refusal | KeyRefusal | None = Field(
        default=None, description="Why a session, or a service with an API key, is refused, as one word."
    )
    request_id: str | None = Field(default=None, description="As in X-Request-Id and in the server's log.")
    errors: list[dict[str, str]] | None = Field(default=None, description="The fields that are wrong, and how.")


class PutTenant(BaseModel):
    """What a tenant is to be. What is left out, or null, stays as it is."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Acme Ltd",
                    "database_name": "twenty_tenant_acme_0a1b2c3d",
                    "clerk_org_id": "org_2abcDEF",
                    "admin_email": "ada@acme.example",
                }
            ]
        },
    )

    name: OneLine | None = Field(default=None, description="The customer's name; a new workspace gets it.")
    database_name: DatabaseName | None = Field(
        default=None, description="The tenant's own database: its identity. Needed for a new tenant."
    )
    clerk_org_id: OrganizationId | None = Field(
        default=None, description="Its Clerk organization; left out: as the registry has it."
    )
    admin_email: Email | None = Field(
        default=None,
        description="Who is to be admin: preferred among the organization's admins, or any person where there is no "
        "organization. A workspace that has its admin keeps it.",
    )


class Condition(BaseModel):
    """One answer about a tenant; docs/troubleshooting.md explains every reason."""

    type: str = Field(examples=["WorkspaceReady"])
    status: Literal["True", "False", "Unknown"]
    reason: str = Field(examples=["WorkspaceActive"])
    message: str = Field(description="For a person, with what to do next where there is something to do.")
    since: datetime


class Tenant(BaseModel):
    """A tenant as it stands."""

    model_config = _with_examples(
        {
            "slug": "acme",
            "database_name": "twenty_tenant_acme_0a1b2c3d",
            "clerk_org_id": "org_2abcDEF",
            "state": "ready",
            "lifecycle": "active",
            "lifecycle_evidence": IS_ACTIVE.message,
            "waiting": False,
            "server": "twenty",
            "workspace_id": _WORKSPACE,
            "workspace_url": "https://acme.crm.example.com",
            "user_id": _USER,
            "onboarding_status": "COMPLETED",
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "AllTrue",
                    "message": "Workspace, members, onboarding and a real login are all as they should be.",
                    "since": "2026-11-23T10:42:00Z",
                }
            ],
            "run_id": "0f6a5be1-1d24-4f4f-8c0f-6a5be11d244f",
            "look_again_at": None,
            "status_url": "https://provisioning.example.com/v1/tenants/acme",
        }
    )

    slug: str
    database_name: str
    clerk_org_id: str | None
    state: Literal["ready", "unwell", "aside"] = Field(
        description="`unwell` until everything holds; `aside`: excluded, because it is suspended or gone."
    )
    lifecycle: Lifecycle | None = Field(
        description="Where it is in its life: `in_doubt` when what is known of it does not fit together, so that we "
        "conclude nothing. Null: no run has looked since the ledger knows of that."
    )
    lifecycle_evidence: str = Field(description="What says so, in sentences.")
    waiting: bool = Field(description="A run is still to look at it, or is at it for the last request.")
    server: str | None = Field(description="The Twenty server that it lives on.")
    workspace_id: UUID | None
    workspace_url: str | None
    user_id: UUID | None = Field(description="The admin's Twenty user id.")
    onboarding_status: str | None = Field(
        description="What the last real login of the admin read; COMPLETED: no wizard."
    )
    conditions: list[Condition]
    run_id: str | None = Field(description="The Dagster run that was launched for the last request, if any was.")
    look_again_at: datetime | None = Field(description="When it is tried again by itself.")
    status_url: str = Field(
        description="Where to ask how far it is: by its slug, or by its database name where the slug is another "
        "tenant's, too, or has slashes, per cent signs or control characters."
    )


class Tenants(BaseModel):
    """A page of tenants, by database name."""

    items: list[Tenant]
    next: str | None = Field(description="`cursor` of the next page; null: this was the last.")


class ReconcileMany(BaseModel):
    """Which tenants are to be looked at: those named, or all."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"tenants": ["acme", "twenty_tenant_beta_1"]}, {"all": True}]}
    )

    tenants: list[AskedName] | None = Field(
        default=None, min_length=1, max_length=MOST_ASKED, description="Slugs or database names."
    )
    all: Literal[True] | None = Field(default=None, description="Instead of `tenants`: all that the key is for.")

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.tenants is None) is (self.all is None):
            raise ValueError("give `tenants` or `all`, one of them")
        return self


class ReconcileResult(BaseModel):
    """What became of the request for one name."""

    tenant: str = Field(description="As it was asked for; with `all` the database name.")
    database_name: str | None = Field(description="Null: no one tenant is meant.")
    result: Literal["requested", "excluded", "ambiguous", "unknown"] = Field(
        description="`requested`: a run is, or will be, at it. `excluded`: it is suspended or gone. `ambiguous`: "
        "several tenants have this slug; ask by database name. `unknown`: there is none, or the key is not for it."
    )


class ReconcileRequested(BaseModel):
    """What became of a request for many tenants. Each one's own route, or a webhook, says how it ends."""

    model_config = _with_examples(
        {
            "requested": 1,
            "run_id": "0f6a5be1-1d24-4f4f-8c0f-6a5be11d244f",
            "items": [
                {"tenant": "acme", "database_name": "twenty_tenant_acme_0a1b2c3d", "result": "requested"},
                {"tenant": "nosuch", "database_name": None, "result": "unknown"},
            ],
        }
    )

    requested: int
    run_id: str | None = Field(description="The run that was launched; null: the sensor launches what is needed.")
    items: list[ReconcileResult]


class SessionDocument(BaseModel):
    """The workspace that a session leads to."""

    model_config = _with_examples(
        {
            "tenant": "acme",
            "database_name": "twenty_tenant_acme_0a1b2c3d",
            "workspace_id": _WORKSPACE,
            "workspace_url": "https://acme.crm.example.com",
            "twenty_user_id": _USER,
            "role": "Member",
            "clerk_role": "org:member",
            "clerk_user_id": "user_2abcDEF",
            "clerk_org_id": "org_2abcDEF",
            "session_id": "sess_2abcDEF",
            "impersonator": None,
            "expires_at": "2026-11-23T10:43:00Z",
        }
    )

    tenant: str
    database_name: str
    workspace_id: UUID
    workspace_url: str
    twenty_user_id: UUID | None = Field(
        description="Null for a member that no run has added yet: POST /v1/session/twenty makes the account."
    )
    role: str = Field(description="Label of the role in Twenty that the role at Clerk stands for.", examples=["Member"])
    clerk_role: str = Field(examples=["org:member"])
    clerk_user_id: str
    clerk_org_id: str
    session_id: str
    impersonator: str | None = Field(description="Who opened the session in the user's name; null: the user.")
    expires_at: datetime = Field(description="When the session token expires.")


class TwentySignIn(BaseModel):
    """A one-time sign-in to Twenty: its holder acts as that member. It lasts for minutes; do not store it."""

    model_config = _with_examples(
        {
            "workspace_id": _WORKSPACE,
            "twenty_user_id": _USER,
            "login_token": "eyJhbGciOi...",
            "verify_url": "https://acme.crm.example.com/verify?loginToken=eyJhbGciOi...",
            "expires_at": "2026-11-23T10:57:00Z",
        }
    )

    workspace_id: UUID
    twenty_user_id: UUID
    login_token: str
    verify_url: str = Field(
        description="Send the browser there: it signs in, without a second login.",
        examples=["https://acme.crm.example.com/verify?loginToken=..."],
    )
    expires_at: datetime


class TimelineEvent(BaseModel):
    """One line of a tenant's timeline."""

    model_config = ConfigDict(extra="allow")

    at: datetime
    who: str
    source: str
    what: str
    run_id: str | None
    failed: bool


class TimelineTenant(BaseModel):
    """Whose timeline it is."""

    slug: str
    database_name: str
    server: str | None
    workspace_id: UUID | None
    workspace_url: str | None
    clerk_org_id: str | None
    state: str


class TimelinePage(BaseModel):
    """Events of one tenant, newest first."""

    tenant: TimelineTenant
    events: list[TimelineEvent]
    next: str | None = Field(description="`before` of the next page; null: this was the last.")


class Checks(BaseModel):
    """Whether requests can be answered now."""

    status: Literal["ready", "not ready"]
    checks: dict[str, str] = Field(examples=[{"ledger": "ok", "clerk_keys": "ok"}])


class Alive(BaseModel):
    """The server runs."""

    status: Literal["ok"]


def tenant_document(state: TenantState, base_url: str) -> Tenant:
    """A tenant for a service."""
    line = state.line
    return Tenant(
        slug=line.slug,
        database_name=line.database_name,
        clerk_org_id=state.clerk_org_id,
        state=line.state,
        lifecycle=line.lifecycle,
        lifecycle_evidence=line.lifecycle_evidence,
        waiting=state.waiting,
        server=line.server,
        workspace_id=line.workspace_id,
        workspace_url=line.workspace_url,
        user_id=line.admin_user_id,
        onboarding_status=state.onboarding_status,
        conditions=[Condition(**asdict(stored.condition), since=stored.since) for stored in line.conditions],
        run_id=state.run_id,
        look_again_at=None if line.state == "aside" else line.look_again_at,
        status_url=f"{base_url}/v1/tenants/{quote(state.address, safe='')}",
    )


def session_document(context: WorkspaceContext) -> SessionDocument:
    """A session for its holder."""
    session = context.session
    return SessionDocument(
        tenant=context.tenant,
        database_name=context.database_name,
        workspace_id=context.workspace_id,
        workspace_url=context.workspace_url,
        twenty_user_id=context.twenty_user_id,
        role=context.role,
        clerk_role=session.role,
        clerk_user_id=session.user_id,
        clerk_org_id=session.organization_id,
        session_id=session.session_id,
        impersonator=session.impersonator,
        expires_at=session.expires_at,
    )
