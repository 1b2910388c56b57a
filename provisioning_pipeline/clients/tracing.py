"""Traces of runs and requests by OpenTelemetry, where its OTEL_* variables ask for them and the extra `otel` is there.

A span is named after an operation, a route or a step. Its attributes are names of tenants and systems, statuses and
reasons: no URL, no header, no message and nothing of a person. Without the variables nothing of it is imported.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID

from provisioning_pipeline.model.fault import Fault

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

TRACEPARENT: Final = "traceparent"
"""The header of W3C Trace Context, and the tag by which a run belongs to the trace of the request that launched it."""
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP = "http/protobuf"
_SERVICE = "provisioning_pipeline"
_FLUSH_MILLISECONDS = 5000
_MISSING = (
    "No traces are sent: OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry's SDK is not installed here. Run "
    "pip install 'provisioning-pipeline[otel]', or set OTEL_SDK_DISABLED=true."
)
_OTHER_PROTOCOL = (
    f"No traces are sent: OTEL_EXPORTER_OTLP_PROTOCOL is not {_HTTP}, which alone is spoken here. Set it to that, and "
    "the endpoint to the collector's port for it (4318, most often)."
)
Value = str | int | None
_provider: "TracerProvider | None" = None
_tracer: "Tracer | None" = None
_OFF: Final[AbstractContextManager[None]] = nullcontext()


def begin() -> str | None:
    """Trace from here on, if the environment asks for it and nothing has begun yet; if it cannot be, why."""
    if _tracer is not None or not _is_wanted(os.environ):
        return None
    if next((os.environ[name] for name in _PROTOCOLS if os.environ.get(name)), _HTTP) != _HTTP:
        return _OTHER_PROTOCOL
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter.otlp.proto.http") is None:
        return _MISSING
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = os.environ.get("OTEL_SERVICE_NAME") or SERVICE_NAME in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(resource=Resource.create({} if named else {SERVICE_NAME: _SERVICE}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    logging.getLogger(OTLPSpanExporter.__module__).addFilter(_without_addresses)
    use(provider)
    return None


def _without_addresses(record: logging.LogRecord) -> bool:
    """Of the exporter's errors only the kind is logged: their words repeat its URL, which may hold a key."""
    if isinstance(record.args, tuple):
        record.args = tuple(type(arg).__name__ if isinstance(arg, Exception) else arg for arg in record.args)
    return True


def use(provider: "TracerProvider | None") -> None:
    """Trace by this provider alone, or no more. It is ours: other libraries' spans would have URLs in them."""
    global _provider, _tracer
    _provider, _tracer = provider, None if provider is None else provider.get_tracer(_SERVICE)


def is_on() -> bool:
    """Whether anything is traced."""
    return _tracer is not None


def flush() -> None:
    """Send what is left: a process of Dagster's may end without another chance."""
    if _provider is not None:
        _provider.force_flush(_FLUSH_MILLISECONDS)


def span(
    name: str,
    attributes: Mapping[str, Value],
    *,
    kind: Literal["INTERNAL", "SERVER", "CLIENT"] = "INTERNAL",
    parent: "Context | None" = None,
) -> "AbstractContextManager[Span | None]":
    """A span around a block, under `parent` or the span around it; None where nothing is traced.

    Args:
        attributes: one that is None is left out.
    """
    return _OFF if _tracer is None else _span(_tracer, name, attributes, kind, parent)


@contextmanager
def _span(
    tracer: "Tracer", name: str, attributes: Mapping[str, Value], kind: str, parent: "Context | None"
) -> "Iterator[Span]":
    from opentelemetry.trace import SpanKind

    given = {key: value for key, value in attributes.items() if value is not None}
    with tracer.start_as_current_span(
        name, parent, SpanKind[kind], given, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except BaseException as error:
            # never its text
            failed(current, error.reason if isinstance(error, Fault) else type(error).__name__)
            raise


def failed(current: "Span | None", why: str) -> None:
    """What the span is about failed; `why` is a reason or a kind of error."""
    if current is None:
        return
    from opentelemetry.trace import StatusCode

    current.set_attribute("error.type", why)
    current.set_status(StatusCode.ERROR)


def carried() -> dict[str, str]:
    """What takes the current span along, by name; nothing where nothing is traced."""
    if _tracer is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    found: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(found)
    return {TRACEPARENT: found[TRACEPARENT]} if TRACEPARENT in found else {}


def parent_in(traceparent: str | None) -> "Context | None":
    """The span that was taken along so; None: there is none, or nothing is traced."""
    if _tracer is None or traceparent is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({TRACEPARENT: traceparent})


def parent_of_run(run_id: str, traceparent: str | None) -> "Context | None":
    """The parent of the ops of one of Dagster's runs, in whatever process: the request's span, if one launched it.

    Else the ops meet under the run's id, which is the trace's id then.
    """
    if _provider is None or traceparent is not None:
        return parent_in(traceparent)
    from opentelemetry.sdk.trace.sampling import Decision

    trace = UUID(run_id).hex
    decided = _provider.sampler.should_sample(None, int(trace, 16), run_id).decision
    return parent_in(f"00-{trace}-{trace[:16]}-{'01' if decided is Decision.RECORD_AND_SAMPLE else '00'}")


def _is_wanted(environ: Mapping[str, str]) -> bool:
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return any(environ.get(name) for name in _ENDPOINTS)
