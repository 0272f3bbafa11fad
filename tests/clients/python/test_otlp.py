"""The OTLP exporter for HTTP before the gateway, a store behind it: what it keeps is masked, and otherwise as it was."""

import pytest
from collector import Collector
from conftest import Gateway, leak_in, sentence
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

COMPRESSIONS = [Compression.NoCompression, Compression.Gzip, Compression.Deflate]


@pytest.fixture(scope="module")
def collector():
    return Collector()


@pytest.fixture(scope="module")
def traced(collector):
    """The gateway before the store."""
    gateway = Gateway(collector.url)
    yield gateway
    gateway.stop()


def export(url, compression, record):
    """Exports the spans that `record` makes with a tracer."""
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces", compression=compression, timeout=20)))
    record(provider.get_tracer("tests"))
    assert provider.force_flush()
    provider.shutdown()


def texts(message):
    """Every text in a message."""
    for field, value in message.ListFields():
        for item in value if field.is_repeated else [value]:
            if field.message_type:
                yield from texts(item)
            elif isinstance(item, str):
                yield item


@pytest.mark.parametrize("compression", COMPRESSIONS, ids=lambda c: c.value)
def test_spans_are_masked(collector, traced, planted, compression):
    text = sentence(planted)

    def record(tracer):
        with tracer.start_as_current_span("chat") as span:
            span.set_attribute("gen_ai.prompt", text)
            span.set_attribute("gen_ai.parts", [text, "fine"])
            span.add_event("said", {"gen_ai.completion": text})

    export(traced.url, compression, record)
    [(path, coding, _, request)] = collector.take_requests()
    assert (path, coding) == ("/v1/traces", None if compression == Compression.NoCompression else compression.value)
    for kept in texts(request):
        assert leak_in(planted, kept) is None, kept
    [span] = request.resource_spans[0].scope_spans[0].spans
    prompt = next(a.value.string_value for a in span.attributes if a.key == "gen_ai.prompt")
    before, after = planted["text"].split("{}")
    assert len(prompt) == len(text) and prompt.startswith(before) and prompt.endswith(after), prompt


@pytest.mark.parametrize("compression", COMPRESSIONS, ids=lambda c: c.value)
def test_what_matches_nothing_is_kept_as_it_was(collector, traced, compression):
    def record(tracer):
        for n in range(300):
            with tracer.start_as_current_span(f"step {n}") as span:
                span.set_attributes({"n": n, "ratio": n / 7, "ok": True, "words": f"nothing to see, step {n} ✓"})

    export(traced.url, compression, record)
    [(_, _, _, request)] = collector.take_requests()
    spans = request.resource_spans[0].scope_spans[0].spans
    assert [s.name for s in spans] == [f"step {n}" for n in range(300)]
    assert all(len(s.trace_id) == 16 and len(s.span_id) == 8 for s in spans)
    assert spans[7].attributes[3].value.string_value == "nothing to see, step 7 ✓"
