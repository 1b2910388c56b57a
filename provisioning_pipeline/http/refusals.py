"""Records what services are refused: counted in memory, written to the ledger behind the answer, and bounded."""

import asyncio
import logging
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from fastapi import Request

from provisioning_pipeline.http.middleware import request_id
from provisioning_pipeline.http.problems import Problem
from provisioning_pipeline.ledger.api_keys import add_refusals
from provisioning_pipeline.ledger.serving import LedgerAccess, LedgerAway
from provisioning_pipeline.model.api_key import RefusalKind, Refusals

_LOG = logging.getLogger(__name__)
_MOST_KINDS = 300
_MOST_KINDS_OF_ONE = 30
"""Kinds of refusals that are told apart within an hour, of all callers and of one; the others are counted together."""
_LONGEST_TEXT = 300
_WRITE_SECONDS = 3.0
_REST_SECONDS = 30.0
"""How long a ledger that did not take them is left alone."""


class RefusalLog:
    """Refusals of services with API keys, and of wrong keys."""

    def __init__(self, ledger: LedgerAccess) -> None:
        self._ledger = ledger
        self._hour: datetime | None = None
        self._kinds: set[RefusalKind] = set()
        self._of_one: Counter[str] = Counter()
        self._pending: dict[RefusalKind, Refusals] = {}
        self._writing: asyncio.Task[None] | None = None
        self._rest_until = 0.0

    def note(self, request: Request, problem: Problem) -> None:
        """Count one refusal; the answer does not wait until it is written."""
        assert problem.why is not None
        now = datetime.now(UTC)
        kind = self._bounded(
            RefusalKind(
                now.replace(minute=0, second=0, microsecond=0),
                problem.why,
                problem.status,
                getattr(request.state, "key_id", ""),
                request.client.host if request.client else "",
                f"{request.method} {getattr(request.scope.get('route'), 'path', '')}",
                _plain(request.path_params.get("slug", "")),
            )
        )
        self._add(Refusals(kind, 1, now, now, _plain(problem.detail), request_id() or ""))
        if self._writing is None and time.monotonic() >= self._rest_until:
            self._writing = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Write what is not written yet, if the ledger takes it."""
        if self._writing is not None:
            await self._writing
        await self._write()

    def _bounded(self, kind: RefusalKind) -> RefusalKind:
        """The kind as which a refusal is counted: no caller fills the ledger by asking much, or from many places."""
        if kind.hour != self._hour:
            self._hour = kind.hour
            self._kinds.clear()
            self._of_one.clear()
        who = kind.api_key_id or kind.address
        if kind not in self._kinds and self._of_one[who] >= _MOST_KINDS_OF_ONE:
            kind = replace(kind, route="", tenant="")
        if kind not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            kind = replace(kind, api_key_id="", address="", route="", tenant="")
        if kind not in self._kinds:
            self._kinds.add(kind)
            self._of_one[who] += 1
        return kind

    def _add(self, found: Refusals) -> None:
        known = self._pending.get(found.kind)
        if known is not None:
            found = replace(found, times=known.times + found.times, first_at=known.first_at)
        self._pending[found.kind] = found

    async def _write(self) -> None:
        try:
            while self._pending:
                batch, self._pending = self._pending, {}
                try:
                    await self._ledger.ask(partial(add_refusals, found=list(batch.values())), within=_WRITE_SECONDS)
                except LedgerAway:
                    self._rest_until = time.monotonic() + _REST_SECONDS
                    later, self._pending = self._pending, batch
                    for one in later.values():
                        self._add(one)
                    _LOG.warning("The ledger does not take what services were refused; the log has each of them.")
                    return
        finally:
            self._writing = None


def _plain(text: str) -> str:
    """What a terminal and PostgreSQL can take, and no more than is worth recording."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_LONGEST_TEXT])
