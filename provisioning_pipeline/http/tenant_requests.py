"""A tenant manager asks for a tenant: we register it, have a run look at it, and answer how far it is; or for all."""

import asyncio
import base64
import binascii
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from provisioning_pipeline.clients.dagster import DagsterAway, DagsterClient, Place
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.decide.registry_loss import loss_budget, weigh_loss
from provisioning_pipeline.ledger.fleet import page, shared_names
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.members import Proofs
from provisioning_pipeline.ledger.pending import CodeLocations
from provisioning_pipeline.ledger.registration import Databases, must_show_all, register, unseen
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.ledger.registry_reading import known_rows
from provisioning_pipeline.ledger.serving import LedgerAccess, LedgerAway
from provisioning_pipeline.ledger.tenant_requests import (
    LAUNCH_SECONDS,
    TENANT_MANAGER,
    Request,
    TenantRequests,
    launching,
)
from provisioning_pipeline.ledger.timeline import Timelines
from provisioning_pipeline.model.api_key import EVERY_TENANT, KeyRefusal, Reach
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.lifecycle import Lifecycle
from provisioning_pipeline.model.tenant_request import Caller, Conflict, Registration
from provisioning_pipeline.observe.snapshots import database_names
from provisioning_pipeline.report.summary import TenantLine, tenant_lines
from provisioning_pipeline.run.conclude import tenants
from provisioning_pipeline.run.connections import cluster_database
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.views.tenant_timeline import SeveralTenants, one_of

_LOG = logging.getLogger(__name__)
JOB = "reconcile_tenants"
_FIRST_PAUSE_SECONDS = 0.3
_LONGEST_PAUSE_SECONDS = 1.5
_GROWTH = 1.2
_MOST_WAITING = 50
_MOST_REGISTERING = 4
"""Half of the connections: requests that wait for a locked registry leave the others to the rest."""
_CLUSTER_SECONDS = 5.0
_LED_ASTRAY = re.compile(r"[\x00-\x1f\x7f/\\%]|^\.{0,2}$")
"""Such parts of a path are decoded, merged or cut by proxies and browsers."""
_LONGEST_ADDRESS = 255


@dataclass(frozen=True, slots=True)
class TenantState:
    """A tenant as it stands, for its caller.

    Args:
        onboarding_status: what the last real login of its admin read; None before there was one.
        waiting: a run is still to look at it, or is at it for the last request.
        address: the name under which it is asked for over HTTP: its slug, or its database name where the slug may
            lead elsewhere.
        run_id: the Dagster run that was launched for the request, or found at work, or the last such one; None: none,
            or it is not known.
    """

    line: TenantLine
    clerk_org_id: str | None
    onboarding_status: str | None
    waiting: bool
    address: str
    run_id: str | None = None

    @property
    def ready(self) -> bool:
        """Everything about it holds, a real login proved it, and no run is to come."""
        return self.line.state == "ready" and not self.waiting


class UnknownTenant(Exception):
    """The ledger knows no tenant of this name."""


class OutOfReach(UnknownTenant):
    """There is such a tenant, but the caller's key is not for it: answered as if there were none."""


class Requests:
    """Takes requests for tenants. Every method raises LedgerAway when the ledger cannot be asked.

    Args:
        dagster: launches runs; None: nothing does, and the sensor sees the pending reviews.
        stopping: whether the server is about to end, so that no request should wait any longer.
    """

    def __init__(
        self, settings: Settings, ledger: LedgerAccess, dagster: DagsterClient | None, stopping: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self.ledger = ledger
        self._dagster = dagster
        self._stopping = stopping
        self._waiting = 0
        self._registering = asyncio.Semaphore(_MOST_REGISTERING)
        self._launching: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def put(self, asked: Registration, caller: Caller, *, wait: float) -> TenantState:
        """Register or update a tenant and have it looked at, unless it is ready and nothing has changed.

        Args:
            wait: seconds to wait for it to become ready.

        Raises:
            Conflict: when it contradicts another tenant, or an earlier request under the same key.
            Fault: when the tenant cluster has to be asked, and cannot be.
        """
        settings = self._settings
        databases = await _databases_of(self.ledger, settings, asked, caller)

        async def store(database: Database) -> tuple[Request | None, bool]:
            requests = TenantRequests(database)
            async with self._registering, requests.alone(caller):
                earlier = await requests.earlier(caller)
                if earlier:
                    return earlier, False
                # a new registry each time: it remembers columns, and the tenant manager may change its table meanwhile
                registry = Registry(database, settings.registry_table)
                await _must_not_be_in_doubt(registry, settings, asked)
                changed, is_aside = await register(
                    registry,
                    asked,
                    caller,
                    status=settings.new_statuses[0],
                    else_statuses=settings.new_statuses[1:],
                    aside=settings.excluded_statuses,
                    databases=databases,
                )
                state = await _state(database, settings, asked.database_name)
                as_it_should_be = "aside" if is_aside else "ready"
                wanted = changed or state is None or state.line.state != as_it_should_be
                if not wanted and caller.idempotency_key is None:
                    return None, False
                request = await requests.add(
                    asked.database_name, asked.slug, caller, admin_email=asked.admin_email, mark=wanted
                )
                return request, wanted

        request, wanted = await self.ledger.ask(store)
        return await self._answer(asked.database_name, request, wait, reach=caller.reach, launch=wanted)

    async def reconcile(self, name: str, caller: Caller, *, wait: float) -> TenantState:
        """Have a tenant looked at, ready or not.

        Raises:
            UnknownTenant: when no tenant has this slug or database name.
            SeveralTenants: when several have the slug.
            Conflict: when something else was asked for under the same key.
        """

        async def store(database: Database) -> tuple[Request, bool]:
            requests = TenantRequests(database)
            async with requests.alone(caller):
                earlier = await requests.earlier(caller)
                if earlier:
                    return earlier, False
                database_name, slug = await place_of(database, self._settings, name, caller.reach)
                return await requests.add(database_name, slug, caller, admin_email=None, mark=True), True

        request, wanted = await self.ledger.ask(store)
        return await self._answer(request.database_name, request, wait, reach=caller.reach, launch=wanted)

    async def state(self, name: str, reach: Reach) -> TenantState:
        """A tenant in reach, by slug or database name, with the last run that was launched for it by request.

        Raises:
            UnknownTenant: when there is none.
            SeveralTenants: when several have the slug.
        """
        state, _ = await self._read(name, None, reach, launched=False)
        return state

    async def _answer(
        self, name: str, request: Request | None, wait: float, *, reach: Reach, launch: bool
    ) -> TenantState:
        """How far it is, after at most so many seconds; sooner when it is ready, or its run has ended without that."""
        launched = False
        if request and launch:
            run_id, launched = await self._launch(request)
            request = replace(request, run_id=run_id)
        clock = asyncio.get_running_loop().time
        state, ended = await self._read(name, request, reach, launched=launched)
        # callers who wait have us ask the ledger again and again; beyond some we answer at once
        if state.ready or ended or not wait or self._waiting >= _MOST_WAITING:
            return state
        self._waiting += 1
        try:
            pause, deadline = _FIRST_PAUSE_SECONDS, clock() + wait
            while not (state.ready or ended or clock() >= deadline or self._stopping()):
                await asyncio.sleep(min(pause, max(0.0, deadline - clock())))
                pause = min(pause * _GROWTH, _LONGEST_PAUSE_SECONDS)
                with suppress(LedgerAway):
                    # the request is stored: a ledger that is away for a moment only makes the answer older
                    state, ended = await self._read(name, request, reach, launched=launched)
        finally:
            self._waiting -= 1
        return state

    async def _read(
        self, name: str, request: Request | None, reach: Reach, *, launched: bool
    ) -> tuple[TenantState, bool]:
        """The tenant now, and whether there is nothing to wait for.

        `launched`: the run was launched for this very request, so that its end is the answer.
        """
        run_id = request.run_id if request else None

        async def read(database: Database) -> tuple[TenantState, bool]:
            requests = TenantRequests(database)
            # before the tenant is read: what a run that has ended left is there by then
            ended = launched and await requests.has_ended(run_id)
            state = await _state(database, self._settings, name, reach)
            if state is None:
                raise UnknownTenant(name)
            last = run_id if request else await requests.last_run(state.line.database_name)
            return replace(state, run_id=last), ended or not state.waiting

        return await self.ledger.ask(read)

    async def _launch(self, request: Request) -> tuple[str | None, bool]:
        """The run that looks at the tenant, and whether it is a new one; None: the sensor will launch it."""
        if self._dagster is None:
            return None, False
        dagster, name = self._dagster, request.database_name
        # those of this process wait here, so that they take one connection to the ledger together
        turn = self._launching.setdefault(name, asyncio.Lock())
        try:
            async with asyncio.timeout(LAUNCH_SECONDS), turn, launching(self._settings, name):
                under_way = await self.ledger.ask(
                    lambda database: TenantRequests(database).last_run(name, open_only=True)
                )
                if under_way and await dagster.is_under_way(under_way):
                    # what it has read may have changed since; the pending review has the sensor launch another then
                    run_id, is_new = under_way, False
                else:
                    config = {"ops": {"detect_tenants": {"config": {"tenants": [name]}}}}
                    here = await self.ledger.ask(lambda database: CodeLocations(database).known())
                    tags = {"trigger": TENANT_MANAGER, "tenant": name}
                    place = Place(*here) if here else None
                    run_id, is_new = await dagster.launch(JOB, config, tags, known=place), True
                await self.ledger.ask(lambda database: TenantRequests(database).launched(request, run_id))
                return run_id, is_new
        except (DagsterAway, TimeoutError, Fault) as away:
            reason = str(away) or "no answer in time"
            _LOG.warning("No run was launched for %s, the sensor will do it: %s", name, reason)
        return None, False


async def _databases_of(ledger: LedgerAccess, settings: Settings, asked: Registration, caller: Caller) -> Databases:
    """What limits the caller's next tenant. We ask the cluster only once so many have no database that runs know of."""
    most = settings.key_tenants_without_database
    names = await ledger.ask(lambda database: unseen(database, asked, caller))
    if len(names) < most:
        return Databases(most)
    try:
        async with asyncio.timeout(_CLUSTER_SECONDS), cluster_database(settings, patience_seconds=1.0) as cluster:
            pattern, excluded = settings.tenant_database_pattern, settings.tenant_database_excluded
            return Databases(most, await database_names(cluster, pattern, excluded, [*names, asked.database_name]))
    except (Fault, TimeoutError) as away:
        _LOG.warning("The tenant cluster could not be asked for databases: %s", str(away) or "no answer in time")
        raise Fault(
            FaultKind.TRANSIENT,
            Reason.DATABASE_UNREACHABLE,
            f"This key has registered {len(names)} tenants whose databases no run has seen yet, and we cannot check "
            "at present whether they exist.",
        ) from None


async def _must_not_be_in_doubt(registry: Registry, settings: Settings, asked: Registration) -> None:
    """Add no row to a registry that has lost many or hides some: they may be on their way back, with another status."""
    await must_show_all(registry, asked)
    if any(row["database_name"] == asked.database_name for row in await registry.named(asked.database_name)):
        return
    loss = weigh_loss(registry.table, await known_rows(registry), loss_budget(settings.sessions))
    if loss.doubt:
        raise Conflict(f"Tenant {asked.slug} was not registered. {loss.doubt}", KeyRefusal.REGISTRY_IN_DOUBT)


async def place_of(database: Database, settings: Settings, name: str, reach: Reach) -> tuple[str, str]:
    """Database name and slug of the tenant in reach with this slug or database name, by ledger or else registry.

    Raises:
        UnknownTenant: when neither knows it.
        SeveralTenants: when several have the slug.
    """
    line = await _line(database, name, reach, with_conditions=False)
    if line is not None:
        return line.database_name, line.slug
    # no run has read it yet
    rows = await Registry(database, settings.registry_table).named(name)
    rows = [row for row in rows if row["database_name"] == name] or rows
    if not rows:
        raise UnknownTenant(name)
    if not all(reach.covers(row["slug"]) for row in rows):
        raise OutOfReach(name)
    if len(rows) > 1:
        raise SeveralTenants(tuple(sorted(row["database_name"] for row in rows)))
    return rows[0]["database_name"], rows[0]["slug"]


async def _line(database: Database, name: str, reach: Reach, *, with_conditions: bool) -> TenantLine | None:
    """The tenant of this database name, or else the one with this slug; None: the ledger knows none."""
    found = await tenants(Ledger(database), with_conditions=with_conditions, only=name)
    if not reach.everywhere and found and not any(reach.covers(line.slug) for line in found):
        raise OutOfReach(name)
    line = one_of(found, name)
    if line is not None and not reach.covers(line.slug):
        raise OutOfReach(name)
    return line


async def _state(database: Database, settings: Settings, name: str, reach: Reach = EVERY_TENANT) -> TenantState | None:
    # before the tenant is read: what a run that has ended left is there by then
    waiting = await TenantRequests(database).waiting([name])
    line = await _line(database, name, reach, with_conditions=True)
    if line is None:
        return None
    organization, _ = await Timelines(database).organization_and_members(line.database_name)
    if organization is None:
        # no run has read it yet
        rows = await Registry(database, settings.registry_table).named(line.database_name)
        named = (row["clerk_org_id"] for row in rows if row["database_name"] == line.database_name)
        organization = next((found for found in named if found), None)
    (state,) = await _states(database, [line], {line.database_name: organization}, waiting)
    return state


async def _states(
    database: Database,
    lines: Sequence[TenantLine],
    organizations: Mapping[str, str | None],
    waiting: Collection[str],
) -> tuple[TenantState, ...]:
    """These tenants; `organizations` and `waiting` by database name."""
    proofs = await Proofs(database).of([line.database_name for line in lines])
    statuses = {(proof.database_name, proof.twenty_user_id): proof.status for proof in proofs}
    shared = await shared_names(database, [line.slug for line in lines])
    return tuple(
        TenantState(
            line,
            organizations[line.database_name],
            statuses.get((line.database_name, line.admin_user_id or "")),
            waiting=line.database_name in waiting,
            address=address_of(line, shared),
        )
        for line in lines
    )


def address_of(line: TenantLine, shared: Collection[str]) -> str:
    """The name by which a tenant is asked for; `shared` are those that stand for several tenants."""
    slug = line.slug
    leads_there = slug not in shared and len(slug) <= _LONGEST_ADDRESS and not _LED_ASTRAY.search(slug)
    return slug if leads_there else line.database_name


@dataclass(frozen=True, slots=True)
class TenantPage:
    """Tenants by database name, and where the next page begins; None: there is none."""

    tenants: tuple[TenantState, ...]
    next: str | None


async def tenant_page(
    database: Database,
    *,
    limit: int,
    cursor: str | None,
    state: str | None,
    lifecycle: Lifecycle | None = None,
    clerk_org_id: str | None,
    reach: Reach,
) -> TenantPage:
    """Up to `limit` tenants in reach after `cursor`, all or those in one state or of one organization.

    Raises:
        ValueError: when the cursor is none.
    """
    found = await page(database, _after(cursor), limit + 1, state, clerk_org_id, reach, lifecycle)
    organizations = {row["database_name"]: row.pop("clerk_org_id") for row in found}
    names = [row["database_name"] for row in found[:limit]]
    lines = {line.database_name: line for line in tenant_lines(found[:limit], await Ledger(database).conditions(names))}
    waiting = await TenantRequests(database).waiting(names)
    states = await _states(database, [lines[name] for name in names], organizations, waiting)
    return TenantPage(states, _cursor(names[-1]) if len(found) > limit else None)


def _cursor(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _after(cursor: str | None) -> str:
    """The database name that a cursor stands for."""
    if cursor is None:
        return ""
    try:
        name = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, UnicodeError) as error:
        raise ValueError(cursor) from error
    if not name or not name.isprintable() or _cursor(name) != cursor:
        raise ValueError(cursor)
    return name
