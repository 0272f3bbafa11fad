"""A real OTLP store behind the gateway: what arize-phoenix answers of the spans that it took holds no planted value, and all else
arrived. Only with SLUICE_PHOENIX=1, for tests/run installs 139 packages for it."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import PLANTED, ROOT, Gateway, leak_in, sentence
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

pytestmark = pytest.mark.skipif(os.environ.get("SLUICE_PHOENIX") != "1", reason="SLUICE_PHOENIX=1 runs it")

TOOLS = Path(os.environ.get("SLUICE_TOOLS", ROOT / "tests/.tools"))
PHOENIX = os.environ.get("SLUICE_PHOENIX_BIN", str(TOOLS / "phoenix/bin/phoenix"))
# It makes its database first, which takes a while on a busy machine.
START_S_MAX = 300
ARRIVE_S_MAX = 60
COMPRESSIONS = [Compression.NoCompression, Compression.Gzip, Compression.Deflate]


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def ask(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


def until(deadline_s, what, ready):
    """The first thing that `ready` gives, asked again and again."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        try:
            if found := ready():
                return found
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {deadline_s} s")


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory):
    """The store; its URL."""
    port, folder = free_port(), tmp_path_factory.mktemp("phoenix")
    environment = os.environ | {
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    with open(folder / "log.txt", "w") as log:
        process = subprocess.Popen([PHOENIX, "serve"], env=environment, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        until(START_S_MAX, "phoenix starts", lambda: ask(f"{url}/healthz") is not None)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def traced(phoenix):
    gateway = Gateway(phoenix)
    yield gateway
    gateway.stop()


def stored(url, project, count):
    """The spans of a project, as the store's own API tells them, once all of them are there."""

    def all_of_them():
        body = json.loads(ask(f"{url}/v1/projects/{project}/spans?limit=1000"))
        return body["data"] if len(body["data"]) >= count else None

    return until(ARRIVE_S_MAX, f"{count} spans of {project}", all_of_them)


@pytest.mark.parametrize("compression", COMPRESSIONS, ids=lambda c: c.value)
def test_the_store_holds_no_planted_value(phoenix, traced, compression):
    project = f"shop-{compression.value}"
    resource = Resource.create({"service.name": "shop", "openinference.project.name": project})
    provider = TracerProvider(resource=resource)
    exporter = OTLPSpanExporter(f"{traced.url}/v1/traces", compression=compression, timeout=60)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("tests")
    for planted in PLANTED:
        text = sentence(planted)
        with tracer.start_as_current_span(planted["class"]) as span:
            span.set_attribute("input.value", text)
            span.set_attribute("llm.prompts", [text, "fine"])
            span.set_attribute("metadata", json.dumps({"note": text}))
            span.set_attribute("clean", f"nothing to see in {planted['class']} ✓")
            span.set_attributes({"n": 7, "ratio": 0.25, "ok": True})
            span.add_event("said", {"gen_ai.completion": text, "words": "so it goes"})
    assert provider.force_flush()
    provider.shutdown()
    spans = stored(phoenix, project, len(PLANTED))
    assert sorted(span["name"] for span in spans) == sorted(planted["class"] for planted in PLANTED)
    whole = json.dumps(spans, ensure_ascii=False)
    for planted in PLANTED:
        assert leak_in(planted, whole) is None, planted["class"]
        [span] = [span for span in spans if span["name"] == planted["class"]]
        told = json.dumps(span, ensure_ascii=False)
        assert f"nothing to see in {planted['class']} ✓" in told and "so it goes" in told, told
        before, after = planted["text"].split("{}")
        prompt = span["attributes"]["input.value"]
        assert prompt.startswith(before) and prompt.endswith(after) and len(prompt) == len(sentence(planted)), prompt
        assert (span["attributes"]["n"], span["attributes"]["ratio"], span["attributes"]["ok"]) == (7, 0.25, True), told
