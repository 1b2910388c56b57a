"""Who is not let in by a Clerk session, over real HTTP: with which answer, and without a word too many."""

import asyncio
import hmac
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any
from urllib.parse import unquote

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from provisioning_pipeline.ledger.database import ledger_database
from provisioning_pipeline.pipeline.timeline import timeline
from provisioning_pipeline.sandbox.clerk import REMOVED
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.api.sessions import (
    NO_TWENTY,
    ROUTES,
    SESSION,
    SIGN_IN,
    VERIFY,
    Lobby,
    Route,
    Tenant,
    changed_part,
    claims_of,
    encoded,
    headers_of,
    lobby_in,
    public_pem,
    published,
    secret_parts,
    signed,
)

# what one route refuses the others do by the same code: every day the gateway's, and all of them in CI
every_route = pytest.mark.parametrize(
    "route",
    [VERIFY, *(pytest.param(route, marks=pytest.mark.slow) for route in (SESSION, SIGN_IN))],
    ids=lambda route: route[1],
)
READING = (VERIFY, SESSION)
PARTY = "http://localhost:3000"


@pytest.fixture(scope="module")
def shared_lobby(sandbox_postgres: SandboxPostgres) -> Iterator[Lobby]:
    with lobby_in(sandbox_postgres) as made:
        yield made


class Lines(logging.Handler):
    """Every line that anything logs, with all that goes with it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.getMessage()} {record.__dict__}")


@pytest.fixture(scope="module")
def logged() -> Iterator[list[str]]:
    """All that is logged while the tests of this module run."""
    handler = Lines()
    root, ours = logging.getLogger(), logging.getLogger("provisioning_pipeline")
    levels = root.level, ours.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    ours.setLevel(logging.DEBUG)
    yield handler.lines
    root.removeHandler(handler)
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.fixture
def lobby(shared_lobby: Lobby, logged: list[str]) -> Iterator[Lobby]:
    """The door and who is before it; no token that a test sends is in any line logged meanwhile."""
    begun = len(logged)
    yield shared_lobby
    told = "\n".join(logged[begun:])
    assert told
    assert not [token for token in shared_lobby.sent for part in secret_parts(token) if part in told]


@pytest.fixture(scope="module")
def acme(shared_lobby: Lobby) -> Tenant:
    return shared_lobby.tenant("acme")


@pytest.fixture(scope="module")
def ann(shared_lobby: Lobby, acme: Tenant) -> str:
    """A member of acme with nothing wrong about her."""
    return shared_lobby.member(acme)


@pytest.fixture(scope="module")
def stranger_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def must_refuse(answer: httpx.Response, status: int, code: str | None) -> None:
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


def must_pass(answer: httpx.Response, lobby: Lobby, tenant: Tenant, user: str) -> None:
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


# --- sessions that pass: whatever is refused below is refused for its own reason --------------------------------


@every_route
@pytest.mark.parametrize("version", [1, 2])
def test_a_good_session_passes(lobby: Lobby, acme: Tenant, ann: str, route: Route, version: Any) -> None:
    token = lobby.token(acme, ann, version=version)

    must_pass(lobby.ask(route, token), lobby, acme, ann)
    must_pass(lobby.ask(route, cookies={"theme": "dark", "__session": token}), lobby, acme, ann)
    must_pass(lobby.ask(route, cookies={"__session_aB3x": token}), lobby, acme, ann)
    must_pass(lobby.ask(route, headers=[("AUTHORIZATION", f"bearer  {token} ".encode())]), lobby, acme, ann)


@every_route
@pytest.mark.parametrize(
    "changes",
    [
        {"exp": -3},
        {"iat": 3, "nbf": 3},
        {"sts": REMOVED},
        {"twenty_workspace_id": None},
        {"v": 1, "org_id": "its own", "org_role": "org:member", "o": REMOVED},
    ],
    ids=["expired a moment ago", "begins in a moment", "no state", "null claim", "version 1 that says so"],
)
def test_what_is_unusual_and_still_good_passes(
    lobby: Lobby, acme: Tenant, ann: str, route: Route, changes: dict[str, Any]
) -> None:
    now = int(time.time())
    made = {
        name: now + value if name in ("exp", "iat", "nbf") else acme.organization if value == "its own" else value
        for name, value in changes.items()
    }

    must_pass(lobby.ask(route, lobby.token(acme, ann, **made)), lobby, acme, ann)


def test_each_role_and_each_of_several_organizations(lobby: Lobby, acme: Tenant) -> None:
    beta = lobby.tenant("beta")
    bob = lobby.member(acme, role="org:admin")
    lobby.join(bob, beta)

    for version in (1, 2):
        at_acme = lobby.ask(VERIFY, lobby.token(acme, bob, version=version))
        at_beta = lobby.ask(VERIFY, lobby.token(beta, bob, version=version))

        must_pass(at_acme, lobby, acme, bob)
        must_pass(at_beta, lobby, beta, bob)
        assert (at_acme.headers["X-Twenty-Role"], at_beta.headers["X-Twenty-Role"]) == ("Admin", "Member")


# --- tokens -----------------------------------------------------------------------------------------------------


def with_signature(good: str, algorithm: str, sign: Callable[[bytes], bytes]) -> str:
    """The same claims under another algorithm, made by hand: PyJWT refuses to make some of these."""
    header = encoded(json.dumps(headers_of(good) | {"alg": algorithm}).encode())
    message = f"{header}.{good.split('.')[1]}"
    return f"{message}.{encoded(sign(message.encode()))}"


def unsigned(algorithm: str) -> Callable[[Lobby, str, Any], str]:
    return lambda lobby, good, key: with_signature(good, algorithm, lambda message: b"")


def by_shared_secret(secret: Callable[[Lobby], bytes]) -> Callable[[Lobby, str, Any], str]:
    def made(lobby: Lobby, good: str, _: Any) -> str:
        return with_signature(good, "HS256", lambda message: hmac.digest(secret(lobby), message, sha256))

    return made


def signed_by_stranger(**headers: Any) -> Callable[[Lobby, str, Any], str]:
    """The same claims, signed with a key that the instance never had."""

    def made(lobby: Lobby, good: str, key: rsa.RSAPrivateKey) -> str:
        own = {name: value for name, value in (headers_of(good) | headers).items() if value is not REMOVED}
        return jwt.encode(claims_of(good), key, algorithm="RS256", headers=own)

    return made


def with_curve(lobby: Lobby, good: str, _: Any) -> str:
    return jwt.encode(
        claims_of(good), ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers={"kid": clerk_kid(lobby)}
    )


def with_pss(lobby: Lobby, good: str, _: Any) -> str:
    # with the instance's own key, so that nothing but the algorithm is wrong
    return jwt.encode(claims_of(good), lobby.clerk._key._key, algorithm="PS256", headers={"kid": clerk_kid(lobby)})


def with_sha512(lobby: Lobby, good: str, _: Any) -> str:
    return jwt.encode(claims_of(good), lobby.clerk._key._key, algorithm="RS512", headers={"kid": clerk_kid(lobby)})


def with_its_own_key_inside(lobby: Lobby, good: str, key: rsa.RSAPrivateKey) -> str:
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    inside = {"kid": clerk_kid(lobby), "jwk": jwk, "jku": f"{lobby.other_clerk.frontend_url}/.well-known/jwks.json"}
    return jwt.encode(claims_of(good), key, algorithm="RS256", headers=inside)


def by_other_issuer(lobby: Lobby, good: str, _: Any) -> str:
    # both instances use the same key id, so that only the keys' owner tells
    assert published(lobby.clerk)["kid"] == published(lobby.other_clerk)["kid"]
    return lobby.other_clerk._key.sign(claims_of(good))


def clerk_kid(lobby: Lobby) -> str:
    return str(published(lobby.clerk)["kid"])


def other_claims(lobby: Lobby, good: str, _: Any) -> str:
    header, _claims, signature = good.split(".")
    claims = claims_of(good) | {"sub": "user_somebody_else"}
    return f"{header}.{encoded(json.dumps(claims).encode())}.{signature}"


FORGED: dict[str, Callable[[Lobby, str, Any], str]] = {
    "alg none": unsigned("none"),
    "alg None": unsigned("None"),
    "no alg word": unsigned(""),
    "HS256 with the public key's PEM": by_shared_secret(lambda lobby: public_pem(lobby.clerk)),
    "HS256 with n": by_shared_secret(lambda lobby: published(lobby.clerk)["n"].encode()),
    "HS256 with nothing": by_shared_secret(lambda lobby: b""),
    "HS256 signed, RS256 said": lambda lobby, good, key: with_signature(
        good, "RS256", lambda message: hmac.digest(public_pem(lobby.clerk), message, sha256)
    ),
    "unknown kid": signed_by_stranger(kid="ins_unknown"),
    "no kid": signed_by_stranger(kid=REMOVED),
    "empty kid": signed_by_stranger(kid=""),
    "the right kid": signed_by_stranger(),
    "kid is a path": signed_by_stranger(kid="../../../dev/null"),
    "ES256": with_curve,
    "PS256": with_pss,
    "RS512": with_sha512,
    "its own key inside": with_its_own_key_inside,
    "the other issuer's key": by_other_issuer,
    "another header": lambda lobby, good, key: changed_part(good, 0),
    "another signature": lambda lobby, good, key: changed_part(good, 2),
    "other claims": other_claims,
    "no signature": lambda lobby, good, key: good.rpartition(".")[0] + ".",
    "two parts": lambda lobby, good, key: good.rpartition(".")[0],
    "four parts": lambda lobby, good, key: f"{good}.{good.split('.')[2]}",
    "too large": lambda lobby, good, key: lobby.clerk._key.sign(claims_of(good) | {"more": "x" * 9000}),
    "no token": lambda lobby, good, key: "not-a-token",
    "claims that are no object": lambda lobby, good, key: (
        f"{good.split('.')[0]}.{encoded(b'[1]')}.{good.split('.')[2]}"
    ),
}


@every_route
@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_forged_token(
    lobby: Lobby,
    acme: Tenant,
    ann: str,
    stranger_key: rsa.RSAPrivateKey,
    route: Route,
    forge: Callable[[Lobby, str, Any], str],
) -> None:
    good = lobby.token(acme, ann)
    forged = forge(lobby, good, stranger_key)

    must_refuse(lobby.ask(route, forged), 401, "invalid_token")
    must_refuse(lobby.ask(route, cookies={"__session": forged}), 401, "invalid_token")
    must_pass(lobby.ask(route, good), lobby, acme, ann)


UNFIT: dict[str, tuple[dict[str, Any], int, str]] = {
    "issuer": ({"iss": "https://clerk.elsewhere.example"}, 401, "invalid_token"),
    "no issuer": ({"iss": REMOVED}, 401, "invalid_token"),
    "issuers": ({"iss": ["https://clerk.elsewhere.example"]}, 401, "invalid_token"),
    "party": ({"azp": "https://evil.example"}, 401, "wrong_party"),
    "no party": ({"azp": REMOVED}, 401, "wrong_party"),
    "null party": ({"azp": None}, 401, "wrong_party"),
    "party with a slash": ({"azp": f"{PARTY}/"}, 401, "wrong_party"),
    "parties": ({"azp": [PARTY]}, 401, "wrong_party"),
    "expired": ({"exp": -10}, 401, "token_expired"),
    "expired long ago": ({"exp": -(10**9)}, 401, "token_expired"),
    "begins later": ({"nbf": 30}, 401, "token_not_yet_valid"),
    "issued later": ({"iat": 30}, 401, "token_not_yet_valid"),
    "no exp": ({"exp": REMOVED}, 401, "invalid_token"),
    "no iat": ({"iat": REMOVED}, 401, "invalid_token"),
    "no nbf": ({"nbf": REMOVED}, 401, "invalid_token"),
    "exp as text": ({"exp": "9999999999"}, 401, "invalid_token"),
    "exp true": ({"exp": True}, 401, "invalid_token"),
    "exp beyond any clock": ({"exp": 10**400}, 401, "invalid_token"),
    "exp null": ({"exp": None}, 401, "invalid_token"),
    "iat as text": ({"iat": "1"}, 401, "invalid_token"),
    "no sub": ({"sub": REMOVED}, 401, "not_a_session"),
    "sub is a number": ({"sub": 7}, 401, "not_a_session"),
    "no sid": ({"sid": REMOVED}, 401, "not_a_session"),
    "empty sid": ({"sid": ""}, 401, "not_a_session"),
    "machine token": ({"sub": "mch_2xhFjEI5X2qWRvtV13BzSj8H6Dk"}, 401, "not_a_session"),
    "template token": ({"sid": REMOVED, "aud": "hasura"}, 401, "not_a_session"),
    "NUL in sub": ({"sub": "user_\0"}, 401, "not_a_session"),
    "half a pair in sub": ({"sub": "user_\ud800"}, 401, "not_a_session"),
    "pending": ({"sts": "pending"}, 401, "session_pending"),
    "state unknown": ({"sts": "revoked"}, 401, "session_pending"),
    "state null": ({"sts": None}, 401, "session_pending"),
    "version 3": ({"v": 3}, 401, "invalid_token"),
    "version as text": ({"v": "2"}, 401, "invalid_token"),
    "organization empty": ({"o": {"id": ""}}, 403, "no_organization"),
    "organization without id": ({"o": {"rol": "admin"}}, 403, "no_organization"),
    "organization as text": ({"o": "org_1"}, 403, "no_organization"),
    "organization with NUL": ({"o": {"id": "org_\0", "rol": "admin"}}, 403, "no_organization"),
    "organization too long": ({"o": {"id": "org_" + "x" * 300, "rol": "admin"}}, 403, "no_organization"),
}
TIMES = ("exp", "iat", "nbf")


@every_route
@pytest.mark.parametrize(("changes", "status", "code"), UNFIT.values(), ids=UNFIT)
def test_a_token_of_ours_that_is_no_session(
    lobby: Lobby, acme: Tenant, ann: str, route: Route, changes: dict[str, Any], status: int, code: str
) -> None:
    now = int(time.time())
    made = {
        name: now + value if name in TIMES and type(value) is int and abs(value) < 10**10 else value
        for name, value in changes.items()
    }

    claims = {name: value for name, value in (claims_of(lobby.token(acme, ann)) | made).items() if value is not REMOVED}

    must_refuse(lobby.ask(route, signed(lobby.clerk, claims)), status, code)


@every_route
@pytest.mark.parametrize("headers", [{"typ": "at+jwt"}, {"typ": "JWS"}, {"typ": None}, {"crit": ["exp"]}], ids=str)
def test_a_token_of_ours_with_another_header(
    lobby: Lobby, acme: Tenant, ann: str, route: Route, headers: dict[str, Any]
) -> None:
    token = signed(lobby.clerk, claims_of(lobby.token(acme, ann)), headers)

    must_refuse(lobby.ask(route, token), 401, "invalid_token")


@every_route
@pytest.mark.parametrize("version", [1, 2])
def test_a_session_without_an_organization(lobby: Lobby, ann: str, route: Route, version: Any) -> None:
    must_refuse(lobby.ask(route, lobby.clerk.session_token(ann, version=version)), 403, "no_organization")


@every_route
def test_the_other_versions_claims_name_no_organization(lobby: Lobby, acme: Tenant, ann: str, route: Route) -> None:
    compact = lobby.clerk.session_token(ann, version=2, org_id=acme.organization, org_role="org:admin")
    plain = lobby.clerk.session_token(ann, version=1, o={"id": acme.organization, "rol": "admin"})

    for token in (compact, plain):
        must_refuse(lobby.ask(route, token), 403, "no_organization")


def test_without_parties_a_session_of_any_application_passes(sandbox_postgres: SandboxPostgres) -> None:
    with lobby_in(sandbox_postgres, clerk_authorized_parties=()) as lobby:
        acme = lobby.tenant("acme")
        user = lobby.member(acme)

        for party in ("https://other.example", REMOVED):
            must_pass(lobby.ask(VERIFY, lobby.token(acme, user, azp=party)), lobby, acme, user)


# --- where the token stands -------------------------------------------------------------------------------------


@every_route
def test_a_request_without_a_token(lobby: Lobby, route: Route) -> None:
    for cookies in (None, {"theme": "dark"}, {"__session": ""}, {"__sessio": "x", "session": "x"}):
        must_refuse(lobby.ask(route, cookies=cookies), 401, "no_session")


@every_route
@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"Basic dXNlcjpwYXNz", "no_session"),
        (b"Bearer", "no_session"),
        (b"Bearer ", "no_session"),
        (b"Bearer a b", "no_session"),
        (b"Bearer: a", "no_session"),
        (b"", "no_session"),
        ("Bearer käse".encode(), "invalid_token"),
        (b"Bearer \xff\xfe", "invalid_token"),
        (b"Bearer " + b"x" * 20_000, "invalid_token"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_malformed_header_is_not_made_good_by_a_cookie(
    lobby: Lobby, acme: Tenant, ann: str, route: Route, value: bytes, code: str
) -> None:
    good = lobby.token(acme, ann)

    must_refuse(lobby.ask(route, headers=[("Authorization", value)]), 401, code)
    must_refuse(lobby.ask(route, headers=[("Authorization", value)], cookies={"__session": good}), 401, code)


@every_route
def test_a_cookie_header_beyond_measure(lobby: Lobby, acme: Tenant, ann: str, route: Route) -> None:
    cookies = {"__session": lobby.token(acme, ann), "more": "x" * 17_000}

    must_refuse(lobby.ask(route, cookies=cookies), 401, "invalid_token")


@every_route
def test_two_headers(lobby: Lobby, acme: Tenant, ann: str, route: Route) -> None:
    good = lobby.token(acme, ann)

    for other in (good, lobby.token(acme, lobby.member(acme)), "nonsense"):
        sent = [("Authorization", f"Bearer {other}"), ("Authorization", f"Bearer {good}")]
        must_refuse(lobby.ask(route, headers=sent), 401, "tokens_disagree")


@every_route
def test_header_and_cookie_of_different_sessions(lobby: Lobby, acme: Tenant, ann: str, route: Route) -> None:
    beta = lobby.tenant("beta")
    lobby.join(ann, beta)
    own = lobby.token(acme, ann, sid="sess_own")
    others = {
        "another user": lobby.token(acme, lobby.member(acme), sid="sess_own"),
        "another organization": lobby.token(beta, ann, sid="sess_own"),
        "no organization": lobby.clerk.session_token(ann, sid="sess_own"),
        "another session": lobby.token(acme, ann, sid="sess_other"),
        "another issuer": lobby.other_clerk._key.sign(claims_of(own) | {"iss": lobby.other_clerk.frontend_url}),
        "forged": changed_part(own, 2),
        "nonsense": "nonsense",
    }

    for other in others.values():
        must_refuse(lobby.ask(route, own, cookies={"__session": other}), 401, "tokens_disagree")
    for other in list(others.values())[:4]:
        must_refuse(lobby.ask(route, other, cookies={"__session": own}), *refused_as(other, others))


def refused_as(other: str, others: dict[str, str]) -> tuple[int, str]:
    """A token that is refused by itself is refused so, before it is compared."""
    return (403, "no_organization") if other == others["no organization"] else (401, "tokens_disagree")


@every_route
def test_header_and_cookie_of_the_same_session(lobby: Lobby, acme: Tenant, ann: str, route: Route) -> None:
    own, newer = (lobby.token(acme, ann, sid="sess_own", jti=str(number)) for number in range(2))
    over = lobby.token(acme, ann, sid="sess_own", exp=int(time.time()) - 100)

    for other in (newer, over, own):
        must_pass(lobby.ask(route, own, cookies={"__session": other, "__session_a": other}), lobby, acme, ann)
    must_refuse(lobby.ask(route, over, cookies={"__session": own}), 401, "token_expired")


@every_route
def test_cookies_that_disagree(lobby: Lobby, acme: Tenant, ann: str, route: Route) -> None:
    own, other = lobby.token(acme, ann), lobby.token(acme, lobby.member(acme))

    for cookies in ({"__session": own, "__session_b": other}, {"__session_a": other, "__session_b": own}):
        must_refuse(lobby.ask(route, cookies=cookies), 401, "tokens_disagree")
    twice = [("Cookie", f"__session={own}"), ("Cookie", f"__session={other}")]
    must_refuse(lobby.ask(route, headers=twice), 401, "tokens_disagree")


def test_a_token_in_query_or_body_is_none(lobby: Lobby, acme: Tenant, ann: str) -> None:
    good = lobby.token(acme, ann)

    for route in ROUTES:
        must_refuse(lobby.ask(route, query={"__session": good, "token": good}), 401, "no_session")


# --- where the session leads ------------------------------------------------------------------------------------


def other_tenant_suspended(lobby: Lobby) -> Tenant:
    return lobby.tenant("gone", status="suspended")


def upper_case_status(lobby: Lobby) -> Tenant:
    return lobby.tenant("gone", status="Deleted")


def unknown_organization(lobby: Lobby) -> Tenant:
    made = lobby.tenant("unknown")
    forget(lobby, made)
    return made


def registered_alone(lobby: Lobby) -> Tenant:
    made = lobby.tenant("registered")
    lobby.fleet.sql("DELETE FROM provisioning.tenant_link WHERE database_name = %s", made.database_name)
    return made


def registered_and_suspended(lobby: Lobby) -> Tenant:
    made = lobby.tenant("registered", status="cancelled")
    lobby.fleet.sql("DELETE FROM provisioning.tenant_link WHERE database_name = %s", made.database_name)
    return made


def not_made_yet(lobby: Lobby) -> Tenant:
    return lobby.tenant("unmade", made=False)


def workspace_gone(lobby: Lobby) -> Tenant:
    made = lobby.tenant("lost")
    lobby.condition(made, "WorkspaceReady", "False", "WorkspaceGone")
    return made


def tenant_gone(lobby: Lobby) -> Tenant:
    made = lobby.tenant("vanished")
    lobby.condition(made, "Ready", "False", "TenantGone")
    return made


def tenant_suspended(lobby: Lobby) -> Tenant:
    made = lobby.tenant("vanished")
    lobby.condition(made, "Ready", "Unknown", "TenantSuspended")
    return made


def claimed_by_another(lobby: Lobby) -> Tenant:
    made, other = lobby.tenant("disputed"), lobby.tenant("rival")
    lobby.fleet.sql(
        "UPDATE tenant_registry SET clerk_org_id = %s WHERE database_name = %s", made.organization, other.database_name
    )
    return made


def claims_another(lobby: Lobby) -> Tenant:
    made, other = lobby.tenant("disputed"), lobby.tenant("rival")
    lobby.fleet.sql(
        "UPDATE tenant_registry SET clerk_org_id = %s WHERE database_name = %s", other.organization, made.database_name
    )
    return made


def registered_twice(lobby: Lobby) -> Tenant:
    made, other = lobby.tenant("disputed"), lobby.tenant("rival")
    lobby.register(made, organization=other.organization)
    return made


def forget(lobby: Lobby, tenant: Tenant) -> None:
    lobby.fleet.sql("DELETE FROM provisioning.tenant_link WHERE database_name = %s", tenant.database_name)
    lobby.fleet.sql("DELETE FROM tenant_registry WHERE database_name = %s", tenant.database_name)


NOWHERE: dict[Callable[[Lobby], Tenant], str] = {
    other_tenant_suspended: "tenant_suspended",
    upper_case_status: "tenant_suspended",
    registered_and_suspended: "tenant_suspended",
    tenant_gone: "tenant_suspended",
    tenant_suspended: "tenant_suspended",
    unknown_organization: "no_workspace",
    registered_alone: "workspace_not_ready",
    not_made_yet: "workspace_not_ready",
    workspace_gone: "workspace_not_ready",
    claimed_by_another: "organization_disputed",
    claims_another: "organization_disputed",
    registered_twice: "organization_disputed",
}


@every_route
@pytest.mark.parametrize(("arrange", "code"), NOWHERE.items(), ids=[one.__name__ for one in NOWHERE])
def test_a_session_that_leads_nowhere(
    lobby: Lobby, route: Route, arrange: Callable[[Lobby], Tenant], code: str
) -> None:
    tenant = arrange(lobby)
    known = lobby.fleet.sql("SELECT 1 FROM provisioning.tenant_link WHERE database_name = %s", tenant.database_name)
    user = lobby.member(tenant, linked=bool(known))

    answer = lobby.ask(route, lobby.token(tenant, user))

    must_refuse(answer, 403, code)
    names = lobby.fleet.sql("SELECT slug FROM provisioning.tenant_link UNION SELECT slug FROM tenant_registry")
    told = answer.text + str(answer.headers)
    assert not [name for (name,) in names if name in told]
    assert "org_" not in told


@pytest.mark.parametrize("route", READING, ids=lambda route: route[1])
def test_a_session_of_another_tenant(lobby: Lobby, acme: Tenant, ann: str, route: Route) -> None:
    beta = lobby.tenant("beta")
    good = lobby.token(acme, ann)
    refusals = []

    for tenant in (beta.slug, beta.database_name, "nobody", "", acme.slug.upper(), f"{acme.slug} ", acme.organization):
        answer = lobby.ask(route, good, query={"tenant": tenant})
        must_refuse(answer, 403, "other_tenant")
        refusals.append(answer.json()["detail"])

    # whether there is such a tenant is none of the caller's business
    assert len(set(refusals)) == 1
    for tenant in (acme.slug, acme.database_name):
        must_pass(lobby.ask(route, good, query={"tenant": tenant}), lobby, acme, ann)


@every_route
@pytest.mark.parametrize("gone", ["removed", "banned", "deleted"])
@pytest.mark.parametrize("linked", [True, False], ids=["linked", "not linked"])
def test_somebody_who_is_gone_from_clerk(lobby: Lobby, acme: Tenant, route: Route, gone: str, linked: bool) -> None:
    user = lobby.member(acme, linked=linked)
    token = lobby.token(acme, user)
    if gone == "removed":
        lobby.clerk.remove_membership(acme.organization, user)
    elif gone == "banned":
        lobby.clerk.ban_user(user)
    else:
        lobby.clerk.delete_user(user)

    answer = lobby.ask(route, token)

    must_refuse(answer, 403, "not_a_member")
    assert acme.slug not in answer.text + str(answer.headers)
    assert acme.workspace_id not in answer.text + str(answer.headers)


def test_an_organization_that_was_deleted_at_clerk_signs_nobody_in(lobby: Lobby) -> None:
    acme = lobby.tenant("acme")
    linked, unlinked = lobby.member(acme), lobby.member(acme, linked=False)
    tokens = [lobby.token(acme, user) for user in (linked, unlinked)]
    lobby.clerk.delete_organization(acme.organization)

    for token in tokens:
        answer = lobby.ask(SIGN_IN, token)

        assert answer.status_code in (403, 503)
        assert NO_TWENTY not in answer.text, "it was let through to Twenty"


def test_a_member_whom_no_backfill_has_reached(lobby: Lobby, acme: Tenant) -> None:
    user = lobby.member(acme, linked=False)
    token = lobby.token(acme, user)

    must_refuse(lobby.ask(VERIFY, token), 403, "member_not_linked")
    told = lobby.ask(SESSION, token)
    assert (told.status_code, told.json()["twenty_user_id"], told.json()["tenant"]) == (200, None, acme.slug)


ODD_NAMES = ["łódź", "a\r\nX-Twenty-Role: Admin\r\nX-Evil: 1", "a\nb", "ärzte", "a b", "100%25", "日本"]


@pytest.mark.parametrize("slug", ODD_NAMES, ids=ascii)
def test_names_that_no_header_can_carry(lobby: Lobby, slug: str) -> None:
    acme = lobby.tenant("acme")
    user = lobby.member(acme)
    lobby.fleet.sql("UPDATE provisioning.tenant_link SET slug = %s WHERE database_name = %s", slug, acme.database_name)
    token = lobby.token(acme, user)

    answer = lobby.ask(VERIFY, token)

    assert answer.status_code == 200
    assert answer.headers.get_list("X-Tenant")[0].isascii()
    assert [unquote(value) for value in answer.headers.get_list("X-Tenant")] == [slug]
    assert answer.headers.get_list("X-Twenty-Role") == ["Member"]
    assert "X-Evil" not in answer.headers
    assert lobby.ask(SESSION, token).json()["tenant"] == slug


def test_a_role_that_no_header_can_carry(sandbox_postgres: SandboxPostgres) -> None:
    with lobby_in(sandbox_postgres, member_default_role="Członek zespołu") as lobby:
        acme = lobby.tenant("acme")
        token = lobby.token(acme, lobby.member(acme))

        answer = lobby.ask(VERIFY, token)

        assert answer.status_code == 200
        assert unquote(answer.headers["X-Twenty-Role"]) == "Członek zespołu"
        assert lobby.ask(SESSION, token).json()["role"] == "Członek zespołu"


# --- the claim twenty_workspace_id ------------------------------------------------------------------------------


@every_route
def test_a_claim_of_the_right_workspace(lobby: Lobby, acme: Tenant, ann: str, route: Route) -> None:
    for claim in (acme.workspace_id, acme.workspace_id.upper()):
        must_pass(lobby.ask(route, lobby.token(acme, ann, twenty_workspace_id=claim)), lobby, acme, ann)


WRONG_CLAIMS = {
    "another tenant's": lambda other: other.workspace_id,
    "nobody's": lambda _: str(uuid.uuid4()),
    "a template that Clerk did not fill in": lambda _: "{{org.public_metadata.twenty_workspace_id}}",
    "a number": lambda _: 7251983,
    "empty": lambda _: "",
    "an object": lambda _: {"id": "canary-claim"},
    "false": lambda _: False,
}


@every_route
@pytest.mark.parametrize("claim", WRONG_CLAIMS.values(), ids=WRONG_CLAIMS)
def test_a_claim_of_another_workspace(lobby: Lobby, route: Route, claim: Callable[[Tenant], Any]) -> None:
    acme, beta = lobby.tenant("acme"), lobby.tenant("beta")
    user = lobby.member(acme)
    value = claim(beta)

    answer = lobby.ask(route, lobby.token(acme, user, twenty_workspace_id=value))

    must_refuse(answer, 403, "workspace_claim_wrong")
    told = answer.text + str(answer.headers)
    assert beta.slug not in told
    assert str(value) not in told or value in ("", False)
    kept = drifts(lobby, acme)
    assert len(kept) == 1
    assert str(value) not in kept[0] or value in ("", False)
    assert drifts(lobby, beta) == []


def test_the_drift_is_in_the_timeline_once(lobby: Lobby) -> None:
    acme, user = lobby.tenant("acme"), None
    user = lobby.member(acme)

    def refused() -> None:
        wrong = lobby.token(acme, user, twenty_workspace_id=str(uuid.uuid4()))
        must_refuse(lobby.ask(VERIFY, wrong), 403, "workspace_claim_wrong")

    for _ in range(3):
        refused()
    (once,) = drifts(lobby, acme)

    assert user in once
    assert acme.workspace_id in once
    assert [line for line in told_of(lobby, acme) if "twenty_workspace_id" in line]
    assert acme.database_name in lobby.fleet.marked()


def drifts(lobby: Lobby, tenant: Tenant) -> list[str]:
    rows = lobby.fleet.sql("SELECT detail FROM provisioning.drift WHERE database_name = %s", tenant.database_name)
    return [row[0] for row in rows]


def told_of(lobby: Lobby, tenant: Tenant) -> list[str]:
    """The tenant's timeline."""

    async def read() -> list[str]:
        async with ledger_database(lobby.fleet.settings(), read_only=True) as ledger:
            found = await timeline(ledger, tenant.database_name)
        assert found is not None
        return [event.what for event in found.events]

    return asyncio.run(read())


# --- somebody else in the user's name ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "told"),
    [({"sub": "user_of_support"}, "user_of_support"), ({}, "unknown"), (None, "unknown"), ("canary", "unknown")],
    ids=str,
)
def test_an_impersonated_session(lobby: Lobby, acme: Tenant, ann: str, act: Any, told: str) -> None:
    token = lobby.token(acme, ann, act=act)

    must_pass(lobby.ask(VERIFY, token), lobby, acme, ann)
    seen = lobby.ask(SESSION, token)
    must_pass(seen, lobby, acme, ann)
    assert seen.json()["impersonator"] == told
    must_refuse(lobby.ask(SIGN_IN, token), 403, "impersonated")


def test_nobody_impersonates_by_default(lobby: Lobby, acme: Tenant, ann: str) -> None:
    assert lobby.ask(SESSION, lobby.token(acme, ann)).json()["impersonator"] is None


# --- a request's id ---------------------------------------------------------------------------------------------


@every_route
def test_the_callers_request_id_is_kept(lobby: Lobby, route: Route) -> None:
    answer = lobby.ask(route, headers=[("X-Request-Id", "trace-1")])

    must_refuse(answer, 401, "no_session")
    assert answer.headers["x-request-id"] == "trace-1"


# --- what is remembered -----------------------------------------------------------------------------------------


def test_what_is_remembered_of_one_serves_no_other(sandbox_postgres: SandboxPostgres) -> None:
    with lobby_in(sandbox_postgres, session_cache_seconds=300.0) as lobby:
        acme, beta = lobby.tenant("acme"), lobby.tenant("beta")
        ann, bob = lobby.member(acme), lobby.member(beta, role="org:admin")
        lobby.join(ann, beta, role="org:admin")
        for _ in range(3):
            for tenant, user in ((acme, ann), (beta, ann), (beta, bob)):
                must_pass(lobby.ask(VERIFY, lobby.token(tenant, user)), lobby, tenant, user)
                wrong = lobby.token(tenant, user, twenty_workspace_id=str(uuid.uuid4()))
                must_refuse(lobby.ask(VERIFY, wrong), 403, "workspace_claim_wrong")
                acting = lobby.ask(SESSION, lobby.token(tenant, user, act={"sub": "user_of_support"}))
                assert acting.json()["impersonator"] == "user_of_support"
            assert lobby.ask(SESSION, lobby.token(acme, ann)).json()["impersonator"] is None


def test_a_sign_in_asks_clerk_whatever_is_remembered(sandbox_postgres: SandboxPostgres) -> None:
    with lobby_in(sandbox_postgres, session_cache_seconds=300.0) as lobby:
        acme = lobby.tenant("acme")
        user = lobby.member(acme)
        must_pass(lobby.ask(VERIFY, lobby.token(acme, user)), lobby, acme, user)
        token = lobby.token(acme, user)
        lobby.clerk.remove_membership(acme.organization, user)

        must_refuse(lobby.ask(SIGN_IN, token), 403, "not_a_member")
        # and from then on nobody else believes the memory either
        must_refuse(lobby.ask(VERIFY, token), 403, "not_a_member")


def test_sign_ins_are_limited_for_each_member(sandbox_postgres: SandboxPostgres) -> None:
    with lobby_in(sandbox_postgres, sign_ins_per_minute=2) as lobby:
        acme = lobby.tenant("acme")
        ann, bob = lobby.member(acme), lobby.member(acme)
        for _ in range(2):
            must_pass(lobby.ask(SIGN_IN, lobby.token(acme, ann)), lobby, acme, ann)

        refused = lobby.ask(SIGN_IN, lobby.token(acme, ann))

        assert (refused.status_code, refused.headers["cache-control"]) == (429, "no-store")
        assert int(refused.headers["retry-after"]) >= 1
        must_pass(lobby.ask(SIGN_IN, lobby.token(acme, bob)), lobby, acme, bob)
        must_pass(lobby.ask(VERIFY, lobby.token(acme, ann)), lobby, acme, ann)


def test_without_issuers_no_session_is_accepted(sandbox_postgres: SandboxPostgres) -> None:
    with lobby_in(sandbox_postgres, clerk_issuers=()) as lobby:
        acme = lobby.tenant("acme")
        token = lobby.token(acme, lobby.member(acme))

        for route in ROUTES:
            must_refuse(lobby.ask(route, token), 503, None)
