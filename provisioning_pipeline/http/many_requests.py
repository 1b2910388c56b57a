"""`POST /v1/reconcile`: a service has many tenants looked at with one request, or all that its key is for."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse

from provisioning_pipeline.clients.dagster import DagsterAway, DagsterClient, Place
from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.decide.many_requests import Asked, AskedTenant, KnownTenant, sorted_out
from provisioning_pipeline.gateway.problems import NO_STORE
from provisioning_pipeline.http.documents import ReconcileMany, ReconcileRequested, ReconcileResult
from provisioning_pipeline.http.keys import KeyGuard
from provisioning_pipeline.http.problems import Problem, away, responses
from provisioning_pipeline.http.tenant_requests import JOB
from provisioning_pipeline.http.tenants import IdempotencyKey
from provisioning_pipeline.ledger.pending import CodeLocations
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.ledger.serving import LedgerAccess, LedgerAway
from provisioning_pipeline.ledger.tenant_requests import (
    LAUNCH_SECONDS,
    TENANT_MANAGER,
    Request,
    TenantRequests,
    launching,
)
from provisioning_pipeline.model.api_key import ApiKey, Scope
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.registry import registry_status
from provisioning_pipeline.model.tenant_request import Caller, Conflict
from provisioning_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)
_MOST_PER_RUN = 1000
"""As many as the sensor gives one run; it launches runs for the others."""
_MANY = "many tenants"
"""No tenant has a space in its database's name: this is none of their locks."""


@dataclass(frozen=True, slots=True)
class Requested:
    """What became of a request, and the run that was launched for it; None: the sensor launches it."""

    tenants: tuple[AskedTenant, ...]
    run_id: str | None


class ManyRequests:
    """Takes requests for many tenants. Raises LedgerAway when the ledger cannot be asked.

    Args:
        dagster: launches runs; None: nothing does, and the sensor sees the pending reviews.
    """

    def __init__(self, settings: Settings, ledger: LedgerAccess, dagster: DagsterClient | None) -> None:
        self._settings = settings
        self._ledger = ledger
        self._dagster = dagster
        # two requests at once would each launch a run over the same tenants
        self._launching = asyncio.Lock()

    async def reconcile(self, names: Sequence[str] | None, caller: Caller) -> Requested:
        """Have these tenants looked at, ready or not; None: all in reach.

        Raises:
            Conflict: when something else was asked for under the same key.
        """

        async def store(database: Database) -> tuple[tuple[AskedTenant, ...], list[Request], str | None]:
            requests = TenantRequests(database)
            async with requests.alone(caller):
                asked = await self._asked(database, names, caller)
                earlier = await requests.earlier(caller)
                if earlier:
                    return asked, [], earlier.run_id
                wanted = {tenant.database_name: tenant.slug for tenant in _requested(asked)}
                return asked, await requests.add_many(wanted, caller), None

        asked, stored, run_id = await self._ledger.ask(store)
        return Requested(asked, await self._launch(stored) if stored else run_id)

    async def _asked(self, database: Database, names: Sequence[str] | None, caller: Caller) -> tuple[AskedTenant, ...]:
        known = [KnownTenant(**row) for row in await TenantRequests(database).known(names)]
        if names is None:
            in_reach = [tenant for tenant in known if caller.reach.covers(tenant.slug) and not tenant.gone]
            return sorted_out([tenant.database_name for tenant in in_reach], in_reach, caller.reach)
        found = sorted_out(names, known, caller.reach)
        unknown = [one.name for one in found if one.result is Asked.UNKNOWN]
        if not unknown:
            return found
        # no run has read those yet
        return sorted_out(names, [*known, *await self._registered(database, unknown, known)], caller.reach)

    async def _registered(
        self, database: Database, names: Sequence[str], known: Sequence[KnownTenant]
    ) -> list[KnownTenant]:
        rows = await Registry(database, self._settings.registry_table).rows(names)
        ours = {tenant.database_name for tenant in known}
        excluded = set(self._settings.registry_excluded_statuses)
        return [
            KnownTenant(str(name), str(slug), excluded=registry_status(status) in excluded)
            for name, slug, status in zip(rows["database_name"], rows["slug"], rows["status"], strict=True)
            if name not in ours
        ]

    async def _launch(self, stored: Sequence[Request]) -> str | None:
        """Launch one run over those that no run for an earlier request is at; the pending reviews see to the rest."""
        if self._dagster is None:
            return None
        dagster = self._dagster
        by_name = {request.database_name: request for request in stored}
        try:
            async with asyncio.timeout(LAUNCH_SECONDS), self._launching, launching(self._settings, _MANY):
                open_runs = await self._ledger.ask(lambda database: TenantRequests(database).open_runs(list(by_name)))
                ended = {run_id for run_id in set(open_runs.values()) if not await dagster.is_under_way(run_id)}
                free = sorted(name for name in by_name if open_runs.get(name) is None or open_runs[name] in ended)
                chosen = free[:_MOST_PER_RUN]
                if not chosen:
                    return None
                here = await self._ledger.ask(lambda database: CodeLocations(database).known())
                config = {"ops": {"detect_tenants": {"config": {"tenants": chosen}}}}
                place = Place(*here) if here else None
                run_id = await dagster.launch(JOB, config, {"trigger": TENANT_MANAGER}, known=place)
                ids = [by_name[name].id for name in chosen]
                await self._ledger.ask(lambda database: TenantRequests(database).launched_many(ids, run_id))
                return run_id
        except (DagsterAway, TimeoutError, LedgerAway, Fault) as failed:
            reason = str(failed) or "no answer in time"
            _LOG.warning("No run was launched for %d tenants, the sensor will do it: %s", len(stored), reason)
        return None


def many_router(requests: ManyRequests, guard: KeyGuard) -> APIRouter:
    """The route for many tenants."""
    router = APIRouter(tags=["tenants"])
    writing = Annotated[ApiKey, Depends(guard.may(Scope.WRITE))]
    security: dict[str, Any] = {"security": [{"apiKey": [Scope.WRITE]}]}

    @router.post(
        "/v1/reconcile",
        status_code=HTTPStatus.ACCEPTED,
        response_model=ReconcileRequested,
        responses=responses(400, 401, 403, 409, 413, 422, 429, 503),
        openapi_extra=security,
    )
    async def reconcile_many(key: writing, body: ReconcileMany, idempotency_key: IdempotencyKey = None) -> Response:
        """Have many tenants looked at, ready or not, or all that the key is for. Asking again is safe. Tenants that
        are suspended or gone are left out; ask for one of them by its own route. One run is launched for up to 1000
        of them, and the sensor launches runs for the others within seconds."""
        asked = json.dumps(["POST", "/v1/reconcile", body.model_dump()], sort_keys=True)
        caller = Caller(key.id, idempotency_key, hashlib.sha256(asked.encode()).hexdigest(), key.reach)
        try:
            found = await requests.reconcile(body.tenants, caller)
        except Fault as busy:
            raise away(busy.message) from None
        except Conflict as conflict:
            raise Problem(HTTPStatus.CONFLICT, str(conflict), why=conflict.why) from None
        document = ReconcileRequested(
            requested=len(_requested(found.tenants)), run_id=found.run_id, items=[_result(one) for one in found.tenants]
        )
        return JSONResponse(document.model_dump(mode="json"), HTTPStatus.ACCEPTED, NO_STORE)

    return router


def _requested(asked: Sequence[AskedTenant]) -> tuple[KnownTenant, ...]:
    """The tenants that are to be looked at, each once: one may be named twice."""
    found = (one.tenant for one in asked if one.result is Asked.REQUESTED)
    return tuple(dict.fromkeys(tenant for tenant in found if tenant is not None))


def _result(one: AskedTenant) -> ReconcileResult:
    database_name = one.tenant.database_name if one.tenant else None
    return ReconcileResult(tenant=one.name, database_name=database_name, result=one.result.value)
