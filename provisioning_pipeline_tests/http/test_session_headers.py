"""Where a request has its session token, header or cookie, and its id."""

import time

import pytest

from provisioning_pipeline_tests.http.sessions import (
    ROUTES,
    Lobby,
    Route,
    Tenant,
    changed_part,
    claims_of,
    every_route,
    must_pass,
    must_refuse,
    signed,
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
def test_header_and_cookie_of_different_people(lobby: Lobby, acme: Tenant, ann: str, route: Route) -> None:
    beta = lobby.tenant("beta")
    lobby.join(ann, beta)
    own = lobby.token(acme, ann, sid="sess_own")
    others = [
        lobby.token(acme, lobby.member(acme), sid="sess_own"),
        lobby.token(beta, ann, sid="sess_own"),
        lobby.other_clerk._key.sign(claims_of(own) | {"iss": lobby.other_clerk.frontend_url}),
    ]

    for other in others:
        must_refuse(lobby.ask(route, own, cookies={"__session": other}), 401, "tokens_disagree")
        must_refuse(lobby.ask(route, other, cookies={"__session": own}), 401, "tokens_disagree")


@every_route
def test_header_and_cookie_of_the_same_person(lobby: Lobby, acme: Tenant, ann: str, route: Route) -> None:
    own, newer = (lobby.token(acme, ann, jti=str(number)) for number in range(2))
    over = lobby.token(acme, ann, exp=int(time.time()) - 100)
    nowhere = lobby.clerk.session_token(ann)

    for other in (newer, over, own, nowhere, lobby.token(acme, ann, sid="sess_other")):
        must_pass(lobby.ask(route, own, cookies={"__session": other, "__session_a": other}), lobby, acme, ann)
    # what a program put into the header is not made good by a cookie
    must_refuse(lobby.ask(route, over, cookies={"__session": own}), 401, "token_expired")
    must_refuse(lobby.ask(route, nowhere, cookies={"__session": own}), 403, "no_organization")


# --- cookies that somebody else planted: every host beside ours may set cookies of any name for both ------------


def planted(lobby: Lobby, acme: Tenant, stranger: str) -> dict[str, str]:
    """What no lock-out may come from: nothing of it is good as a session here, now or a moment ago."""
    now = int(time.time())
    theirs = lobby.token(acme, stranger)
    elsewhere = claims_of(theirs) | {"iss": "https://clerk.elsewhere.example"}
    return {
        "garbage": "garbage",
        "not plain": "\u00e4",
        "too long": "x" * 9000,
        "forged": changed_part(theirs, 2),
        "of another instance": lobby.other_clerk._key.sign(elsewhere),
        "ran out long ago": lobby.token(acme, stranger, iat=now - 4000, nbf=now - 4000, exp=now - 310),
        "of no session": signed(lobby.clerk, claims_of(theirs) | {"sid": ""}),
    }


@every_route
def test_a_planted_cookie_locks_nobody_out(lobby: Lobby, acme: Tenant, ann: str, route: Route) -> None:
    own = lobby.token(acme, ann)

    for what, other in planted(lobby, acme, lobby.member(acme)).items():
        twice = [("Cookie", f"__session={other}".encode()), ("Cookie", f"__session={own}")]
        for answer in (
            lobby.ask(route, own, headers=[("Cookie", f"__session_x={other}".encode())]),
            lobby.ask(route, headers=[("Cookie", f"__session_x={other}; __session={own}".encode())]),
            lobby.ask(route, headers=[("Cookie", f"__session={own}; __session_x={other}".encode())]),
            lobby.ask(route, headers=twice),
        ):
            assert answer.status_code != 401, what
            must_pass(answer, lobby, acme, ann)


@every_route
def test_a_planted_session_never_takes_the_place_of_ones_own(
    lobby: Lobby, acme: Tenant, ann: str, route: Route
) -> None:
    """Else its owner would read what the user writes, in the belief that it is their own workspace."""
    now = int(time.time())
    beta = lobby.tenant("beta")
    stranger = lobby.member(beta)
    theirs = lobby.token(beta, stranger)
    own = {
        "good": lobby.token(acme, ann),
        "ran out a moment ago": lobby.token(acme, ann, exp=now - 100),
        "of a person in no organization": lobby.clerk.session_token(ann),
        "pending": lobby.token(acme, ann, sts="pending"),
    }

    for what, token in own.items():
        for cookies in ({"__session": token, "__session_b": theirs}, {"__session_a": theirs, "__session": token}):
            answer = lobby.ask(route, cookies=cookies)
            assert answer.status_code == 401, what
            must_refuse(answer, 401, "tokens_disagree")


@every_route
def test_cookies_of_one_person_in_two_organizations(lobby: Lobby, acme: Tenant, ann: str, route: Route) -> None:
    beta = lobby.tenant("beta")
    lobby.join(ann, beta)

    cookies = {"__session": lobby.token(acme, ann), "__session_b": lobby.token(beta, ann)}
    must_refuse(lobby.ask(route, cookies=cookies), 401, "tokens_disagree")


@every_route
def test_where_no_cookie_is_good_the_own_one_says_why(lobby: Lobby, acme: Tenant, ann: str, route: Route) -> None:
    """A front end renews an expired token; by a planted one it would not know that it has to."""
    over = lobby.token(acme, ann, exp=int(time.time()) - 10)

    must_refuse(lobby.ask(route, cookies={"__session_x": "garbage", "__session": over}), 401, "token_expired")
    must_refuse(lobby.ask(route, cookies={"__session": over, "__session_x": "garbage"}), 401, "token_expired")
    must_refuse(lobby.ask(route, cookies={"__session": "garbage"}), 401, "invalid_token")


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
