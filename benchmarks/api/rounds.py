"""One measurement of one server: start it, see that it answers rightly, warm it, measure it."""

from collections.abc import Sequence
from dataclasses import replace

import httpx2

from benchmarks.api.fleet import Fleet
from benchmarks.api.load import WARM_SECONDS, Load, Measured, Tokens, send
from benchmarks.api.servers import Side, serving

PATH = "/v1/auth/verify"


def measure(side: Side, fleet: Fleet, known: Sequence[str], new: Sequence[str], kind: Tokens, load: Load) -> Measured:
    """Start a server and measure it.

    Args:
        known: a token of each member, in their order.
        new: tokens that are sent once; for `Tokens.NEW`.

    Raises:
        RuntimeError: when it answers anything but what it should.
    """
    fleet.reset_counters()
    with serving(side, fleet) as server:
        url = f"{server.address}{PATH}"
        _check(url, fleet, known)
        send(Load(load.generator, load.connections, WARM_SECONDS), url, known, Tokens.KNOWN)
        before = server.processor()
        sent = send(load, url, known if kind is Tokens.KNOWN else new, kind)
        processor = server.processor() - before
    return replace(sent, processor=processor, clerk_calls=fleet.clerk_calls(), connections=fleet.connections())


def _check(url: str, fleet: Fleet, tokens: Sequence[str]) -> None:
    with httpx2.Client(timeout=30) as http:
        for member, token in zip(fleet.members, tokens, strict=True):
            response = http.get(url, headers={"authorization": f"Bearer {token}"})
            found = {name: response.headers.get(name) for name in member.headers}
            if response.status_code != httpx2.codes.OK or found != member.headers:
                raise RuntimeError(f"wrong answer, {response.status_code}: {found} instead of {member.headers}")
        if http.get(url, headers={"authorization": f"Bearer {tokens[0][:-8]}AAAAAAAA"}).status_code == httpx2.codes.OK:
            raise RuntimeError("a token with a wrong signature was let through")
