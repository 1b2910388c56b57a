"""Figures for Prometheus: requests as they come, and the fleet as the ledger has it."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cache
from http import HTTPStatus

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.http.problems import responses
from provisioning_pipeline.ledger.call_budget import budgets, used
from provisioning_pipeline.ledger.fleet import READY_BUCKETS, Fleet, fleet
from provisioning_pipeline.ledger.serving import LedgerAccess, LedgerAway
from provisioning_pipeline.model.api_key import Scope
from provisioning_pipeline.model.names import visible
from provisioning_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_READ_EVERY_SECONDS = 5.0
_SOON_SECONDS = 3.0
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Requests:
    """Counts answered requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        total = Counter(
            "provisioning_http_requests", "Answered requests.", ("method", "route", "status"), registry=registry
        )
        histogram = Histogram(
            "provisioning_http_request_seconds",
            "Seconds until an answer was complete.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=registry,
        )
        # looking children up by their labels takes longer than counting
        self._total_of = cache(total.labels)
        self._histogram_of = cache(histogram.labels)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer. `route` is a pattern, so that there are as many series as routes."""
        name = method if method in _METHODS else "OTHER"
        self._total_of(name, route, status).inc()
        self._histogram_of(name, route).observe(seconds)


class FleetFigures(Collector):
    """The fleet as the ledger has it, read at most every five seconds.

    Args:
        settings: for what is allowed, and for the Twenty servers.
        member_checks: by how they ended; counted elsewhere.
    """

    def __init__(
        self, registry: CollectorRegistry, settings: Settings, ledger: LedgerAccess, member_checks: Mapping[str, int]
    ) -> None:
        self._ledger = ledger
        self._member_checks = member_checks
        self._read_at: float | None = None
        self._ready_seconds: Fleet | None = None

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        self._up = gauge("provisioning_ledger_up", "Whether the ledger could be read for this answer.")
        self._conditions = gauge("provisioning_conditions", "Tenants by condition.", "type", "status", "reason")
        self._tenants = gauge("provisioning_tenants", "Tenants by state.", "state")
        self._marked = gauge("provisioning_tenants_marked", "Tenants that wait for a run to look at them.")
        self._deliveries = gauge(
            "provisioning_webhook_deliveries",
            "Webhooks that have not arrived: pending, retried (those of pending that failed once), failed (given up).",
            "state",
        )
        self._runs = gauge(
            "provisioning_runs",
            "Runs that the ledger remembers, but for sign-ins and verifications.",
            "trigger",
            "state",
        )
        self._last_run = gauge("provisioning_last_run_timestamp_seconds", "When the last run over all tenants ended.")
        self._runs_begun = gauge("provisioning_run_begun_timestamp_seconds", "When the last run began.", "trigger")
        self._actions = gauge(
            "provisioning_run_actions", "What the finished runs did that the ledger remembers.", "trigger"
        )
        self._not_ready = gauge(
            "provisioning_not_ready_since_timestamp_seconds",
            "For each reason: since when the tenant is not ready that has not been for the longest, and which that is.",
            "reason",
            "tenant",
        )
        self._oldest_review = gauge(
            "provisioning_review_pending_since_timestamp_seconds",
            "Since when the oldest pending review waits for a run; 0: none is pending.",
        )
        self._harm_waiting = gauge(
            "provisioning_harm_waiting_people",
            "People whose removal or demotion waits for approval, by the last run over all tenants.",
        )
        self._certified = gauge(
            "provisioning_twenty_certified",
            "Whether the last certification of a Twenty server held, and the server is as it was then.",
            "server",
        )
        self._certified_at = gauge(
            "provisioning_twenty_certified_timestamp_seconds",
            "When a Twenty server was last certified; 0: never.",
            "server",
        )
        gauge("provisioning_report_fresh_seconds", "How old the last run over all tenants may be (the setting).").set(
            settings.report_fresh_hours * 3600
        )
        self._allowed = gauge(
            "provisioning_clerk_calls_allowed",
            "Calls in 10 s that a run may send to Clerk, and looks at sessions.",
            "use",
        )
        self._budgets = budgets(settings.sessions, settings.clerk_share)
        self._budget_used = gauge(
            "provisioning_clerk_budget_used_ratio",
            "Which part is used up of the calls that all processes together may send to Clerk at once; beyond 1, calls "
            "wait for their turn.",
            "use",
        )
        self._calls = gauge("provisioning_clerk_calls_last_run", "Calls that the last finished run sent to Clerk.")
        whole = settings.clerk_requests_per_10_seconds
        self._allowed.labels("runs").set(int(whole * settings.clerk_share))
        self._allowed.labels("sessions").set(int(whole * settings.clerk_look_share))
        self._servers = tuple(server.name for server in settings.servers)
        registry.register(self)

    async def read(self) -> None:
        """Read the ledger, unless that was done a moment ago."""
        now = time.monotonic()
        if self._read_at is not None and now - self._read_at < _READ_EVERY_SECONDS:
            return
        try:
            found = await self._ledger.ask(fleet, within=_SOON_SECONDS)
            budgets_used = await self._ledger.ask(self._read_budgets, within=_SOON_SECONDS)
        except LedgerAway:
            self._up.set(0)
            return
        self._read_at = now
        self._up.set(1)
        self._ready_seconds = found
        by_state = {(state,): count for state, count in found.tenants.items()}
        longest = {(reason, visible(slug)): since for reason, (slug, since) in found.not_ready.items()}
        certificates = {name: found.certificates.get(name, (0.0, False)) for name in self._servers}
        by_labels: tuple[tuple[Gauge, Iterable[tuple[tuple[str, ...], float]]], ...] = (
            (self._conditions, found.conditions.items()),
            (self._tenants, by_state.items()),
            (self._runs, found.runs.items()),
            (self._runs_begun, (((trigger,), begun) for trigger, begun in found.runs_begun.items())),
            (self._actions, (((trigger,), count) for trigger, count in found.actions.items())),
            (self._not_ready, longest.items()),
            (self._certified, (((name,), current) for name, (_, current) in certificates.items())),
            (self._certified_at, (((name,), at) for name, (at, _) in certificates.items())),
        )
        for gauge, counts in by_labels:
            gauge.clear()
            for labels, count in counts:
                gauge.labels(*labels).set(count)
        self._marked.set(found.marked)
        for state, count in asdict(found.deliveries).items():
            self._deliveries.labels(state).set(count)
        self._last_run.set(found.last_whole_run or 0)
        self._harm_waiting.set(found.harm_waiting)
        self._oldest_review.set(found.oldest_review or 0)
        self._calls.set(found.clerk_calls_last_run or 0)
        for use, part in budgets_used.items():
            self._budget_used.labels(use).set(part)

    async def _read_budgets(self, database: Database) -> dict[str, float]:
        return await used(database, self._budgets)

    def collect(self) -> list[Metric]:
        """What is counted elsewhere: member checks, and a histogram that the ledger has counted."""
        checks = CounterMetricFamily(
            "provisioning_clerk_looks", "Looks at the members behind sessions in Clerk.", labels=["result"]
        )
        for result, count in self._member_checks.items():
            checks.add_metric([result], count)
        found = self._ready_seconds
        if found is None:
            return [checks]
        ready = HistogramMetricFamily(
            "provisioning_tenant_ready_seconds", "Seconds from the first look at a tenant until it was first ready."
        )
        bounds = [*(f"{bound:g}" for bound in READY_BUCKETS), "+Inf"]
        ready.add_metric([], list(zip(bounds, found.ready_counts, strict=True)), found.ready_seconds_sum)
        return [checks, ready]


def metrics_router(
    registry: CollectorRegistry, figures: FleetFigures, *, guard: Callable[[Request], Awaitable[object]]
) -> APIRouter:
    """`GET /metrics`, for callers who may read reports, or have an API key that may read all tenants."""
    router = APIRouter()

    @router.get(
        "/metrics",
        dependencies=[Depends(guard)],
        response_class=PlainTextResponse,
        responses=responses(401, 403, 429, 503),
        openapi_extra={"security": [{"apiKey": [Scope.READ]}, {"reportPassword": []}]},
        tags=["operations"],
    )
    async def metrics(_: Request) -> Response:
        """Figures for Prometheus. Without the ledger those of the fleet are as they were last known."""
        await figures.read()
        return Response(generate_latest(registry), HTTPStatus.OK, media_type=_CONTENT_TYPE)

    return router
