"""Clerk's public keys: cached, read anew when in doubt but seldom, and trusted for a while when Clerk is away.

`jwt.PyJWKClient` is synchronous and takes a key of any kind; Clerk's session keys are RSA.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from provisioning_pipeline.clients.http import http_client, in_words, redirect_of

_LOG = logging.getLogger(__name__)
FRESH_SECONDS = 300.0
"""As Clerk's own verifiers keep keys."""
DOUBT_SECONDS = 30.0
"""At most so often an unknown key id or a bad signature has the keys read anew."""
_RETRY_SECONDS = 2.0
_TIMEOUT_SECONDS = 5.0
_MOST_BYTES = 200_000
_LEAST_BITS = 2048
_MOST_BITS = 16384
"""With a larger one each signature would take seconds."""


class KeysAway(Exception):
    """No key is known that may still be trusted, and none can be read."""


class PublicKeys:
    """The RSA keys at one address, by key id.

    Args:
        url: of a JSON Web Key Set.
        headers: sent along, for an address that wants a secret key.
        stale_seconds: how long keys that cannot be read anew are trusted.
        clock: seconds that only ever grow.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        stale_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._headers = dict(headers or {})
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._keys: dict[str, RSAPublicKey] = {}
        self._read_at: float | None = None
        self._whole_at: float | None = None
        self._tried_at: float | None = None
        self._doubted_at: float | None = None
        self._reading: asyncio.Task[None] | None = None
        self.generation = 0
        """Grows whenever the keys change: what was verified with older ones is to be verified again."""

    @property
    def known(self) -> bool:
        """Whether there are keys that may be trusted now."""
        return self._read_at is not None and self._clock() - self._read_at <= FRESH_SECONDS + self._stale_seconds

    @property
    def fresh(self) -> bool:
        """Whether the keys were read lately, so that what they verified needs no other look."""
        return self._read_at is not None and self._clock() - self._read_at <= FRESH_SECONDS

    async def get(self, kid: str) -> RSAPublicKey | None:
        """The key with this id; None when there is none, also after looking again where that is due.

        Raises:
            KeysAway: when no keys are known, or those that are have not been read anew for too long.
        """
        await self.warm()
        found = self._keys.get(kid)
        if found is None and await self.doubted():
            found = self._keys.get(kid)
        return found

    async def doubted(self) -> bool:
        """Read the keys anew because one did not fit, unless that was done a moment ago; whether it was done."""
        if self._reading:
            await self._read()
            return True
        now = self._clock()
        if self._doubted_at is not None and now - self._doubted_at < DOUBT_SECONDS:
            return False
        self._doubted_at = now
        await self._read()
        return True

    async def warm(self) -> None:
        """Read the keys where that is due.

        Raises:
            KeysAway: as `get`.
        """
        now = self._clock()
        age = None if self._read_at is None else now - self._read_at
        if age is not None and age <= FRESH_SECONDS:
            return
        tried_lately = self._tried_at is not None and now - self._tried_at < _RETRY_SECONDS
        if age is not None and age <= FRESH_SECONDS + self._stale_seconds:
            if not tried_lately:
                # no request waits for it: the keys at hand are good for a while
                self._begin_reading()
            return
        if not tried_lately or self._reading:
            await self._read()
        if not self.known:
            raise KeysAway

    async def _read(self) -> None:
        await asyncio.shield(self._begin_reading())

    def _begin_reading(self) -> asyncio.Task[None]:
        """Read the keys; all who want that at once wait for the same answer."""
        if self._reading is None:
            self._tried_at = self._clock()
            self._reading = asyncio.create_task(self._fetch())
            self._reading.add_done_callback(self._ended)
        return self._reading

    def _ended(self, _: "asyncio.Task[None]") -> None:
        self._reading = None

    async def _fetch(self) -> None:
        try:
            # a client for each read: it happens every few minutes, and keeps no connection that could be dead by then
            async with (
                asyncio.timeout(_TIMEOUT_SECONDS),
                http_client(self._url, timeout_seconds=_TIMEOUT_SECONDS) as http,
                http.stream("GET", self._url, headers=self._headers) as response,
            ):
                location = redirect_of(response)
                if location is not None:
                    raise ValueError(f"a redirect (HTTP {response.status_code}) to {location}, which is not followed")
                keys, whole = _rsa_keys(response.status_code, await _some(response))
        except httpx2.HTTPError as error:
            _LOG.warning("Clerk's keys at %s cannot be read: %s", self._url, in_words(error, self._url))
            return
        except (TimeoutError, ValueError, RecursionError) as error:
            _LOG.warning(
                "Clerk's keys at %s cannot be read: %s",
                self._url,
                str(error) if isinstance(error, ValueError) else type(error).__name__,
            )
            return
        now = self._clock()
        if whole:
            self._whole_at = now
        elif self._whole_at is not None and now - self._whole_at <= FRESH_SECONDS + self._stale_seconds:
            # a key that is missing from it may be the one that was garbled
            keys = {**self._keys, **keys}
            _LOG.warning("Some of Clerk's keys at %s cannot be understood: those known before stay", self._url)
        if {kid: key.public_numbers() for kid, key in keys.items()} != {
            kid: key.public_numbers() for kid, key in self._keys.items()
        }:
            self.generation += 1
            self._keys = keys
        self._read_at = now


async def _some(response: httpx2.Response) -> bytes:
    """The body, up to a little more than it may have."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _MOST_BYTES:
            break
    return bytes(body)


def _rsa_keys(status: int, body: bytes) -> tuple[dict[str, RSAPublicKey], bool]:
    """The usable keys of an answer, by id, and whether all else in it are keys of another kind or use.

    Raises:
        ValueError: when it holds none.
    """
    if status != httpx2.codes.OK or len(body) > _MOST_BYTES:
        raise ValueError(f"HTTP {status}, {len(body)} bytes")
    document = json.loads(body)
    entries = document.get("keys") if isinstance(document, dict) else None
    found: dict[str, RSAPublicKey] = {}
    whole = True
    for entry in entries if isinstance(entries, list) else []:
        if _is_of_another_kind(entry):
            continue
        key = _rsa_key(entry)
        if key is None:
            whole = False
        else:
            found[entry["kid"]] = key
    if not found:
        raise ValueError("no RSA key for signatures is among the answer")
    return found, whole


def _is_of_another_kind(entry: Any) -> bool:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), str) for name in ("kid", "kty")):
        return False
    return bool(entry["kty"] != "RSA" or entry.get("use", "sig") != "sig" or entry.get("alg", "RS256") != "RS256")


def _rsa_key(entry: Any) -> RSAPublicKey | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str) or not entry["kid"]:
        return None
    try:
        key = jwt.PyJWK(entry, algorithm="RS256").key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError):
        return None
    return key if isinstance(key, RSAPublicKey) and _LEAST_BITS <= key.key_size <= _MOST_BITS else None
