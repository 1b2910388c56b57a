"""A tenant manager asks for a tenant: register it, have it looked at, and tell how far it is."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from provisioning_pipeline.clients.dagster import DagsterAway, DagsterClient
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.proofs import Proofs
from provisioning_pipeline.ledger.registration import register
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.ledger.serving import LedgerAccess
from provisioning_pipeline.ledger.tenant_requests import TENANT_MANAGER, Request, TenantRequests
from provisioning_pipeline.ledger.timeline import Timelines
from provisioning_pipeline.model.tenant_request import Caller, Registration
from provisioning_pipeline.pipeline.conclude import tenants
from provisioning_pipeline.pipeline.timeline import SeveralTenants
from provisioning_pipeline.report.summary import TenantLine
from provisioning_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)
JOB = "reconcile_tenants"
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class TenantState:
    """A tenant as it stands, for whoever asked for it.

    Args:
        line: what is known about it, with its conditions.
        clerk_org_id: its Clerk organization, where one is known.
        onboarding_status: what the last real login of its admin read; None before there was one.
        waiting: a run is still to look at it, or is at it for the last request.
        run_id: the Dagster run that was launched for the request, or found at work, or the last such one; None: none,
            or nobody knows.
    """

    line: TenantLine
    clerk_org_id: str | None
    onboarding_status: str | None
    waiting: bool
    run_id: str | None = None

    @property
    def is_ready(self) -> bool:
        """Everything about it holds, and a real login proved it."""
        return self.line.state == "ready"


@dataclass(frozen=True, slots=True)
class Asked:
    """The answer to a request.

    `settled` says that the tenant is ready and nothing more is coming; else a run is, or has told why it is not ready.
    """

    state: TenantState
    settled: bool


class UnknownTenant(Exception):
    """The ledger knows no tenant of this name."""


class Requests:
    """Takes requests for tenants.

    Args:
        ledger: where they are kept.
        dagster: launches runs; None: nobody does, and the sensor sees the marks.
        stopping: whether the server is about to end, so that nobody should wait any longer.
    """

    def __init__(
        self, settings: Settings, ledger: LedgerAccess, dagster: DagsterClient | None, stopping: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self.ledger = ledger
        self._dagster = dagster
        self._stopping = stopping

    async def put(self, asked: Registration, caller: Caller, *, wait: float) -> Asked:
        """Register or update a tenant and have it looked at, unless it is ready and nothing has changed.

        Args:
            wait: seconds to wait for it to become ready.

        Raises:
            Conflict: when it contradicts another tenant, or an earlier request under the same key.
            LedgerAway: when the ledger cannot be asked.
        """
        settings = self._settings

        async def keep(database: Database) -> tuple[Request | None, bool]:
            requests = TenantRequests(database)
            earlier = await requests.earlier(caller)
            if earlier:
                return earlier, False
            changed = await register(
                # a new registry each time: it remembers columns, and the tenant manager may change its table meanwhile
                Registry(database, settings.registry_table),
                asked,
                status=(settings.registry_pending_statuses or ("provisioning",))[-1],
                aside={status.lower() for status in settings.registry_excluded_statuses},
            )
            state = await _state(database, asked.database_name)
            wanted = changed or state is None or not state.is_ready
            if not wanted and caller.idempotency_key is None:
                return None, False
            request, is_new = await requests.add(
                asked.database_name, asked.slug, caller, admin_email=asked.admin_email, mark=wanted
            )
            return request, wanted and is_new

        request, wanted = await self.ledger.ask(keep)
        return await self._answer(asked.database_name, request, wait, launch=wanted)

    async def reconcile(self, name: str, caller: Caller, *, wait: float) -> Asked:
        """Have a tenant looked at, ready or not.

        Raises:
            UnknownTenant: when nobody has this slug or database name.
            SeveralTenants: when several have the slug.
            Conflict: when something else was asked for under the same key.
            LedgerAway: when the ledger cannot be asked.
        """

        async def keep(database: Database) -> tuple[Request, bool]:
            requests = TenantRequests(database)
            earlier = await requests.earlier(caller)
            if earlier:
                return earlier, False
            database_name, slug = await _place_of(database, self._settings, name)
            return await requests.add(database_name, slug, caller, admin_email=None, mark=True)

        request, wanted = await self.ledger.ask(keep)
        return await self._answer(request.database_name, request, wait, launch=wanted)

    async def state(self, name: str) -> TenantState:
        """A tenant, by slug or database name, with the last run that was launched for it by request.

        Raises:
            UnknownTenant: when nobody has it.
            SeveralTenants: when several have the slug.
            LedgerAway: when the ledger cannot be asked.
        """

        async def look(database: Database) -> TenantState:
            state = await _must_be_known(database, name)
            return replace(state, run_id=await TenantRequests(database).last_run(state.line.database_name))

        return await self.ledger.ask(look)

    async def _answer(self, name: str, request: Request | None, wait: float, *, launch: bool) -> Asked:
        """How far it is, after at most so many seconds; sooner when it is ready, or its run has ended without that."""
        if request and launch:
            request = replace(request, run_id=await self._launch(request))
        deadline = asyncio.get_running_loop().time() + wait
        while True:
            asked, ended = await self._look(name, request)
            late = asyncio.get_running_loop().time() >= deadline
            if asked.settled or ended or late or self._stopping():
                return asked
            await asyncio.sleep(_POLL_SECONDS)

    async def _look(self, name: str, request: Request | None) -> tuple[Asked, bool]:
        """The tenant now, and whether there is nothing to wait for."""

        async def look(database: Database) -> tuple[Asked, bool]:
            state = await _must_be_known(database, name)
            requests = TenantRequests(database)
            if request is None:
                state = replace(state, run_id=await requests.last_run(state.line.database_name))
                return Asked(state, settled=state.is_ready), True
            state = replace(state, run_id=request.run_id)
            ended = not state.waiting and await requests.has_ended(request)
            return Asked(state, settled=state.is_ready and not state.waiting), ended

        return await self.ledger.ask(look)

    async def _launch(self, request: Request) -> str | None:
        """The run that looks at the tenant: one that is under way, or a new one; None: the sensor will launch it."""
        if self._dagster is None:
            return None
        try:
            under_way = await self.ledger.ask(
                lambda database: TenantRequests(database).under_way(request.database_name)
            )
            if under_way and await self._dagster.is_under_way(under_way):
                # what it has read already may have changed since; the mark has the sensor look again in that case
                run_id = under_way
            else:
                run_id = await self._dagster.launch(
                    JOB,
                    {"ops": {"detect_tenants": {"config": {"tenants": [request.database_name]}}}},
                    {"trigger": TENANT_MANAGER, "tenant": request.database_name},
                )
        except DagsterAway as away:
            _LOG.warning("No run was launched for %s, the sensor will do it: %s", request.database_name, away)
            return None
        await self.ledger.ask(lambda database: TenantRequests(database).launched(request, run_id))
        return run_id


async def place_of(ledger: LedgerAccess, settings: Settings, name: str) -> tuple[str, str]:
    """Database name and slug of the tenant with this slug or database name, by the ledger or else the registry.

    Raises:
        UnknownTenant: when neither knows it.
        SeveralTenants: when several have the slug.
        LedgerAway: when the ledger cannot be asked.
    """
    return await ledger.ask(lambda database: _place_of(database, settings, name))


async def _place_of(database: Database, settings: Settings, name: str) -> tuple[str, str]:
    state = await _state(database, name)
    if state is not None:
        return state.line.database_name, state.line.slug
    # nobody has looked at it yet
    rows = await Registry(database, settings.registry_table).named(name)
    rows = [row for row in rows if row["database_name"] == name] or rows
    if not rows:
        raise UnknownTenant(name)
    if len(rows) > 1:
        raise SeveralTenants(tuple(sorted(row["database_name"] for row in rows)))
    return rows[0]["database_name"], rows[0]["slug"]


async def _must_be_known(database: Database, name: str) -> TenantState:
    state = await _state(database, name)
    if state is None:
        raise UnknownTenant(name)
    return state


async def _state(database: Database, name: str) -> TenantState | None:
    found = await tenants(Ledger(database), with_conditions=True, only=name)
    found = tuple(line for line in found if line.database_name == name) or found
    if not found:
        return None
    if len(found) > 1:
        raise SeveralTenants(tuple(sorted(line.database_name for line in found)))
    (line,) = found
    organization, _ = await Timelines(database).organization_and_members(line.database_name)
    waiting = await TenantRequests(database).waiting([line.database_name])
    return TenantState(line, organization, await _onboarding_status(database, line), bool(waiting))


async def _onboarding_status(database: Database, line: TenantLine) -> str | None:
    proofs = await Proofs(database).of([line.database_name])
    return next((proof.status for proof in proofs if proof.twenty_user_id == line.admin_user_id), None)
