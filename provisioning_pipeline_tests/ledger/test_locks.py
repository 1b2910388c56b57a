"""One writer at a time, whatever becomes of the connections that hold the locks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import Context
from itertools import groupby
from typing import Any

import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg import sql

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.transport import CallCounter, Effect, Transport
from provisioning_pipeline.ledger import schema
from provisioning_pipeline.ledger.locks import certification_lock, request_lock, server_lock, tenant_lock
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.ledger.conftest import opened
from provisioning_pipeline_tests.pooler import pooled

pytestmark = pytest.mark.anyio
NAME = "locks_of_tenants"
ROLE = "hurried"
PASSWORD = "hurried"


@pytest.fixture(scope="module")
def url(sandbox_postgres: SandboxPostgres) -> Iterator[str]:
    """The URL of a migrated ledger with a table in which tests write down what was done."""
    found = sandbox_postgres.create_database(NAME)
    schema.migrate(found)
    sandbox_postgres.execute(NAME, "CREATE TABLE public.log (hold int)")
    yield found
    sandbox_postgres.drop_database(NAME)


def holders(postgres: SandboxPostgres) -> list[int]:
    rows = postgres.execute(
        NAME,
        "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
        "WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()",
    )
    return [row[0] for row in rows]


def end_holders(postgres: SandboxPostgres) -> None:
    """End the sessions of all locks, and wait until they are gone."""
    for pid in holders(postgres):
        postgres.execute(NAME, "SELECT pg_terminate_backend(%s)", [pid])
    while holders(postgres):
        pass


async def write(database: Database) -> None:
    await database.execute("INSERT INTO public.log VALUES (0)")


@asynccontextmanager
async def another_run(url: str) -> AsyncIterator[None]:
    async with opened(url) as database, tenant_lock(database, "acme", wait_seconds=0):
        yield


async def write_under(lock: Any, database: Database) -> None:
    async with lock:
        await write(database)


async def write_as_another_run(url: str) -> None:
    async with opened(url) as database:
        await write_under(tenant_lock(database, "acme", wait_seconds=0), database)


async def must_be_busy(work: Any) -> None:
    with pytest.raises(Fault, match="another run may have begun") as raised:
        await work
    assert (raised.value.kind, raised.value.reason) == (FaultKind.BUSY, Reason.TENANT_BUSY)


# --- locks that are lost ------------------------------------------------------------------------------------------

LOCKS: dict[str, Callable[[Database], Any]] = {
    "tenant": lambda database: tenant_lock(database, "acme", wait_seconds=1),
    "server": lambda database: server_lock(database, "eu", wait_seconds=1),
    "request": lambda database: request_lock(database, "r1", wait_seconds=1),
    "certification": lambda database: certification_lock(database, "eu"),
}


@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
async def test_a_lock_that_was_lost_to_somebody_else_ends_the_work(
    sandbox_postgres: SandboxPostgres, url: str, lock: Callable[[Database], Any]
) -> None:
    async with opened(url) as database, opened(url) as other, lock(database):
        end_holders(sandbox_postgres)
        await asyncio.create_task(write_under(lock(other), other), context=Context())
        assert await database.fetch("SELECT 1 AS one") == [{"one": 1}]
        for _ in range(2):
            await must_be_busy(write(database))


async def test_no_call_that_changes_something_goes_out_after_a_lock_was_lost(
    sandbox_postgres: SandboxPostgres, url: str
) -> None:
    counter = CallCounter()
    transport = Transport(
        "http://twenty.test",
        system="Twenty",
        unreachable=Reason.SERVER_UNREACHABLE,
        timeout_seconds=5,
        dry_run=False,
        counter=counter,
    )
    transport._client = httpx2.AsyncClient(transport=httpx2.MockTransport(lambda _: httpx2.Response(200)))
    async with transport, opened(url) as database, tenant_lock(database, "acme", wait_seconds=1):
        end_holders(sandbox_postgres)
        await asyncio.create_task(write_as_another_run(url), context=Context())
        for effect in (Effect.WRITE, Effect.CREATE):
            await must_be_busy(transport.send("POST", "/", name="change", effect=effect))
        # in a task that was begun under the lock, too
        await must_be_busy(asyncio.create_task(transport.send("POST", "/", name="change", effect=Effect.WRITE)))
        await transport.send("GET", "/", name="read", effect=Effect.READ)
    assert dict(counter.by_name) == {"read": 1}


async def test_a_lost_lock_is_had_back_where_nobody_wrote_meanwhile(
    sandbox_postgres: SandboxPostgres, url: str
) -> None:
    async with opened(url) as database, tenant_lock(database, "acme", wait_seconds=1):
        for _ in range(3):
            end_holders(sandbox_postgres)
            async with another_run(url):
                pass
            await write(database)
            assert len(holders(sandbox_postgres)) == 1
        with pytest.raises(Fault, match="Another run has been working"):
            async with another_run(url):
                pass


@pytest.mark.parametrize("wrote", [True, False])
@pytest.mark.parametrize("gone", [True, False])
async def test_a_lost_lock_stays_lost_where_somebody_else_has_it_or_wrote_under_it(
    sandbox_postgres: SandboxPostgres, url: str, *, gone: bool, wrote: bool
) -> None:
    async with opened(url) as database, tenant_lock(database, "acme", wait_seconds=1):
        if wrote:
            await write(database)
        end_holders(sandbox_postgres)
        async with AsyncExitStack() as other:
            if gone:
                await asyncio.create_task(write_as_another_run(url), context=Context())
            else:
                await other.enter_async_context(another_run(url))
            await must_be_busy(write(database))


class Run:
    """One run, which takes the lock, writes and lets go as it is asked to, in a task of its own as a process has it."""

    def __init__(self, url: str, number: int) -> None:
        self.database, self.number, self.holds, self.holding = opened(url), number, 0, False
        self.held = AsyncExitStack()

    async def take(self) -> None:
        await self.release()
        self.holds += 1
        await self.held.enter_async_context(tenant_lock(self.database, "acme", wait_seconds=0))
        self.holding = True

    async def write(self) -> None:
        if self.holding:
            await self.database.execute("INSERT INTO public.log VALUES (%s)", [100 * self.number + self.holds])

    async def release(self) -> None:
        self.holding = False
        await self.held.aclose()

    async def live(self, asked: "asyncio.Queue[str]", faults: list[Fault]) -> None:
        async with self.database:
            while (act := await asked.get()) != "leave":
                try:
                    await getattr(self, act)()
                except Fault as fault:
                    faults.append(fault)
                    await self.release()
                asked.task_done()
            await self.release()


ACTS = st.tuples(st.sampled_from([0, 1]), st.sampled_from(["write", "write", "take", "take over", "end", "release"]))


@pytest.mark.slow
@example([(0, "write"), (1, "take over"), (1, "write"), (0, "write")])
@example([(0, "write"), (1, "take over"), (1, "write"), (1, "release"), (0, "write")])
@given(st.lists(ACTS, min_size=8, max_size=24))
def test_what_one_run_writes_under_a_lock_stands_together(
    sandbox_postgres: SandboxPostgres, url: str, acts: list[tuple[int, str]]
) -> None:
    """`end` takes the sessions of all locks that there are; who takes over, takes the lock after that."""
    sandbox_postgres.execute(NAME, "TRUNCATE public.log")
    faults: list[Fault] = []

    async def live() -> None:
        asked: list[asyncio.Queue[str]] = [asyncio.Queue(), asyncio.Queue()]
        runs = [asyncio.create_task(Run(url, n).live(asked[n], faults), context=Context()) for n in (0, 1)]
        for number, act in [(0, "take"), *acts]:
            if act in ("end", "take over"):
                end_holders(sandbox_postgres)
            if act != "end":
                asked[number].put_nowait(act.removesuffix(" over"))
                await asked[number].join()
        for queue in asked:
            queue.put_nowait("leave")
        await asyncio.gather(*runs)

    asyncio.run(live())
    written = [row[0] for row in sandbox_postgres.execute(NAME, "SELECT hold FROM public.log ORDER BY ctid")]
    holds = [hold for hold, _ in groupby(written)]
    assert len(holds) == len(set(holds)), written
    assert {fault.kind for fault in faults} <= {FaultKind.BUSY}


# --- what is set for our role says nothing about who holds a lock -------------------------------------------------

TIMEOUTS = ["statement_timeout", "lock_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout"]


@pytest.fixture(params=TIMEOUTS)
def hurried(sandbox_postgres: SandboxPostgres, url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The same ledger for somebody with a timeout of 20 ms."""
    role = sql.Identifier(ROLE)
    create = sql.SQL("CREATE ROLE {} LOGIN SUPERUSER PASSWORD {}").format(role, sql.Literal(PASSWORD))
    sandbox_postgres.execute("postgres", create)
    sandbox_postgres.execute("postgres", f"ALTER ROLE {ROLE} SET {request.param} = '20ms'")
    yield f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{sandbox_postgres.port}/{NAME}"
    sandbox_postgres.execute("postgres", sql.SQL("DROP ROLE {}").format(role))


async def test_who_waits_for_a_lock_with_a_timeout_of_its_role_is_told_who_is_busy(url: str, hurried: str) -> None:
    async with opened(url) as database, opened(hurried) as waiting, tenant_lock(database, "acme", wait_seconds=1):
        with pytest.raises(Fault, match=r"Another run has been working on this tenant for over 0\.1 s") as raised:
            async with tenant_lock(waiting, "acme", wait_seconds=0.1):
                pass
    assert (raised.value.kind, raised.value.reason) == (FaultKind.BUSY, Reason.TENANT_BUSY)


async def test_who_holds_a_lock_with_a_timeout_of_its_role_holds_it(hurried: str, url: str) -> None:
    async with opened(hurried) as database, opened(url) as other, tenant_lock(database, "acme", wait_seconds=1):
        await write(database)
        # longer than the timeout
        with pytest.raises(Fault, match="Another run"):
            async with tenant_lock(other, "acme", wait_seconds=0.05):
                pass
        await write(database)


async def test_a_lock_holds_through_a_pooler_and_leaves_nothing_behind(
    sandbox_postgres: SandboxPostgres, url: str
) -> None:
    with pooled(url, sessions=3) as pooler:
        async with opened(pooler.url) as database, opened(pooler.url) as other:
            async with tenant_lock(database, "acme", wait_seconds=1):
                await write(database)
                with pytest.raises(Fault, match="Another run"):
                    async with tenant_lock(other, "acme", wait_seconds=0.01):
                        pass
            async with tenant_lock(other, "acme", wait_seconds=0):
                pass
        assert holders(sandbox_postgres) == []
