"""Lets services in by their API keys."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from http import HTTPStatus
from weakref import WeakValueDictionary

from cachetools import TTLCache
from fastapi import Request

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.http.access import LimitOfAll, RateLimit, authorization_of
from provisioning_pipeline.http.problems import Problem
from provisioning_pipeline.ledger.api_keys import ApiKeys
from provisioning_pipeline.ledger.serving import LedgerAccess
from provisioning_pipeline.model.api_key import EVERY_TENANT, ApiKey, KeyRefusal, Reach, Scope, fits, key_id_of
from provisioning_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)
_KNOWN_SECONDS = 5.0
"""A key that was just revoked is still taken for so long."""
_WRONG_PER_MINUTE = 30
_ASK = {"WWW-Authenticate": "Bearer"}
_NO_KEY = "Give an API key: Authorization: Bearer ... `provisioning keys create` makes one."
_WRONG_KEY = "The API key is not valid: it is wrong, revoked or expired. `provisioning keys list` shows which."
_ALL_ONLY = (
    "This is about all tenants, and the API key is for some: ask with a key for all of them. `provisioning keys list` "
    "shows what each is for."
)


class KeyGuard:
    """Finds whose key a request carries, and what it may do. The ledger has the keys' hashes."""

    def __init__(self, settings: Settings, ledger: LedgerAccess) -> None:
        self._ledger = ledger
        # by the whole key: what is remembered is that exactly this one was right
        self._known: TTLCache[str, ApiKey] = TTLCache(1000, _KNOWN_SECONDS)
        self._per_key = LimitOfAll(
            ledger, settings.key_requests_per_minute, "requests with this API key", KeyRefusal.TOO_MANY_REQUESTS
        )
        self._doubtful: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._wrong = RateLimit(_WRONG_PER_MINUTE, "wrong API keys from this address", KeyRefusal.WRONG_KEY)

    def may(self, scope: Scope, *, with_all: bool = False) -> Callable[[Request], Awaitable[ApiKey]]:
        """What lets a request through by a key with this scope, and returns the key.

        Args:
            with_all: only a key for all tenants will do.

        Raises:
            Problem: from what is returned. 401 without a valid key, 403 when it may not, 429 beyond the limits.
            LedgerAway: from what is returned.
        """

        async def holder(request: Request) -> ApiKey:
            key = await self._caller(request)
            if scope not in key.scopes:
                raise Problem(
                    HTTPStatus.FORBIDDEN,
                    f"The API key lacks the scope {scope}. `provisioning keys list` shows what each key may do.",
                    why=KeyRefusal.SCOPE_MISSING,
                )
            if with_all and not key.reach.everywhere:
                raise Problem(HTTPStatus.FORBIDDEN, _ALL_ONLY, why=KeyRefusal.OUT_OF_REACH)
            return key

        return holder

    async def _caller(self, request: Request) -> ApiKey:
        scheme, _, key = authorization_of(request, _ASK).partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Problem(HTTPStatus.UNAUTHORIZED, _NO_KEY, _ASK)
        key = key.strip()
        known = self._known.get(key) or await self._verified(key, request)
        request.state.caller = f"key {known.id}"
        request.state.key_id = known.id
        await self._per_key.take(known.id)
        return known

    async def _verified(self, key: str, request: Request) -> ApiKey:
        key_id = key_id_of(key)
        address = request.client.host if request.client else ""
        if key_id is None:
            # no caller learns an id from this, and it costs the ledger nothing
            raise self._wrong_key(address)

        async def verify(database: Database) -> ApiKey | None:
            keys = ApiKeys(database)
            known, now = await keys.find(key_id)
            if not fits(key, known, now):
                return None
            assert known is not None
            await keys.note_use(known.id)
            return known

        # one at a time from where many wrong ones came: they shall not take the ledger from others
        doubtful = self._doubtful.setdefault(address, asyncio.Lock())
        async with nullcontext() if self._wrong.has_room(address) else doubtful:
            right = await self._ledger.ask(verify)
        if right is None:
            raise self._wrong_key(address)
        self._known[key] = right
        return right

    def _wrong_key(self, address: str) -> Problem:
        self._wrong.take(address)
        _LOG.warning("A wrong API key came from %s.", address or "an unknown address")
        return Problem(HTTPStatus.UNAUTHORIZED, _WRONG_KEY, _ASK, why=KeyRefusal.WRONG_KEY)


def either(
    guard: KeyGuard, reader: Callable[[Request], Awaitable[None]], *, with_all: bool = False
) -> Callable[[Request], Awaitable[Reach]]:
    """What lets through an API key that may read, or a reader of reports, and returns which tenants they may see.

    Args:
        with_all: only a key for all tenants will do.
    """
    holder = guard.may(Scope.READ, with_all=with_all)

    async def let_through(request: Request) -> Reach:
        if authorization_of(request, _ASK).lower().startswith("bearer "):
            return (await holder(request)).reach
        await reader(request)
        return EVERY_TENANT

    return let_through
