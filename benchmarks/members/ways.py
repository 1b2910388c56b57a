"""Two ways to bring everybody at Clerk into ready workspaces, each timed on a fresh sandbox in the same state."""

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import psycopg

from benchmarks.members import bare
from benchmarks.members.bare import Place
from benchmarks.stand_in import StandIn, Wanted, stand_in
from provisioning_pipeline.run.run import apply, dry_run
from provisioning_pipeline.sandbox.fleet import ADMIN, MEMBER
from provisioning_pipeline.sandbox.people import staff
from provisioning_pipeline.settings import Settings

BCRYPT_ROUNDS = 10
"""What the real server uses."""


class Way(StrEnum):
    """How the members come in."""

    BARE = "bare API calls"
    PIPELINE = "pipeline"


@dataclass(frozen=True)
class Measured:
    """One measurement.

    Args:
        seconds: wall-clock time.
        members: how many came in meanwhile.
        calls: what the stand-ins counted.
    """

    seconds: float
    members: int
    calls: Counter[str]

    @property
    def members_per_second(self) -> float:
        """How quick it was."""
        return self.members / self.seconds


def measure(way: Way, *, tenants: int, members: int) -> Measured:
    """Time one way of adding all members but the admins, whose workspaces are ready.

    The run that makes them ready also warms the stand-ins and this process.
    """
    wanted = Wanted(tenants=tenants, members=1, bcrypt_rounds=BCRYPT_ROUNDS)
    with stand_in(wanted) as sandbox, sandbox.settings() as settings:
        asyncio.run(apply(settings))
        places = _places(settings)
        _join_at_clerk(sandbox, settings, members)
        sandbox.reset_counters()
        gc.collect()
        begun = time.perf_counter()
        if way is Way.BARE:
            asyncio.run(bare.backfill(settings, places))
        else:
            asyncio.run(apply(settings))
        seconds = time.perf_counter() - begun
        calls = sandbox.calls()
        if way is Way.PIPELINE:
            _check(sandbox, settings, tenants=tenants, members=members)
        return Measured(seconds, tenants * (members - 1), calls)


def measure_everything_new(*, tenants: int, members: int, activation_seconds: float) -> Measured:
    """Time a run of the pipeline that makes all workspaces and brings all members in, in a process that is warm."""
    wanted = Wanted(
        tenants=tenants, members=members, bcrypt_rounds=BCRYPT_ROUNDS, activation_seconds=activation_seconds
    )
    with stand_in(wanted) as sandbox, sandbox.settings() as settings:
        gc.collect()
        begun = time.perf_counter()
        asyncio.run(apply(settings))
        seconds = time.perf_counter() - begun
        calls = sandbox.calls()
        _check(sandbox, settings, tenants=tenants, members=members)
        return Measured(seconds, tenants * members, calls)


def _places(settings: Settings) -> list[Place]:
    with psycopg.connect(settings.registry_url.get_secret_value()) as registry:
        rows = registry.execute(
            "SELECT r.clerk_org_id, l.workspace_id::text, l.workspace_url, l.admin_email "
            "FROM provisioning.tenant_link l JOIN tenant_registry r USING (database_name) WHERE l.ready"
        ).fetchall()
    return [Place(*row) for row in rows]


def _join_at_clerk(sandbox: StandIn, settings: Settings, members: int) -> None:
    with psycopg.connect(settings.registry_url.get_secret_value()) as registry:
        tenants: Sequence[tuple[str, str]] = registry.execute(
            "SELECT slug, clerk_org_id FROM tenant_registry ORDER BY slug"
        ).fetchall()
    with sandbox.clerk() as clerk:
        for slug, organization in tenants:
            for number, person in enumerate(staff(f"{slug}.example", members)[1:]):
                clerk.join(organization, clerk.person(person), MEMBER if number else ADMIN)


def _check(sandbox: StandIn, settings: Settings, *, tenants: int, members: int) -> None:
    """Everybody is a linked member, no e-mail went out, and there is nothing left to do."""
    with psycopg.connect(settings.registry_url.get_secret_value()) as registry:
        row = registry.execute("SELECT count(*) FROM provisioning.member_link").fetchone()
        ready = registry.execute("SELECT count(*) FROM provisioning.tenant_link WHERE ready").fetchone()
    assert row is not None
    assert ready is not None
    left = asyncio.run(dry_run(settings)).work
    found = (row[0], ready[0], sandbox.mails(), len(left))
    if found != (tenants * members, tenants, 0, 0):
        raise RuntimeError(f"not everybody came in: members, tenants ready, e-mails, tenants to do: {found}")
