"""Figures for Prometheus: requests as they come, and the fleet as the ledger has it."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from provisioning_pipeline.http.problems import responses
from provisioning_pipeline.ledger.fleet import READY_BUCKETS, Fleet, fleet
from provisioning_pipeline.ledger.serving import LedgerAccess, LedgerAway
from provisioning_pipeline.model.api_key import Scope
from provisioning_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_READ_EVERY_SECONDS = 5.0
_SOON_SECONDS = 3.0


class Requests:
    """Counts answered requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._total = Counter(
            "provisioning_http_requests", "Answered requests.", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "provisioning_http_request_seconds",
            "Seconds until an answer was complete.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=registry,
        )
        # looking children up by their labels takes longer than counting
        self._totals: dict[tuple[str, str, int], Counter] = {}
        self._histograms: dict[tuple[str, str], Histogram] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer. `route` is a pattern, so that there are as many series as routes."""
        name = method if method in _METHODS else "OTHER"
        total = self._totals.get((name, route, status))
        if total is None:
            total = self._totals[name, route, status] = self._total.labels(name, route, status)
        total.inc()
        histogram = self._histograms.get((name, route))
        if histogram is None:
            histogram = self._histograms[name, route] = self._seconds.labels(name, route)
        histogram.observe(seconds)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class FleetFigures(Collector):
    """The fleet as the ledger has it, read at most every five seconds.

    Args:
        settings: for Clerk's budget.
        looks: at members in Clerk, by how they ended; counted elsewhere.
    """

    def __init__(
        self, registry: CollectorRegistry, settings: Settings, ledger: LedgerAccess, looks: Mapping[str, int]
    ) -> None:
        self._ledger = ledger
        self._looks = looks
        self._read_at: float | None = None
        self._ready_seconds: Fleet | None = None

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        self._up = gauge("provisioning_ledger_up", "Whether the ledger could be read for this answer.")
        self._conditions = gauge("provisioning_conditions", "Tenants by condition.", "type", "status", "reason")
        self._tenants = gauge("provisioning_tenants", "Tenants by state.", "state")
        self._marked = gauge("provisioning_tenants_marked", "Tenants that wait for a run to look at them.")
        self._runs = gauge(
            "provisioning_runs",
            "Runs that the ledger remembers, but for sign-ins and verifications.",
            "trigger",
            "state",
        )
        self._last_run = gauge("provisioning_last_run_timestamp_seconds", "When the last run over all tenants ended.")
        self._allowed = gauge(
            "provisioning_clerk_calls_allowed",
            "Calls in 10 s that a run may send to Clerk, and looks at sessions.",
            "use",
        )
        self._calls = gauge("provisioning_clerk_calls_last_run", "Calls that the last finished run sent to Clerk.")
        whole = settings.clerk_requests_per_10_seconds
        self._allowed.labels("runs").set(int(whole * settings.clerk_share))
        self._allowed.labels("sessions").set(int(whole * settings.clerk_look_share))
        registry.register(self)

    async def read(self) -> None:
        """Read the ledger, unless that was done a moment ago."""
        now = time.monotonic()
        if self._read_at is not None and now - self._read_at < _READ_EVERY_SECONDS:
            return
        try:
            found = await self._ledger.ask(fleet, within=_SOON_SECONDS)
        except LedgerAway:
            self._up.set(0)
            return
        self._read_at = now
        self._up.set(1)
        self._ready_seconds = found
        for gauge in (self._conditions, self._tenants, self._runs):
            gauge.clear()
        for (type_, status, reason), count in found.conditions.items():
            self._conditions.labels(type_, status, reason).set(count)
        for state, count in found.tenants.items():
            self._tenants.labels(state).set(count)
        for (trigger, state), count in found.runs.items():
            self._runs.labels(trigger, state).set(count)
        self._marked.set(found.marked)
        self._last_run.set(found.last_whole_run or 0)
        self._calls.set(found.clerk_calls_last_run or 0)

    def collect(self) -> list[Metric]:
        """What is counted elsewhere: looks at Clerk, and a histogram that the ledger has counted."""
        looks = CounterMetricFamily(
            "provisioning_clerk_looks", "Looks at the members behind sessions in Clerk.", labels=["result"]
        )
        for result, count in self._looks.items():
            looks.add_metric([result], count)
        found = self._ready_seconds
        return [looks] if found is None else [looks, self._seconds_to_ready(found)]

    @staticmethod
    def _seconds_to_ready(found: Fleet) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            "provisioning_tenant_ready_seconds", "Seconds from the first look at a tenant until it was first ready."
        )
        bounds = [*(f"{bound:g}" for bound in READY_BUCKETS), "+Inf"]
        family.add_metric([], list(zip(bounds, found.ready_counts, strict=True)), found.ready_seconds_sum)
        return family


def metrics_router(
    registry: CollectorRegistry, figures: FleetFigures, *, guard: Callable[[Request], Awaitable[object]]
) -> APIRouter:
    """`GET /metrics`, for who may read reports, or has an API key that may read all tenants."""
    router = APIRouter()

    @router.get(
        "/metrics",
        dependencies=[Depends(guard)],
        response_class=PlainTextResponse,
        responses=responses(
            HTTPStatus.UNAUTHORIZED,
            HTTPStatus.FORBIDDEN,
            HTTPStatus.TOO_MANY_REQUESTS,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
        openapi_extra={"security": [{"apiKey": [Scope.READ]}, {"reportPassword": []}]},
        tags=["operations"],
    )
    async def metrics(_: Request) -> Response:
        """Figures for Prometheus. Without the ledger those of the fleet are as they were last known."""
        await figures.read()
        return Response(generate_latest(registry), HTTPStatus.OK, media_type=_CONTENT_TYPE)

    return router
