"""Clerk's public keys: how often they are read, what is believed, and for how long, by a clock of the test's own."""

import asyncio
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from provisioning_pipeline.clients.clerk.jwks import DOUBT_SECONDS, FRESH_SECONDS, KeysAway, PublicKeys
from provisioning_pipeline_tests.clients.conftest import AnyServer

STALE_SECONDS = 600.0


@pytest.fixture(scope="module", autouse=True)
def plain_http() -> Iterator[None]:
    """Keys come over plain HTTP here: reading the machine's certificates each time would take longer than the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx2, "AsyncClient", partial(httpx2.AsyncClient, verify=False))
        yield


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


FIRST, SECOND = rsa_key(), rsa_key()


def jwk(key: rsa.RSAPrivateKey, kid: str = "ins_1", **changes: Any) -> dict[str, Any]:
    """A key as Clerk publishes it."""
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {"kty": "RSA", "n": public["n"], "e": public["e"], "use": "sig", "alg": "RS256", "kid": kid} | changes


class Clerk:
    """A server of keys that counts who reads them."""

    def __init__(self, server: AnyServer) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[], Response] = lambda: Response(status_code=500)
        self.url = server.answers(self._answer)

    async def _answer(self, request: Request) -> Response:
        self.requests.append(request)
        return self.answer()

    def publishes(self, *keys: dict[str, Any]) -> None:
        self.answer = lambda: JSONResponse({"keys": list(keys)})

    def is_away(self) -> None:
        self.answer = lambda: Response(status_code=500)


@pytest.fixture
def clerk(any_server: AnyServer) -> Iterator[Clerk]:
    found = Clerk(any_server)
    found.publishes(jwk(FIRST))
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(clerk: Clerk, clock: Clock) -> PublicKeys:
    return PublicKeys(clerk.url, stale_seconds=STALE_SECONDS, clock=clock)


pytestmark = pytest.mark.anyio


async def settled(keys: PublicKeys) -> None:
    """Return once what was begun in the background has ended."""
    if keys._reading:
        await asyncio.wait([keys._reading])


def same(found: rsa.RSAPublicKey | None, key: rsa.RSAPrivateKey) -> bool:
    return found is not None and found.public_numbers() == key.public_key().public_numbers()


# --- how often --------------------------------------------------------------------------------------------------


async def test_many_who_come_first_read_the_keys_once(keys: PublicKeys, clerk: Clerk) -> None:
    found = await asyncio.gather(*[keys.get("ins_1") for _ in range(200)])

    assert all(same(one, FIRST) for one in found)
    assert len(clerk.requests) == 1


async def test_known_keys_are_not_read_again_while_fresh(keys: PublicKeys, clerk: Clerk, clock: Clock) -> None:
    for _ in range(5):
        assert same(await keys.get("ins_1"), FIRST)
        clock.now += FRESH_SECONDS / 5

    assert len(clerk.requests) == 1


async def test_old_keys_are_read_again_and_nobody_waits_for_it(keys: PublicKeys, clerk: Clerk, clock: Clock) -> None:
    await keys.get("ins_1")
    clerk.publishes(jwk(FIRST), jwk(SECOND, "ins_2"))
    clock.now += FRESH_SECONDS + 1

    assert same(await keys.get("ins_1"), FIRST)
    await settled(keys)

    assert len(clerk.requests) == 2
    assert same(await keys.get("ins_2"), SECOND)
    assert len(clerk.requests) == 2


@pytest.mark.parametrize("concurrent", [1, 50])
async def test_unknown_key_ids_have_the_keys_read_once_in_half_a_minute(
    keys: PublicKeys, clerk: Clerk, clock: Clock, concurrent: int
) -> None:
    await keys.get("ins_1")
    for second in range(int(DOUBT_SECONDS)):
        clock.now += 0.99
        wanted = [keys.get(f"ins_{second}_{number}") for number in range(concurrent)]
        assert await asyncio.gather(*wanted) == [None] * concurrent

    assert len(clerk.requests) == 2


async def test_bad_signatures_have_the_keys_read_once_in_half_a_minute(
    keys: PublicKeys, clerk: Clerk, clock: Clock
) -> None:
    await keys.get("ins_1")

    read = [await keys.doubted() for _ in range(20)]
    clock.now += DOUBT_SECONDS + 1
    later = await keys.doubted()

    assert (read, later) == ([True, *[False] * 19], True)
    assert len(clerk.requests) == 3


async def test_when_clerk_is_away_it_is_not_asked_at_every_request(
    keys: PublicKeys, clerk: Clerk, clock: Clock
) -> None:
    clerk.is_away()
    for _ in range(100):
        with pytest.raises(KeysAway):
            await keys.get("ins_1")
    assert len(clerk.requests) == 1

    clock.now += 3
    clerk.publishes(jwk(FIRST))

    assert same(await keys.get("ins_1"), FIRST)


async def test_one_who_gives_up_takes_the_answer_from_no_other(keys: PublicKeys, clerk: Clerk) -> None:
    impatient = asyncio.create_task(keys.get("ins_1"))
    patient = asyncio.create_task(keys.get("ins_1"))
    await asyncio.sleep(0)
    impatient.cancel()

    assert same(await patient, FIRST)
    assert len(clerk.requests) == 1


# --- rotation ---------------------------------------------------------------------------------------------------


async def test_a_new_key_with_a_new_id_is_known_at_once(keys: PublicKeys, clerk: Clerk) -> None:
    await keys.get("ins_1")
    clerk.publishes(jwk(SECOND, "ins_2"))
    generation = keys.generation

    assert same(await keys.get("ins_2"), SECOND)
    assert await keys.get("ins_1") is None
    assert keys.generation > generation


async def test_a_new_key_with_the_old_id_is_known_once_the_old_one_is_doubted(keys: PublicKeys, clerk: Clerk) -> None:
    await keys.get("ins_1")
    clerk.publishes(jwk(SECOND))
    generation = keys.generation

    assert same(await keys.get("ins_1"), FIRST)
    assert await keys.doubted()
    assert same(await keys.get("ins_1"), SECOND)
    assert keys.generation > generation


async def test_the_same_keys_are_no_new_generation(keys: PublicKeys, clerk: Clerk) -> None:
    await keys.get("ins_1")
    generation = keys.generation
    clerk.publishes(jwk(FIRST, alg="RS256", more="canary"))

    await keys.doubted()

    assert keys.generation == generation


# --- when they cannot be read -----------------------------------------------------------------------------------


async def test_known_keys_are_trusted_until_they_are_stale_and_no_longer(
    keys: PublicKeys, clerk: Clerk, clock: Clock
) -> None:
    await keys.get("ins_1")
    clerk.is_away()
    clock.now += FRESH_SECONDS + STALE_SECONDS - 1

    assert same(await keys.get("ins_1"), FIRST)
    assert await keys.get("ins_2") is None
    await settled(keys)
    assert keys.known
    clock.now += 2

    assert not keys.known
    for kid in ("ins_1", "ins_2"):
        with pytest.raises(KeysAway):
            await keys.get(kid)
    clock.now += 3
    clerk.publishes(jwk(FIRST))
    assert same(await keys.get("ins_1"), FIRST)


async def test_nobody_listens(any_server: AnyServer, clock: Clock) -> None:
    keys = PublicKeys("http://127.0.0.1:9/jwks", stale_seconds=STALE_SECONDS, clock=clock)

    with pytest.raises(KeysAway):
        await keys.get("ins_1")
    with pytest.raises(KeysAway):
        await keys.warm()
    assert not keys.known


def elliptic() -> dict[str, Any]:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    made: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    return made | {"kid": "ins_1", "use": "sig"}


def private() -> dict[str, Any]:
    made: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(SECOND, as_dict=True)
    return made | {"kid": "ins_1", "use": "sig", "alg": "RS256", "key_ops": ["sign"]}


GARBAGE: dict[str, Callable[[], Response]] = {
    "500": lambda: Response(status_code=500),
    "404": lambda: Response("{}", status_code=404),
    "a redirect": lambda: RedirectResponse("/elsewhere"),
    "no JSON": lambda: Response(b"\xff\xfe not JSON"),
    "nothing": lambda: Response(b""),
    "a list": lambda: JSONResponse([jwk(SECOND)]),
    "null": lambda: JSONResponse(None),
    "no keys": lambda: JSONResponse({"keys": []}),
    "keys that are no list": lambda: JSONResponse({"keys": {"ins_1": jwk(SECOND)}}),
    "entries that are no keys": lambda: JSONResponse({"keys": [None, 1, "x", [], {}, {"kty": "RSA", "kid": "ins_1"}]}),
    "an elliptic key": lambda: JSONResponse({"keys": [elliptic()]}),
    "a shared secret": lambda: JSONResponse({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "ins_1"}]}),
    "a small key": lambda: JSONResponse({"keys": [jwk(rsa_key(1024))]}),
    "a private key": lambda: JSONResponse({"keys": [private()]}),
    "a key for encryption": lambda: JSONResponse({"keys": [jwk(SECOND, use="enc")]}),
    "a key for another algorithm": lambda: JSONResponse({"keys": [jwk(SECOND, alg="PS256")]}),
    "a key without id": lambda: JSONResponse({"keys": [jwk(SECOND, kid="")]}),
    "an id that is no text": lambda: JSONResponse({"keys": [jwk(SECOND) | {"kid": 1}]}),
    "n that is no text": lambda: JSONResponse({"keys": [jwk(SECOND, n=65537)]}),
    "n that is no number": lambda: JSONResponse({"keys": [jwk(SECOND, n="?")]}),
    "an even exponent": lambda: JSONResponse({"keys": [jwk(SECOND, e="Ag")]}),
    "a huge body": lambda: Response(json.dumps({"keys": [jwk(SECOND)], "more": "x" * 300_000})),
    "a deep body": lambda: Response("[" * 150_000),
    "a deep key": lambda: Response('{"keys":' + "[" * 50_000 + "]" * 50_000 + "}"),
    "a number without end": lambda: Response('{"keys": ' + "9" * 10_000 + "}"),
    "compressed nonsense": lambda: Response(b"nonsense", headers={"content-encoding": "gzip"}),
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_takes_no_known_key_away(
    keys: PublicKeys, clerk: Clerk, clock: Clock, answer: Callable[[], Response]
) -> None:
    await keys.get("ins_1")
    clerk.answer = answer
    generation = keys.generation

    assert await keys.get("ins_2") is None
    assert same(await keys.get("ins_1"), FIRST)
    assert keys.generation == generation
    assert {request.url.path for request in clerk.requests} == {"/"}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_no_key(keys: PublicKeys, clerk: Clerk, clock: Clock, answer: Callable[[], Response]) -> None:
    clerk.answer = answer
    with pytest.raises(KeysAway):
        await keys.get("ins_1")

    clerk.publishes(jwk(FIRST))
    clock.now += 3

    assert same(await keys.get("ins_1"), FIRST)


async def test_good_keys_among_garbage_are_known(keys: PublicKeys, clerk: Clerk) -> None:
    bad = [None, elliptic() | {"kid": "ins_2"}, jwk(rsa_key(1024), "ins_3"), jwk(SECOND, "ins_4", use="enc")]
    clerk.answer = lambda: JSONResponse({"keys": [*bad, jwk(FIRST), *bad]})

    assert same(await keys.get("ins_1"), FIRST)
    for kid in ("ins_2", "ins_3", "ins_4"):
        assert await keys.get(kid) is None


GARBLED: dict[str, Callable[[], Any]] = {
    "cut short": lambda: jwk(FIRST, n=jwk(FIRST)["n"][:20]),
    "without n": lambda: {name: value for name, value in jwk(FIRST).items() if name != "n"},
    "n that is no text": lambda: jwk(FIRST, n=5),
    "without an id": lambda: jwk(FIRST, kid=""),
    "a text": lambda: "ins_1",
    "nothing": lambda: None,
}


@pytest.mark.parametrize("garbled", GARBLED.values(), ids=GARBLED)
async def test_a_set_with_a_garbled_key_locks_nobody_out_while_the_known_keys_are_good(
    keys: PublicKeys, clerk: Clerk, clock: Clock, garbled: Callable[[], Any]
) -> None:
    await keys.get("ins_1")
    clerk.answer = lambda: JSONResponse({"keys": [garbled(), jwk(SECOND, "ins_2")]})

    assert same(await keys.get("ins_2"), SECOND)
    assert same(await keys.get("ins_1"), FIRST)
    for _ in range(5):
        clock.now += FRESH_SECONDS + 1
        await keys.doubted()
    # not for ever: a key that Clerk withdrew must go some day
    assert await keys.get("ins_1") is None
    assert same(await keys.get("ins_2"), SECOND)


async def test_a_key_that_is_gone_from_a_set_without_fault_is_gone(keys: PublicKeys, clerk: Clerk) -> None:
    await keys.get("ins_1")
    clerk.publishes(elliptic() | {"kid": "ins_3"}, jwk(SECOND, "ins_2"))

    assert same(await keys.get("ins_2"), SECOND)
    assert await keys.get("ins_1") is None


async def test_of_two_keys_with_one_id_one_is_known(keys: PublicKeys, clerk: Clerk) -> None:
    clerk.publishes(jwk(FIRST), jwk(SECOND))

    found = await keys.get("ins_1")

    assert same(found, FIRST) or same(found, SECOND)
    assert len(clerk.requests) == 1


async def test_the_secret_key_goes_nowhere_else(clerk: Clerk, any_server: AnyServer, clock: Clock) -> None:
    keys = PublicKeys(clerk.url, headers={"authorization": "Bearer sk"}, stale_seconds=1.0, clock=clock)
    clerk.answer = lambda: RedirectResponse("http://127.0.0.1:9/stolen")

    with pytest.raises(KeysAway):
        await keys.get("ins_1")

    assert [request.headers["authorization"] for request in clerk.requests] == ["Bearer sk"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
ENTRY = st.fixed_dictionaries(
    {"kid": st.just("ins_1") | ANYTHING, "kty": st.just("RSA") | ANYTHING},
    optional={
        name: st.sampled_from([jwk(SECOND)["n"], "AQAB", "RS256", "sig", ""]) | ANYTHING
        for name in ("n", "e", "d", "p", "q", "alg", "use", "oth", "key_ops", "x5c")
    },
)


@given(body=st.binary(max_size=200) | st.builds(json.dumps, st.fixed_dictionaries({"keys": st.lists(ENTRY)})))
def test_whatever_is_answered_known_keys_stay(any_server: AnyServer, body: bytes | str) -> None:
    clerk, clock = Clerk(any_server), Clock()
    clerk.publishes(jwk(FIRST))
    keys = PublicKeys(clerk.url, stale_seconds=STALE_SECONDS, clock=clock)

    async def ask() -> bool:
        await keys.get("ins_1")
        clerk.answer = lambda: Response(body)
        await keys.doubted()
        return (await keys.get("ins_1")) is not None or keys.generation > 1

    assert asyncio.run(ask())


# --- in any order -----------------------------------------------------------------------------------------------


class Days(RuleBasedStateMachine):
    """Clerk comes and goes and rotates, time passes, and attackers and members ask."""

    server: AnyServer

    @initialize()
    def begin(self) -> None:
        self.clock = Clock()
        self.clerk = Clerk(self.server)
        self.keys = PublicKeys(self.clerk.url, stale_seconds=STALE_SECONDS, clock=self.clock)
        self.read_at: float | None = None
        self.asked_at: list[float] = []
        self.away = False
        self.key = FIRST
        self.clerk.answer = self._answer
        # one loop for all: a background read must be able to end later
        self.loop = asyncio.new_event_loop()

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run_until_complete(settled(self.keys))
            self.loop.close()

    def _answer(self) -> Response:
        self.asked_at.append(self.clock.now)
        if self.away:
            return Response(status_code=503)
        self.read_at = self.clock.now
        return JSONResponse({"keys": [jwk(self.key)]})

    @rule(seconds=st.sampled_from([0.5, 3.0, DOUBT_SECONDS, FRESH_SECONDS, STALE_SECONDS]))
    def passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(away=st.booleans())
    def clerk_is(self, away: bool) -> None:
        self.away = away

    @rule(key=st.sampled_from([FIRST, SECOND]))
    def rotates(self, key: rsa.RSAPrivateKey) -> None:
        self.key = key

    @rule(kid=st.sampled_from(["ins_1", "ins_evil"]), times=st.integers(1, 5))
    def asks(self, kid: str, times: int) -> None:
        async def ask() -> list[rsa.RSAPublicKey | BaseException | None]:
            found = await asyncio.gather(*[self.keys.get(kid) for _ in range(times)], return_exceptions=True)
            await settled(self.keys)
            return found

        before = self.read_at
        for found in self.loop.run_until_complete(ask()):
            if isinstance(found, BaseException):
                assert isinstance(found, KeysAway)
                assert before is None or self.clock.now - before > FRESH_SECONDS + STALE_SECONDS
            elif kid == "ins_evil":
                assert found is None
            else:
                assert same(found, FIRST) or same(found, SECOND)
                assert self.read_at is not None
                assert self.clock.now - self.read_at <= FRESH_SECONDS + STALE_SECONDS

    @rule()
    def doubts(self) -> None:
        async def doubt() -> None:
            await self.keys.doubted()

        self.loop.run_until_complete(doubt())

    @invariant()
    def nobody_asks_too_often(self) -> None:
        asked = getattr(self, "asked_at", [])
        # a doubt and a read that was due may coincide, and while nothing can be read it is tried every two seconds
        assert all(later - earlier >= 2 for earlier, later in zip(asked, asked[2:], strict=False))


def test_in_any_order(any_server: AnyServer) -> None:
    def made() -> Days:
        Days.server = any_server
        return Days()

    run_state_machine_as_test(made)
