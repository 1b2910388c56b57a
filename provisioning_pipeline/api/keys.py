"""Lets services in by their API keys."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from http import HTTPStatus
from weakref import WeakValueDictionary

from cachetools import TTLCache
from fastapi import Request

from provisioning_pipeline.api.authorization import authorization_of
from provisioning_pipeline.api.limits import RateLimit
from provisioning_pipeline.api.problems import Problem, away
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.api_keys import ApiKeys
from provisioning_pipeline.ledger.serving import LedgerAccess, LedgerAway
from provisioning_pipeline.model.api_key import fits, key_id_of
from provisioning_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)
_KNOWN_SECONDS = 5.0
"""A key that was just revoked is still taken for so long."""
_WRONG_PER_MINUTE = 30
_ASK = {"WWW-Authenticate": "Bearer"}
_NO_KEY = "Give an API key: Authorization: Bearer ... `provisioning keys create` makes one."
_WRONG_KEY = "The API key is not valid: it is wrong, revoked or expired. `provisioning keys list` tells."

KeyId = str


class KeyGuard:
    """Tells whose key a request carries.

    Args:
        ledger: where the keys' hashes are.
    """

    def __init__(self, settings: Settings, ledger: LedgerAccess) -> None:
        self._ledger = ledger
        # by the whole key: what is remembered is that exactly this one was right
        self._known: TTLCache[str, KeyId] = TTLCache(1000, _KNOWN_SECONDS)
        self._per_key = RateLimit(settings.key_requests_per_minute, "requests with this API key")
        self._doubtful: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._wrong = RateLimit(_WRONG_PER_MINUTE, "wrong API keys from this address")

    async def caller(self, request: Request) -> KeyId:
        """The id of the key of this request.

        Raises:
            Problem: 401 without a valid key, 429 beyond the limits, 503 when the ledger cannot tell.
        """
        scheme, _, key = authorization_of(request, _ASK).partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Problem(HTTPStatus.UNAUTHORIZED, _NO_KEY, _ASK)
        key = key.strip()
        key_id = self._known.get(key) or await self._verified(key, request)
        request.state.caller = f"key {key_id}"
        self._per_key.take(key_id)
        return key_id

    async def _verified(self, key: str, request: Request) -> KeyId:
        key_id = key_id_of(key)
        address = request.client.host if request.client else ""
        if key_id is None:
            # nobody learns an id from this, and it costs the ledger nothing
            raise self._wrong_key(address)

        async def look(database: Database) -> bool:
            keys = ApiKeys(database)
            known, now = await keys.find(key_id)
            if not fits(key, known, now):
                return False
            assert known is not None
            await keys.note_use(known.id)
            return True

        try:
            # one at a time from where many wrong ones came: they shall not take the ledger from others
            doubtful = self._doubtful.setdefault(address, asyncio.Lock())
            async with nullcontext() if self._wrong.has_room(address) else doubtful:
                right = await self._ledger.ask(look)
        except LedgerAway:
            raise away() from None
        if not right:
            raise self._wrong_key(address)
        self._known[key] = key_id
        return key_id

    def _wrong_key(self, address: str) -> Problem:
        self._wrong.take(address)
        _LOG.warning("A wrong API key came from %s.", address or "an unknown address")
        return Problem(HTTPStatus.UNAUTHORIZED, _WRONG_KEY, _ASK)


def either(guard: KeyGuard, reader: Callable[[Request], Awaitable[None]]) -> Callable[[Request], Awaitable[None]]:
    """What lets through who has an API key, and who may read reports."""

    async def let_through(request: Request) -> None:
        if authorization_of(request, _ASK).lower().startswith("bearer "):
            await guard.caller(request)
        else:
            await reader(request)

    return let_through
