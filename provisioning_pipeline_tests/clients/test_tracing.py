"""When traces are sent, what is said when they cannot be, and by what the ops of one run find each other."""

import uuid
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

from provisioning_pipeline.clients import tracing
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(autouse=True)
def off_afterwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (ENDPOINT, "OTEL_SDK_DISABLED", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        monkeypatch.delenv(name, raising=False)
    yield
    if tracing._provider is not None:
        tracing._provider.shutdown()
    tracing.use(None)


@pytest.fixture
def kept() -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    return exporter


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {ENDPOINT: ""},
        {ENDPOINT: "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {ENDPOINT: "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_a_place_to_send_to_nothing_is_traced(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert tracing.begin() is None
    assert not tracing.is_on()
    with tracing.span("anything", {}) as current:
        assert current is None
        assert tracing.carried() == {}
    assert tracing.parent_of_run(str(uuid.uuid4()), None) is None


def test_what_keeps_traces_from_being_sent_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert "OTEL_EXPORTER_OTLP_PROTOCOL is not http/protobuf" in str(tracing.begin())
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_PROTOCOL")
    monkeypatch.setattr(tracing, "find_spec", lambda _: None)
    assert "pip install 'provisioning-pipeline[otel]'" in str(tracing.begin())
    assert not tracing.is_on()


def test_a_collector_that_is_away_is_told_without_its_address(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9/canary-key")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    assert tracing.begin() is None
    with tracing.span("anything", {}):
        pass
    tracing.flush()

    assert "encountered while exporting" in caplog.text or "Failed to export" in caplog.text
    assert "canary-key" not in caplog.text


def test_an_error_is_a_kind_or_a_reason_and_never_its_words(kept: InMemorySpanExporter) -> None:
    for error in (ValueError("canary"), Fault(FaultKind.TENANT, Reason.SERVER_FULL, "canary")):
        with pytest.raises(type(error)), tracing.span("step", {"provisioning.tenant": "acme", "left.out": None}):
            raise error

    spans = kept.get_finished_spans()
    assert [dict(span.attributes or {}) for span in spans] == [
        {"provisioning.tenant": "acme", "error.type": "ValueError"},
        {"provisioning.tenant": "acme", "error.type": "ServerFull"},
    ]
    assert all(not span.status.is_ok and not span.events for span in spans)
    assert "canary" not in "".join(span.to_json() for span in spans)


def test_the_ops_of_a_run_meet_under_its_id_in_every_process(kept: InMemorySpanExporter) -> None:
    run_id = str(uuid.uuid4())
    for name in ("detect_tenants", "report_reconciliation"):
        with tracing.span(name, {}, parent=tracing.parent_of_run(run_id, None)):
            pass
    with tracing.span("request", {}):
        carried = tracing.carried()[tracing.TRACEPARENT]
    with tracing.span("launched", {}, parent=tracing.parent_of_run(run_id, carried)):
        pass

    first, second, request, launched = kept.get_finished_spans()
    assert trace.format_trace_id(first.context.trace_id) == uuid.UUID(run_id).hex
    assert first.context.trace_id == second.context.trace_id
    assert launched.context.trace_id == request.context.trace_id
    assert launched.parent is not None
    assert launched.parent.span_id == request.context.span_id


def test_a_sampler_that_takes_no_trace_takes_no_run() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(sampler=ParentBased(ALWAYS_OFF))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)

    with tracing.span("detect_tenants", {}, parent=tracing.parent_of_run(str(uuid.uuid4()), None)):
        pass

    assert exporter.get_finished_spans() == ()
