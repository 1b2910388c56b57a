"""An HTTP API for Clerk sessions: tenants as rows alone, a stand-in Clerk and the application over HTTP; no Twenty."""

import http.client
import json
import uuid
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.serving import LoopbackServer
from provisioning_pipeline.settings import Settings
from provisioning_pipeline_tests.http.api import Api, api_to
from provisioning_pipeline_tests.http.fleet import Fleet, fleet_in

VERIFY = ("GET", "/v1/auth/verify")
SESSION = ("GET", "/v1/session")
SIGN_IN = ("POST", "/v1/session/twenty")
ROUTES = (VERIFY, SESSION, SIGN_IN)
Route = tuple[str, str]
Headers = Sequence[tuple[str, str | bytes]]

# what one route refuses the others do by the same code: every day the gateway's, and all of them in CI
every_route = pytest.mark.parametrize(
    "route",
    [VERIFY, *(pytest.param(route, marks=pytest.mark.slow) for route in (SESSION, SIGN_IN))],
    ids=lambda route: route[1],
)

NO_TWENTY = "Twenty or its database cannot be used at present"
"""What a sign-in says that was let through: there is no Twenty behind this HTTP API."""


@dataclass(frozen=True)
class Tenant:
    """A tenant whose workspace is there, and its organization at Clerk."""

    slug: str
    database_name: str
    organization: str
    workspace_id: str


class Lobby:
    """Tenants and people, and what the HTTP API says to them."""

    def __init__(self, fleet: Fleet, clerk: StandInClerk, other_clerk: StandInClerk, api: Api) -> None:
        self.fleet = fleet
        self.clerk = clerk
        self.other_clerk = other_clerk
        self.api = api
        self.sent: deque[str] = deque(maxlen=200)
        """The tokens that were sent last."""

    @contextmanager
    def at(self, app: Any) -> Iterator["Lobby"]:
        """The same tenants and people before the HTTP API of another application."""
        server = LoopbackServer(app)
        server.start()
        api = Api(server)
        try:
            yield Lobby(self.fleet, self.clerk, self.other_clerk, api)
        finally:
            api.http.close()
            server.stop()

    # --- arranging

    def tenant(self, slug: str, *, status: str | None = "active", made: bool = True) -> Tenant:
        """A new tenant; its name begins with `slug`. Without `made` it has no workspace yet."""
        own = f"{slug}-{uuid.uuid4().hex[:6]}"
        organization = self.clerk.add_organization(own, slug=own).id
        found = Tenant(own, f"twenty_tenant_{own}", organization, str(uuid.uuid4()))
        self.register(found, status)
        self.link(found, made=made)
        return found

    def register(self, tenant: Tenant, status: str | None = "active", *, organization: str | None = None) -> None:
        """A row of the tenant manager's; `organization` instead of the tenant's own."""
        self.fleet.sql(
            "INSERT INTO tenant_registry (database_name, slug, clerk_org_id, status) VALUES (%s, %s, %s, %s)",
            *(tenant.database_name, tenant.slug, organization or tenant.organization, status),
        )

    def link(self, tenant: Tenant, *, made: bool = True) -> None:
        """What the ledger knows after the tenant's workspace was made, or before."""
        where = ("twenty", tenant.workspace_id, f"http://{tenant.slug}.localhost:3000") if made else (None, None, None)
        self.fleet.sql(
            "INSERT INTO provisioning.tenant_link (database_name, slug, clerk_org_id, server, workspace_id,"
            " workspace_url) VALUES (%s, %s, %s, %s, %s, %s)",
            *(tenant.database_name, tenant.slug, tenant.organization, *where),
        )

    def member(self, tenant: Tenant, *, role: str = "org:member", linked: bool = True) -> str:
        """A new person at Clerk, in the tenant's organization; the user id."""
        user = self.clerk.add_user(f"{uuid.uuid4().hex[:8]}@acme.test").id
        self.join(user, tenant, role=role, linked=linked)
        return user

    def join(self, user: str, tenant: Tenant, *, role: str = "org:member", linked: bool = True) -> None:
        """The same person in one more organization."""
        self.clerk.add_membership(tenant.organization, user, role)
        if linked:
            self.fleet.sql(
                "INSERT INTO provisioning.member_link (database_name, clerk_user_id, twenty_user_id, email, first_name,"
                " last_name, run_id) VALUES (%s, %s, gen_random_uuid(), 'a@acme.test', 'A', 'B', 'r1')",
                *(tenant.database_name, user),
            )

    def condition(self, tenant: Tenant, type_: str, status: str, reason: str) -> None:
        """What a run found out about a tenant."""
        self.fleet.sql(
            "INSERT INTO provisioning.condition (database_name, type, status, reason, message, run_id)"
            " VALUES (%s, %s, %s, %s, '', 'r1')",
            *(tenant.database_name, type_, status, reason),
        )

    def twenty_user(self, tenant: Tenant, user: str) -> str:
        """The account that the ledger gives this person in this tenant's workspace."""
        rows = self.fleet.sql(
            "SELECT twenty_user_id::text FROM provisioning.member_link WHERE database_name = %s AND clerk_user_id = %s",
            *(tenant.database_name, user),
        )
        return str(rows[0][0])

    def token(self, tenant: Tenant, user: str, **changes: Any) -> str:
        """A session token of this person, as Clerk signs it now; `changes` as `StandInClerk.session_token` has them."""
        return self.clerk.session_token(user, tenant.organization, **changes)

    # --- asking

    def ask(
        self,
        route: Route,
        token: str | None = None,
        *,
        headers: Headers = (),
        cookies: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """The answer to a request with this token in its header. No answer repeats any token that was sent."""
        sent = [*headers]
        if token is not None:
            sent.append(("Authorization", f"Bearer {token}"))
        if cookies:
            sent.append(("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items())))
        method, path = route
        if any(isinstance(value, bytes) and value.endswith(b" ") for _, value in headers):
            return self._ask_carelessly(route, sent)
        raw = [(name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in sent]
        answer = self.api.http.request(method, path, headers=raw, params=query)
        tokens = [found for found in [token, *(cookies or {}).values()] if found]
        self.sent += tokens
        told = answer.text + str(answer.headers)
        assert not [found for found in tokens for part in secret_parts(found) if part in told]
        return answer

    def _ask_carelessly(self, route: Route, headers: Headers) -> httpx2.Response:
        """With a client that sends whatever it is told to."""
        connection = http.client.HTTPConnection(self.api.http.base_url.netloc.decode(), timeout=20)
        connection.putrequest(*route)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        found = httpx2.Response(
            answer.status,
            headers=answer.getheaders(),
            content=answer.read(),
            request=httpx2.Request(route[0], self.api.url + route[1]),
        )
        connection.close()
        return found


def secret_parts(token: str) -> list[str]:
    """What of a token nobody else may see: claims and signature."""
    return [part for part in token.split(".")[1:] if len(part) > 8]


@contextmanager
def lobby_in(postgres: SandboxPostgres, **overrides: Any) -> Iterator[Lobby]:
    """A lobby of its own. Nothing is remembered between requests, and no limit is met, unless `overrides` say so."""
    with (
        town_in(postgres) as (fleet, clerk, other_clerk),
        api_to(session_settings(fleet, clerk, other_clerk, **overrides)) as api,
    ):
        yield Lobby(fleet, clerk, other_clerk, api)


@contextmanager
def town_in(postgres: SandboxPostgres) -> Iterator[tuple[Fleet, StandInClerk, StandInClerk]]:
    """A ledger beside a registry that has statuses, and two instances of Clerk."""
    with StandInClerk() as clerk, StandInClerk() as other_clerk, fleet_in(postgres) as fleet:
        fleet.sql("ALTER TABLE tenant_registry ADD COLUMN status text")
        yield fleet, clerk, other_clerk


def session_settings(fleet: Fleet, clerk: StandInClerk, *other_clerks: StandInClerk, **overrides: Any) -> Settings:
    """Settings of an HTTP API that accepts the sessions of these; the first one's Backend API is asked."""
    values: dict[str, Any] = {
        "clerk_base_url": clerk.base_url,
        "clerk_secret_key": clerk.secret_key,
        "clerk_issuers": tuple(one.frontend_url for one in (clerk, *other_clerks)),
        "clerk_authorized_parties": ("http://localhost:3000",),
        "clerk_requests_per_10_seconds": 1_000_000,
        "clerk_look_share": 1.0,
        "session_cache_seconds": 0.0,
        "sign_ins_per_minute": 1_000_000,
    }
    return fleet.settings(**(values | overrides))


def signed(clerk: StandInClerk, claims: Mapping[str, Any], headers: Mapping[str, Any] | None = None) -> str:
    """A token with the instance's own key, made by hand: PyJWT refuses to make some of these."""
    header = {"alg": "RS256", "typ": "JWT", "kid": published(clerk)["kid"]} | dict(headers or {})
    message = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    signature = jwt.get_algorithm_by_name("RS256").sign(message.encode(), clerk._key._key)
    return f"{message}.{encoded(signature)}"


def encoded(value: bytes) -> str:
    """As the parts of a token are written."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def claims_of(token: str) -> dict[str, Any]:
    """What a token says."""
    return dict(jwt.decode(token, options={"verify_signature": False}))


def headers_of(token: str) -> dict[str, Any]:
    """The header of a token."""
    return dict(jwt.get_unverified_header(token))


def changed_part(token: str, part: int) -> str:
    """A token with one character in the middle of header (0), claims (1) or signature (2) replaced."""
    parts = token.split(".")
    middle = len(parts[part]) // 2
    other = "A" if parts[part][middle] != "A" else "B"
    parts[part] = parts[part][:middle] + other + parts[part][middle + 1 :]
    return ".".join(parts)


def public_pem(clerk: StandInClerk) -> bytes:
    """The public key that everybody can read, as PEM."""
    return public_key(clerk).public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_key(clerk: StandInClerk) -> rsa.RSAPublicKey:
    """The public key that everybody can read."""
    key = jwt.PyJWK(published(clerk)).key
    assert isinstance(key, rsa.RSAPublicKey)
    return key


def published(clerk: StandInClerk) -> dict[str, Any]:
    """The public key as it is published."""
    keys = httpx2.get(f"{clerk.frontend_url}/.well-known/jwks.json").json()["keys"]
    return dict(keys[0])


def must_refuse(answer: httpx2.Response, status: int, code: str | None) -> None:
    """It is refused, with everything that an answer of this status has to have."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert not [name for name in answer.headers if name.startswith("x-t")]
    document = answer.json()
    assert set(document) == {"type", "title", "status", "detail", "request_id"} | ({"code"} if code else set())
    assert (document["status"], document.get("code")) == (status, code)
    assert document["title"] == {401: "Unauthorized", 403: "Forbidden", 503: "Service Unavailable"}[status]
    assert document["detail"].endswith(".")
    assert document["request_id"] == answer.headers["x-request-id"]
    challenge = {401: "Bearer" if code == "no_session" else 'Bearer error="invalid_token"'}.get(status)
    assert answer.headers.get("www-authenticate") == challenge
    assert ("retry-after" in answer.headers) == (status == 503)


def must_pass(answer: httpx2.Response, lobby: Lobby, tenant: Tenant, user: str) -> None:
    """It is let through, to this tenant's workspace and to this person's account there."""
    path = answer.request.url.path
    if path == SIGN_IN[1]:
        # it came as far as Twenty, which is not here
        assert (answer.status_code, answer.json()["detail"][: len(NO_TWENTY)]) == (503, NO_TWENTY), answer.text
        return
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"]
    twenty_user = lobby.twenty_user(tenant, user)
    if path == VERIFY[1]:
        found = [answer.headers[name] for name in ("X-Tenant", "X-Twenty-Workspace-Id", "X-Twenty-User-Id")]
        assert (found, answer.content) == ([tenant.slug, tenant.workspace_id, twenty_user], b"")
    else:
        document = answer.json()
        assert (document["tenant"], document["database_name"]) == (tenant.slug, tenant.database_name)
        assert (document["workspace_id"], document["twenty_user_id"]) == (tenant.workspace_id, twenty_user)
        assert (document["clerk_user_id"], document["clerk_org_id"]) == (user, tenant.organization)
