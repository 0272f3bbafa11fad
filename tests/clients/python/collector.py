"""A store for OTLP over HTTP: it takes what exporters send, parses it with the classes generated from opentelemetry-proto,
keeps it, and answers in kind."""

import gzip
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf import json_format
from llm import read_body
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

MESSAGES = {
    "/v1/traces": (traces.ExportTraceServiceRequest, traces.ExportTraceServiceResponse),
    "/v1/logs": (logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse),
    "/v1/metrics": (metrics.ExportMetricsServiceRequest, metrics.ExportMetricsServiceResponse),
}
DECODE = {None: bytes, "identity": bytes, "gzip": gzip.decompress, "deflate": zlib.decompress}


class Collector:
    """Keeps each request as (path, coding, size of its content, message), and answers it gzipped where that is taken."""

    def __init__(self):
        self.requests = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                coding = self.headers.get("content-encoding")
                content = DECODE[coding](read_body(self))
                request, response = (message() for message in MESSAGES[self.path])
                kind = self.headers["content-type"]
                if kind == "application/json":
                    json_format.Parse(content, request)
                    answer = json_format.MessageToJson(response).encode()
                else:
                    request.ParseFromString(content)
                    response.partial_success.error_message = "kept"
                    answer = response.SerializeToString()
                collector.requests.append((self.path, coding, len(content), request))
                self.send_response(200)
                self.send_header("content-type", kind)
                if "gzip" in self.headers.get("accept-encoding", ""):
                    self.send_header("content-encoding", "gzip")
                    answer = gzip.compress(answer)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take_requests(self):
        taken, self.requests = self.requests, []
        return taken
