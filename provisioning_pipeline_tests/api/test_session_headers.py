"""Where a request has its session token, header or cookie, and its id."""

import time

import pytest

from provisioning_pipeline_tests.api.sessions import (
    ROUTES,
    Lobby,
    Route,
    Tenant,
    changed_part,
    claims_of,
    every_route,
    must_pass,
    must_refuse,
)


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


# --- a request's id ---------------------------------------------------------------------------------------------


@every_route
def test_the_callers_request_id_is_kept(lobby: Lobby, route: Route) -> None:
    answer = lobby.ask(route, headers=[("X-Request-Id", "trace-1")])

    must_refuse(answer, 401, "no_session")
    assert answer.headers["x-request-id"] == "trace-1"
