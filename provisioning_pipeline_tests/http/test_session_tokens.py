"""Which session tokens pass, and how the forged, the unfit and the impersonated are refused."""

import hmac
import json
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from provisioning_pipeline.sandbox.clerk import REMOVED
from provisioning_pipeline_tests.http.sessions import (
    SESSION,
    SIGN_IN,
    VERIFY,
    Lobby,
    Route,
    Tenant,
    changed_part,
    claims_of,
    encoded,
    every_route,
    headers_of,
    must_pass,
    must_refuse,
    public_pem,
    published,
    signed,
)

PARTY = "http://localhost:3000"


@pytest.fixture(scope="module")
def stranger_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


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
    "blank behind sub": ({"sub": "user_1 "}, 401, "not_a_session"),
    "blank before sub": ({"sub": " user_1"}, 401, "not_a_session"),
    "another blank in sub": ({"sub": "user_\u00a01"}, 401, "not_a_session"),
    "sub of other letters": ({"sub": "user_\u0430"}, 401, "not_a_session"),
    "sub too long": ({"sub": "user_" + "x" * 200}, 401, "not_a_session"),
    "blank behind sid": ({"sid": "sess_1 "}, 401, "not_a_session"),
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
    "organization with a blank": ({"o": {"id": "org_1 ", "rol": "admin"}}, 403, "no_organization"),
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
