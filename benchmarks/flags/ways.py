"""An observation, a look into all databases, and the bare loop beside it."""

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from unittest import mock

import psycopg

from benchmarks.flags.fleet import LEDGER, PATTERN, Fleet
from provisioning_pipeline.clients import tenant_catalogue, tenant_reader
from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.clients.postgres import Connection, Database
from provisioning_pipeline.clients.tenant_catalogue import copied
from provisioning_pipeline.clients.tenant_database import evidence
from provisioning_pipeline.ledger.inspections import Inspections
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.tenant_database import Inspection, LastInspection
from provisioning_pipeline.observe.snapshots import database_names, inspect_databases
from provisioning_pipeline.steps.databases.plan.tenant_databases import due, evidence_under

POLICY = "rows=report"
FULL_LOOK_SECONDS = 86_400.0


class Way(StrEnum):
    """Who looks."""

    BARE = "bare loop"
    LOOK = "full look"


@dataclass(frozen=True)
class Observed:
    """One observation: how many queries the server got, how long it took, how many databases were looked into."""

    databases: int
    queries: int
    seconds: float
    looked_into: int


@dataclass(frozen=True)
class Rounds:
    """Seconds of both ways, round after round; the n-th entries were measured one after another."""

    messages_per_look: int
    seconds: dict[Way, list[float]] = field(default_factory=lambda: {way: [] for way in Way})


def observe(fleet: Fleet, at_once: int, only: Sequence[str] | None = None) -> Observed:
    """Observe all tenant databases, or these, as a run does, and store the looks as settled."""
    with fleet.counted() as queries:
        begun = time.perf_counter()
        databases, looked_into = asyncio.run(_observe(fleet, at_once, only))
        return Observed(databases, queries(), time.perf_counter() - begun, looked_into)


async def _observe(fleet: Fleet, at_once: int, only: Sequence[str] | None) -> tuple[int, int]:
    async with (
        Database(
            fleet.url, system="The tenant cluster", unreachable=Reason.DATABASE_UNREACHABLE, read_only=True
        ) as cluster,
        Database(
            fleet.ledger_url, system="The ledger", unreachable=Reason.REGISTRY_UNREACHABLE, read_only=False
        ) as ledger,
    ):
        inspections = Inspections(ledger)
        names = await database_names(cluster, PATTERN, [LEDGER], only)
        written, last = await evidence(cluster, only), await inspections.last()
        now = datetime.now(UTC)
        wanted = due(names, written, last, POLICY, now, FULL_LOOK_SECONDS)
        found = await inspect_databases(lambda _: fleet.url, written, wanted, now, at_once)
        _must_be_whole(found)
        await inspections.store(
            {
                look.database_name: LastInspection(evidence_under(POLICY, look.evidence), look.looked_at, settled=True)
                for look in found
            }
        )
    return len(names), len(found)


def full_looks(fleet: Fleet, at_once: int, repeat: int, progress: Callable[[str], None]) -> Rounds:
    """Time both ways in turns; `progress` is told of each."""
    messages = asyncio.run(_messages_of_a_look(fleet))
    rounds = Rounds(len(messages))
    for number in range(repeat + 1):
        # in turns, so that a busy machine hits both
        for way in Way if number % 2 else reversed(Way):
            gc.collect()
            begun = time.perf_counter()
            if way is Way.BARE:
                asyncio.run(_bare(fleet, at_once, messages))
            else:
                _must_be_whole(
                    asyncio.run(inspect_databases(lambda _: fleet.url, {}, fleet.names, datetime.now(UTC), at_once))
                )
            seconds = time.perf_counter() - begun
            progress(f"{f'round {number} of {repeat}' if number else 'warming up'}, {way}: {seconds:.2f} s")
            if number:
                rounds.seconds[way].append(seconds)
    return rounds


async def _messages_of_a_look(fleet: Fleet) -> list[bytes]:
    """What a look sends. All databases are copies of one another, so it is the same for each."""
    sent: list[bytes] = []

    def noting(connection: Connection, statements: bytes, *others: Any) -> Any:
        sent.append(statements)
        return copied(connection, statements, *others)

    with (
        mock.patch.object(tenant_catalogue, "copied", noting),
        mock.patch.object(tenant_reader, "copied", noting),
    ):
        _must_be_whole(await inspect_databases(lambda _: fleet.url, {}, fleet.names[:1], datetime.now(UTC), 1))
    return sent


async def _bare(fleet: Fleet, at_once: int, messages: Sequence[bytes]) -> None:
    waiting = iter(fleet.names)

    async def one_after_another() -> None:
        for name in waiting:
            connection = await psycopg.AsyncConnection.connect(fleet.url, dbname=name, autocommit=True)
            for message in messages:
                # psycopg's own way takes one COPY a message, and none beside it
                async for _ in copied(connection, message):
                    pass
            await connection.close()

    await all_of(one_after_another() for _ in range(at_once))


def _must_be_whole(found: Sequence[Inspection]) -> None:
    """Nothing was missed, or the time would mean nothing."""
    for look in found:
        if look.reason or len(look.workspaces) != 1 or not look.workspaces[0].members or not look.flags:
            raise RuntimeError(f"{look.database_name} was not read in full: {look.message}")
