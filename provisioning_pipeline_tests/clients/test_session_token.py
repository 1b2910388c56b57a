"""Session tokens: whatever comes is verified, refused or cannot be told; and what is remembered of them."""

import asyncio
import json
import string
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from provisioning_pipeline.clients.clerk.jwks import DOUBT_SECONDS, FRESH_SECONDS, PublicKeys
from provisioning_pipeline.clients.clerk.session_token import (
    LATELY_SECONDS,
    LEEWAY_SECONDS,
    MOST_CHARACTERS,
    SessionVerifier,
)
from provisioning_pipeline.model.session import CannotTell, Refusal, Refused, Session
from provisioning_pipeline_tests.clients.conftest import AnyServer

T = TypeVar("T")
KEY, NEW_KEY, STRANGER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(3))
ISSUER, OTHER_ISSUER = "https://clerk.acme.example", "https://clerk.other.example"
PARTY = "https://app.acme.example"
STALE_SECONDS = 600.0
BEGIN = 1_800_000_000.0
CLAIMS: dict[str, Any] = {
    "azp": PARTY,
    "exp": int(BEGIN) + 60,
    "iat": int(BEGIN),
    "nbf": int(BEGIN) - 10,
    "iss": ISSUER,
    "sid": "sess_1",
    "sts": "active",
    "sub": "user_1",
    "v": 2,
    "o": {"id": "org_1", "rol": "admin", "slg": "acme"},
}
HEADER = {"alg": "RS256", "typ": "JWT", "kid": "ins_1", "cat": "cl_B7d4PD111AAA"}
SESSION = Session("user_1", "sess_1", "org_1", "org:admin", ISSUER, int(BEGIN) + 60, None, None)

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", autouse=True)
def plain_http() -> Iterator[None]:
    """Keys come over plain HTTP here: reading the machine's certificates each time would take longer than the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx2, "AsyncClient", partial(httpx2.AsyncClient, verify=False))
        yield


class World:
    """A verifier, the keys that it reads over HTTP, and a clock for both."""

    def __init__(self, server: AnyServer, parties: tuple[str, ...] = (PARTY,)) -> None:
        self.seconds = 0.0
        self.reads = 0
        self.away = False
        self.published = {"ins_1": KEY}
        url = server.answers(self._answer)
        self.keys, self.other_keys = (
            PublicKeys(url, stale_seconds=STALE_SECONDS, clock=lambda: self.seconds) for _ in range(2)
        )
        self.verifier = SessionVerifier(
            {ISSUER: self.keys, OTHER_ISSUER: self.other_keys}, parties, clock=lambda: BEGIN + self.seconds
        )

    async def _answer(self, _: Request) -> Response:
        self.reads += 1
        if self.away:
            return Response(status_code=503)
        return JSONResponse({"keys": [public(key, kid) for kid, key in self.published.items()]})

    async def verdict(self, token: str) -> Session | Refusal | None:
        """The session, why it is refused, or None when it cannot be told."""
        try:
            return await self.verifier.verify(token)
        except Refused as refused:
            return refused.why
        except CannotTell:
            return None


def public(key: rsa.RSAPrivateKey, kid: str) -> dict[str, Any]:
    return jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, "use": "sig"}


def encoded(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def signed(key: rsa.RSAPrivateKey, claims: Any, header: Any) -> str:
    """By hand: PyJWT refuses to make some of these."""
    message = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    return f"{message}.{encoded(jwt.get_algorithm_by_name('RS256').sign(message.encode(), key))}"


def token(key: rsa.RSAPrivateKey = KEY, header: dict[str, Any] | None = None, **changes: Any) -> str:
    return signed(key, CLAIMS | changes, HEADER | (header or {}))


@pytest.fixture
def world(any_server: AnyServer) -> World:
    return World(any_server)


# --- anything at all --------------------------------------------------------------------------------------------

GOOD = token()
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["user_1", "org_1", PARTY]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
OUR_NAMES = [*CLAIMS, "act", "org_id", "org_role", "twenty_workspace_id", "aud"]
GARBLED_CLAIMS = st.dictionaries(st.sampled_from(OUR_NAMES), ANYTHING, max_size=3)
GARBLED_HEADER = st.dictionaries(
    st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "x5u", "zip", "enc"]),
    ANYTHING | st.sampled_from(["RS256", "none", "HS256", "ins_1", "JWT"]),
    max_size=2,
)


def garbled(good: str) -> st.SearchStrategy[str]:
    """A good token with a stretch of it replaced."""
    return st.builds(
        lambda start, length, put: good[:start] + put + good[start + length :],
        st.integers(0, len(good)),
        st.integers(0, 20),
        st.text(string.ascii_letters + string.digits + "-_=./+ é\0", max_size=8),
    )


def in_a_world(server: AnyServer, work: Callable[[World], Awaitable[T]]) -> T:
    async def run() -> T:
        return await work(World(server))

    return asyncio.run(run())


@given(
    st.text(max_size=300)
    | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1"))
    | st.lists(st.binary(max_size=60).map(encoded), min_size=2, max_size=5).map(".".join)
    | garbled(GOOD)
)
@example("." * 10_000)
@example(f"{encoded(b'[' * 6000)}.e30.")
@example(f"{encoded(json.dumps(HEADER).encode())}.{encoded(b'[' * 4000)}.AA")
@example(f"{encoded(json.dumps(HEADER).encode())}.{encoded(b'9' * 5000)}.AA")
@example("x" * (MOST_CHARACTERS + 1))
def test_garbage_is_refused(any_server: AnyServer, found: str) -> None:
    verdict = in_a_world(any_server, lambda world: world.verdict(found))

    # base64 has several spellings of the last character: the same bytes are the same token
    assert verdict is Refusal.INVALID_TOKEN or same_bytes(found, GOOD)


def same_bytes(one: str, other: str) -> bool:
    def decoded(part: str) -> bytes:
        return jwt.utils.base64url_decode(part)

    return one.split(".")[:2] == other.split(".")[:2] and decoded(one.split(".")[2]) == decoded(other.split(".")[2])


@given(GARBLED_CLAIMS, st.booleans())
@example({"azp": []}, True)
@example({"azp": {}}, True)
@example({"v": True, "org_id": "org_1"}, True)
@example({"exp": float("inf")}, True)
@example({"exp": float("nan")}, True)
def test_garbled_claims_are_a_session_or_refused(any_server: AnyServer, changes: dict[str, Any], parties: bool) -> None:
    async def ask(world: World) -> Session | Refusal | None:
        return await world.verdict(token(**changes))

    async def run() -> Session | Refusal | None:
        return await ask(World(any_server, (PARTY,) if parties else ()))

    verdict = asyncio.run(run())

    claims = CLAIMS | changes
    if isinstance(verdict, Session):
        assert (verdict.user_id, verdict.session_id) == (claims["sub"], claims["sid"])
        assert verdict.user_id.startswith("user_")
        assert claims["sts"] == "active"
        assert not parties or claims["azp"] == PARTY
        assert (verdict.impersonator is not None) == ("act" in changes)
        assert claims["v"] in (None, 1, 2)
        named = claims["o"]["id"] if claims["v"] == 2 else claims.get("org_id")
        assert verdict.organization_id == named
        assert verdict.role == "" or verdict.role.startswith("org:")
        assert (verdict.workspace_id is None) == (changes.get("twenty_workspace_id") is None)
        assert claims["nbf"] - LEEWAY_SECONDS <= BEGIN < claims["exp"] + LEEWAY_SECONDS
    else:
        assert verdict is not None


@given(GARBLED_HEADER)
def test_a_garbled_header_is_refused_unless_it_says_the_same(any_server: AnyServer, changes: dict[str, Any]) -> None:
    verdict = in_a_world(any_server, lambda world: world.verdict(token(header=changes)))

    plain = {name: (HEADER | changes)[name] for name in ("alg", "typ", "kid")}
    if plain != {name: HEADER[name] for name in plain} or "crit" in changes:
        assert verdict is Refusal.INVALID_TOKEN
    else:
        assert verdict in (SESSION, Refusal.INVALID_TOKEN)


@given(GARBLED_CLAIMS)
def test_nobody_elses_signature_ever_passes(any_server: AnyServer, changes: dict[str, Any]) -> None:
    assert in_a_world(any_server, lambda world: world.verdict(token(STRANGER, **changes))) is Refusal.INVALID_TOKEN


@given(st.text(max_size=60) | garbled(GOOD))
def test_garbage_contradicts_no_session(any_server: AnyServer, found: str) -> None:
    """A site that can set a cookie, for example from a sibling host, would lock its owner out with it."""
    somebody_else = replace(SESSION, user_id="user_2")

    contradicts = in_a_world(any_server, lambda world: world.verifier.contradicts(found, somebody_else))

    assert not contradicts or same_bytes(found, GOOD)


# --- what is said -----------------------------------------------------------------------------------------------


async def test_both_versions(world: World) -> None:
    one = {"v": None, "o": None, "org_id": "org_1", "org_role": "org:admin"}
    plain = signed(KEY, {name: value for name, value in (CLAIMS | one).items() if value is not None}, HEADER)

    assert await world.verdict(GOOD) == SESSION
    assert await world.verdict(plain) == SESSION


async def test_a_custom_role(world: World) -> None:
    found = await world.verdict(token(o={"id": "org_1", "rol": "billing:manager"}))

    assert isinstance(found, Session)
    assert found.role == "org:billing:manager"


async def test_a_refusal_is_the_same_the_second_time(world: World) -> None:
    other = token(azp="https://evil.example")

    assert [await world.verdict(other) for _ in range(3)] == [Refusal.WRONG_PARTY] * 3


async def test_no_refusal_keeps_the_frames_of_another(world: World) -> None:
    other = token(azp="https://evil.example")
    raised = []
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            await world.verifier.verify(other)
        raised.append(refused.value)

    assert raised[0] is not raised[1]


# --- times ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known_before", [True, False])
@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        (-LEEWAY_SECONDS - 0.5, Refusal.TOKEN_NOT_YET_VALID),
        (-LEEWAY_SECONDS, SESSION),
        (0, SESSION),
        (59, SESSION),
        (60 + LEEWAY_SECONDS - 0.5, SESSION),
        (60 + LEEWAY_SECONDS, Refusal.TOKEN_EXPIRED),
        (10**8, Refusal.TOKEN_EXPIRED),
    ],
)
async def test_a_token_has_its_time_also_one_that_is_remembered(
    any_server: AnyServer, seconds: float, verdict: object, known_before: bool
) -> None:
    world = World(any_server)
    if known_before:
        assert await world.verdict(GOOD) == SESSION
    world.seconds = seconds

    assert await world.verdict(GOOD) == verdict


@pytest.mark.parametrize("name", ["iat", "nbf"])
async def test_the_later_of_issued_and_begins_counts(world: World, name: str) -> None:
    assert await world.verdict(token(**{name: BEGIN + 6})) is Refusal.TOKEN_NOT_YET_VALID
    world.seconds = 1
    assert isinstance(await world.verdict(token(**{name: BEGIN + 6})), Session)


# --- what is remembered -----------------------------------------------------------------------------------------


async def test_a_rotation_empties_what_is_remembered(world: World) -> None:
    assert await world.verdict(GOOD) == SESSION
    world.published = {"ins_1": NEW_KEY}

    # a token of the new key has the keys read anew, and with that the old one's are worth nothing
    assert await world.verdict(token(NEW_KEY, sid="sess_2")) not in (None, *Refusal)
    assert await world.verdict(GOOD) is Refusal.INVALID_TOKEN


async def test_a_rotation_also_empties_what_is_remembered_of_tokens_that_come_along(world: World) -> None:
    assert await world.verdict(GOOD) == SESSION
    world.published = {"ins_1": NEW_KEY}
    new = token(NEW_KEY, jti="new")
    assert await world.verdict(new) == SESSION

    somebody_else = replace(SESSION, user_id="user_2")
    assert not await world.verifier.contradicts(GOOD, somebody_else)
    assert await world.verifier.contradicts(new, somebody_else)


async def test_a_rotation_that_keeps_the_old_key_forgets_no_token(world: World) -> None:
    assert await world.verdict(GOOD) == SESSION
    world.published = {"ins_1": KEY, "ins_2": NEW_KEY}

    assert await world.verdict(token(NEW_KEY, {"kid": "ins_2"})) == SESSION
    assert await world.verdict(GOOD) == SESSION


@pytest.mark.parametrize("kid", ["ins_1", "ins_2"])
async def test_a_rotation_is_followed_at_once(world: World, kid: str) -> None:
    assert await world.verdict(GOOD) == SESSION
    world.published = {kid: NEW_KEY}

    assert await world.verdict(token(NEW_KEY, {"kid": kid})) == SESSION
    assert world.reads == 2


async def test_attackers_have_the_keys_read_once_in_half_a_minute(world: World) -> None:
    assert await world.verdict(GOOD) == SESSION
    forged = [
        *(token(STRANGER, {"kid": f"ins_{number}"}) for number in range(20)),
        *(token(STRANGER, jti=str(number)) for number in range(20)),
        *(f"{GOOD[:-20]}{number:020d}" for number in range(20)),
    ]

    for second in range(int(DOUBT_SECONDS)):
        world.seconds = second
        found = await asyncio.gather(*[world.verdict(one) for one in forged])
        assert found == [Refusal.INVALID_TOKEN] * len(forged)

    assert world.reads == 2


async def test_a_rotation_is_followed_soon_whatever_attackers_send(world: World) -> None:
    assert await world.verdict(GOOD) == SESSION
    assert await world.verdict(token(STRANGER)) is Refusal.INVALID_TOKEN
    world.published = {"ins_2": NEW_KEY}
    new = token(NEW_KEY, {"kid": "ins_2"})
    for second in range(int(DOUBT_SECONDS) + 1):
        world.seconds = second
        await world.verdict(token(STRANGER, jti=str(second)))

    assert await world.verdict(new) == SESSION


async def test_many_first_requests_read_the_keys_once(world: World) -> None:
    found = await asyncio.gather(*[world.verdict(token(jti=str(number))) for number in range(50)])

    assert found == [SESSION] * 50
    assert world.reads == 1


# --- when the keys cannot be read -------------------------------------------------------------------------------


async def test_without_keys_it_cannot_be_told(world: World) -> None:
    world.away = True

    assert await world.verdict(GOOD) is None
    # who is no issuer of ours, or has not even the form of a token, is refused all the same
    assert await world.verdict(token(iss="https://evil.example")) is Refusal.INVALID_TOKEN
    assert await world.verdict("nonsense") is Refusal.INVALID_TOKEN
    world.away, world.seconds = False, 3
    assert await world.verdict(GOOD) == SESSION


async def test_known_keys_serve_new_tokens_until_they_are_stale(world: World) -> None:
    assert await world.verdict(GOOD) == SESSION
    world.away = True
    far = {"exp": BEGIN + 10**6}

    world.seconds = FRESH_SECONDS + STALE_SECONDS - 1
    assert isinstance(await world.verdict(token(**far, jti="new")), Session)
    assert await world.verdict(token(NEW_KEY, {"kid": "ins_2"}, **far)) is Refusal.INVALID_TOKEN
    world.seconds += 2
    assert await world.verdict(token(**far, jti="newer")) is None


async def test_keys_that_are_stale_serve_no_token_that_is_remembered(world: World) -> None:
    lasting = token(exp=BEGIN + 10**6)
    assert isinstance(await world.verdict(lasting), Session)
    world.away = True
    world.seconds = FRESH_SECONDS + STALE_SECONDS + 1

    assert await world.verdict(lasting) is None


async def test_a_key_that_was_taken_back_serves_no_token_that_is_remembered(world: World) -> None:
    lasting = token(exp=BEGIN + 10**6)
    assert isinstance(await world.verdict(lasting), Session)
    world.published = {"ins_2": NEW_KEY}

    # no other call comes: the keys are read anew all the same, once those at hand are no longer fresh
    for _ in range(3):
        world.seconds += FRESH_SECONDS + 1
        await world.verdict(lasting)
        if world.keys._reading:
            await asyncio.wait([world.keys._reading])

    assert await world.verdict(lasting) is Refusal.INVALID_TOKEN


# --- other tokens that came along -------------------------------------------------------------------------------


async def test_which_tokens_contradict_a_session(world: World) -> None:
    session = await world.verifier.verify(GOOD)
    of_nobody_else = [
        token(jti="2"),
        token(sid="sess_2"),
        token(o={"id": "org_1", "rol": "member"}),
        token(o=None),
        token(azp="https://evil.example"),
        token(STRANGER, sub="user_2"),
        token(sub="user_2", exp=int(BEGIN) - LATELY_SECONDS),
        token(sub="user_2", sid=None),
        token(sub="user_2", exp=None),
        token(sub="mch_2"),
        "nonsense",
        "",
    ]
    of_others = [
        token(sub="user_2"),
        token(sub="user_2", exp=int(BEGIN) - LATELY_SECONDS + 1),
        token(sub="user_2", o=None),
        token(sub="user_2", sts="pending"),
        token(sub="user_2", azp="https://evil.example"),
        token(o={"id": "org_2", "rol": "admin"}),
        token(iss=OTHER_ISSUER),
    ]

    assert [await world.verifier.contradicts(one, session) for one in of_nobody_else] == [False] * len(of_nobody_else)
    assert [await world.verifier.contradicts(one, session) for one in of_others] == [True] * len(of_others)
