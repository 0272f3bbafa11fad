"""grpcio as client and server, the gateway between them: the four kinds of calls, deadlines, statuses, trailers."""

import json
import threading
from concurrent import futures

import grpc
import pytest

from conftest import PLANTED, Gateway, leak_in, sentence

VALUES = [p for p in PLANTED if len(sentence(p)) < 100]
SERVICE = "test.Echo"


def message(text):
    """A message of protobuf: field 1, a string."""
    data = text.encode()
    assert len(data) < 16384
    length = bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 127 | 128, len(data) >> 7])
    return b"\x0a" + length + data


def text_of(data):
    assert data[:1] == b"\x0a", data
    start = 2 if data[1] < 128 else 3
    return data[start:].decode(errors="replace")


class Echo(grpc.GenericRpcHandler):
    """Answers with what it gets, and keeps it."""

    def __init__(self):
        self.seen = []
        self.metadata = {}
        self.deadline = None
        self.cancelled = threading.Event()

    def service(self, details):
        self.metadata = dict(details.invocation_metadata)
        kind = details.method.rsplit("/", 1)[1]
        make = {
            "Unary": grpc.unary_unary_rpc_method_handler,
            "Refused": grpc.unary_unary_rpc_method_handler,
            "Client": grpc.stream_unary_rpc_method_handler,
            "Server": grpc.unary_stream_rpc_method_handler,
            "Both": grpc.stream_stream_rpc_method_handler,
            "Forever": grpc.unary_stream_rpc_method_handler,
        }.get(kind)
        return make(getattr(self, kind.lower())) if make else None

    def take(self, data):
        self.seen.append(text_of(data))
        return data

    def unary(self, data, context):
        self.deadline = context.time_remaining()
        context.set_trailing_metadata((("note", sentence(VALUES[0])),))
        return self.take(data)

    def refused(self, data, context):
        self.take(data)
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no: " + sentence(VALUES[0]))

    def client(self, stream, context):
        return [self.take(data) for data in stream][-1]

    def server(self, data, context):
        for _ in range(20):
            yield self.take(data)

    def both(self, stream, context):
        for data in stream:
            yield self.take(data)

    def forever(self, data, context):
        context.add_callback(self.cancelled.set)
        yield data
        self.cancelled.wait(20)


@pytest.fixture(scope="module")
def echo():
    return Echo()


@pytest.fixture(scope="module")
def server(echo):
    server = grpc.server(futures.ThreadPoolExecutor(8), handlers=(echo,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture(scope="module", params=["uring", "epoll"])
def channel(server, request):
    gateway = Gateway(f"http://{server}", "--io", request.param)
    with grpc.insecure_channel(gateway.url.removeprefix("http://")) as channel:
        yield channel
    gateway.stop()


def call(channel, kind, shape):
    return getattr(channel, shape)(f"/{SERVICE}/{kind}")


def masked(planted, text):
    assert leak_in(planted, text) is None, text
    before, after = planted["text"].split("{}")
    assert text.startswith(before) and text.endswith(after), text
    return True


@pytest.mark.parametrize("planted", VALUES, ids=[p["class"] for p in VALUES])
def test_all_four_kinds_are_masked_both_ways(channel, echo, planted):
    data = message(sentence(planted))
    for kind, shape, argument, count in [
        ("Unary", "unary_unary", data, 1),
        ("Client", "stream_unary", iter([data] * 5), 5),
        ("Server", "unary_stream", data, 20),
        ("Both", "stream_stream", iter([data] * 5), 5),
    ]:
        echo.seen.clear()
        answer = call(channel, kind, shape)(argument, timeout=20)
        answers = [answer] if isinstance(answer, bytes) else list(answer)
        assert len(echo.seen) == count
        assert all(masked(planted, text) for text in echo.seen)
        assert all(masked(planted, text_of(data)) for data in answers)


def test_messages_of_a_call_both_ways_do_not_wait_for_each_other(channel, echo):
    go = threading.Semaphore(0)

    def requests():
        for n in range(5):
            go.acquire(timeout=20)
            yield message(f"message {n} ")

    answers = call(channel, "Both", "stream_stream")(requests(), timeout=20)
    for n in range(5):
        go.release()
        assert text_of(next(answers)) == f"message {n} "
    assert list(answers) == []
    assert answers.code() == grpc.StatusCode.OK


def test_trailers_come_masked_and_metadata_goes_through(channel, echo):
    method = call(channel, "Unary", "unary_unary")
    _, done = method.with_call(message("x"), timeout=20, metadata=(("x-note", "kept"), ("bin-bin", b"\x00\xff")))
    assert masked(VALUES[0], dict(done.trailing_metadata())["note"])
    assert (echo.metadata["x-note"], echo.metadata["bin-bin"]) == ("kept", b"\x00\xff")
    assert 10 < echo.deadline < 25


def test_statuses_of_the_server_come_through_masked(channel):
    with pytest.raises(grpc.RpcError) as error:
        call(channel, "Refused", "unary_unary")(message("x"), timeout=20)
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert leak_in(VALUES[0], error.value.details()) is None
    with pytest.raises(grpc.RpcError) as error:
        call(channel, "None", "unary_unary")(message("x"), timeout=20)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_deadlines_and_cancellation_reach_the_server(channel, echo):
    echo.cancelled.clear()
    answers = call(channel, "Forever", "unary_stream")(message("x"), timeout=1)
    next(answers)
    with pytest.raises(grpc.RpcError) as error:
        next(answers)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert echo.cancelled.wait(20)
    echo.cancelled.clear()
    answers = call(channel, "Forever", "unary_stream")(message("x"), timeout=60)
    next(answers)
    answers.cancel()
    assert echo.cancelled.wait(20)


def test_compressed_messages_are_masked(channel, echo):
    planted = VALUES[0]
    echo.seen.clear()
    method = call(channel, "Unary", "unary_unary")
    data = message(sentence(planted) + " " * 1000)
    answer = method(data, timeout=20, compression=grpc.Compression.Gzip)
    assert leak_in(planted, text_of(answer)) is None
    assert all(leak_in(planted, text) is None for text in echo.seen) and echo.seen


def test_large_messages_go_through_whole(channel):
    data = b"".join(message("word " * 3000) for _ in range(100))
    assert call(channel, "Unary", "unary_unary")(data, timeout=20) == data


def test_many_calls_share_connections(channel, echo):
    method = call(channel, "Unary", "unary_unary")
    calls = [method.future(message(f"call {n} "), timeout=20) for n in range(200)]
    assert [text_of(c.result()) for c in calls] == [f"call {n} " for n in range(200)]


def test_refusals_of_the_gateway_have_the_shape_of_grpc(channel):
    method = call(channel, "Unary", "unary_unary")
    with pytest.raises(grpc.RpcError) as error:
        # No message of protobuf.
        method(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", timeout=20)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT, json.dumps(error.value.details())


def test_an_upstream_that_is_not_there_is_unavailable():
    gateway = Gateway("http://127.0.0.1:9")
    try:
        with grpc.insecure_channel(gateway.url.removeprefix("http://")) as channel:
            with pytest.raises(grpc.RpcError) as error:
                call(channel, "Unary", "unary_unary")(message("x"), timeout=20)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "upstream" in error.value.details()
    finally:
        gateway.stop()
