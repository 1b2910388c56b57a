"""Where a request carries its session token: every spelling of headers, and nothing but a token or a refusal."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.gateway.credentials import Credentials, credentials_of
from provisioning_pipeline.model.session import Refusal, Refused

Headers = list[tuple[bytes, bytes]]
TOKEN = st.text(string.ascii_letters + string.digits + "-_.", min_size=1, max_size=30)
NAMES = st.sampled_from([b"authorization", b"cookie", b"host", b"x-authorization", b"__session"])
VALUES = (
    st.binary(max_size=40)
    | st.builds(lambda scheme, token: f"{scheme} {token}".encode(), st.sampled_from(["Bearer", "Basic", ""]), TOKEN)
    | st.builds(lambda name, token: f"{name}={token}".encode(), st.sampled_from(["__session", "__session_x"]), TOKEN)
    | st.sampled_from([b"", b" ", b";", b"=", b"__session", b"__session=", b'__session=""', b"Bearer " + b"x" * 20_000])
)


def found_in(*headers: tuple[bytes, bytes]) -> Credentials | Refusal:
    """The credentials, or why there are none."""
    try:
        return credentials_of(headers)
    except Refused as refused:
        return refused.why


def cookie(value: str) -> tuple[bytes, bytes]:
    return b"cookie", value.encode()


def bearer(token: str) -> tuple[bytes, bytes]:
    return b"authorization", f"Bearer {token}".encode()


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_whatever_comes_is_a_token_or_refused(headers: Headers) -> None:
    found = found_in(*headers)

    if isinstance(found, Refusal):
        assert found in (Refusal.NO_SESSION, Refusal.TOKENS_DISAGREE, Refusal.INVALID_TOKEN)
        return
    tokens = [token for token in (found.bearer, *found.cookies) if token is not None]
    assert tokens
    assert len(set(found.cookies)) == len(found.cookies)
    sent = b"\n".join(value for name, value in headers if name in (b"authorization", b"cookie"))
    for token in tokens:
        assert token
        assert token.encode() in sent


@given(st.lists(TOKEN, max_size=1), st.lists(st.tuples(st.text("ab1", max_size=3), TOKEN), max_size=4))
def test_every_token_that_came_is_told(bearers: list[str], cookies: list[tuple[str, str]]) -> None:
    """None may be overlooked: one may be good where another was planted, and they are compared."""
    parts = [f"__session_{suffix}={token}" if suffix else f"__session={token}" for suffix, token in cookies]

    found = found_in(*[bearer(token) for token in bearers], *([cookie("; ".join(parts))] if parts else []))

    if not bearers and not cookies:
        assert found is Refusal.NO_SESSION
    else:
        in_order = tuple(dict.fromkeys(token for _, token in cookies))
        assert found == Credentials(bearers[0] if bearers else None, in_order)


@given(TOKEN, TOKEN)
def test_two_headers_are_refused_also_when_they_say_the_same(one: str, other: str) -> None:
    assert found_in(bearer(one), bearer(other)) is Refusal.TOKENS_DISAGREE


@pytest.mark.parametrize(
    "headers",
    [
        [bearer("a")],
        [(b"authorization", b"BEARER a")],
        [(b"authorization", b"bearer   a  ")],
        [(b"authorization", b" Bearer a")],
        [bearer("a"), cookie("__sessionx=b; session=b; x__session=b; __SESSION=b; __clerk=b")],
        [bearer("a"), cookie("__session=; __session_x")],
    ],
)
def test_one_token_in_the_header(headers: Headers) -> None:
    assert found_in(*headers) == Credentials("a")


@pytest.mark.parametrize(
    "headers",
    [
        [cookie("__session=a")],
        [cookie("theme=dark;__session=a;more=1")],
        [cookie('__session="a"')],
        [cookie("__session = a")],
        [cookie("__session_Ab-1=a")],
        [cookie("__session=a; __session_x=a")],
        [cookie("theme=dark"), cookie("__session=a")],
    ],
)
def test_one_token_in_a_cookie(headers: Headers) -> None:
    # a name with a blank behind it is another cookie's for some programs, and this one's for others
    assert found_in(*headers) in (Credentials(None, ("a",)), Refusal.NO_SESSION)
    if headers != [cookie("__session = a")]:
        assert found_in(*headers) == Credentials(None, ("a",))


def test_the_header_goes_beside_the_cookies() -> None:
    assert found_in(cookie("__session=a; __session_x=b"), bearer("a")) == Credentials("a", ("a", "b"))


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ([], Refusal.NO_SESSION),
        ([cookie("")], Refusal.NO_SESSION),
        ([cookie("theme=dark")], Refusal.NO_SESSION),
        ([(b"authorization", b"Basic a")], Refusal.NO_SESSION),
        ([(b"authorization", b"Basic a"), cookie("__session=a")], Refusal.NO_SESSION),
        ([(b"authorization", b"Bearer")], Refusal.NO_SESSION),
        ([(b"authorization", b"Bearer a, Bearer b")], Refusal.NO_SESSION),
        ([(b"authorization", b"Bearera")], Refusal.NO_SESSION),
        ([(b"authorization", "Bearer ä".encode())], Refusal.INVALID_TOKEN),
        ([(b"authorization", b"Bearer " + b"a" * 16_384)], Refusal.INVALID_TOKEN),
        ([bearer("a"), cookie("theme=" + "x" * 16_384)], Refusal.INVALID_TOKEN),
    ],
)
def test_no_token(headers: Headers, why: Refusal) -> None:
    assert found_in(*headers) is why


@given(st.lists(st.tuples(NAMES, VALUES), max_size=4))
def test_a_refusal_repeats_nothing(headers: Headers) -> None:
    told = ""
    try:
        credentials_of(headers)
    except Refused as refused:
        told = f"{refused} {refused.detail}"

    words = [value.decode("latin-1") for _, value in headers]
    assert not [word for word in words if len(word) > 12 and word in told]
